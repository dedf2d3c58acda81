import { crc32c } from './crc32c.ts';
import { decodeShimFrame } from './decode.ts';
import type {
  Counters,
  Hole,
  InnerTimes,
  NewestCall,
  SequencedFrame,
  Slot,
  Unknown,
} from './frames.ts';
import {
  MAX_CALLS_INSIDE,
  MAX_SESSIONS_PER_RING,
  MAX_SLOT_TEXT_BYTES,
  RING_DATA_OFFSET,
  RING_FILE_BYTES,
} from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

/**
 * Reads the image of a dead ring's file. Its writer died anywhere, and the file may be hostile: whatever
 * the bytes are, the result is an image or a ProtocolError, after work that is bounded by their size.
 */

export interface RingHeader {
  /** 32 hex digits. */
  readonly ring: string;
  readonly pid: number;
  readonly bits: number;
  readonly executable: string;
  readonly shimVersion: string;
  /** At creation. */
  readonly timeUs: number;
  readonly wallUs: number;
  /** 32 hex digits; empty where the system told none. */
  readonly bootId: string;
  readonly clockResolutionUs: number;
  /** The monotonic clock as the worker last saw it: the process lived until then at least. */
  readonly lastSeenUs: number;
  readonly dataBytes: number;
}

export interface RingSlot extends Slot {
  /** The callback was released, but its `close` was not recorded. */
  readonly closing: boolean;
}

/** A call that was inside Outlook's callback. */
export interface InCall {
  readonly thread: number;
  readonly method: number;
  readonly sinceUs: number;
  readonly session: number;
  readonly call: number;
  /** `blocked` was recorded. */
  readonly blocked: boolean;
}

export interface RingImage {
  readonly header: RingHeader;
  /** Everything up to this seq was acknowledged. */
  readonly freed: number;
  /** In order and dense from `freed + 1`; what can never be filled is a `hole` with reason 2. */
  readonly frames: readonly (SequencedFrame | Unknown)[];
  /** Of sessions that are open or closing. */
  readonly slots: readonly RingSlot[];
  readonly inCalls: readonly InCall[];
  readonly lost: {
    readonly opens: number;
    readonly progress: number;
    readonly errors: number;
    readonly dones: number;
    readonly others: number;
  };
  /** Records at the end that were begun and never finished. Their calls did not return. */
  readonly torn: number;
  /** Slots that make no sense. */
  readonly ignored: number;
}

const MAGIC = 'MAPIRING';
const LAYOUT_VERSION = 2;
const RECORD_HEADER_BYTES = 12;
const UNIT_BYTES = 8;
const IN_CALL_OFFSET = 1024;
const IN_CALL_BYTES = 32;
const SLOT_OFFSET = 4096;
const SLOT_BYTES = 768;
const COPY_OFFSETS = [128, 448] as const;
const NULL_TEXT = 0xffffffff;
const FOUND_AT_ADOPTION = 2;
const SAFE_HIGH_WORDS = 2 ** 21;

const STATE = { free: 0, reserved: 1, committed: 2, pad: 3 } as const;
const SLOT_STATE = { claimed: 1, open: 2, closing: 3 } as const;

/**
 * @param image The whole file.
 * @param options.thisBoot Boot id of the running system, 32 hex digits: what a ring of an earlier boot
 * holds is taken only with a checksum. Absent, or zero in the ring: taken to be of this boot.
 * @throws {ProtocolError} `malformed`, `version`, `bad-field` if its header is none.
 */
export function readRing(
  image: Uint8Array,
  options: { readonly thisBoot?: string } = {},
): RingImage {
  const file = new RingFile(image);
  const header = file.header();
  const { thisBoot } = options;
  const isOlderBoot =
    thisBoot !== undefined && header.bootId !== '' && header.bootId !== thisBoot.toLowerCase();
  const inCalls = file.inCalls();
  const slots = file.slots();
  return {
    header,
    ...file.records(header, isOlderBoot),
    slots: slots.found,
    inCalls: inCalls.found,
    lost: file.lost(),
    ignored: slots.ignored + inCalls.ignored,
  };
}

