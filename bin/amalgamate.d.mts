/** The text of `mapisync.cc`: all of the shim's sources in one file. */
export function amalgamate(shim: string): string;
