import type { RecordDraft } from '../records/record.ts';
import type { Recording } from '../wire/recording.ts';
import { newRing, onHello, originOf, takeFrame, wallUsOf } from './ring.ts';
import {
  END_AFTER_DONE_US,
  type GoneFacts,
  processGone,
  type SessionState,
  tick,
} from './session.ts';

const TICK_US = 1_000_000;
/** Ticks of a long silence grow by this part of it, so that a damaged clock costs no time. */
const TICK_GROWTH = 16;

/**
 * The records that a daemon makes of a recorded session, and how the reducer left it.
 *
 * @param gone What is known of the end of its process besides; used if that ended the recording.
 */
export function recordsOf(
  { hello, frames, how }: Recording,
  gone: Partial<GoneFacts> = {},
): {
  readonly records: RecordDraft[];
  readonly session: SessionState;
} {
  const records: RecordDraft[] = [];
  const emit = (draft: RecordDraft): void => void records.push(draft);
  const ring = newRing(originOf(hello));
  onHello(ring, hello);
  const [open] = frames;
  takeFrame(ring, open, emit);
  const session = ring.sessions.get(open.seq) as SessionState;
  let nowUs = open.timeUs;
  for (const frame of frames.slice(1)) {
    nowUs = passTime(session, nowUs, frame.timeUs, emit);
    takeFrame(ring, frame, emit);
  }
  if (how === 'done') passTime(session, nowUs, nowUs + END_AFTER_DONE_US + TICK_US, emit);
  if (how === 'gone') {
    const timeUs = passTime(session, nowUs, gone.timeUs ?? nowUs, emit);
    processGone(session, { ...gone, wallUs: wallUsOf(ring, timeUs), timeUs }, emit);
  }
  return { records, session };
}

/** @returns the later one. */
function passTime(
  session: SessionState,
  fromUs: number,
  toUs: number,
  emit: (draft: RecordDraft) => void,
): number {
  for (let at = fromUs + TICK_US; at < toUs; ) {
    tick(session, at, emit);
    at += Math.max(TICK_US, Math.floor((at - fromUs) / TICK_GROWTH));
  }
  return Math.max(fromUs, toUs);
}