interface Place {
  readonly seq: number;
  readonly unit: number;
}

interface Word {
  readonly state: number;
  readonly size: number;
  readonly seq: number;
}

class RingFile {
  readonly #bytes: Buffer;

  constructor(image: Uint8Array) {
    this.#bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
    const size = image.byteLength;
    if (size <= RING_DATA_OFFSET || size > RING_FILE_BYTES) {
      throw malformed(`${RING_DATA_OFFSET + 1} to ${RING_FILE_BYTES} bytes`, String(size));
    }
    if (this.#bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) {
      throw malformed(`it to begin with "${MAGIC}"`, 'others');
    }
    const layout = this.#bytes.readUInt32LE(8);
    if (layout !== LAYOUT_VERSION) {
      const text = `expected layout ${LAYOUT_VERSION}, got ${layout}`;
      throw new ProtocolError('version', `Cannot read ring: ${text}`);
    }
    const offset = this.#bytes.readUInt32LE(12);
    if (offset !== RING_DATA_OFFSET) throw malformed(`data at ${RING_DATA_OFFSET}`, String(offset));
  }

  header(): RingHeader {
    const bytes = this.#bytes;
    const dataBytes = this.#u64(32);
    const room = bytes.length - RING_DATA_OFFSET;
    if (dataBytes % UNIT_BYTES !== 0 || dataBytes < UNIT_BYTES || !(dataBytes <= room)) {
      throw malformed(`a data size of at most ${room} bytes in units of 8`, String(dataBytes));
    }
    const bootId = bytes.toString('hex', 64, 80);
    return {
      ring: bytes.toString('hex', 16, 32),
      pid: bytes.readUInt32LE(40),
      bits: bytes.readUInt32LE(44) === 32 ? 32 : 64,
      wallUs: this.#safe(48, 'wallUs'),
      timeUs: this.#safe(56, 'timeUs'),
      bootId: /[^0]/.test(bootId) ? bootId : '',
      clockResolutionUs: bytes.readUInt32LE(80),
      executable: this.#string(96, 254),
      shimVersion: this.#string(352, 30),
      lastSeenUs: this.#safe(704, 'cached timeUs'),
      dataBytes,
    };
  }

  lost(): RingImage['lost'] {
    const [opens, progress, errors, dones, others] = [640, 648, 656, 664, 672].map((at) =>
      this.#safe(at, 'lost'),
    ) as [number, number, number, number, number];
    return { opens, progress, errors, dones, others };
  }

  /**
   * Walks the records from the oldest on. The tail is not asked: a producer may have died before it moved
   * it, and the words tell where the records are.
   */
  records(header: RingHeader, isOlderBoot: boolean): Pick<RingImage, 'freed' | 'frames' | 'torn'> {
    const units = header.dataBytes / UNIT_BYTES;
    const start = this.#oldest(units);
    const frames: (SequencedFrame | Unknown)[] = [];
    /** Failed records that become holes if a good one follows, and are the torn end otherwise. */
    let doubtful: Hole[] = [];
    let { seq, unit } = start;
    let lastTimeUs = header.timeUs;
    // Every step moves on by a unit at least, and never past where it began.
    for (let walked = 0; walked < units; ) {
      const word = this.#word(unit);
      if (word.state === STATE.free || word.seq !== seq) break;
      if (word.state === STATE.pad) {
        walked += units - unit;
        if (word.size !== 0 || unit === 0) break;
        unit = 0;
        continue;
      }
      const taken = Math.ceil((RECORD_HEADER_BYTES + word.size) / UNIT_BYTES);
      walked += taken;
      if (unit + taken > units || walked > units) break;
      const frame = this.#frame(unit, word, isOlderBoot);
      if (frame === undefined) {
        doubtful.push(hole(seq, lastTimeUs));
      } else {
        for (const failed of doubtful) frames.push(failed);
        frames.push(frame);
        doubtful = [];
        if (frame.kind !== 'unknown') lastTimeUs = frame.timeUs;
      }
      seq += 1;
      unit = unit + taken === units ? 0 : unit + taken;
    }
    return { freed: start.seq - 1, frames, torn: doubtful.length };
  }

