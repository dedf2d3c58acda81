import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import {
  foldIntoHistory,
  type History,
  historyDrafts,
  MAX_QUIET_US,
  MAX_STORE_PHASES,
  MAX_STORES,
  MAX_SYNCS,
  MIN_QUIET_US,
  median,
  usualOf,
} from '../../../protocol/session/history.ts';
import { checkRecord, OPEN_WALL_US, SECOND } from './script.ts';

const A = { provider: 'contoso', store: 'Mailbox A' };

interface Sync {
  readonly seconds?: number;
  readonly silence?: number;
  readonly outcome?: RecordDraft['outcome'];
  readonly phases?: Record<string, number>;
  readonly provider?: string | null;
  readonly store?: string | null;
}

/** A `session.ended` record, as far as a history reads it. */
function ended({
  seconds = 40,
  silence = 1,
  outcome = 'ok',
  phases = {},
  ...of
}: Sync): RecordDraft {
  const { provider, store } = { ...A, ...of };
  return {
    event_name: 'session.ended',
    level: 'info',
    time: '2025-06-15T15:06:40.000000Z',
    msg: 'ended',
    session: {
      id: '0123456789abcdef',
      attach: 'tee',
      ...(provider === null ? {} : { provider }),
      ...(store === null ? {} : { store }),
    },
    outcome,
    duration_us: seconds * SECOND,
    longest_silence_us: silence * SECOND,
    phases: Object.entries(phases).map(([text, took]) => ({
      text,
      duration_us: took * SECOND,
      calls: 1,
      errors: 0,
      index: 1,
      max: 1,
    })),
  };
}

function historyOf(...syncs: Sync[]): History {
  const history: History = new Map();
  for (const sync of syncs) foldIntoHistory(history, ended(sync));
  return history;
}

const times = <T>(n: number, value: T): T[] => new Array<T>(n).fill(value);

describe('usualOf()', () => {
  test.for<[string, Sync[], object | undefined]>([
    ['two syncs are not enough', times(2, {}), undefined],
    ['three are', times(3, {}), { durationUs: 40 * SECOND, quietUs: MIN_QUIET_US }],
    [
      'the middle one, not the mean',
      [{ seconds: 30 }, { seconds: 40 }, { seconds: 4000 }],
      { durationUs: 40 * SECOND },
    ],
    [
      'the last eight',
      [...times(8, { seconds: 10 }), ...times(8, { seconds: 99 })],
      { durationUs: 99 * SECOND },
    ],
    [
      'without a result none counts',
      [...times(2, {}), { outcome: 'failed' }, { outcome: 'abandoned' }, { outcome: 'cancelled' }],
      undefined,
    ],
    ['with errors it counts', [{}, { outcome: 'warned' }, { outcome: 'ok_with_errors' }], {}],
    ['of another store', times(3, { store: 'B' }), undefined],
    ['of another provider', times(3, { provider: null }), undefined],
    ['three times the usual silence', times(3, { silence: 20 }), { quietUs: 60 * SECOND }],
    ['one long silence is not usual', [{ silence: 500 }, {}, {}], { quietUs: MIN_QUIET_US }],
    ['no silence is too long to be told', times(3, { silence: 900 }), { quietUs: MAX_QUIET_US }],
    [
      'phases in the order of the newest sync, each summed',
      [
        { phases: { Sent: 9, Inbox: 3 } },
        { phases: { Inbox: 4, Sent: 8 } },
        { phases: { Inbox: 5, Sent: 7, '': 1 } },
      ],
      {
        phases: [
          { text: 'Inbox', durationUs: 4 * SECOND },
          { text: 'Sent', durationUs: 8 * SECOND },
        ],
      },
    ],
    [
      'a phase that most syncs lack is not usual',
      [{ phases: { a: 1 } }, { phases: { a: 1, Archive: 50 } }, { phases: { a: 1 } }],
      { phases: [{ text: 'a', durationUs: SECOND }] },
    ],
  ])('%s', ([, syncs, want]) => {
    const usual = usualOf(historyOf(...syncs), A);
    if (want === undefined) expect(usual).toBeUndefined();
    else expect(usual).toMatchObject(want);
  });

  test('a session without a label has no history', () => {
    const history = historyOf(...times(3, { store: null }), ...times(3, { store: '' }));
    expect(history.size).toBe(0);
    expect(usualOf(history, { provider: null, store: null })).toBeUndefined();
  });
});

