import {
  BodyCursor,
  badField,
  decodeText,
  SEQ_LIMIT,
  U32_LIMIT,
  UINT_LIMIT,
} from './body-cursor.ts';
import type {
  Counters,
  DaemonFrame,
  Header,
  InnerTimes,
  NewestCall,
  SequencedFrame,
  ShimFrame,
  Unknown,
} from './frames.ts';
import { KIND } from './frames.ts';
import { MAX_NAME_BYTES, MAX_SLOT_TEXT_BYTES, MAX_TEXT_BYTES } from './limits.ts';

/**
 * Bodies to frames, by schema straight from the bytes. Whatever the bytes are, the result is a frame or
 * a ProtocolError, after work that is bounded by their size.
 */

const LARGEST_METHOD = 3;
const LARGEST_ATTACH = 3;
const RING_ID_BYTES = 16;
const INNER_TIMES_ELEMENTS = 6;
/** A `progress` of 10 elements, and the least that it takes. */
const PROGRESS_ARRAY = 0x9a;
const MIN_PROGRESS_BYTES = 31;
/** Longer texts are decoded each time. */
const MAX_KNOWN_BYTES = 256;
/** Upper halves from which on a 64-bit integer is out of range. */
const SEQ_HIGH_LIMIT = SEQ_LIMIT / U32_LIMIT;
const TIME_HIGH_LIMIT = UINT_LIMIT / U32_LIMIT;

/** Decoding never nests and never waits, so one cursor serves all. */
const cursor = new BodyCursor();

/**
 * Decodes the body of a shim's frame that stands from `start` to `end`.
 *
 * @returns The frame; a kind that is not known, or is not a shim's, as `unknown`. Elements after those
 * that we know are ignored.
 * @throws {ProtocolError} `malformed`, `bad-field`.
 */
export function decodeShimFrame(bytes: Uint8Array, start = 0, end = bytes.length): ShimFrame {
  cursor.open(bytes, start, end);
  const frame = readShimFrame(cursor.uint('kind'));
  cursor.close();
  return frame;
}

/**
 * Decodes the body of a daemon's frame to a shim. As in the shim, elements after those that we know are
 * not looked at.
 *
 * @throws {ProtocolError} `malformed`, `bad-field`.
 */
export function decodeDaemonFrame(body: Uint8Array): DaemonFrame | Unknown {
  cursor.open(body, 0, body.length);
  return readDaemonFrame(cursor.uint('kind'));
}

/**
 * The kind of the body that stands from `start` to `end`, from two bytes at most. A hint for choosing a
 * decoder: the decoder does the checking.
 *
 * @returns -1 if these bytes begin no body with a known kind.
 */
export function peekKind(bytes: Uint8Array, start: number, end: number): number {
  const tag = bytes[start] as number;
  const at = tag >= 0x90 && tag <= 0x9f ? start + 1 : start + 3;
  if (at >= end) return -1;
  const kind = bytes[at] as number;
  return kind < 0x80 ? kind : -1;
}

/**
 * A `progress` frame that stays in its bytes: to be filled again and again, so that a chunk full of them
 * costs no object. Valid as long as the bytes are.
 */
export class ProgressView {
  readonly kind = 'progress';
  seq = 0;
  timeUs = 0;
  thread = 0;
  session = 0;
  call = 0;
  index = 0;
  max = 0;
  marks = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #textEnd = 0;
  #textBytes = -1;
  /** The text that was asked for last: most calls have the one of the call before. */
  #known = '';
  readonly #knownUtf8 = new Uint8Array(MAX_KNOWN_BYTES);
  #knownBytes = 0;

