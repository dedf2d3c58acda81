// The whole way: host, provider and shim as they ship, a daemon, its journal, a client. On this system
// and on Windows as Wine plays it.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { Bench, type JournalLine, type System, until } from './systems.ts';

/** Ids are unique. Returns the records without daemon and snapshot records. */
function check(records: readonly JournalLine[]): JournalLine[] {
  const seen = new Set<string>();
  for (const record of records) {
    expect(seen.has(record.event_id), `twice: ${record.event_id}`).toBe(false);
    seen.add(record.event_id);
  }
  return records.filter(({ event_name }) => !/^(daemon|snapshot)\./.test(event_name));
}

const named = (records: readonly JournalLine[], name: string) =>
  records.filter((record) => record.event_name === name);

let bench: Bench;
afterEach(() => bench.close());

interface Sync {
  readonly messages?: number;
  readonly broken?: number;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
}

/** Makes a Maildir (once a bench) and runs the sample host over it. */
function sync({ messages = 200, broken = 12, args = [], env = {} }: Sync) {
  const { system } = bench;
  const maildir = join(bench.scratch, 'maildir');
  if (!existsSync(maildir)) {
    makeMaildir({
      dir: maildir,
      messages,
      folders: 4,
      broken,
      seed: 7,
      windowsNames: system.name === 'wine',
    });
  }
  const store = join(bench.scratch, 'store');
  const given = ['--maildir', system.path(maildir), '--store', system.path(store), '--json'];
  return bench.host([...given, '--quiet', ...args], env);
}

