import { createHash } from 'node:crypto';
import type { Hello, SequencedFrame } from './frames.ts';
import type { Recording } from './recording.ts';

/** What differs in a replay of a recording. */
export interface RebaseTo {
  /** What tells this replay from others of the same recording. */
  readonly salt: string;
  readonly pid: number;
  /** What the recording's `open` becomes on this machine's monotonic clock. */
  readonly openUs: number;
  /** Wall clock minus monotonic clock here. */
  readonly clockOffsetUs: number;
}

/**
 * A recording as the frames of a ring of its own: dense from 1 on, at another time, in memory that dies
 * with the process that sends them. Spans of time and everything else stay as they were.
 */
export function rebase(
  { hello, frames }: Recording,
  to: RebaseTo,
): { readonly hello: Hello; readonly frames: readonly SequencedFrame[] } {
  const [open] = frames;
  const shiftUs = to.openUs - open.timeUs;
  const at = (timeUs: number): number => Math.max(0, timeUs + shiftUs);
  const wall = (frame: { readonly timeUs: number; readonly wallUs: number }): number =>
    Math.max(
      0,
      at(frame.timeUs) +
        to.clockOffsetUs +
        (frame.wallUs - frame.timeUs) -
        (open.wallUs - open.timeUs),
    );
  const ring = createHash('sha256').update(`${hello.ring} ${open.seq} ${to.salt}`).digest('hex');
  return {
    hello: {
      ...hello,
      ring: ring.slice(0, hello.ring.length),
      freed: 0,
      pid: to.pid,
      timeUs: to.openUs,
      wallUs: to.openUs + to.clockOffsetUs,
      memory: 1,
    },
    frames: frames.map((frame, index): SequencedFrame => {
      const header = {
        seq: index + 1,
        timeUs: at(frame.timeUs),
        session: frame.session === 0 ? 0 : 1,
      };
      switch (frame.kind) {
        case 'open':
        case 'clock':
          return { ...frame, ...header, wallUs: wall(frame) };
        case 'blocked':
        case 'unblocked':
          return { ...frame, ...header, sinceUs: at(frame.sinceUs) };
        case 'merged': {
          const { newest } = frame;
          const timeUs = newest.call === 0 ? newest.timeUs : at(newest.timeUs);
          return { ...frame, ...header, newest: { ...newest, timeUs } };
        }
        default:
          return { ...frame, ...header };
      }
    }),
  };
}
