// The short way of many Progress calls: whatever takeRun() takes, ring and records are as if each frame had been
// decoded and taken by itself, and what is malformed is refused all the same.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import {
  accept,
  newRing,
  type RingState,
  takeFrame,
  takeStep,
} from '../../../protocol/session/ring.ts';
import { takeRun } from '../../../protocol/session/run.ts';
import { excuse } from '../../../protocol/session/session.ts';
import {
  decodeShimFrame,
  ProgressView,
  peekKind,
  readProgress,
} from '../../../protocol/wire/decode.ts';
import { encodeFrame, frame as framed } from '../../../protocol/wire/encode.ts';
import { FrameReader } from '../../../protocol/wire/frame-reader.ts';
import { KIND, type SequencedFrame } from '../../../protocol/wire/frames.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import { NETWORK, ORIGIN, S_OK, Script, SECOND } from './script.ts';

let runFrames = 0;

/** One daemon, as far as bytes of a ring go. */
class Side {
  readonly ring: RingState = newRing(ORIGIN);
  readonly records: RecordDraft[] = [];
  problem: string | undefined;
  readonly #reader = new FrameReader();
  readonly #view = new ProgressView();
  readonly #runs: boolean;

  constructor(runs: boolean) {
    this.#runs = runs;
  }

  read(chunk: Uint8Array): void {
    if (this.problem !== undefined) return;
    try {
      this.#reader.read(chunk, (bytes, start, end) => {
        const isBar = peekKind(bytes, start, end) === KIND.progress;
        return this.#runs && isBar ? this.#bar(bytes, start, end) : this.#one(bytes, start, end);
      });
      this.problem = this.#reader.error?.reason;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.problem = error.reason;
    }
  }

  #one(bytes: Uint8Array, start: number, end: number): number {
    this.#take(decodeShimFrame(bytes, start, end) as SequencedFrame);
    return end;
  }

  #bar(bytes: Uint8Array, start: number, end: number): number {
    const view = this.#view;
    readProgress(bytes, start, end, view);
    const { received } = this.ring;
    if (!takeStep(this.ring, view)) this.#take(view);
    const session = this.ring.sessions.get(view.session);
    if (this.ring.received === received || !session) return end;
    const at = takeRun(this.ring, session, view, bytes, end);
    runFrames += this.ring.received - received - 1;
    return at;
  }

  #take(frame: SequencedFrame | ProgressView): void {
    const place = accept(this.ring, frame.seq);
    if (place === 'gap') throw new ProtocolError('gap', 'a gap');
    if (place === 'take') takeFrame(this.ring, frame, (draft) => this.records.push(draft));
  }
}

const few = <T>(often: T, ...seldom: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 25, arbitrary: fc.constant(often) }, fc.constantFrom(...seldom));
const texts = fc.constantFrom(
  'Inbox',
  '',
  'Inbox: message 000000123',
  'x'.repeat(31),
  'y'.repeat(300),
);
const bar = fc.record({
  what: fc.constant('progress' as const),
  afterUs: fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(0, 1, 100, 20_000) },
    fc.constantFrom(99_999, 100_000, 249_999, 250_000, 5 * SECOND),
  ),
  index: fc.oneof(
    { weight: 15, arbitrary: fc.constantFrom(0, 1, 60) },
    fc.constantFrom(-1, -90, 5000),
  ),
  /** -1: as before. */
  max: few(-1, 0, 300, 70_000),
  call: few(1, -2, 0, 300),
  /** 0: as before; 1: none; 2: `text`. */
  how: few(0, 1, 1, 2),
  text: texts,
  session: few(0, 1),
  skipped: few(0, 1, -1),
  /** Bytes behind the last element. */
  junk: few(0, 0, 1),
});
const other = fc.record({
  what: fc.constantFrom<'error' | 'done'>('error', 'error', 'done'),
  session: fc.constantFrom(0, 1),
});
const streams = fc.record({
  steps: fc.array(fc.oneof({ weight: 25, arbitrary: bar }, other), {
    minLength: 20,
    maxLength: 120,
  }),
  cuts: fc.array(fc.nat(4000), { maxLength: 4 }),
  mutation: fc.option(fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) }), {
    freq: 3,
  }),
});

type Stream = typeof streams extends fc.Arbitrary<infer T> ? T : never;

function bytesOf({ steps, mutation }: Stream): Buffer {
  const scripts = [new Script(1), new Script(2)];
  let seq = 0;
  const parts: Uint8Array[] = scripts.map((script) =>
    framed(encodeFrame({ ...script.open(), seq: ++seq })),
  );
  const index = [0, 0];
  const call = [0, 0];
  let nowUs = 0;
  let text = 'Inbox';
  let max = 70_000;
  for (const step of steps) {
    const at = step.session;
    const script = scripts[at] as Script;
    const frame = (): SequencedFrame => {
      if (step.what === 'error') return script.error(NETWORK, 'x');
      if (step.what !== 'progress') return script.done(S_OK);
      nowUs += step.afterUs;
      script.at(nowUs / SECOND);
      index[at] = Math.max(0, (index[at] ?? 0) + step.index);
      call[at] = Math.max(1, (call[at] ?? 0) + step.call);
      if (step.how === 2) text = step.text;
      const shown = step.how === 1 ? null : text;
      if (step.max >= 0) max = step.max;
      return script.progress(index[at], max, shown, { call: call[at] });
    };
    seq += 1;
    const skipped = 'skipped' in step ? step.skipped : 0;
    const junk = Buffer.alloc('junk' in step ? step.junk : 0);
    parts.push(framed(Buffer.concat([encodeFrame({ ...frame(), seq: seq + skipped }), junk])));
  }
  const bytes = Buffer.concat(parts);
  if (mutation) bytes[mutation.at % bytes.length] = mutation.to;
  return bytes;
}

test('takeRun() leaves ring and records as if each frame were taken by itself', () => {
  let refused = 0;
  fc.assert(
    fc.property(streams, (stream) => {
      const bytes = bytesOf(stream);
      const [each, runs] = [new Side(false), new Side(true)];
      const cuts = [...stream.cuts.map((cut) => cut % bytes.length), bytes.length];
      let from = 0;
      for (const to of cuts.sort((a, b) => a - b)) {
        for (const side of [each, runs]) side.read(Buffer.from(bytes.subarray(from, to)));
        from = to;
        // As the daemon does when the machine slept.
        for (const { ring } of [each, runs])
          for (const one of ring.sessions.values()) excuse(one, 70);
        if (each.problem !== undefined) refused += 1;
        const [one, other] = [each, runs].map(({ ring, records, problem }) => ({
          ring,
          records,
          problem,
        }));
        // Many times as fast as expect(), which is for saying what differs.
        if (!isDeepStrictEqual(other, one)) expect(other).toEqual(one);
      }
    }),
    { numRuns: 1500 },
  );
  expect(refused).toBeGreaterThan(100);
  expect(runFrames).toBeGreaterThan(5000);
});
