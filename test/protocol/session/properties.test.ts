// Any history of a session, whatever the order of its frames: the reducer never throws, its totals are
// those of a naive recount, and a restart in the middle changes nothing.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import { liveSession } from '../../../protocol/session/live.ts';
import type { SessionFrame, SessionState } from '../../../protocol/session/session.ts';
import {
  applyFrame,
  applySlot,
  excuse,
  openSession,
  processGone,
  tick,
} from '../../../protocol/session/session.ts';
import { foldRecord, restoreSession, snapshotSession } from '../../../protocol/session/snapshot.ts';
import type {
  Counters,
  InnerTimes,
  NewestCall,
  Open,
  Slot,
} from '../../../protocol/wire/frames.ts';
import { checkRecord, OPEN_US, OPEN_WALL_US, ORIGIN, Script, SECOND } from './script.ts';

const u32 = fc.oneof(fc.nat(120), fc.constantFrom(0, 1, 0xfffffffe, 0xffffffff));
const text = fc.option(
  fc.oneof(
    fc.constantFrom('Inbox', 'Sent', '', '\u202eevil\u0000\u2028'),
    fc.string({ unit: 'binary', maxLength: 5000 }),
  ),
);
const hresult = fc.constantFrom(0, 1, 0x80040115, 0x8004010f, 0x80040113, 0x00040680, 0xdeadbeef);
const method = fc.integer({ min: 1, max: 3 });
const thread = fc.integer({ min: 1, max: 3 });
const us = fc.oneof(fc.nat(1000), fc.nat(100 * SECOND), fc.maxSafeNat());
const counters: fc.Arbitrary<Counters> = fc.record({
  progress: fc.nat(500),
  errors: fc.nat(9),
  dones: fc.nat(3),
  merged: fc.nat(400),
  lost: fc.nat(3),
  innerUs: fc.nat(1e7),
  innerMaxUs: fc.nat(1e6),
});
const innerTimes: fc.Arbitrary<InnerTimes> = fc.record({
  progressUs: fc.nat(1e7),
  progressMaxUs: fc.nat(1e6),
  errorUs: fc.nat(1e7),
  errorMaxUs: fc.nat(1e6),
  doneUs: fc.nat(1e7),
  doneMaxUs: fc.nat(1e6),
});
const newest: fc.Arbitrary<NewestCall> = fc.record({
  call: fc.nat(500),
  timeUs: fc.nat(60 * SECOND).map((t) => OPEN_US + t),
  index: u32,
  max: u32,
  marks: fc.nat(3),
  text,
});

const counted = { counters, newest, innerTimes };

/** What a frame, a tick or a slot says, without seq and time. */
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('progress'),
      index: u32,
      max: u32,
      text,
      marks: fc.nat(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('error'), hresult, text, marks: fc.nat(3) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('done'), hresult, handle: fc.nat(5) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('inner'),
      method,
      call: fc.nat(9),
      hresult,
      durationUs: us,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('blocked'),
      thread,
      method,
      call: fc.nat(9),
      sinceUs: us,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('unblocked'),
      thread,
      method,
      call: fc.nat(9),
      sinceUs: us,
      durationUs: us,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('returned'),
      hresult,
      durationUs: us,
      event: fc.nat(1),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('note'), key: fc.string(), value: fc.string() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('merged'), ...counted }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('slot'), ...counted }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('tick'), quietUs: fc.constant(3 * SECOND) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('excuse'), us: fc.nat(SECOND) }) },
);
interface Step {
  readonly kind: string;
}
const pause = fc.oneof(fc.nat(300_000), fc.nat(7 * SECOND));
const history = fc.array(fc.tuple(step as fc.Arbitrary<Step>, pause), { maxLength: 60 });

interface Play {
  state: SessionState;
  readonly records: RecordDraft[];
  readonly emit: (draft: RecordDraft) => void;
  readonly calls: { progress: number; error: number; done: number };
  seq: number;
  nowUs: number;
}

function begin(): Play {
  const records: RecordDraft[] = [];
  const emit = (draft: RecordDraft): void => {
    records.push(draft);
  };
  const state = openSession(new Script().open() as Open, ORIGIN, emit);
  return {
    state,
    records,
    emit,
    calls: { progress: 0, error: 0, done: 0 },
    seq: 1,
    nowUs: OPEN_US,
  };
}

