// The short way of a Progress call: whenever stepBar() takes one, nothing differs from applyFrame().
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import type { SessionFrame, SessionState } from '../../../protocol/session/session.ts';
import {
  applyFrame,
  applySlot,
  excuse,
  openSession,
  tick,
} from '../../../protocol/session/session.ts';
import { stepBar } from '../../../protocol/session/step.ts';
import type { Open, Progress } from '../../../protocol/wire/frames.ts';
import { NETWORK, OPEN_US, ORIGIN, S_OK, Script, SECOND } from './script.ts';

const NONE = { progress: 0, errors: 0, dones: 0, merged: 0, lost: 0, innerUs: 0, innerMaxUs: 0 };

// Small steps on both sides of each limit in time, index and call.
const afterUs = fc.constantFrom(0, 1, 100, 99_999, 100_000, 249_999, 250_000, 999_999, 5 * SECOND);
const aCall = fc.record({
  what: fc.constant('progress' as const),
  afterUs: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(0, 1, 100) }, afterUs),
  index: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 1) }, fc.constantFrom(-1, 7, 2000)),
  max: fc.oneof({ weight: 9, arbitrary: fc.constant(1000) }, fc.constantFrom(0, 5, 2000)),
  call: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.constantFrom(-2, 0, 5)),
  text: fc.oneof({ weight: 9, arbitrary: fc.constantFrom('Inbox', null) }, fc.constant('Sent')),
  earlierUs: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.constantFrom(1, SECOND)),
});
const other = fc.record({
  what: fc.constantFrom(...(['error', 'done', 'slot', 'slot', 'tick', 'tick', 'tick'] as const)),
  afterUs,
});

/** One side of the comparison. */
interface Side {
  readonly state: SessionState;
  readonly records: RecordDraft[];
  readonly take: (frame: Progress) => void;
}

test('stepBar() leaves a session as applyFrame() does', () => {
  let stepped = 0;
  const rarely = { weight: 4, arbitrary: other };
  const history = fc.array(fc.oneof({ weight: 30, arbitrary: aCall }, rarely), {
    minLength: 30,
    maxLength: 80,
  });
  fc.assert(
    fc.property(history, (steps) => {
      const script = new Script();
      const open = script.open() as Open;
      const side = (short: boolean): Side => {
        const records: RecordDraft[] = [];
        const emit = (draft: RecordDraft): void => void records.push(draft);
        const state = openSession(open, ORIGIN, emit);
        const take = (frame: Progress): void => {
          if (!short || !stepBar(state, frame)) applyFrame(state, frame, emit);
          else stepped += 1;
        };
        return { state, records, take };
      };
      const sides = [side(false), side(true)];
      const each = (
        act: (state: SessionState, emit: (draft: RecordDraft) => void) => void,
      ): void => {
        for (const { state, records } of sides) act(state, (draft) => void records.push(draft));
      };
      let nowUs = OPEN_US;
      let index = 0;
      let call = 0;
      for (const step of steps) {
        nowUs += step.afterUs;
        script.at((nowUs - OPEN_US) / SECOND);
        if (step.what === 'progress') {
          index = Math.max(0, index + step.index);
          const number = Math.max(1, call + step.call);
          call = Math.max(call, number);
          const timeUs = nowUs - step.earlierUs;
          const over = { call: number, timeUs };
          const frame = script.progress(index, step.max, step.text, over) as Progress;
          for (const { take } of sides) take(frame);
        } else if (step.what === 'slot') {
          const newest = { call: call + 2, timeUs: nowUs, index, max: 1000, marks: 0, text: null };
          const counters = { ...NONE, progress: call + 2 };
          each((state) =>
            applySlot(state, { kind: 'slot', session: 1, timeUs: 0, counters, newest }),
          );
        } else if (step.what === 'tick') {
          each((state, emit) => {
            excuse(state, 10);
            tick(state, nowUs, emit, { quietUs: SECOND });
          });
        } else {
          const frame = step.what === 'error' ? script.error(NETWORK, 'x') : script.done(S_OK);
          each((state, emit) => applyFrame(state, frame as SessionFrame, emit));
        }
        const [long, short] = sides.map(({ state, records }) => ({ state, records }));
        // Many times as fast as expect(), which is for saying what differs.
        if (!isDeepStrictEqual(short, long)) expect(short).toEqual(long);
      }
    }),
    { numRuns: 100 },
  );
  expect(stepped).toBeGreaterThan(300);
});