test('bounded: stores, syncs and phases; the store that synced longest ago goes first', () => {
  const history: History = new Map();
  for (let n = 0; n <= MAX_STORES; n += 1) foldIntoHistory(history, ended({ store: `store ${n}` }));
  foldIntoHistory(history, ended({ store: 'store 1' }));
  foldIntoHistory(history, ended({ store: 'new' }));
  expect(history.size).toBe(MAX_STORES);
  const stores = [...history.values()].map(({ store }) => store);
  expect(stores).not.toContain('store 0');
  expect(stores).not.toContain('store 2');
  expect(stores).toContain('store 1');
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`folder ${n}`, 1]));
  for (let n = 0; n < 20; n += 1) foldIntoHistory(history, ended({ phases: many }));
  const known = [...history.values()].at(-1)!;
  expect([known.count, known.durationsUs.length, known.phases.length]).toEqual([
    20,
    MAX_SYNCS,
    MAX_STORE_PHASES,
  ]);
});

const label = fc.constantFrom('a', 'b', 'c', '\u0000'.repeat(10), 'x'.repeat(64));
const sync = fc.record({
  seconds: fc.nat(5000),
  silence: fc.nat(5000),
  outcome: fc.constantFrom('ok', 'warned', 'failed') as fc.Arbitrary<RecordDraft['outcome']>,
  store: label,
  provider: fc.option(label),
  phases: fc.dictionary(label, fc.nat(50)),
});

test('a restart from the snapshot or from the records knows the same, in valid records', () => {
  fc.assert(
    fc.property(fc.array(sync, { maxLength: 40 }), fc.nat(40), (syncs, cut) => {
      const live: History = new Map();
      const back: History = new Map();
      syncs.forEach((one, at) => {
        if (at === cut) {
          back.clear();
          for (const draft of historyDrafts(live, OPEN_WALL_US)) {
            checkRecord(draft);
            foldIntoHistory(back, JSON.parse(JSON.stringify(draft)));
          }
        }
        const record = ended(one);
        foldIntoHistory(live, record);
        foldIntoHistory(back, JSON.parse(JSON.stringify(record)));
        expect([...back]).toEqual([...live]);
      });
    }),
    { numRuns: 200 },
  );
});

test('what is not ours changes nothing, and throws nothing', () => {
  const [draft] = historyDrafts(historyOf({ phases: { a: 1 } }), OPEN_WALL_US);
  const strange = fc.oneof(fc.anything(), fc.constantFrom(null, [], {}, -1, 'x', Number.NaN));
  const key = fc.constantFrom('provider', 'store', 'count', 'durationsUs', 'silencesUs', 'phases');
  fc.assert(
    fc.property(key, strange, (name, value) => {
      const history: History = new Map();
      const state = { ...(draft!.state as object), [name]: value };
      foldIntoHistory(history, { ...draft!, state });
      foldIntoHistory(history, { ...draft!, state: value });
      for (const { provider, store } of history.values()) usualOf(history, { provider, store });
      for (const back of historyDrafts(history, OPEN_WALL_US)) checkRecord(back);
    }),
    { numRuns: 500 },
  );
});

test.for<[number[], number]>([
  [[], 0],
  [[3], 3],
  [[9, 1], 1],
  [[9, 1, 4], 4],
])('median of %o is %d', ([values, want]) => {
  expect(median(values)).toBe(want);
});
