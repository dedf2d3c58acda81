// Each check of the contract: what fires it, and what is near it and does not.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHECKS, firedCodes, levelOfCheck } from '../../../protocol/session/checks.ts';
import {
  foldIntoRings,
  newRing,
  type RingState,
  snapshotDrafts,
  takeFrame,
} from '../../../protocol/session/ring.ts';
import { tick } from '../../../protocol/session/session.ts';
import type { SequencedFrame } from '../../../protocol/wire/frames.ts';
import {
  Log,
  NETWORK,
  NOT_FOUND,
  OPEN_US,
  OPEN_WALL_US,
  ORIGIN,
  PARTIAL,
  RING,
  S_OK,
  Script,
  USER_CANCEL,
} from './script.ts';

/** A success code without a name. */
const UNKNOWN = 0x00041234;

type Steps = (script: Script) => SequencedFrame[];

/** Takes frames as a daemon would, and lets time pass before each. */
function play(frames: readonly SequencedFrame[], ring = newRing(ORIGIN)): Log {
  const log = new Log();
  for (const frame of frames) {
    for (const session of ring.sessions.values()) tick(session, frame.timeUs, log.emit);
    takeFrame(ring, { ...frame, seq: ring.received + 1 }, log.emit);
  }
  return log;
}

const codesOf = (log: Log): string[] =>
  log.named('session.check').map(({ check }) => check?.code ?? '');

/** From the first frame to the last. */
const session = (steps: Steps): SequencedFrame[] => {
  const script = new Script();
  return [script.open(), ...steps(script)];
};

/** n calls, `perSecond` of them a second. */
function flood(script: Script, n: number, perSecond: number): SequencedFrame[] {
  return Array.from({ length: n }, (_, at) =>
    script.at(at / perSecond).progress(at, n, null, { index: at, max: n }),
  );
}

const bad = (s: Script) => s.error(NETWORK, 'no answer');