  slots(): { readonly found: RingSlot[]; readonly ignored: number } {
    const found: RingSlot[] = [];
    let ignored = 0;
    for (let n = 0; n < MAX_SESSIONS_PER_RING; n += 1) {
      const at = SLOT_OFFSET + n * SLOT_BYTES;
      const state = this.#bytes.readUInt32LE(at);
      const session = this.#u64(at + 8);
      // A claimed one without a session never got its `open` recorded.
      if (state === 0 || (state === SLOT_STATE.claimed && session === 0)) continue;
      const timeUs = this.#u64(at + 16);
      const counters = this.#counters(at);
      const isKnown = state <= SLOT_STATE.closing && session > 0;
      if (!isKnown || counters === undefined || !isSafe(session, timeUs)) {
        ignored += 1;
        continue;
      }
      const newest = this.#newestCall(at);
      const closing = state === SLOT_STATE.closing;
      found.push({ kind: 'slot', session, timeUs, ...counters, newest, closing });
    }
    return { found, ignored };
  }

  inCalls(): { readonly found: InCall[]; readonly ignored: number } {
    const found: InCall[] = [];
    let ignored = 0;
    for (let n = 0; n < MAX_CALLS_INSIDE; n += 1) {
      const at = IN_CALL_OFFSET + n * IN_CALL_BYTES;
      const low = this.#bytes.readUInt32LE(at);
      const thread = this.#bytes.readUInt32LE(at + 4);
      const state = low & 0xff;
      // 1 is being filled: that call had not gone inside yet.
      if (state === 0 || state === 1) continue;
      const method = (low >>> 8) & 0xff;
      const [sinceUs, session, call] = [at + 8, at + 16, at + 24].map((from) =>
        this.#u64(from),
      ) as [number, number, number];
      if (state > 3 || method < 1 || method > 3 || !isSafe(sinceUs, session, call)) ignored += 1;
      else found.push({ thread, method, sinceUs, session, call, blocked: state === 3 });
    }
    return { found, ignored };
  }

