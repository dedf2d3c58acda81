export declare const BROKEN_KINDS: Readonly<Record<string, string>>;

export interface MadeMaildir {
  /** As the sample provider names them, in the order in which they were made. */
  readonly folders: readonly string[];
  /** Good and broken ones together. */
  readonly messages: number;
  readonly good: number;
  /** Broken messages by kind. */
  readonly broken: Readonly<Record<string, number>>;
  /** How often the sample provider will report which code, as `0x8004010F`. */
  readonly errors: Readonly<Record<string, number>>;
}

export declare function makeMaildir(options: {
  dir: string;
  messages?: number;
  folders?: number;
  broken?: number;
  seed?: number;
  windowsNames?: boolean;
}): MadeMaildir;