/** Whole sessions, and the codes that fire in them, in order. */
const TABLE: [string, Steps, string[]][] = [
  ['a clean sync', (s) => [s.progress(0, 2), s.progress(2, 2), s.done(S_OK), s.close()], []],
  ['Progress after Done', (s) => [s.done(S_OK), s.progress(1, 2), s.close()], ['MS001']],
  [
    'calls before Done that the last Release records as merged',
    (s) => [
      s.done(S_OK),
      s.merged({ progress: 9, merged: 9 }, { call: 9, index: 1, max: 2 }),
      s.close({ progress: 9, merged: 9 }),
    ],
    [],
  ],
  [
    'merged calls after Done',
    (s) => [
      s.done(S_OK),
      s.at(1).merged({ progress: 9, merged: 9 }, { call: 9, index: 1, max: 2 }),
      s.close({ progress: 9, merged: 9 }),
    ],
    ['MS001'],
  ],
  ['Error after Done', (s) => [s.done(S_OK), bad(s), bad(s), s.close()], ['MS001']],
  [
    'Progress after the end was told, twice',
    (s) => [s.done(S_OK), s.at(9).progress(1, 2), s.progress(2, 2), s.close()],
    ['MS001'],
  ],
  [
    'each Error after the end was told',
    (s) => [s.done(S_OK), s.at(9).error(NETWORK, 'a'), s.error(S_OK, 'b'), s.close()],
    ['MS001', 'MS001'],
  ],
  ['Done twice', (s) => [s.done(S_OK), s.done(S_OK), s.done(S_OK), s.close()], ['MS002']],
  ['Done after the end was told', (s) => [s.done(S_OK), s.at(9).done(S_OK), s.close()], ['MS002']],
  ['no Done', (s) => [s.progress(1, 2), s.close()], ['MS003']],
  ['no call at all', (s) => [s.close()], ['MS003']],
  ['no Done, since it could not begin', (s) => [s.returned(NETWORK), s.close()], []],
  ['a Done that was lost', (s) => [s.progress(1, 2), s.close({ dones: 1, lost: 1 })], []],
  ['index = max', (s) => [s.progress(3, 3), s.done(S_OK), s.close()], []],
  ['index > max', (s) => [s.progress(4, 3), s.progress(5, 3), s.done(S_OK), s.close()], ['MS004']],
  ['index without a max', (s) => [s.progress(5, 0), s.done(S_OK), s.close()], []],
  [
    'index back',
    (s) => [s.progress(5, 9, 'a'), s.progress(2, 9), s.done(S_OK), s.close()],
    ['MS005'],
  ],
  [
    'index back, same text given again',
    (s) => [s.progress(5, 9, 'a'), s.progress(2, 9, 'a'), s.done(S_OK), s.close()],
    ['MS005'],
  ],
  ['index the same', (s) => [s.progress(5, 9), s.progress(5, 9), s.done(S_OK), s.close()], []],
  [
    'index back to 0 and 1',
    (s) => [
      s.progress(5, 9),
      s.progress(0, 9),
      s.progress(5, 9),
      s.progress(1, 4),
      s.done(S_OK),
      s.close(),
    ],
    [],
  ],
  [
    'index back with a new text',
    (s) => [s.progress(5, 9, 'a'), s.progress(3, 7, 'b'), s.done(S_OK), s.close()],
    [],
  ],
  [
    'index back, but calls between are unknown',
    (s) => [s.progress(5, 9), s.progress(3, 9, null, { call: 9 }), s.done(S_OK), s.close()],
    [],
  ],
  [
    'index back of a call that was overtaken',
    (s) => [
      s.progress(5, 9, null, { call: 2 }),
      s.progress(4, 9, null, { call: 1 }),
      s.done(S_OK),
      s.close(),
    ],
    [],
  ],
  ['max changes', (s) => [s.progress(2, 9), s.progress(3, 10), s.done(S_OK), s.close()], ['MS006']],
  [
    'max appears, and goes',
    (s) => [s.progress(2, 0), s.progress(3, 10), s.progress(4, 0), s.done(S_OK), s.close()],
    [],
  ],
  [
    '(0, 0) marks between folders',
    (s) => [
      s.progress(9, 9, 'a'),
      s.progress(0, 0, ''),
      s.progress(2, 3, 'b'),
      s.done(S_OK),
      s.close(),
    ],
    [],
  ],
  ['failed Done without an Error', (s) => [s.done(NETWORK), s.close()], ['MS007']],
  ['failed Done, not released', (s) => [s.done(NETWORK), s.at(9).note('a', 'b')], ['MS007']],
  ['failed Done after an Error', (s) => [bad(s), s.done(NETWORK), s.close()], []],
  [
    'failed Done, the Error was lost',
    (s) => [s.done(NETWORK), s.close({ errors: 1, lost: 1 })],
    [],
  ],
  ['cancelled without an Error', (s) => [s.done(USER_CANCEL), s.close()], []],
  [
    'failed, then Done',
    (s) => [s.returned(NETWORK), bad(s), s.done(NETWORK), s.close()],
    ['MS008'],
  ],
  ['Done, then failed', (s) => [s.done(S_OK), s.returned(NETWORK), s.close()], ['MS008']],
  ['Done, then returned', (s) => [s.done(S_OK), s.returned(S_OK), s.close()], []],
  [
    'a husk was called',
    (s) => [s.done(S_OK), s.close(), s.note('used_after_release', 'Error')],
    ['MS010'],
  ],
  ['Progress after Release', (s) => [s.done(S_OK), s.close(), s.progress(1, 2)], ['MS010']],
  [
    'Error, Done after Release',
    (s) => [s.done(S_OK), s.close(), bad(s), s.done(S_OK)],
    ['MS010', 'MS010'],
  ],
  ['S_OK after an Error', (s) => [bad(s), s.done(S_OK), s.close()], ['MS020']],
  ['S_OK after a warning', (s) => [s.error(PARTIAL, 'x'), s.done(S_OK), s.close()], []],
  ['a warning after an Error', (s) => [bad(s), s.done(PARTIAL), s.close()], []],
  [
    'Error with S_OK',
    (s) => [s.error(UNKNOWN, 'x'), s.error(S_OK, 'y'), s.done(S_OK), s.close()],
    ['MS021'],
  ],
  [
    'Error without text',
    (s) => [s.error(PARTIAL), s.error(PARTIAL), s.done(S_OK), s.close()],
    ['MS022'],
  ],
  ['Error with empty text', (s) => [s.error(PARTIAL, ''), s.done(S_OK), s.close()], []],
  [
    '12,000 calls a second for 5 s',
    (s) => [...flood(s, 60_500, 12_000), s.done(S_OK), s.close()],
    ['MS023'],
  ],
  [
    '12,000 calls a second for 4 s',
    (s) => [...flood(s, 48_500, 12_000), s.done(S_OK), s.close()],
    [],
  ],
  [
    '9,900 calls a second for 6 s',
    (s) => [...flood(s, 60_000, 9_900), s.done(S_OK), s.close()],
    [],
  ],
  [
    'merged calls count',
    (s) => [1, 2, 3, 4, 5, 6, 7].map((n) => s.at(n).progress(0, 0, null, { call: n * 10_001 })),
    ['MS023'],
  ],
  ['another handle', (s) => [s.done(S_OK, 3), s.close()], ['MS030']],
  ['no handle, or none to compare with', (s) => [s.done(S_OK, 0), s.close()], []],
  [
    'an unknown interface',
    (s) => [s.note('unknown_iid', '{1}'), s.done(S_OK), s.close()],
    ['MS031'],
  ],
  ['another note', (s) => [s.note('iid', '{1}'), s.done(S_OK), s.close()], []],
];

