/**
 * The bits of `MAPISIB.ulFlags`. The documentation calls them alternatives, but each is one bit, and
 * `SYNC_ON_DEMAND` only makes sense beside others: they are read as a mask. Other interfaces use the same
 * prefix for other bits; those names never stand here.
 */

/** Bit, name, whether the page on MAPISIB lists it (else only the list of constants does). */
const FLAGS: readonly (readonly [bit: number, name: string, documented: boolean])[] = [
  [0x00000001, 'SYNC_UPLOAD_HIERARCHY', true],
  [0x00000002, 'SYNC_DOWNLOAD_HIERARCHY', true],
  [0x00000040, 'SYNC_UPLOAD_CONTENTS', true],
  [0x00000080, 'SYNC_DOWNLOAD_CONTENTS', true],
  [0x00000200, 'SYNC_OUTGOING_MAIL', true],
  [0x00001000, 'SYNC_BACKGROUND', false],
  [0x00020000, 'SYNC_THESE_FOLDERS', false],
  // The list of constants calls the same bit SYNC_HEADERS.
  [0x02000000, 'SYNC_GLOBAL_HEADERS', true],
  [0x20000000, 'SYNC_ON_DEMAND', true],
];
const ON_DEMAND = 0x20000000;

export interface SyncFlags {
  readonly names: readonly string[];
  /** Bits without a name, as `0x00000400`; absent if there are none. */
  readonly rest?: string;
  /** The user pressed Send/Receive. */
  readonly userInitiated: boolean;
}

export function decodeSyncFlags(flags: number): SyncFlags {
  const named = FLAGS.filter(([bit]) => (flags & bit) !== 0);
  const rest = named.reduce((left, [bit]) => left & ~bit, flags) >>> 0;
  return {
    names: named.map(([, name]) => name),
    ...(rest === 0 ? {} : { rest: hex32(rest) }),
    userInitiated: (flags & ON_DEMAND) !== 0,
  };
}

/** `0x8004010F` */
export function hex32(value: number): string {
  return `0x${(value >>> 0).toString(16).toUpperCase().padStart(8, '0')}`;
}
