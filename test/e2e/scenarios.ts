// What the sample provider plays, by each way in: one list of what the journal must say, beside the
// counts that the provider itself kept. All syncs of a system share one daemon, some at a time.
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { tellStory } from '../../protocol/session/story.ts';
import { Bench, type JournalLine, type Program, type System, until } from './systems.ts';

const WAYS = ['tee', 'wrap', 'sink'] as const;
type Way = (typeof WAYS)[number];

interface Want {
  /** null: nothing is recorded. */
  readonly outcome: string | null;
  /** Codes of the checks that fire, in order of the codes. */
  readonly checks?: readonly string[];
  /** Code of the verdict, if it is not the outcome, and what its text must say. */
  readonly verdict?: string;
  readonly text?: string;
  /** How many calls of Outlook's callback were slow or failed; left out where only load can tell. */
  readonly slow?: number;
}

interface Row extends Want {
  /** Of the sample provider. */
  readonly scenario: string;
  /** What else is done to it. */
  readonly name?: string;
  readonly args?: readonly string[];
  /** Played on Windows too. */
  readonly wine?: true;
  /** Broken messages. */
  readonly broken?: true;
  readonly sessions?: number;
  /** Threads report beside each other: whether a call is seen after Done is theirs to say. */
  readonly beside?: true;
  /** The host does not come to its own end. */
  readonly dies?: 'crashes' | 'killed';
  /** What differs by the way in, and why. */
  readonly but?: Partial<Record<Way, Partial<Want>>>;
}

const OK = { outcome: 'ok', text: 'nothing to complain of' } as const;

/** A sink stands inside Outlook's callback, so that callback's own trouble comes unseen. */
const UNSEEN = { sink: { ...OK, verdict: 'ok', slow: 0 } } as const;

const TABLE: readonly Row[] = [
  { scenario: '1', ...OK },
  { scenario: '2', wine: true, ...OK },
  { scenario: '3', ...OK },
  { scenario: '4', ...OK },
  { scenario: '5', outcome: 'warned', text: 'with 8 warnings' },
  {
    scenario: '6',
    outcome: 'ok',
    checks: ['MS004', 'MS005', 'MS006'],
    verdict: 'broke_contract',
    text: 'MS004 The index was above',
  },
  {
    scenario: '7',
    wine: true,
    outcome: 'ok_with_errors',
    checks: ['MS020', 'MS022'],
    text: 'with 11 errors, mostly MAPI_E_NETWORK_ERROR',
  },
  { scenario: '8', ...OK },
  {
    scenario: '9',
    wine: true,
    outcome: 'ok',
    checks: ['MS001', 'MS002'],
    verdict: 'broke_contract',
    text: 'MS001 Progress or Error was',
  },
  {
    scenario: '9-no-done',
    outcome: 'failed',
    checks: ['MS003'],
    verdict: 'never_done',
    text: "The provider's fault",
  },
  { scenario: '10', sessions: 2, ...OK },
  { scenario: '11', beside: true, outcome: 'ok' },
  { scenario: '13', ...OK },
  { scenario: '14', ...OK },
  { scenario: '14-one-count', ...OK },
  { scenario: '15', outcome: 'cancelled', text: 'as Done with MAPI_E_USER_CANCEL' },
  {
    scenario: '16',
    wine: true,
    outcome: 'failed',
    checks: ['MS007', 'MS030'],
    text: 'The provider gave up: Done with MAPI_E_NETWORK_ERROR',
    // It alone sees what SynchronizeInBackground returns, and no event before that.
    but: { wrap: { checks: ['MS007', 'MS008'] } },
  },
  {
    scenario: '17',
    outcome: 'ok',
    checks: ['MS021', 'MS031'],
    text: '1 note on the contract',
    // It is Outlook's object that is asked.
    but: { sink: { checks: ['MS021'] } },
  },
  // Slow enough that calls come after SynchronizeInBackground has returned.
  { scenario: '18', wine: true, args: ['--calls-per-second', '50'], ...OK },
  {
    scenario: '2',
    name: 'broken messages',
    broken: true,
    outcome: 'ok_with_errors',
    checks: ['MS020'],
    text: 'with 4 errors, mostly MAPI_E',
  },
  {
    scenario: '12',
    name: 'slow',
    wine: true,
    args: ['--callback', 'slow=120'],
    outcome: 'ok',
    verdict: 'slow_in_outlook',
    text: 'slow because of Outlook',
    slow: 12,
    but: UNSEEN,
  },
  {
    scenario: '12',
    name: 'fails',
    args: ['--callback', 'fail=0x80004005'],
    outcome: 'ok',
    verdict: 'refused_by_outlook',
    text: 'first with MAPI_E_CALL_FAILED',
    slow: 12,
    but: UNSEEN,
  },
  {
    scenario: '12',
    name: 'crashes',
    args: ['--callback', 'crash'],
    dies: 'crashes',
    outcome: 'abandoned',
    verdict: 'died_in_outlook',
    text: "was inside Outlook's Progress: look at Outlook first",
    but: { sink: { verdict: 'abandoned', text: 'before the sync was done' } },
  },
  {
    scenario: '12',
    name: 'hangs',
    wine: true,
    args: ['--callback', 'hang'],
    dies: 'killed',
    outcome: 'abandoned',
    verdict: 'died_in_outlook',
    text: "was inside Outlook's Progress: look at Outlook first",
    but: { sink: { verdict: 'abandoned', text: 'before the sync was done' } },
  },
  {
    scenario: '12',
    name: 'absent',
    args: ['--callback', 'absent'],
    outcome: null,
    // It is put before the provider, and sees that there is nothing to be put before Outlook.
    but: { wrap: { outcome: 'ok' } },
  },
];