test.for(TABLE)('%s', ([, steps, want]) => {
  const log = play(session(steps));
  expect(codesOf(log)).toEqual(want);
  const ended = log.named('session.ended')[0];
  if (ended !== undefined) {
    const before = log.records.slice(0, log.records.indexOf(ended));
    const codes = before.map(({ check }) => check?.code).filter(Boolean);
    expect(ended.totals?.checks).toBe(new Set(codes).size);
  }
});

test('every check has a row above, or is tried below', () => {
  const tried = new Set([...TABLE.flatMap(([, , codes]) => codes), 'MS009']);
  expect([...tried].sort()).toEqual(CHECKS.map(({ code }) => code as string));
});

describe('MS009', () => {
  type Open = { readonly provider?: string | null; readonly store?: string | null };
  const two = (first: Open, second: Open, between: Steps = () => []) => {
    const a = new Script();
    const frames = [a.open(first), ...between(a)];
    const b = new Script(frames.length + 1);
    return play([...frames, b.at(3).open(second)]);
  };
  test.for<[string, Open, Open, Steps, string[]]>([
    ['the same store', {}, {}, () => [], ['MS009']],
    ['another store', {}, { store: 'Mailbox B' }, () => [], []],
    ['another provider', {}, { provider: null }, () => [], []],
    ['no label', { store: null }, { store: null }, () => [], []],
    ['an empty label', { store: '' }, { store: '' }, () => [], []],
    ['after Done', {}, {}, (s) => [s.done(S_OK)], []],
    ['after Release', {}, {}, (s) => [s.close()], ['MS003']],
  ])('%s', ([, first, second, between, want]) => {
    expect(codesOf(two(first, second, between))).toEqual(want);
  });

  test('is a record of the second session, and names the first', () => {
    const log = two({}, {});
    const [check] = log.named('session.check');
    const [a, b] = log.named('session.opened');
    expect(check).toMatchObject({ session: { id: b!.session!.id }, event_id: `${RING}-2-2` });
    expect(check!.check!.detail).toBe(`session ${a!.session!.id} has run for 3 s`);
  });
});

test('a wrap without a callback ends as SynchronizeInBackground says, and breaks no rule', () => {
  for (const [hresult, outcome] of [
    [S_OK, 'ok'],
    [PARTIAL, 'warned'],
    [NETWORK, 'failed'],
  ] as const) {
    const script = new Script();
    const frames = [
      script.open({ attach: 2, callback: 0 }),
      script.returned(hresult),
      script.close(),
    ];
    const log = play(frames);
    expect(log.named('session.ended')).toMatchObject([{ outcome, totals: { checks: 0 } }]);
  }
});