/** The tests, for one system; a file for each, so that they run side by side. */
export function bridgeTests(system: System): void {
  test('a sync stands in the journal, with the counts of the provider itself', async () => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const ran = await sync({ args: ['--flush', '5000'] }).ended;
    expect(ran.stderr).toBe('');
    expect(ran.code).toBe(0);
    const told = JSON.parse(ran.stdout);
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    expect((await bench.stop(daemon)).code).toBe(0);

    const records = check(bench.records());
    expect(named(records, 'session.opened')).toHaveLength(1);
    const [ended] = named(records, 'session.ended');
    expect(ended).toMatchObject({
      outcome: 'ok_with_errors',
      session: { id: told.sessions[0], provider: 'mapisync sample', attach: 'tee' },
      totals: { progress: told.calls.progress, errors: told.calls.errors, merged: 0, lost: 0 },
    });
    const byCode: Record<string, number> = {};
    for (const { error } of named(records, 'session.error')) {
      byCode[error.hresult] = (byCode[error.hresult] ?? 0) + 1;
      expect(error.name).toMatch(/^MAPI_E_/);
    }
    expect(byCode).toEqual(told.errors);
    // Errors of single messages, and S_OK at the end: worth a note, no fault.
    const checks = named(records, 'session.check').map((r) => [r.check.code, r.check.severity]);
    expect(checks).toEqual([['MS020', 'note']]);
    expect(told.calls.errors).toBeGreaterThan(0);
    expect(existsSync(join(bench.state, 'endpoint'))).toBe(false);
    expect(readdirSync(join(bench.state, 'rings'))).toEqual([]);
  });

  test('a second sync copies only what is new', async () => {
    bench = new Bench(system);
    const first = JSON.parse((await sync({}).ended).stdout);
    const second = JSON.parse((await sync({}).ended).stdout);
    expect(first.copied).toBeGreaterThan(0);
    expect(second).toMatchObject({ copied: 0, skipped: first.copied });
  });

  test('the host sees the same calls with and without the tee', async () => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const traces = [];
    for (const shim of [[], ['--shim', 'none']]) {
      const trace = join(bench.scratch, `trace${traces.length}`);
      // Two fresh runs over the same Maildir, each into a store of its own.
      const store = system.path(join(bench.scratch, `store${traces.length}`));
      const args = ['--trace', system.path(trace), '--store', store, ...shim];
      const ran = await sync({ args }).ended;
      expect(ran.code).toBe(0);
      expect(JSON.parse(ran.stdout).sessions).toHaveLength(shim.length === 0 ? 1 : 0);
      traces.push(readFileSync(trace, 'utf8'));
    }
    expect(traces[0]).toBe(traces[1]);
    expect(traces[0]!.split('\n').length).toBeGreaterThan(200);
    await bench.stop(daemon);
  });

  test('without a daemon host and provider behave the same, and it is all there afterwards', async () => {
    bench = new Bench(system);
    bench.makeState();
    const ran = await sync({}).ended;
    expect(ran.code).toBe(0);
    const told = JSON.parse(ran.stdout);
    expect(readdirSync(join(bench.state, 'rings'))).toHaveLength(1);

    const daemon = await bench.daemon(); // The host is dead: its ring is adopted.
    await until('the adoption', () => named(bench.records(), 'session.ended').length);
    await until('the end of the ring', () => readdirSync(join(bench.state, 'rings')).length === 0);
    await bench.stop(daemon);
    const records = check(bench.records());
    expect(named(records, 'session.ended')).toMatchObject([
      { outcome: 'ok_with_errors', totals: { progress: told.calls.progress } },
    ]);
    expect(named(records, 'session.error')).toHaveLength(told.calls.errors);
  });

  test('a daemon that starts beside a living host shows the sync from its first call', async () => {
    bench = new Bench(system);
    bench.makeState();
    const trace = join(bench.scratch, 'trace');
    const host = sync({ args: ['--hold', '60000', '--trace', system.path(trace)] });
    const rings = join(bench.state, 'rings');
    await until('Done', () => existsSync(trace) && /"Done"/.test(readFileSync(trace, 'utf8')));
    expect(readdirSync(rings)).toHaveLength(1);
    const daemon = await bench.daemon();
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    const records = check(bench.records());
    expect(named(records, 'session.opened')).toHaveLength(1);
    expect(named(records, 'process.connected')).toHaveLength(1);
    host.child.kill('SIGKILL');
    await host.ended;
    await until('the end of the ring', () => readdirSync(rings).length === 0);
    await bench.stop(daemon);
  });

  test('a host that is killed in the middle leaves every call up to the last', async () => {
    bench = new Bench(system);
    bench.makeState();
    const trace = join(bench.scratch, 'trace');
    const args = ['--calls-per-second', '400', '--trace', system.path(trace)];
    const host = sync({ messages: 4000, args });
    const calls = () =>
      existsSync(trace) ? readFileSync(trace, 'utf8').split('\n').length - 1 : 0;
    await until('some calls', () => calls() > 150);
    host.child.kill('SIGKILL');
    await host.ended;
    const returned = calls();
    const daemon = await bench.daemon();
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    await bench.stop(daemon);
    const records = check(bench.records());
    const [ended] = named(records, 'session.ended');
    expect(ended!.outcome).toBe('abandoned');
    const { progress, errors } = ended!.totals;
    // The trace is written inside the callback: a call may be in the ring and not yet in the trace.
    expect(progress + errors - returned).toBeGreaterThanOrEqual(0);
    expect(progress + errors - returned).toBeLessThanOrEqual(1);
    expect(named(records, 'session.error')).toHaveLength(errors);
  });

  test('a host that dies after its daemon is closed by the next one, with its last words', async () => {
    bench = new Bench(system);
    const first = await bench.daemon();
    const trace = join(bench.scratch, 'trace');
    const args = ['--calls-per-second', '400', '--trace', system.path(trace)];
    const host = sync({ messages: 4000, args });
    const lines = () =>
      existsSync(trace) ? readFileSync(trace, 'utf8').split('\n').slice(0, -1) : [];
    await until('some records', () => named(bench.records(), 'session.progress').length > 0);
    first.child.kill('SIGKILL');
    await first.ended;
    const before = lines().length;
    await until('calls without a daemon', () => lines().length > before + 100);
    host.child.kill('SIGKILL');
    await host.ended;
    const returned = lines().length;
    // Left behind by the one that was killed; the next one is ready once it stands there again.
    rmSync(join(bench.state, 'endpoint'));
    const second = await bench.daemon();
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    await until('the end of the ring', () => readdirSync(join(bench.state, 'rings')).length === 0);
    await bench.stop(second);
    const records = check(bench.records());
    for (const name of ['session.opened', 'session.ended', 'process.gone']) {
      expect(named(records, name), name).toHaveLength(1);
    }
    const [ended] = named(records, 'session.ended');
    const { progress, errors } = ended!.totals;
    expect(ended!.outcome).toBe('abandoned');
    expect(progress + errors - returned).toBeGreaterThanOrEqual(0);
    expect(progress + errors - returned).toBeLessThanOrEqual(1);
    expect(named(records, 'session.error')).toHaveLength(errors);
    expect(ended!.progress.calls).toBe(progress);
    if (progress + errors > returned) return; // The newest call is not in the trace.
    const calls = lines().map((line) => JSON.parse(line));
    const { index, max } = calls.findLast(({ method }) => method === 'Progress');
    expect(ended!.progress).toMatchObject({ index, max, text: ended!.phases.at(-1).text });
  });

  test('switched off, the tee is the callback itself and nothing is written', async () => {
    bench = new Bench(system);
    bench.makeState();
    const ran = await sync({ env: { MAPISYNC_DISABLE: '1' } }).ended;
    expect(JSON.parse(ran.stdout).sessions).toEqual([]);
    expect(existsSync(join(bench.state, 'rings'))).toBe(false);
  });

  test('dormant, without a state directory, nothing is written', async () => {
    bench = new Bench(system);
    const ran = await sync({}).ended;
    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.stdout).sessions).toEqual([]);
    expect(existsSync(bench.state)).toBe(false);
  });

  /** What the checks say of each; only the odd ones break the contract. */
  test.for<[string, string, string[], ((records: JournalLine[]) => void)?]>([
    [
      '1',
      'text once, then NULL texts',
      [],
      (records) => {
        const texts = new Set(named(records, 'session.progress').map((r) => r.progress.text));
        expect(texts.size).toBe(1);
      },
    ],
    [
      '2',
      'restarts per folder',
      [],
      (records) => expect(named(records, 'session.ended')[0]!.phases.length).toBeGreaterThan(1),
    ],
    [
      '3',
      '(0, 0) phase marks with empty text',
      [],
      (records) => {
        // They come and go faster than session.progress is written, so the phases tell of them.
        const { phases } = named(records, 'session.ended')[0]!;
        const marks = phases.filter((phase: { max: number }) => phase.max === 0);
        expect(marks.length).toBeGreaterThan(1);
        for (const mark of marks) expect(mark).toMatchObject({ text: '', calls: 1 });
      },
    ],
    [
      '4',
      'bursts',
      [],
      (records) =>
        expect(named(records, 'session.ended')[0]!.totals.progress).toBeGreaterThan(2000),
    ],
    [
      '7',
      'warnings, NULL texts, the same ten times',
      ['MS022', 'MS020'],
      (records) => {
        const errors = named(records, 'session.error');
        expect(errors.some((r) => r.error.severity === 'success')).toBe(true);
        expect(errors.some((r) => !('text' in r.error))).toBe(true);
        expect(Math.max(...errors.map((r) => r.error.repeat))).toBe(10);
      },
    ],
    [
      '13',
      'a long plain sync',
      [],
      (records) => expect(named(records, 'session.ended')[0]!.outcome).toBe('ok'),
    ],
    ['5', 'odd texts', []],
    ['6', 'odd counts', ['MS004', 'MS005', 'MS006']],
    ['8', 'SynchronizeInBackground returns after Done', []],
    ['9', 'Done, Progress and Done again', ['MS001', 'MS002']],
    ['9-no-done', 'no Done', ['MS003']],
  ])('scenario %s: %s', async ([number, , codes, look]) => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const args = ['--scenario', number, '--flush', '5000'];
    const ran = await sync({ broken: 0, args }).ended;
    const odd = number === '9-no-done';
    expect(ran.code).toBe(odd ? 1 : 0);
    if (!odd) expect(ran.stderr).toBe('');
    const { calls } = JSON.parse(ran.stdout);
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    await bench.stop(daemon);
    const records = check(bench.records());
    const [ended] = named(records, 'session.ended');
    expect(ended!.totals.progress).toBe(calls.progress);
    expect(named(records, 'session.error')).toHaveLength(calls.errors);
    expect(
      named(records, 'session.check')
        .map((r) => r.check.code)
        .sort(),
    ).toEqual([...codes].sort());
    expect(ended!.totals.checks).toBe(codes.length);
    look?.(records);
  });

  test.for<[string, string[], RegExp]>([
    ['absent', [], /"outcome":"ok/],
    ['slow=150', [], /"event_name":"session.inner_slow".*"duration_us":1[5-9]\d{4}/],
    ['fail=0x80004005', [], /"event_name":"session.inner_slow".*"hresult":"0x80004005"/],
  ])('an inner callback that is %s', async ([callback, , want]) => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const ran = await sync({
      messages: 8,
      broken: 0,
      args: ['--callback', callback, '--flush', '5000'],
    }).ended;
    expect(ran.stderr).toBe('');
    await bench.stop(daemon);
    const records = check(bench.records());
    if (callback !== 'absent')
      expect(records.map((r) => JSON.stringify(r)).join('\n')).toMatch(want);
    // NULL stays NULL: there is nothing to wrap.
    else expect(named(records, 'session.opened')).toEqual([]);
  });

  test('a call that Outlook never returns from is told within 3 s, with its thread', async () => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const host = sync({ messages: 8, broken: 0, args: ['--callback', 'hang'] });
    const stalls = () => named(bench.records(), 'session.stalled');
    await until('the stall', () => stalls().length > 0, 30_000);
    const [stalled] = stalls();
    const calls = named(bench.records(), 'session.progress');
    host.child.kill('SIGKILL');
    await host.ended;
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    await bench.stop(daemon);
    const records = check(bench.records());
    const { stall } = stalled!;
    expect(stall).toMatchObject({ kind: 'blocked', method: 'Progress' });
    // Every call of this provider comes on the one thread that it makes, the attach on another.
    const threads = new Set(calls.map(({ thread }) => thread?.id).filter(Boolean));
    expect([...threads]).toEqual([stall.thread]);
    expect(named(records, 'session.opened')[0]!.thread.id).not.toBe(stall.thread);
    // Told by the shim 2 s after the call went in, and by the daemon as soon as it heard.
    expect(stall.for_us).toBeGreaterThanOrEqual(2_000_000);
    expect(stall.for_us).toBeLessThanOrEqual(3_000_000);
    expect(named(records, 'session.stalled')).toHaveLength(1);
    expect(named(records, 'session.ended')).toMatchObject([
      {
        outcome: 'abandoned',
        exit: { in_callback: [{ method: 'Progress', thread: stall.thread }] },
      },
    ]);
  });

  test('a client sees the same records, live and afterwards', async () => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const tail = bench.mapisync('tail', '--json', '--exit-on-done');
    await until(
      'the tail',
      () => tail.child.exitCode !== null || /watching|following/i.test(tail.stderr()),
      15_000,
    );
    await sync({ args: ['--flush', '5000'] }).ended;
    const ran = await tail.ended;
    expect(ran.code).toBe(6); // Ended ok_with_errors.
    const live = ran.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    await bench.stop(daemon);
    const wanted = check(bench.records()).filter(({ event_name }) => /^session\./.test(event_name));
    const seen = live.filter(({ event_name }) => /^session\./.test(event_name));
    expect(seen.map(({ cursor, ...record }) => record)).toEqual(wanted);
    for (const { cursor } of seen) expect(cursor).toMatch(/^\d+:\d+$/);
  });

  test('a recorded sync, replayed, is judged as the first one was', async () => {
    bench = new Bench(system);
    const daemon = await bench.daemon();
    const file = join(bench.scratch, 'one.mapisync');
    const recorder = bench.mapisync('record', '--next', '--file', system.path(file));
    await until('the recorder', () => recorder.stderr().includes('Waiting'), 30_000);
    await sync({ messages: 20, broken: 4, args: ['--flush', '5000'] }).ended;
    expect(await recorder.ended).toMatchObject({ code: 0 });
    const replayed = await bench.mapisync('replay', system.path(file), '--speed', 'max').ended;
    expect([replayed.code, replayed.stderr]).toEqual([0, expect.stringContaining('Replayed')]);
    const shown = await bench.mapisync('show', '^0', '--json').ended;
    expect(JSON.parse(shown.stdout)).toMatchObject({
      verdict: { code: 'ok_with_errors', text: expect.stringContaining('with 4 errors') },
      totals: { errors: 4, lost: 0 },
    });
    await bench.stop(daemon);
    const ends = named(check(bench.records()), 'session.ended');
    const [first, second] = ends.map(({ outcome_reason, duration_us, totals, phases }) => {
      return { outcome_reason, duration_us, totals, phases };
    });
    expect(second).toEqual(first);
  });
}
