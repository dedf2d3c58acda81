import type { ErrorFields, Outcome } from '../records/record.ts';
import { cutText } from '../records/text.ts';
import type { Open } from '../wire/frames.ts';
import type { Fired } from './checks.ts';
import type { Usual } from './history.ts';
import { sessionIds } from './ids.ts';
import type { PhaseBook } from './phases.ts';
import { newPhaseBook } from './phases.ts';
import type { Rate } from './rate.ts';
import { newRate } from './rate.ts';

/** What the provider's process is, from its ring's `hello` or header. */
export interface Origin {
  /** 32 hex digits. */
  readonly ring: string;
  readonly pid: number;
  readonly arch: 'x86' | 'x64';
  readonly executable: string;
  readonly shimVersion: string;
}

/** A `Progress` call as the session remembers it. */
export interface LastCall {
  /** 0: there was none. */
  call: number;
  timeUs: number;
  index: number;
  max: number;
}

/** A call that is inside Outlook's callback for long. */
export interface BlockedCall {
  readonly thread: number;
  readonly method: number;
  readonly sinceUs: number;
}

/**
 * One session. A plain object of its owner: the functions that take it change it in place, because
 * millions of frames a second go through it, and change nothing else. It takes at most about 8 KiB,
 * whatever the frames say. Times are microseconds of the machine's monotonic clock.
 */
export interface SessionState {
  readonly origin: Origin;
  /** The seq of its `open`. */
  readonly session: number;
  readonly id: string;
  readonly traceId: string;
  readonly attach: number;
  readonly flags: number | null;
  readonly provider: string | null;
  readonly store: string | null;
  readonly openTimeUs: number;
  readonly openWallUs: number;
  /** Outlook's callback is behind ours. */
  readonly callback: boolean;
  /** Wall clock minus monotonic clock; follows the ring's anchors. */
  clockOffsetUs: number;

  /** The newest `Progress` call that a frame brought. */
  last: LastCall;
  /** What the text of the bar is. null: no call had one. */
  text: string | null;
  /** Which call set it. */
  textCall: number;
  /** A newer call that a slot told of, until frames catch up. */
  ahead: (LastCall & { text: string | null }) | null;
  /** The newest call of any method, or `open`. */
  lastCallUs: number;
  /** How long the machine slept or the daemon was held up since then. */
  excusedUs: number;

  /** Highest `call` or counter seen of each method. */
  errors: number;
  dones: number;
  progress: number;
  /** `Error` calls that a frame brought with a success code; all but S_OK; and with an error code. */
  warnings: number;
  oddities: number;
  failures: number;
  merged: number;
  lost: number;
  innerUs: number;
  innerMaxUs: number;
  /** What each method took of that: Progress, Error, Done. */
  innerTimes: { us: number; maxUs: number }[];
  /** Calls of Outlook's callback that failed or were slow, by method: the least that it took. */
  innerSlow: InnerTotals[];
  /** The longest time without a call. */
  silenceUs: number;
  /** Checks that fired. */
  fired: Fired;
  /** The window in which calls are counted: when it began, with which call, and for how long those
   * before it had too many. */
  floodUs: number;
  floodCall: number;
  floodForUs: number;

  rate: Rate;
  /** What earlier syncs of the store were like. Not part of a snapshot: its owner knows it anyway. */
  usual: Usual | null;
  phases: PhaseBook;
  /** How often the same error came: by code and text, at most `MAX_REPEATS` of them. */
  repeats: Map<number, number>;
  lastError: ErrorFields | null;
  /** What the newest `session.progress` record said. `timeUs` -1: there was none. */
  told: { timeUs: number; call: number; index: number; max: number };
  /** A text that no record has shown. */
  textUntold: boolean;
  toldMerged: number;

  /** The first `Done`: the one that Outlook acts on. */
  done: { readonly hresult: number; readonly timeUs: number; readonly thread: number } | null;
  returned: { readonly hresult: number; readonly durationUs: number } | null;
  blocked: BlockedCall[];
  /** Since when the session is quiet, if a record said so. */
  quietSinceUs: number | null;
  ended: Ended | null;
  /** The last Release. An ended session may live on for a while, since later calls are recorded. */
  released: boolean;
  /** Of its owner, who notes whether a change was noted. Not part of a snapshot. */
  mark: number;
}

export interface InnerTotals {
  calls: number;
  us: number;
  maxUs: number;
}