function play(run: Play, [said, pauseUs]: readonly [Step, number]): void {
  run.nowUs += pauseUs;
  const { state, emit, nowUs } = run;
  const kind = said.kind;
  if (kind === 'tick') {
    tick(state, nowUs, emit, said as unknown as { quietUs: number });
    return;
  }
  if (kind === 'excuse') {
    excuse(state, (said as unknown as { us: number }).us);
    return;
  }
  if (kind === 'slot') {
    applySlot(state, { ...(said as unknown as Slot), session: 1, timeUs: OPEN_US });
    return;
  }
  run.seq += 1;
  const counted = kind as keyof Play['calls'];
  const call = counted in run.calls ? { call: ++run.calls[counted] } : {};
  const frame = { seq: run.seq, timeUs: nowUs, thread: 7, session: 1, ...said, ...call };
  applyFrame(state, frame as unknown as SessionFrame, emit);
}

const NO_COUNTERS: Counters = {
  progress: 0,
  errors: 0,
  dones: 0,
  merged: 0,
  lost: 0,
  innerUs: 0,
  innerMaxUs: 0,
};

/** The maximum of each counter. */
function grown(all: readonly (Counters | undefined)[]): Counters {
  const most: Record<string, number> = {};
  for (const [name, n] of all.flatMap((one) => Object.entries(one ?? {}))) {
    most[name] = Math.max(most[name] ?? 0, n);
  }
  return most as unknown as Counters;
}

function finish(run: Play): RecordDraft {
  processGone(run.state, { wallUs: OPEN_WALL_US, timeUs: run.nowUs }, run.emit);
  return run.records.find(({ event_name }) => event_name === 'session.ended')!;
}

