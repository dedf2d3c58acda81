import type { ProgressView } from '../wire/decode.ts';
import { PREFIX_BYTES } from '../wire/frame-reader.ts';
import { KIND } from '../wire/frames.ts';
import { MAX_BETWEEN_RECORDS_US, MIN_BETWEEN_RECORDS_US } from './progress.ts';
import { SAMPLE_US } from './rate.ts';
import type { RingState } from './ring.ts';
import type { SessionState } from './state.ts';
import { FLOOD_WINDOW_US } from './state.ts';

/**
 * Runs of `Progress` frames: one after the other of one session, with one text, of which each only moves the
 * bar on. That is what a busy provider sends nearly all of the time, so they are taken straight from the
 * bytes, a run at a time, with what changes in local variables.
 */

const U32_LIMIT = 0x1_0000_0000;
/** An array of 10, `progress`: what a body begins with. */
const HEAD = (0x9a << 8) | KIND.progress;
const UINT64 = 0xcf;
const UINT32 = 0xce;
const NIL = 0xc0;
/** Places behind the start of the prefix: each value's tag, or the value itself. */
const SEQ_TAG = PREFIX_BYTES + 2;
const TIME_TAG = SEQ_TAG + 9;
const THREAD_TAG = TIME_TAG + 9;
const SESSION = THREAD_TAG + 5;
/** Five integers of at most five bytes, and the tag of a text. */
const MAX_NUMBERS_END = SESSION + 5 * 5 + 1;

/** Bytes of an integer of at most 32 bits, by its first; 0: it is none. */
const WIDTHS = new Uint8Array(256).fill(1, 0, 0x80);
WIDTHS.set([2, 3, 5], 0xcc);

/** The newest chunk, and the same bytes for reading words. */
let newest: Uint8Array | undefined;
let newestWords: DataView = new DataView(new ArrayBuffer(0));

function uint(bytes: Uint8Array, words: DataView, at: number): number {
  const first = bytes[at] as number;
  if (first < 0x80) return first;
  if (first === 0xcc) return bytes[at + 1] as number;
  return first === 0xcd ? words.getUint16(at + 1) : words.getUint32(at + 1);
}

/** Whether a text of the usual form begins with this byte. One with more length bytes does not. */
const isText = (first: number | undefined): boolean => (first ?? 0) >= 0xa0;

/** Whether `size` bytes at two places are the same. Texts that differ mostly do so near their end. */
function isSame(
  bytes: Uint8Array,
  words: DataView,
  one: number,
  other: number,
  size: number,
): boolean {
  let at = size - 4;
  for (; at >= 0; at -= 4) {
    if (words.getUint32(one + at, true) !== words.getUint32(other + at, true)) return false;
  }
  for (at += 3; at >= 0; at -= 1) if (bytes[one + at] !== bytes[other + at]) return false;
  return true;
}

/**
 * Takes the frames behind one that was taken, as long as `takeStep()` would take them and their text is the
 * same or none.
 *
 * @param view The frame before, which was taken just now and not dropped.
 * @param bytes The chunk that it stands in.
 * @param from Where it ends.
 * @returns where the first frame begins, with its prefix, that was not taken.
 */
export function takeRun(
  ring: RingState,
  session: SessionState,
  view: ProgressView,
  bytes: Uint8Array,
  from: number,
): number {
  const lastStart = bytes.length - MAX_NUMBERS_END;
  if (from > lastStart || view.bytes !== bytes) return from;
  if (bytes !== newest) {
    newestWords = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    newest = bytes;
  }
  const words = newestWords;
  // The cheapest look first: where sessions take turns, there are no runs.
  if (uint(bytes, words, from + SESSION) !== session.session) return from;
  const { last, rate, told } = session;
  if (
    view.seq !== ring.received ||
    view.call !== last.call ||
    (view.textSize > 0 && (view.text !== session.text || !isText(bytes[view.textAt]))) ||
    session.ended !== null ||
    session.done !== null ||
    session.quietSinceUs !== null ||
    session.ahead !== null
  ) {
    return from;
  }
  const { max } = last;
  const { textAt, textSize } = view;
  const dueUs = told.timeUs + MIN_BETWEEN_RECORDS_US;
  const dueAnyway = session.textUntold || (max !== told.max && max !== 0);
  const untilUs = Math.min(
    rate.sampleUs + SAMPLE_US,
    session.floodUs + FLOOD_WINDOW_US,
    dueAnyway ? dueUs : told.timeUs + MAX_BETWEEN_RECORDS_US,
  );
  const hasPercent = max !== 0 && max === told.max;
  let at = from;
  let seq = view.seq;
  let { call, index, timeUs } = last;
  let { lastCallUs, excusedUs, silenceUs, textCall } = session;
  while (at <= lastStart) {
    const end = at + PREFIX_BYTES + words.getUint32(at);
    if (
      end > bytes.length ||
      words.getUint16(at + PREFIX_BYTES) !== HEAD ||
      bytes[at + SEQ_TAG] !== UINT64 ||
      bytes[at + TIME_TAG] !== UINT64 ||
      bytes[at + THREAD_TAG] !== UINT32
    ) {
      break;
    }
    const ofSession = at + SESSION;
    const ofCall = ofSession + (WIDTHS[bytes[ofSession] as number] as number);
    const ofIndex = ofCall + (WIDTHS[bytes[ofCall] as number] as number);
    const ofMax = ofIndex + (WIDTHS[bytes[ofIndex] as number] as number);
    const ofMarks = ofMax + (WIDTHS[bytes[ofMax] as number] as number);
    const ofText = ofMarks + (WIDTHS[bytes[ofMarks] as number] as number);
    // Each of them is an integer only if all places differ.
    if (
      ofCall === ofSession ||
      ofIndex === ofCall ||
      ofMax === ofIndex ||
      ofMarks === ofMax ||
      ofText === ofMarks
    ) {
      break;
    }
    const nextSeq =
      words.getUint32(at + SEQ_TAG + 1) * U32_LIMIT + words.getUint32(at + SEQ_TAG + 5);
    const nextUs =
      words.getUint32(at + TIME_TAG + 1) * U32_LIMIT + words.getUint32(at + TIME_TAG + 5);
    const nextCall = uint(bytes, words, ofCall);
    const nextIndex = uint(bytes, words, ofIndex);
    if (
      nextSeq !== seq + 1 ||
      uint(bytes, words, ofSession) !== session.session ||
      nextCall <= call ||
      nextIndex < index ||
      nextIndex > max ||
      uint(bytes, words, ofMax) !== max ||
      nextUs >= untilUs ||
      (hasPercent && nextUs >= dueUs && Math.abs(nextIndex - told.index) * 100 >= max)
    ) {
      break;
    }
    if (bytes[ofText] === NIL) {
      if (ofText + 1 !== end) break;
    } else {
      if (ofText + textSize !== end || !isSame(bytes, words, ofText, textAt, textSize)) break;
      if (nextCall > textCall) textCall = nextCall;
    }
    if (nextUs > lastCallUs) {
      silenceUs = Math.max(silenceUs, nextUs - lastCallUs - excusedUs);
      lastCallUs = nextUs;
      excusedUs = 0;
    }
    seq = nextSeq;
    call = nextCall;
    index = nextIndex;
    timeUs = nextUs;
    at = end;
  }
  if (at === from) return from;
  ring.received = seq;
  last.call = call;
  last.timeUs = timeUs;
  last.index = index;
  session.lastCallUs = lastCallUs;
  session.excusedUs = excusedUs;
  session.silenceUs = silenceUs;
  session.textCall = textCall;
  if (call > session.progress) session.progress = call;
  return at;
}