export interface Ended {
  readonly outcome: Outcome;
  readonly reason: string;
  readonly durationUs: number;
}

/** How long calls are counted to say that they are too many. */
export const FLOOD_WINDOW_US = 1_000_000;

/** A bar that goes back to this or less begins a new count, with or without a new text. */
export const LAST_FIRST_INDEX = 1;

export const MAX_REPEATS = 64;
export const MAX_BLOCKED = 16;
/** What the state keeps of texts; in bytes of a line of the journal. Together they bound a state. */
export const MAX_STATE_TEXT_BYTES = 2048;
export const MAX_ERROR_TEXT_BYTES = 256;
export const MAX_LABEL_BYTES = 256;
/** 32 of them must fit in the state beside all else. */
export const MAX_PHASE_TEXT_BYTES = 64;

export type { PhaseBook, Rate };

export function newSession(open: Open, origin: Origin): SessionState {
  return blankSession({
    origin,
    session: open.seq,
    attach: open.attach,
    flags: open.flags,
    provider: cutOrNull(open.provider, MAX_LABEL_BYTES),
    store: cutOrNull(open.store, MAX_LABEL_BYTES),
    openTimeUs: open.timeUs,
    openWallUs: open.wallUs,
    callback: open.callback !== 0,
  });
}

/** What never changes in a session. */
export type Opened = Pick<
  SessionState,
  | 'origin'
  | 'session'
  | 'attach'
  | 'flags'
  | 'provider'
  | 'store'
  | 'openTimeUs'
  | 'openWallUs'
  | 'callback'
>;

/** A session as it is right after its `open`. */
export function blankSession(opened: Opened): SessionState {
  const { id, traceId } = sessionIds(opened.origin.ring, opened.session);
  // One literal without spreads: else V8 gives each session a hidden class of its own, which makes every
  // access to millions of frames slow and takes a kilobyte.
  return {
    origin: opened.origin,
    session: opened.session,
    id,
    traceId,
    attach: opened.attach,
    flags: opened.flags,
    provider: opened.provider,
    store: opened.store,
    openTimeUs: opened.openTimeUs,
    openWallUs: opened.openWallUs,
    callback: opened.callback,
    clockOffsetUs: opened.openWallUs - opened.openTimeUs,
    last: { call: 0, timeUs: 0, index: 0, max: 0 },
    text: null,
    textCall: 0,
    ahead: null,
    lastCallUs: opened.openTimeUs,
    excusedUs: 0,
    errors: 0,
    dones: 0,
    progress: 0,
    warnings: 0,
    oddities: 0,
    failures: 0,
    merged: 0,
    lost: 0,
    innerUs: 0,
    innerMaxUs: 0,
    innerTimes: [1, 2, 3].map(() => ({ us: 0, maxUs: 0 })),
    innerSlow: [1, 2, 3].map(() => ({ calls: 0, us: 0, maxUs: 0 })),
    silenceUs: 0,
    fired: 0,
    // Over with the first call, which begins the first one.
    floodUs: opened.openTimeUs - FLOOD_WINDOW_US,
    floodCall: 0,
    floodForUs: 0,
    rate: newRate(),
    usual: null,
    phases: newPhaseBook(),
    repeats: new Map(),
    lastError: null,
    told: { timeUs: -1, call: 0, index: 0, max: 0 },
    textUntold: false,
    toldMerged: 0,
    done: null,
    returned: null,
    blocked: [],
    quietSinceUs: null,
    ended: null,
    released: false,
    mark: 0,
  };
}

const SINK = 3;

/** Whether its calls can be seen: the wrap of a provider that got no callback sees none. */
export function hasCalls(state: SessionState): boolean {
  return state.callback || state.attach === SINK;
}

/** What is kept of a session whose end was told: enough to tell of calls that come later. */
export function endSession(state: SessionState, ended: Ended, released: boolean): void {
  state.ended = ended;
  state.released = released;
  state.ahead = null;
  state.quietSinceUs = null;
  state.phases = newPhaseBook();
  state.repeats = new Map();
  state.rate = newRate();
}

export function cutOrNull(text: string | null, maxBytes: number): string | null {
  return text === null ? null : cutText(text, maxBytes);
}

/** `Error` calls that had, or for lost ones may have had, an error code. */
export function errorCount(state: SessionState): number {
  return Math.max(state.failures, state.errors - state.warnings);
}