describe('any history', () => {
  test('gives valid records, one end, and bounded state', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const run = begin();
        for (const one of steps) {
          play(run, one);
          liveSession(run.state, run.nowUs);
        }
        finish(run);
        for (const record of run.records) checkRecord(record);
        expect(run.records.filter(({ event_name }) => event_name === 'session.ended')).toHaveLength(
          1,
        );
        expect(Buffer.byteLength(JSON.stringify(snapshotSession(run.state)))).toBeLessThanOrEqual(
          8192,
        );
        expect(run.state.blocked.length).toBeLessThanOrEqual(16);
      }),
      { numRuns: 300 },
    );
  });

  test('has the totals of a naive recount', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const run = begin();
        let ended = false;
        let doneUs: number | undefined;
        const most = { progress: 0, errors: 0, merged: 0 };
        const slow = [0, 0, 0];
        const times = [0, 0, 0];
        let warnings = 0;
        for (const one of steps) {
          play(run, one);
          const said = one[0] as unknown as Record<string, unknown>;
          if (said.kind === 'done') doneUs ??= run.nowUs;
          // A slot has no time of its own.
          if (!/slot|excuse/.test(String(said.kind)))
            ended ||= run.nowUs - (doneUs ?? Infinity) >= 5 * SECOND;
          expect(run.state.ended !== null).toBe(ended);
          if (ended) continue;
          const told = said.counters as Counters | undefined;
          const call = (said.newest as NewestCall | undefined)?.call ?? 0;
          // A call in a slot counts, and so does the number that a frame bears.
          most.progress = Math.max(most.progress, told?.progress ?? 0, call);
          most.errors = Math.max(most.errors, told?.errors ?? 0);
          most.merged = Math.max(most.merged, told?.merged ?? 0);
          if (said.kind === 'inner') slow[Number(said.method) - 1]! += Number(said.durationUs);
          const { progressUs = 0, errorUs = 0, doneUs: inDoneUs = 0 } = Object(said.innerTimes);
          [progressUs, errorUs, inDoneUs].forEach((time, at) => {
            times[at] = Math.max(times[at]!, slow[at]!, time);
          });
          if (said.kind === 'progress') most.progress = Math.max(most.progress, run.calls.progress);
          if (said.kind === 'error') {
            most.errors = Math.max(most.errors, run.calls.error);
            if (Number(said.hresult) < 0x80000000) warnings += 1;
          }
        }
        const { totals } = finish(run);
        expect(totals).toMatchObject({ progress: most.progress, merged: most.merged, warnings });
        expect(totals!.errors).toBe(most.errors - warnings);
        const byMethod = (['Progress', 'Error', 'Done'] as const).map(
          (name) => totals!.inner_by_method?.[name]?.us ?? 0,
        );
        expect(byMethod).toEqual(times);
      }),
      { numRuns: 300 },
    );
  });

  test('at most 10 records of progress a second, but for the last before Done or the end', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const run = begin();
        for (const one of steps) play(run, one);
        finish(run);
        let before = -1;
        const records = run.records.filter(({ event_name }) => event_name !== 'session.check');
        records.forEach(({ event_name, mono_us }, at) => {
          if (event_name !== 'session.progress') return;
          const isLast = /session\.(done|ended)/.test(records[at + 1]?.event_name ?? '');
          if (before >= 0 && !isLast) expect(mono_us! - before).toBeGreaterThanOrEqual(100_000);
          before = mono_us!;
        });
      }),
      { numRuns: 300 },
    );
  });

  test('ends the same with a snapshot and a restore in the middle', () => {
    fc.assert(
      fc.property(history, fc.nat(60), (steps, cut) => {
        const straight = begin();
        const restarted = begin();
        steps.forEach((one, at) => {
          if (at === cut % steps.length) {
            const image = JSON.parse(JSON.stringify(snapshotSession(restarted.state)));
            const back = restoreSession(image);
            expect(back).toEqual(restarted.state);
            restarted.state = back!;
          }
          play(straight, one);
          play(restarted, one);
        });
        finish(straight);
        finish(restarted);
        expect(restarted.records).toEqual(straight.records);
      }),
      { numRuns: 300 },
    );
  });

  test('ends the same, but for phases, when only the journal is left of it in the middle', () => {
    fc.assert(
      fc.property(history, fc.nat(60), counters, (steps, cut, last) => {
        const straight = begin();
        const restarted = begin();
        const run = (on: Play, at: number): void => {
          // What a slot says is not in the journal; here it is said once, after the restart.
          if (steps[at]![0].kind !== 'slot' && steps[at]![0].kind !== 'excuse')
            play(on, steps[at]!);
        };
        let state: SessionState | undefined = restarted.state;
        steps.forEach((_, at) => {
          if (at === cut % steps.length) {
            state = undefined;
            for (const record of restarted.records) {
              state = foldRecord(state, JSON.parse(JSON.stringify(record)));
            }
            if (state === undefined) return;
            restarted.state = state;
            // The first thing that a shim sends to a daemon that came back.
            const told = steps
              .slice(0, at)
              .map(([said]) => said as Step & { readonly counters?: Counters })
              .map(({ kind, counters: counts }) => (kind === 'merged' ? counts : undefined));
            const none = { call: 0, timeUs: 0, index: 0, max: 0, marks: 0, text: null };
            const slot = { kind: 'slot', session: 1, timeUs: OPEN_US, newest: none } as const;
            applySlot(state, { ...slot, counters: grown([NO_COUNTERS, ...told]) });
          }
          run(straight, at);
          if (state !== undefined) run(restarted, at);
        });
        if (state === undefined) return;
        // The end carries the counters of the shim, which only grow.
        const end = grown([
          last,
          ...steps.map(([said]) => (said as { counters?: Counters }).counters),
        ]);
        for (const on of [straight, restarted]) {
          const seq = on.seq + 1;
          const close = {
            kind: 'close',
            seq,
            timeUs: on.nowUs,
            thread: 7,
            session: 1,
            counters: end,
          };
          applyFrame(on.state, close as SessionFrame, on.emit);
        }
        const ends = [straight, restarted].map(({ records }) => {
          const { outcome, outcome_reason, duration_us, error, totals } = records.at(-1)!;
          return {
            outcome,
            outcome_reason,
            duration_us,
            error,
            errors: totals?.errors,
            warnings: totals?.warnings,
          };
        });
        expect(ends[1]).toEqual(ends[0]);
        // Errors say how often they came, across the restart.
        const repeats = [straight, restarted].map(({ records }) =>
          records.map(({ error }) => error?.repeat).filter(Boolean),
        );
        expect(repeats[1]).toEqual(repeats[0]);
      }),
      { numRuns: 300 },
    );
  });
});

test('restoreSession() and foldRecord() survive what is not ours', () => {
  const snapshot = snapshotSession(begin().state) as Record<string, unknown>;
  const [opened] = begin().records;
  const strange = fc.oneof(fc.anything(), fc.constantFrom(null, [], {}, -1, 'x', Number.NaN));
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(snapshot)), strange, (key, value) => {
      const state = restoreSession({ ...snapshot, [key]: value });
      if (state === undefined) return;
      const run = { ...begin(), state };
      play(run, [{ kind: 'progress', index: 1, max: 2, text: 'x', marks: 0 } as Step, 1]);
      liveSession(state, OPEN_US);
      finish(run);
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(opened!)), strange), (changes) => {
      const folded = foldRecord(undefined, { ...opened!, ...changes } as RecordDraft);
      if (folded !== undefined) liveSession(folded, OPEN_US);
    }),
    { numRuns: 500 },
  );
});
