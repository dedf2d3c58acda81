import { decode, encode } from '@msgpack/msgpack';
import type { LiveSession } from '../records/record.ts';
import { BodyCursor, U32_LIMIT } from './body-cursor.ts';
import { BodyWriter } from './body-writer.ts';
import type { Unknown } from './frames.ts';
import { MAX_NAME_BYTES } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';
import { checkShape } from './shape.ts';

/**
 * Frames between a client (`tail`, `status`, ...) and the daemon. What the daemon reads is flat and
 * decoded by schema; what a client reads may end in one map of plain data.
 */

/** Kind numbers as on the wire. Never renumbered, never reused. */
export const CLIENT_KIND = { hello: 64, subscribe: 65, status: 66, stop: 67, record: 68 } as const;
export const FEED_KIND = {
  welcome: 96,
  status: 97,
  session: 98,
  current: 99,
  record: 100,
  cut: 101,
  refused: 102,
  bye: 103,
  recording: 104,
  recorded: 105,
} as const;

/** Bits of `wants` in `subscribe`. */
export const WANT = { records: 1, sessions: 2 } as const;

export interface ClientHello {
  readonly kind: 'hello';
  readonly protocol: number;
  readonly version: string;
  readonly pid: number;
}

export interface Subscribe {
  readonly kind: 'subscribe';
  /** Of `WANT`. */
  readonly wants: number;
  /** `segment:offset`: the place after the last record that the client has. null: from now. */
  readonly after: string | null;
}

/** Asks for the frames of one session, from its `open` on. */
export interface RecordFrames {
  readonly kind: 'record';
  /** Its id. null: the next one that opens. */
  readonly session: string | null;
}

/** What a client sends. */
export type ClientFrame =
  | ClientHello
  | Subscribe
  | RecordFrames
  | { readonly kind: 'status' }
  | { readonly kind: 'stop' };

/** Who the daemon is. */
export interface DaemonFacts {
  readonly version: string;
  readonly pid: number;
  readonly instance: string;
  readonly stateDir: string;
}

/** What the daemon sends to a client. */
export type FeedFrame =
  | { readonly kind: 'welcome'; readonly protocol: number; readonly daemon: DaemonFacts }
  | { readonly kind: 'status'; readonly status: Readonly<Record<string, unknown>> }
  | { readonly kind: 'session'; readonly session: LiveSession }
  | { readonly kind: 'current' }
  | { readonly kind: 'record'; readonly cursor: string; readonly line: string }
  | { readonly kind: 'cut'; readonly reason: string; readonly dropped: number }
  | { readonly kind: 'refused'; readonly reason: number; readonly text: string }
  | { readonly kind: 'bye' }
  /** The next bytes of a session's frames, each with its prefix; cut anywhere. */
  | { readonly kind: 'recording'; readonly bytes: Uint8Array }
  /** That was all. `how`: of `RECORDED`, or `NOT_KEPT`. */
  | { readonly kind: 'recorded'; readonly how: number };

/** In `recorded`: the session had begun before somebody asked, and its frames are not kept. */
export const NOT_KEPT = 4;
/** The most that one `recording` carries. */
export const MAX_RECORDING_PIECE_BYTES = 32_768;

const MAX_FEED_DEPTH = 8;
const MAX_LINE_BYTES = 32_768;

const cursor = new BodyCursor();
const writer = new BodyWriter();

/** @throws {RangeError} for a value that the protocol has no room for: a bug of the caller. */
export function encodeClientFrame(frame: ClientFrame): Uint8Array {
  const w = writer;
  switch (frame.kind) {
    case 'hello':
      w.open(4).uint(CLIENT_KIND.hello).uint(frame.protocol).str(frame.version).uint(frame.pid);
      break;
    case 'subscribe':
      w.open(3).uint(CLIENT_KIND.subscribe).uint(frame.wants).str(frame.after);
      break;
    case 'record':
      w.open(2).uint(CLIENT_KIND.record).str(frame.session);
      break;
    case 'status':
    case 'stop':
      w.open(1).uint(CLIENT_KIND[frame.kind]);
      break;
  }
  return w.close();
}

/**
 * The daemon's side: decodes the body that stands from `start` to `end`.
 *
 * @throws {ProtocolError} `malformed`, `bad-field`.
 */
export function decodeClientFrame(
  bytes: Uint8Array,
  start = 0,
  end = bytes.length,
): ClientFrame | Unknown {
  cursor.open(bytes, start, end);
  const frame = readClientFrame(cursor.uint('kind'));
  cursor.close();
  return frame;
}

/** @throws {RangeError} for what does not fit into a frame. */
export function encodeFeedFrame(frame: FeedFrame): Uint8Array {
  const w = writer;
  const kind = FEED_KIND[frame.kind];
  switch (frame.kind) {
    case 'welcome':
      w.open(3).uint(kind).uint(frame.protocol).raw(encode(frame.daemon));
      break;
    case 'status':
      w.open(2).uint(kind).raw(encode(frame.status));
      break;
    case 'session':
      w.open(2)
        .uint(kind)
        .raw(encode(frame.session, { ignoreUndefined: true }));
      break;
    case 'record':
      w.open(3).uint(kind).str(frame.cursor).str(frame.line);
      break;
    case 'cut':
      w.open(3).uint(kind).str(frame.reason).uint(frame.dropped);
      break;
    case 'refused':
      w.open(3).uint(kind).uint(frame.reason).str(frame.text);
      break;
    case 'recording':
      w.open(2).uint(kind).raw(encode(frame.bytes));
      break;
    case 'recorded':
      w.open(2).uint(kind).uint(frame.how);
      break;
    case 'current':
    case 'bye':
      w.open(1).uint(kind);
      break;
  }
  return w.close();
}