describe('a restart', () => {
  // Whatever the journal holds at the cut, or a snapshot there: what fired before fires no more.
  test.for(TABLE.filter(([, , codes]) => codes.length > 0))(
    'in the middle of: %s',
    ([, steps, want]) => {
      const all = session(steps);
      const frames = all.length > 100 ? all.filter((_, at) => at % 1000 === 0) : all;
      const straight = codesOf(play(frames));
      if (all.length === frames.length) expect(straight).toEqual(want);
      for (let cut = 1; cut < frames.length; cut += 1) {
        const ring = newRing(ORIGIN);
        const before = play(frames.slice(0, cut), ring);
        const heads = [before.records, snapshotDrafts(ring, OPEN_WALL_US)];
        for (const records of heads) {
          const rings = new Map<string, RingState>();
          for (const record of records) foldIntoRings(rings, JSON.parse(JSON.stringify(record)));
          const back = rings.get(RING)!;
          back.received = cut;
          // What a call that has no record of its own would have been compared with is not known.
          const after = play(frames.slice(cut), back);
          const codes = [...codesOf(before), ...codesOf(after)];
          expect(codes.filter((code) => !straight.includes(code))).toEqual([]);
          const musts = codes.filter((code) => !/MS00[456]|MS023/.test(code));
          expect(musts).toEqual(straight.filter((code) => !/MS00[456]|MS023/.test(code)));
          const once = codes.filter((code) => !/MS00[12]|MS010/.test(code));
          expect(new Set(once).size).toBe(once.length);
        }
      }
    },
  );
});

describe('any history', () => {
  type Kind = 'progress' | 'error' | 'done' | 'returned' | 'note';
  const step = fc.record({
    kind: fc.constantFrom<Kind[]>(
      'progress',
      'progress',
      'progress',
      'error',
      'done',
      'returned',
      'note',
    ),
    index: fc.nat(5),
    max: fc.nat(4),
    text: fc.constantFrom(null, null, 'a', 'b', ''),
    hresult: fc.constantFrom(S_OK, PARTIAL, NETWORK, NOT_FOUND, USER_CANCEL, UNKNOWN),
    handle: fc.nat(3),
    pauseMs: fc.constantFrom(0, 200, 1000, 4900, 6000),
  });
  type Step = (typeof step extends fc.Arbitrary<infer T> ? T : never) & { readonly atMs: number };

  /** What each rule says in words, over the whole history. */
  function naive(steps: readonly Step[]): Set<string> {
    const fired = new Set<string>();
    const bars = steps.filter(({ kind }) => kind === 'progress');
    let text: string | null = null;
    bars.forEach((bar, at) => {
      if (bar.max > 0 && bar.index > bar.max) fired.add('MS004');
      const same = bar.text === null || bar.text === text;
      if (bar.text !== null) text = bar.text;
      const before = bars[at - 1];
      if (!before || !same || bar.index < 2) return;
      if (bar.index < before.index) fired.add('MS005');
      if (bar.max !== before.max && bar.max > 0 && before.max > 0) fired.add('MS006');
    });
    const isBad = (hresult: number): boolean => hresult >= 0x80000000;
    const firstDone = steps.findIndex(({ kind }) => kind === 'done');
    const done = steps[firstDone];
    const beforeDone = done === undefined ? steps : steps.slice(0, firstDone);
    const afterDone = done === undefined ? [] : steps.slice(firstDone + 1);
    if (afterDone.some(({ kind }) => kind === 'progress' || kind === 'error')) fired.add('MS001');
    if (afterDone.some(({ kind }) => kind === 'done')) fired.add('MS002');
    const returned = steps.filter(({ kind }) => kind === 'returned');
    if (!done && !isBad(returned.at(-1)?.hresult ?? S_OK)) fired.add('MS003');
    // Until the session ended; what comes later only fires MS001 and MS002.
    const inTime = afterDone.filter(({ atMs }) => atMs - done!.atMs < 5000);
    const live = [...beforeDone, ...(done ? [done] : []), ...inTime];
    const errors = live.filter(({ kind }) => kind === 'error');
    if (done && isBad(done.hresult) && done.hresult !== USER_CANCEL && errors.length === 0) {
      fired.add('MS007');
    }
    if (done?.hresult === S_OK) {
      if (beforeDone.some(({ kind, hresult }) => kind === 'error' && isBad(hresult))) {
        fired.add('MS020');
      }
    }
    steps.forEach(({ kind }, at) => {
      const was = steps.slice(0, at + 1);
      const failed = was.filter((s) => s.kind === 'returned').at(-1);
      const relevant = kind === 'returned' || (kind === 'done' && live.includes(steps[at]!));
      const wasDone = was.some((s) => s.kind === 'done');
      if (relevant && wasDone && failed && isBad(failed.hresult)) fired.add('MS008');
    });
    if (errors.some(({ hresult }) => hresult === S_OK || hresult === UNKNOWN)) fired.add('MS021');
    if (errors.some((s) => s.text === null)) fired.add('MS022');
    if (live.some((s) => s.kind === 'done' && s.handle === 3)) fired.add('MS030');
    if (steps.some(({ kind }) => kind === 'note')) fired.add('MS031');
    return fired;
  }

  test('fires each check if and only if its rule, read naively, says so', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (said) => {
        let atMs = 0;
        const steps = said.map((one) => {
          atMs += one.pauseMs;
          return { ...one, atMs };
        });
        const script = new Script();
        const frames = [script.open()];
        for (const { kind, index, max, text, hresult, handle, atMs: at } of steps) {
          script.at(at / 1000);
          if (kind === 'progress') frames.push(script.progress(index, max, text));
          if (kind === 'error') frames.push(script.error(hresult, text));
          if (kind === 'done') frames.push(script.done(hresult, handle));
          if (kind === 'returned') frames.push(script.returned(hresult));
          if (kind === 'note') frames.push(script.note('unknown_iid', '{}'));
        }
        frames.push(script.close());
        // Bars of a session that has ended are not judged.
        const done = steps.find(({ kind }) => kind === 'done');
        const judged = steps.filter(
          (one) => one.kind !== 'progress' || !done || one.atMs - done.atMs < 5000,
        );
        const late = judged.length < steps.length;
        const ring = newRing(ORIGIN);
        const log = play(frames, ring);
        const want = naive(judged);
        if (late) want.add('MS001');
        expect(new Set(codesOf(log))).toEqual(want);
        const [state] = ring.sessions.values();
        expect(new Set(firedCodes(state!.fired))).toEqual(want);
      }),
      { numRuns: 500 },
    );
  });
});