const MESSAGES = 8;
const CALLS_UNTIL_STUCK = 5;
/** From which on the shim says that a call is inside Outlook, and how soon the journal must say it. */
const BLOCKED_US = 2_000_000;
const TOLD_WITHIN_US = 1_000_000;

/** Of the sessions of one store. `10` has one of its own for each. */
const ofStore = (records: readonly JournalLine[], store: string): JournalLine[] =>
  records.filter(({ session }) => new RegExp(`^${store}( \\d)?$`).test(session?.store ?? ''));

const named = (records: readonly JournalLine[], name: string): JournalLine[] =>
  records.filter((record) => record.event_name === name);

/** The calls that the host saw, each a line. The store's own name may stand in them. */
function callsOf(trace: string, store = trace): string[] {
  if (!existsSync(trace)) return [];
  return readFileSync(trace, 'utf8').replaceAll(store, 'STORE').split('\n').slice(0, -1);
}

/** The table for one system: all of it, or under Wine what may differ there. */
export function scenarioTests(system: System): void {
  const isWine = system.name === 'wine';
  const bench = new Bench(system);
  let daemon: Program;
  const maildirs = { whole: join(bench.scratch, 'whole'), broken: join(bench.scratch, 'broken') };

  beforeAll(async () => {
    for (const [kind, dir] of Object.entries(maildirs)) {
      const broken = kind === 'broken' ? 4 : 0;
      makeMaildir({ dir, messages: MESSAGES, folders: 3, broken, seed: 7, windowsNames: isWine });
    }
    daemon = await bench.daemon();
  });
  afterAll(() => bench.close());

  /** Runs the host; the store's name is that of its Maildir. */
  function run({ scenario, broken, args = [] }: Row, store: string, more: readonly string[]) {
    const maildir = join(bench.scratch, store);
    symlinkSync(broken ? maildirs.broken : maildirs.whole, maildir);
    const trace = join(bench.scratch, `${store}.trace`);
    const host = bench.host([
      ...['--maildir', system.path(maildir), '--store', system.path(`${maildir}.store`)],
      ...['--trace', system.path(trace), '--json', '--quiet', '--flush', '10000'],
      ...['--scenario', scenario, ...args, ...more],
    ]);
    return { host, trace };
  }

  const alone = new Map<Row, Promise<{ calls: string[]; code: number | null }>>();
  /** What Outlook sees without any of us. */
  function withoutUs(row: Row, label: string): Promise<{ calls: string[]; code: number | null }> {
    const known = alone.get(row);
    if (known) return known;
    const store = `${label}.alone`;
    const { host, trace } = run(row, store, ['--shim', 'none']);
    const seen = host.ended.then(({ code }) => ({ calls: callsOf(trace, store), code }));
    alone.set(row, seen);
    return seen;
  }

  /** Waits until it is stuck and the journal says so, then ends it. */
  /** @returns the thread that the stall names. */
  async function killStuck(
    way: Way,
    store: string,
    host: Program,
    trace: string,
  ): Promise<number | undefined> {
    let thread: number | undefined;
    await until('the last call', () => callsOf(trace).length === CALLS_UNTIL_STUCK);
    if (way !== 'sink') {
      const stalls = () => named(ofStore(bench.records(), store), 'session.stalled');
      await until('the stall', () => stalls().length > 0);
      const [{ session, stall }] = stalls() as [JournalLine];
      expect(stall).toMatchObject({ kind: 'blocked', method: 'Progress' });
      // Every call of this provider comes on the one thread that it makes, the attach on another.
      thread = stall.thread as number;
      const of = (name: string) => named(ofStore(bench.records(), store), name);
      const calls = of('session.progress').map((record) => record.thread?.id);
      expect([...new Set(calls.filter(Boolean))]).toEqual([thread]);
      expect(of('session.opened')[0]!.thread.id).not.toBe(thread);
      expect(stall.for_us).toBeGreaterThanOrEqual(BLOCKED_US);
      expect(stall.for_us).toBeLessThanOrEqual(BLOCKED_US + TOLD_WITHIN_US);
      const shown = JSON.parse(
        (await bench.mapisync('show', session.id, '--json').ended).stdout,
      ) as { verdict: object; dump: { command: string }[]; process: { pid: number } };
      expect(shown.verdict).toMatchObject({ code: 'stuck_in_outlook' });
      expect(shown.dump[0]!.command).toMatch(new RegExp(` ${shown.process.pid}$`));
    }
    host.child.kill('SIGKILL');
    return thread;
  }

  const rows = TABLE.filter(({ wine }) => wine || !isWine);
  const cells = rows.flatMap((row) => {
    const absent = row.args?.includes('absent');
    const ways = WAYS.filter((way) => way !== 'sink' || !absent);
    return ways.map((way) => [`${row.scenario} ${row.name ?? ''}`.trim(), way, row] as const);
  });

  describe.concurrent('scenario', () => {
    test.for(cells)('%s by %s', async ([label, way, row]) => {
      const want: Want = { ...row, ...row.but?.[way] };
      const store = `${label.replace(' ', '-')}-${way}`;
      const { host, trace } = run(row, store, ['--attach', way]);
      const session = (name: string) => named(ofStore(bench.records(), store), name);
      const stuck = row.dies === 'killed' && (await killStuck(way, store, host, trace));
      const ran = await host.ended;
      if (row.dies) await until('the end of the session', () => session('session.ended').length);
      if (stuck) {
        const inside = [{ method: 'Progress', thread: stuck }];
        expect(session('session.ended')[0]!.exit.in_callback).toEqual(inside);
      }
      const told = row.dies ? undefined : JSON.parse(ran.stdout);
      if (told?.sessions.length > 0) expect(told.flushed).toBe(true);

      const records = ofStore(bench.records(), store);
      const ids = [...new Set(records.map((record) => record.session.id as string))];
      expect(ids).toHaveLength(want.outcome === null ? 0 : (row.sessions ?? 1));
      if (told?.sessions.length > 0) expect(ids.sort()).toEqual(told.sessions.sort());
      expect(new Set(records.map(({ event_id }) => event_id)).size).toBe(records.length);

      // Counts: the provider's own, or what Outlook saw where the provider could not say it.
      const ends = named(records, 'session.ended');
      const calls = told?.calls ?? { progress: CALLS_UNTIL_STUCK, errors: 0, dones: 0 };
      const sum = (of: (end: JournalLine) => number) => ends.reduce((all, end) => all + of(end), 0);
      expect(sum(({ totals }) => totals.progress)).toBe(calls.progress);
      expect(sum(({ totals }) => totals.errors + totals.warnings)).toBe(calls.errors);
      expect(sum(({ totals }) => totals.lost)).toBe(0);
      expect(named(records, 'session.error')).toHaveLength(calls.errors);
      expect(named(records, 'session.done')).toHaveLength(calls.dones);
      if (told) expect(told.heard).toEqual(calls);
      expect(named(records, 'session.returned')).toHaveLength(way === 'wrap' ? ids.length : 0);
      const slow = named(records, 'session.inner_slow');
      if (want.slow !== undefined) expect(slow).toHaveLength(want.slow);
      else for (const { inner } of slow) expect(inner.hresult).toBe('0x00000000');

      for (const id of ids) {
        const own = records.filter((record) => record.session.id === id) as unknown;
        const story = tellStory(own as RecordDraft[], { nowUs: 0, stopped: true });
        expect(story.session.attach).toBe(way);
        expect(story.outcome).toBe(want.outcome);
        const fired = story.checks.map(({ code }) => code).sort();
        const seen = row.beside && fired.length > 0;
        expect(fired).toEqual(seen ? ['MS001'] : (want.checks ?? []));
        expect(story.verdict.code).toBe(seen ? 'broke_contract' : (want.verdict ?? want.outcome));
        expect(story.verdict.text).toContain(want.text ?? '');
      }

      if (!told) return;
      // Outlook sees the same as without us, and gets back what it gave.
      const plain = await withoutUs(row, label.replace(' ', '-'));
      expect(ran.code).toBe(plain.code);
      expect(told.references).toEqual({ callback: 0, provider: 0 });
      // Threads beside each other have no order.
      if (!row.beside && !row.sessions) expect(callsOf(trace, store)).toEqual(plain.calls);
    });
  });

  test.skipIf(isWine)('every scenario of the sample provider has a row', async () => {
    const asked = await run({ scenario: 'x', outcome: null }, 'asked', []).host.ended;
    const known = [...asked.stderr.matchAll(/^ {2}(\S+): /gm)].map(([, name]) => name);
    expect(known.length).toBeGreaterThan(10);
    expect([...new Set(TABLE.map(({ scenario }) => scenario))].sort()).toEqual(known.sort());
  });

  test('at the end the daemon stops, and leaves its journal alone', async () => {
    expect((await bench.stop(daemon)).code).toBe(0);
    expect(existsSync(join(bench.state, 'endpoint'))).toBe(false);
    expect(readdirSync(join(bench.state, 'rings'))).toEqual([]);
  });
}