/**
 * The client's side.
 *
 * @throws {ProtocolError} `malformed`, `bad-field`.
 */
export function decodeFeedFrame(body: Uint8Array): FeedFrame | Unknown {
  // The library recurses and allocates as the bytes tell it, so they are looked through first.
  checkShape(body, MAX_FEED_DEPTH);
  let elements: unknown;
  try {
    elements = decode(body);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new ProtocolError('malformed', `Cannot read frame: ${text}`);
  }
  const at = new Elements(elements);
  const wireKind = at.uint(0, 'kind');
  switch (wireKind) {
    case FEED_KIND.welcome:
      return { kind: 'welcome', protocol: at.uint(1, 'protocol'), daemon: daemonFacts(at.map(2)) };
    case FEED_KIND.status:
      return { kind: 'status', status: at.map(1) };
    case FEED_KIND.session:
      return { kind: 'session', session: liveSession(at.map(1)) };
    case FEED_KIND.current:
      return { kind: 'current' };
    case FEED_KIND.record:
      return { kind: 'record', cursor: at.str(1, 'cursor'), line: at.str(2, 'line') };
    case FEED_KIND.cut:
      return { kind: 'cut', reason: at.str(1, 'reason'), dropped: at.uint(2, 'dropped') };
    case FEED_KIND.refused:
      return { kind: 'refused', reason: at.uint(1, 'reason'), text: at.str(2, 'text') };
    case FEED_KIND.bye:
      return { kind: 'bye' };
    case FEED_KIND.recording:
      return { kind: 'recording', bytes: at.bin(1, 'bytes') };
    case FEED_KIND.recorded:
      return { kind: 'recorded', how: at.uint(1, 'how') };
    default:
      return { kind: 'unknown', wireKind, seq: 0 };
  }
}

function readClientFrame(wireKind: number): ClientFrame | Unknown {
  const at = cursor;
  switch (wireKind) {
    case CLIENT_KIND.hello:
      return {
        kind: 'hello',
        protocol: at.uint('protocol', U32_LIMIT),
        version: at.str('version', MAX_NAME_BYTES),
        pid: at.uint('pid', U32_LIMIT),
      };
    case CLIENT_KIND.subscribe:
      return {
        kind: 'subscribe',
        wants: at.uint('wants', U32_LIMIT),
        after: at.strOrNil('after', MAX_NAME_BYTES),
      };
    case CLIENT_KIND.status:
      return { kind: 'status' };
    case CLIENT_KIND.stop:
      return { kind: 'stop' };
    case CLIENT_KIND.record:
      return { kind: 'record', session: at.strOrNil('session', MAX_NAME_BYTES) };
    default:
      return { kind: 'unknown', wireKind, seq: 0 };
  }
}

class Elements {
  readonly #values: readonly unknown[];

  constructor(values: unknown) {
    if (!Array.isArray(values)) throw mismatch('frame', 'an array');
    this.#values = values;
  }

  uint(at: number, name: string): number {
    const value = this.#values[at];
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw mismatch(name, 'an integer from 0 to 2^53 - 1');
  }

  str(at: number, name: string): string {
    const value = this.#values[at];
    if (typeof value === 'string' && value.length <= MAX_LINE_BYTES) return value;
    throw mismatch(name, `a string of at most ${MAX_LINE_BYTES} characters`);
  }

  bin(at: number, name: string): Uint8Array {
    const value = this.#values[at];
    if (value instanceof Uint8Array) {
      return new Uint8Array(value.buffer, value.byteOffset, value.length);
    }
    throw mismatch(name, 'bytes');
  }

  map(at: number): Record<string, unknown> {
    const value = this.#values[at];
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
    throw mismatch('element', 'a map');
  }
}

function daemonFacts(map: Record<string, unknown>): DaemonFacts {
  const { version, pid, instance, stateDir } = map;
  if (
    typeof version === 'string' &&
    typeof pid === 'number' &&
    typeof instance === 'string' &&
    typeof stateDir === 'string'
  ) {
    return { version, pid, instance, stateDir };
  }
  throw mismatch('welcome', 'version, pid, instance and stateDir');
}

/** Checks what a client cannot do without; the daemon has proved who it is. */
function liveSession(map: Record<string, unknown>): LiveSession {
  const progress = map.progress;
  if (
    typeof map.id === 'string' &&
    typeof map.state === 'string' &&
    typeof progress === 'object' &&
    progress !== null
  ) {
    return map as unknown as LiveSession;
  }
  throw mismatch('session', 'id, state and progress');
}

function mismatch(name: string, wanted: string): ProtocolError {
  return new ProtocolError('bad-field', `Cannot read ${name}: expected ${wanted}`);
}
