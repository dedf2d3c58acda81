/**
 * Every frame of PROTOCOL.md as a value. Elements have the names of its tables.
 * Times are microseconds of the machine's monotonic clock (`timeUs`) or since 1970 UTC (`wallUs`).
 */

/** Kind numbers as on the wire. Never renumbered, never reused. */
export const KIND = {
  hello: 1,
  slot: 2,
  open: 3,
  progress: 4,
  error: 5,
  done: 6,
  inner: 7,
  blocked: 8,
  unblocked: 9,
  returned: 10,
  note: 11,
  close: 12,
  merged: 13,
  lost: 14,
  hole: 15,
  clock: 16,
  bye: 17,
  welcome: 32,
  ack: 33,
  refused: 34,
  daemonBye: 35,
} as const;

/** How a session's callback came to us. */
export const ATTACH = { tee: 1, wrap: 2, sink: 3 } as const;
/** Methods of `IMAPISyncProgressCallback`. */
export const METHOD = { progress: 1, error: 2, done: 3 } as const;
/** Bits of `marks`. */
export const MARK = { cut: 1, surrogates: 2 } as const;

/** What every sequenced frame carries. */
export interface Header {
  /** Position in its ring, from 1, dense. */
  readonly seq: number;
  readonly timeUs: number;
  readonly thread: number;
  /** The seq of the session's `open`; 0 where no session is meant. */
  readonly session: number;
}

/** What a session's calls add up to. They only grow; a reader takes the maximum of each. */
export interface Counters {
  readonly progress: number;
  readonly errors: number;
  readonly dones: number;
  readonly merged: number;
  readonly lost: number;
  readonly innerUs: number;
  readonly innerMaxUs: number;
}

/** Of `innerUs` and `innerMaxUs`, what each method of the inner callback took. */
export interface InnerTimes {
  readonly progressUs: number;
  readonly progressMaxUs: number;
  readonly errorUs: number;
  readonly errorMaxUs: number;
  readonly doneUs: number;
  readonly doneMaxUs: number;
}

/** The newest `Progress` call of a session. `call` 0: there was none. */
export interface NewestCall {
  readonly call: number;
  readonly timeUs: number;
  readonly index: number;
  readonly max: number;
  readonly marks: number;
  readonly text: string | null;
}

export interface Hello {
  readonly kind: 'hello';
  readonly protocol: number;
  /** 32 hex digits. */
  readonly ring: string;
  /** Everything up to this seq is freed in the ring and will never be sent again. */
  readonly freed: number;
  readonly pid: number;
  readonly bits: number;
  readonly executable: string;
  readonly shimVersion: string;
  readonly timeUs: number;
  readonly wallUs: number;
  readonly clockResolutionUs: number;
  /** 1: the ring dies with its process. */
  readonly memory: number;
}

export interface Slot {
  readonly kind: 'slot';
  readonly session: number;
  /** Of the session's `open`. */
  readonly timeUs: number;
  readonly counters: Counters;
  readonly newest: NewestCall;
  /** Absent: the shim does not count by method. */
  readonly innerTimes?: InnerTimes;
}

export interface Bye {
  readonly kind: 'bye';
  readonly reason: number;
}

export interface Open extends Header {
  readonly kind: 'open';
  readonly attach: number;
  readonly flags: number | null;
  readonly provider: string | null;
  readonly store: string | null;
  readonly wallUs: number;
  readonly callback: number;
}

export interface Progress extends Header {
  readonly kind: 'progress';
  readonly call: number;
  readonly index: number;
  readonly max: number;
  readonly marks: number;
  readonly text: string | null;
}

export interface ErrorCall extends Header {
  readonly kind: 'error';
  readonly call: number;
  readonly hresult: number;
  readonly marks: number;
  readonly text: string | null;
}

export interface Done extends Header {
  readonly kind: 'done';
  readonly call: number;
  readonly hresult: number;
  /** 0 NULL, 1 nothing to compare with, 2 equal to `*phSyncDoneEvent`, 3 different. */
  readonly handle: number;
}

export interface Inner extends Header {
  readonly kind: 'inner';
  readonly method: number;
  readonly call: number;
  readonly hresult: number;
  readonly durationUs: number;
}

export interface Blocked extends Header {
  readonly kind: 'blocked';
  readonly method: number;
  readonly call: number;
  readonly sinceUs: number;
}

export interface Unblocked extends Header {
  readonly kind: 'unblocked';
  readonly method: number;
  readonly call: number;
  readonly sinceUs: number;
  readonly durationUs: number;
}

export interface Returned extends Header {
  readonly kind: 'returned';
  readonly hresult: number;
  readonly durationUs: number;
  readonly event: number;
}

export interface Note extends Header {
  readonly kind: 'note';
  readonly key: string;
  readonly value: string;
}

export interface Close extends Header {
  readonly kind: 'close';
  readonly counters: Counters;
  readonly innerTimes?: InnerTimes;
}

export interface Merged extends Header {
  readonly kind: 'merged';
  readonly counters: Counters;
  readonly newest: NewestCall;
  readonly innerTimes?: InnerTimes;
}

/** Frames that found no room, by kind, each counted since the ring began. */
export interface Lost extends Header {
  readonly kind: 'lost';
  readonly opens: number;
  readonly progress: number;
  readonly errors: number;
  readonly dones: number;
  readonly others: number;
}

export interface Hole extends Header {
  readonly kind: 'hole';
  /** 1 its thread is dead, 2 found at adoption. */
  readonly reason: number;
}

export interface Clock extends Header {
  readonly kind: 'clock';
  readonly wallUs: number;
}

/** A kind from a newer peer. `seq` is 0 if the kind has no header that we can read. */
export interface Unknown {
  readonly kind: 'unknown';
  readonly wireKind: number;
  readonly seq: number;
}

/** Frames that take a place in the ring. */
export type SequencedFrame =
  | Open
  | Progress
  | ErrorCall
  | Done
  | Inner
  | Blocked
  | Unblocked
  | Returned
  | Note
  | Close
  | Merged
  | Lost
  | Hole
  | Clock;

export type ShimFrame = Hello | Slot | Bye | SequencedFrame | Unknown;

export interface Welcome {
  readonly kind: 'welcome';
  readonly protocol: number;
  readonly durable: number;
}

export interface Ack {
  readonly kind: 'ack';
  readonly durable: number;
}

export interface Refused {
  readonly kind: 'refused';
  readonly reason: number;
  readonly text: string;
}

export interface DaemonBye {
  readonly kind: 'daemonBye';
}

export type DaemonFrame = Welcome | Ack | Refused | DaemonBye;