  /** `retired`, not head: the worker may have died while it zeroed what lies between them. */
  #oldest(units: number): Place {
    const place = this.#place(584);
    if (place.seq >= 1 && place.unit < units) return place;
    throw malformed('`retired` inside the data', `seq ${place.seq}, unit ${place.unit}`);
  }

  /** @returns `undefined` if the record is not whole. */
  #frame(unit: number, word: Word, isOlderBoot: boolean): SequencedFrame | Unknown | undefined {
    if (word.state !== STATE.committed || word.size === 0) return undefined;
    const at = RING_DATA_OFFSET + unit * UNIT_BYTES;
    const start = at + RECORD_HEADER_BYTES;
    const end = start + word.size;
    if (isOlderBoot && !this.#crcHolds(at, start, end)) return undefined;
    try {
      const frame = decodeShimFrame(this.#bytes, start, end);
      if (frame.kind === 'hello' || frame.kind === 'slot' || frame.kind === 'bye') return undefined;
      return frame.seq === word.seq ? frame : undefined;
    } catch (error) {
      if (error instanceof ProtocolError) return undefined;
      throw error;
    }
  }

  #crcHolds(at: number, start: number, end: number): boolean {
    const stored = this.#bytes.readUInt32LE(at + 8);
    const crc = crc32c(this.#bytes, start, end, crc32c(this.#bytes, at, at + 8));
    // 0 means that nobody computed it.
    return stored !== 0 && stored === (crc === 0 ? 0xffffffff : crc);
  }

  #place(at: number): Place {
    const low = this.#bytes.readUInt32LE(at);
    return { seq: this.#bytes.readUInt32LE(at + 4) * 2 ** 13 + (low >>> 19), unit: low & 0x7ffff };
  }

  #word(unit: number): Word {
    const at = RING_DATA_OFFSET + unit * UNIT_BYTES;
    const low = this.#bytes.readUInt32LE(at);
    const seq = this.#bytes.readUInt32LE(at + 4) * 2 ** 16 + (low >>> 16);
    return { state: low & 3, size: (low >>> 2) & 0x3fff, seq };
  }

  #counters(slot: number): { counters: Counters; innerTimes: InnerTimes } | undefined {
    const values = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => this.#u64(slot + 24 + n * 8));
    const [progress = 0, errors = 0, dones = 0, withFlag = 0, lost = 0, ...times] = values;
    const merged = withFlag + this.#u64(slot + 120);
    if (!isSafe(...values)) return undefined;
    const [progressUs = 0, progressMaxUs = 0, errorUs = 0, errorMaxUs = 0] = times;
    const [doneUs = 0, doneMaxUs = 0] = times.slice(4);
    const innerUs = progressUs + errorUs + doneUs;
    const innerMaxUs = Math.max(progressMaxUs, errorMaxUs, doneMaxUs);
    if (!Number.isSafeInteger(merged) || !Number.isSafeInteger(innerUs)) return undefined;
    return {
      counters: { progress, errors, dones, merged, lost, innerUs, innerMaxUs },
      innerTimes: { progressUs, progressMaxUs, errorUs, errorMaxUs, doneUs, doneMaxUs },
    };
  }

  /** The copy that is whole; none where that makes no sense. */
  #newestCall(slot: number): NewestCall {
    const none: NewestCall = { call: 0, timeUs: 0, index: 0, max: 0, marks: 0, text: null };
    const offset = COPY_OFFSETS[this.#bytes.readUInt32LE(slot + 116) - 1];
    if (offset === undefined) return none;
    const at = slot + offset;
    const [call, timeUs] = [this.#u64(at), this.#u64(at + 8)];
    const size = this.#bytes.readUInt32LE(at + 28);
    if (!isSafe(call, timeUs) || (size > MAX_SLOT_TEXT_BYTES && size !== NULL_TEXT)) return none;
    return {
      call,
      timeUs,
      index: this.#bytes.readUInt32LE(at + 16),
      max: this.#bytes.readUInt32LE(at + 20),
      marks: this.#bytes.readUInt32LE(at + 24),
      text: size === NULL_TEXT ? null : this.#bytes.toString('utf8', at + 32, at + 32 + size),
    };
  }

  #string(at: number, maxBytes: number): string {
    const size = Math.min(this.#bytes.readUInt16LE(at), maxBytes);
    return this.#bytes.toString('utf8', at + 2, at + 2 + size);
  }

  /** NaN from 2^53 on. */
  #u64(at: number): number {
    const high = this.#bytes.readUInt32LE(at + 4);
    return high < SAFE_HIGH_WORDS ? high * 2 ** 32 + this.#bytes.readUInt32LE(at) : Number.NaN;
  }

  #safe(at: number, name: string): number {
    const value = this.#u64(at);
    if (isSafe(value)) return value;
    throw new ProtocolError('bad-field', `Cannot read ring: expected ${name} below 2^53`);
  }
}

function isSafe(...values: readonly number[]): boolean {
  return values.every((value) => !Number.isNaN(value));
}

function hole(seq: number, timeUs: number): Hole {
  return { kind: 'hole', seq, timeUs, thread: 0, session: 0, reason: FOUND_AT_ADOPTION };
}

function malformed(wanted: string, got: string): ProtocolError {
  return new ProtocolError('malformed', `Cannot read ring: expected ${wanted}, got ${got}`);
}