  /** Decoded when asked for. */
  get text(): string | null {
    if (this.#textBytes < 0) return null;
    return this.#isKnown() ? this.#known : this.#decodeText();
  }

  /** What the frame stands in. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Bytes of the text with what stands before it to say so. 0: there is none. */
  get textSize(): number {
    const size = this.#textBytes;
    if (size < 0) return 0;
    return size + (size < 0x20 ? 1 : size < 0x100 ? 2 : 3);
  }

  /** Where they begin. */
  get textAt(): number {
    return this.#textEnd - this.textSize;
  }

  #isKnown(): boolean {
    const size = this.#textBytes;
    if (size !== this.#knownBytes) return false;
    const bytes = this.#bytes;
    const known = this.#knownUtf8;
    const start = this.#textEnd - size;
    // Texts that differ mostly do so near their end.
    for (let at = size - 1; at >= 0; at -= 1) if (bytes[start + at] !== known[at]) return false;
    return true;
  }

  #decodeText(): string {
    const start = this.#textEnd - this.#textBytes;
    const text = decodeText(this.#bytes, start, this.#textEnd);
    if (this.#textBytes > MAX_KNOWN_BYTES) return text;
    this.#known = text;
    this.#knownBytes = this.#textBytes;
    const known = this.#knownUtf8;
    for (let at = 0; at < this.#textBytes; at += 1) known[at] = this.#bytes[start + at] as number;
    return text;
  }

  /** @throws {ProtocolError} `malformed`, `bad-field`, also where the frame is no `progress`. */
  fill(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#fillPlain(bytes, start, end)) this.#fillChecked(bytes, start, end);
  }

  /**
   * The shape that nearly all have: no element more than today's, no integer above 32 bits behind the
   * header. Reads without looking where the frame ends and compares once, at its own end.
   *
   * @returns false for any other shape, with the view half filled.
   */
  #fillPlain(bytes: Uint8Array, start: number, end: number): boolean {
    if (
      end - start < MIN_PROGRESS_BYTES ||
      bytes[start] !== PROGRESS_ARRAY ||
      bytes[start + 1] !== KIND.progress ||
      bytes[start + 2] !== 0xcf ||
      bytes[start + 11] !== 0xcf ||
      bytes[start + 20] !== 0xce
    ) {
      return false;
    }
    const seqHigh = u32(bytes, start + 3);
    const timeHigh = u32(bytes, start + 12);
    if (seqHigh >= SEQ_HIGH_LIMIT || timeHigh >= TIME_HIGH_LIMIT) return false;
    this.seq = seqHigh * U32_LIMIT + u32(bytes, start + 7);
    this.timeUs = timeHigh * U32_LIMIT + u32(bytes, start + 16);
    this.thread = u32(bytes, start + 21);
    plainAt = start + 25;
    this.session = plainUint(bytes);
    this.call = plainUint(bytes);
    this.index = plainUint(bytes);
    this.max = plainUint(bytes);
    this.marks = plainUint(bytes);
    const tag = bytes[plainAt] as number;
    if (tag === 0xc0) {
      this.#textBytes = -1;
      this.#textEnd = plainAt + 1;
    } else if (tag >= 0xa0 && tag <= 0xbf) {
      this.#textBytes = tag & 0x1f;
      this.#textEnd = plainAt + 1 + this.#textBytes;
    } else if (tag === 0xd9) {
      this.#textBytes = bytes[plainAt + 1] as number;
      this.#textEnd = plainAt + 2 + this.#textBytes;
    } else {
      return false;
    }
    this.#bytes = bytes;
    return this.#textEnd === end && this.seq !== 0;
  }

  #fillChecked(bytes: Uint8Array, start: number, end: number): void {
    const at = cursor;
    at.open(bytes, start, end);
    const kind = at.uint('kind');
    if (kind !== KIND.progress) throw badField('kind', String(KIND.progress), String(kind));
    this.seq = readSeq();
    this.timeUs = at.fixed('timeUs', 0xcf);
    this.thread = at.fixed('thread', 0xce);
    this.session = at.uint('session', SEQ_LIMIT);
    this.call = at.uint('call');
    this.index = at.uint('index', U32_LIMIT);
    this.max = at.uint('max', U32_LIMIT);
    this.marks = at.uint('marks', U32_LIMIT);
    this.#bytes = bytes;
    this.#textBytes = at.skipText('text', MAX_TEXT_BYTES);
    this.#textEnd = at.at;
    at.close();
  }
}

/** Where `plainUint()` reads; moved on by it. */
let plainAt = 0;

/** An integer of at most 32 bits. Anything else leads `plainAt` past every frame. */
function plainUint(bytes: Uint8Array): number {
  const at = plainAt;
  const tag = bytes[at] as number;
  if (tag < 0x80) {
    plainAt = at + 1;
    return tag;
  }
  if (tag === 0xcc) {
    plainAt = at + 2;
    return bytes[at + 1] as number;
  }
  if (tag === 0xcd) {
    plainAt = at + 3;
    return ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
  }
  plainAt = tag === 0xce ? at + 5 : bytes.length;
  return u32(bytes, at + 1);
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** Reads a `progress` frame into `into`. */
export function readProgress(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: ProgressView,
): void {
  into.fill(bytes, start, end);
}

function readShimFrame(wireKind: number): ShimFrame {
  const at = cursor;
  switch (wireKind) {
    case KIND.hello:
      return {
        kind: 'hello',
        protocol: at.uint('protocol', U32_LIMIT),
        ring: at.binHex('ring', RING_ID_BYTES),
        freed: at.uint('freed', SEQ_LIMIT),
        pid: at.uint('pid', U32_LIMIT),
        bits: readBits(),
        executable: at.str('executable', MAX_NAME_BYTES),
        shimVersion: at.str('shimVersion', MAX_NAME_BYTES),
        timeUs: at.uint('timeUs'),
        wallUs: at.uint('wallUs'),
        clockResolutionUs: at.uint('clockResolutionUs'),
        memory: at.uint('memory', 2),
      };
    case KIND.slot:
      return {
        kind: 'slot',
        session: at.uint('session', SEQ_LIMIT),
        timeUs: at.uint('timeUs'),
        counters: readCounters(),
        newest: readNewestCall(),
        ...readInnerTimes(),
      };
    case KIND.bye:
      return { kind: 'bye', reason: at.uint('reason', U32_LIMIT) };
    default:
      return readSequenced(wireKind);
  }
}

function readSequenced(wireKind: number): SequencedFrame | Unknown {
  const at = cursor;
  switch (wireKind) {
    case KIND.open:
      return {
        kind: 'open',
        ...readHeader(),
        attach: inRange('attach', 1, LARGEST_ATTACH),
        flags: at.uintOrNil('flags', U32_LIMIT),
        provider: at.strOrNil('provider', MAX_NAME_BYTES),
        store: at.strOrNil('store', MAX_NAME_BYTES),
        wallUs: at.uint('wallUs'),
        callback: at.uint('callback', U32_LIMIT),
      };
    case KIND.progress:
      return {
        kind: 'progress',
        ...readHeader(),
        call: at.uint('call'),
        index: at.uint('index', U32_LIMIT),
        max: at.uint('max', U32_LIMIT),
        marks: at.uint('marks', U32_LIMIT),
        text: at.strOrNil('text', MAX_TEXT_BYTES),
      };
    case KIND.error:
      return {
        kind: 'error',
        ...readHeader(),
        call: at.uint('call'),
        hresult: at.uint('hresult', U32_LIMIT),
        marks: at.uint('marks', U32_LIMIT),
        text: at.strOrNil('text', MAX_TEXT_BYTES),
      };
    case KIND.done:
      return {
        kind: 'done',
        ...readHeader(),
        call: at.uint('call'),
        hresult: at.uint('hresult', U32_LIMIT),
        handle: at.uint('handle', U32_LIMIT),
      };
    case KIND.inner:
      return {
        kind: 'inner',
        ...readHeader(),
        method: inRange('method', 1, LARGEST_METHOD),
        call: at.uint('call'),
        hresult: at.uint('hresult', U32_LIMIT),
        durationUs: at.uint('durationUs'),
      };
    case KIND.blocked:
      return {
        kind: 'blocked',
        ...readHeader(),
        method: inRange('method', 1, LARGEST_METHOD),
        call: at.uint('call'),
        sinceUs: at.uint('sinceUs'),
      };
    case KIND.unblocked:
      return {
        kind: 'unblocked',
        ...readHeader(),
        method: inRange('method', 1, LARGEST_METHOD),
        call: at.uint('call'),
        sinceUs: at.uint('sinceUs'),
        durationUs: at.uint('durationUs'),
      };
    case KIND.returned:
      return {
        kind: 'returned',
        ...readHeader(),
        hresult: at.uint('hresult', U32_LIMIT),
        durationUs: at.uint('durationUs'),
        event: at.uint('event', U32_LIMIT),
      };
    case KIND.note:
      return {
        kind: 'note',
        ...readHeader(),
        key: at.str('key', MAX_NAME_BYTES),
        value: at.str('value', MAX_NAME_BYTES),
      };
    case KIND.close:
      return { kind: 'close', ...readHeader(), counters: readCounters(), ...readInnerTimes() };
    case KIND.merged:
      return {
        kind: 'merged',
        ...readHeader(),
        counters: readCounters(),
        newest: readNewestCall(),
        ...readInnerTimes(),
      };
    case KIND.lost:
      return {
        kind: 'lost',
        ...readHeader(),
        opens: at.uint('opens'),
        progress: at.uint('progress'),
        errors: at.uint('errors'),
        dones: at.uint('dones'),
        others: at.uint('others'),
      };
    case KIND.hole:
      return { kind: 'hole', ...readHeader(), reason: at.uint('reason', U32_LIMIT) };
    case KIND.clock:
      return { kind: 'clock', ...readHeader(), wallUs: at.uint('wallUs') };
    default:
      // A newer sequenced kind takes a place in the sequence, so its seq must be known.
      return { kind: 'unknown', wireKind, seq: at.atHeader() ? readHeader().seq : 0 };
  }
}

function readDaemonFrame(wireKind: number): DaemonFrame | Unknown {
  const at = cursor;
  switch (wireKind) {
    case KIND.welcome:
      return {
        kind: 'welcome',
        protocol: at.uint('protocol', U32_LIMIT),
        durable: at.uint('durable', SEQ_LIMIT),
      };
    case KIND.ack:
      return { kind: 'ack', durable: at.uint('durable', SEQ_LIMIT) };
    case KIND.refused:
      return {
        kind: 'refused',
        reason: at.uint('reason', U32_LIMIT),
        text: at.str('text', MAX_NAME_BYTES),
      };
    case KIND.daemonBye:
      return { kind: 'daemonBye' };
    default:
      return { kind: 'unknown', wireKind, seq: 0 };
  }
}

function readHeader(): Header {
  return {
    seq: readSeq(),
    timeUs: cursor.fixed('timeUs', 0xcf),
    thread: cursor.fixed('thread', 0xce),
    session: cursor.uint('session', SEQ_LIMIT),
  };
}

function readSeq(): number {
  const seq = cursor.fixed('seq', 0xcf);
  if (seq === 0 || seq >= SEQ_LIMIT) throw badField('seq', '1 to 2^45 - 1', String(seq));
  return seq;
}

function readCounters(): Counters {
  const at = cursor;
  return {
    progress: at.uint('progress'),
    errors: at.uint('errors'),
    dones: at.uint('dones'),
    merged: at.uint('merged'),
    lost: at.uint('lost'),
    innerUs: at.uint('innerUs'),
    innerMaxUs: at.uint('innerMaxUs'),
  };
}

/** Nothing where a shim leaves them out. */
function readInnerTimes(): { innerTimes?: InnerTimes } {
  const at = cursor;
  if (at.left < INNER_TIMES_ELEMENTS) return {};
  return {
    innerTimes: {
      progressUs: at.uint('progressUs'),
      progressMaxUs: at.uint('progressMaxUs'),
      errorUs: at.uint('errorUs'),
      errorMaxUs: at.uint('errorMaxUs'),
      doneUs: at.uint('doneUs'),
      doneMaxUs: at.uint('doneMaxUs'),
    },
  };
}

function readNewestCall(): NewestCall {
  const at = cursor;
  return {
    call: at.uint('call'),
    timeUs: at.uint('timeUs'),
    index: at.uint('index', U32_LIMIT),
    max: at.uint('max', U32_LIMIT),
    marks: at.uint('marks', U32_LIMIT),
    text: at.strOrNil('text', MAX_SLOT_TEXT_BYTES),
  };
}

function readBits(): number {
  const bits = cursor.uint('bits');
  if (bits !== 32 && bits !== 64) throw badField('bits', '32 or 64', String(bits));
  return bits;
}

function inRange(name: string, first: number, last: number): number {
  const value = cursor.uint(name);
  if (value < first || value > last) throw badField(name, `${first} to ${last}`, String(value));
  return value;
}