test('docs/checks.md has a section for each check, and no other, that says what the table says', () => {
  const page = readFileSync(new URL('../../../docs/checks.md', import.meta.url), 'utf8');
  const sections = page.split(/^## /m).slice(1);
  expect(sections.map((section) => section.split('\n')[0])).toEqual(
    CHECKS.map(({ code, title }) => `${code}: ${title}`),
  );
  CHECKS.forEach(({ severity, why, mend, source }, at) => {
    const words = sections[at]!.replace(/\s+/g, ' ');
    for (const wanted of [`*${severity}*, ${source}`, why, mend]) expect(words).toContain(wanted);
  });
  for (const { severity } of CHECKS) expect(levelOfCheck(severity)).toMatch(/^(warn|info|debug)$/);
});

test('a ring of a million frames of one session has a state under 8 KiB, whatever fired', () => {
  const script = new Script();
  const ring = newRing(ORIGIN);
  let records = 0;
  const count = (): void => {
    records += 1;
  };
  takeFrame(ring, script.open(), count);
  const frame = script.progress(0, 0) as SequencedFrame & { kind: 'progress' };
  for (let call = 1; call <= 1_000_000; call += 1) {
    const index = call % 997;
    const text = call % 5000 === 0 ? `folder ${call}` : null;
    takeFrame(
      ring,
      { ...frame, seq: call + 1, call, timeUs: OPEN_US + call * 50, index, max: 900, text },
      count,
    );
  }
  const [state] = snapshotDrafts(ring, OPEN_WALL_US).slice(1);
  expect(Buffer.byteLength(JSON.stringify(state?.state))).toBeLessThan(8192);
  expect(firedCodes(ring.sessions.get(1)!.fired)).toContain('MS023');
  expect(records).toBeLessThan(10 * 50 + 20);
});
