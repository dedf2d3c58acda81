// Hosts, daemons and clients that come, go and die beside each other, on this system and on Windows as Wine
// plays it.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import {
  Bench,
  type JournalLine,
  type Program,
  type System,
  scratchFolder,
  until,
} from './systems.ts';

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

interface Sync {
  readonly messages?: number;
  readonly broken?: number;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
}

/** The tests, for one system; a file for each, so that they run side by side. */
export function bridgeTests(system: System): void {
  const maildirs = scratchFolder();
  afterAll(() => rmSync(maildirs, { recursive: true, force: true }));

  /** Runs the sample host over a Maildir, which is made once for all tests. */
  function sync(bench: Bench, { messages = 200, broken = 12, args = [], env = {} }: Sync): Program {
    const dir = join(maildirs, `${messages}-${broken}`, 'maildir');
    const windowsNames = system.name === 'wine';
    if (!existsSync(dir)) makeMaildir({ dir, messages, folders: 4, broken, seed: 7, windowsNames });
    const store = join(bench.scratch, 'store');
    const given = ['--maildir', system.path(dir), '--store', system.path(store), '--json'];
    return bench.host([...given, '--quiet', ...args], env);
  }

  const it = test.extend<{ bench: Bench }>({
    // biome-ignore lint/correctness/noEmptyPattern: vitest reads from it what is needed.
    bench: async ({}, use) => {
      const bench = new Bench(system);
      await use(bench);
      await bench.close();
    },
  });

  it('without a daemon host and provider behave the same, and it is all there afterwards', async ({
    bench,
  }) => {
    bench.makeState();
    const ran = await sync(bench, {}).ended;
    expect(ran.code).toBe(0);
    const told = JSON.parse(ran.stdout);
    expect(readdirSync(join(bench.state, 'rings'))).toHaveLength(1);

    await bench.daemon(); // The host is dead: its ring is adopted.
    await until('the adoption', () => named(bench.records(), 'session.ended').length);
    await until('the end of the ring', () => readdirSync(join(bench.state, 'rings')).length === 0);
    const records = check(bench.records());
    expect(named(records, 'session.ended')).toMatchObject([
      { outcome: 'ok_with_errors', totals: { progress: told.calls.progress } },
    ]);
    expect(named(records, 'session.error')).toHaveLength(told.calls.errors);
  });

  it('a daemon that starts beside a living host shows the sync from its first call', async ({
    bench,
  }) => {
    bench.makeState();
    const trace = join(bench.scratch, 'trace');
    const host = sync(bench, { args: ['--hold', '60000', '--trace', system.path(trace)] });
    const rings = join(bench.state, 'rings');
    await until('Done', () => existsSync(trace) && /"Done"/.test(readFileSync(trace, 'utf8')));
    expect(readdirSync(rings)).toHaveLength(1);
    await bench.daemon();
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    const records = check(bench.records());
    expect(named(records, 'session.opened')).toHaveLength(1);
    expect(named(records, 'process.connected')).toHaveLength(1);
    host.child.kill('SIGKILL');
    await host.ended;
    await until('the end of the ring', () => readdirSync(rings).length === 0);
  });

  it('a host that is killed in the middle leaves every call up to the last', async ({ bench }) => {
    bench.makeState();
    const trace = join(bench.scratch, 'trace');
    const args = ['--calls-per-second', '200', '--trace', system.path(trace)];
    const host = sync(bench, { messages: 2000, args });
    const calls = () =>
      existsSync(trace) ? readFileSync(trace, 'utf8').split('\n').length - 1 : 0;
    await until('some calls', () => calls() > 150);
    host.child.kill('SIGKILL');
    await host.ended;
    const returned = calls();
    await bench.daemon();
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    const records = check(bench.records());
    const [ended] = named(records, 'session.ended');
    expect(ended!.outcome).toBe('abandoned');
    const { progress, errors } = ended!.totals;
    // The trace is written inside the callback: a call may be in the ring and not yet in the trace.
    expect(progress + errors - returned).toBeGreaterThanOrEqual(0);
    expect(progress + errors - returned).toBeLessThanOrEqual(1);
    expect(named(records, 'session.error')).toHaveLength(errors);
  });

  it('a host that dies after its daemon is closed by the next one, with its last words', async ({
    bench,
  }) => {
    const first = await bench.daemon();
    const trace = join(bench.scratch, 'trace');
    const args = ['--calls-per-second', '200', '--trace', system.path(trace)];
    const host = sync(bench, { messages: 2000, args });
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
    await bench.daemon();
    await until('the end of the session', () => named(bench.records(), 'session.ended').length);
    await until('the end of the ring', () => readdirSync(join(bench.state, 'rings')).length === 0);
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

  it('switched off, the tee is the callback itself and nothing is written', async ({ bench }) => {
    bench.makeState();
    const ran = await sync(bench, { env: { MAPISYNC_DISABLE: '1' } }).ended;
    expect(JSON.parse(ran.stdout).sessions).toEqual([]);
    expect(existsSync(join(bench.state, 'rings'))).toBe(false);
  });

  it('dormant, without a state directory, nothing is written', async ({ bench }) => {
    const ran = await sync(bench, {}).ended;
    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.stdout).sessions).toEqual([]);
    expect(existsSync(bench.state)).toBe(false);
  });

  it('a client sees the same records, live and afterwards', async ({ bench }) => {
    await bench.daemon();
    const tail = bench.mapisync('tail', '--json', '--exit-on-done');
    await until(
      'the tail',
      () => tail.child.exitCode !== null || /watching|following/i.test(tail.stderr()),
      15_000,
    );
    await sync(bench, { args: ['--flush', '5000'] }).ended;
    const ran = await tail.ended;
    expect(ran.code).toBe(6); // Ended ok_with_errors.
    const live = ran.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    const wanted = check(bench.records()).filter(({ event_name }) => /^session\./.test(event_name));
    const seen = live.filter(({ event_name }) => /^session\./.test(event_name));
    expect(seen.map(({ cursor, ...record }) => record)).toEqual(wanted);
    for (const { cursor } of seen) expect(cursor).toMatch(/^\d+:\d+$/);
  });

  it('a recorded sync, replayed, is judged as the first one was', async ({ bench }) => {
    await bench.daemon();
    const file = join(bench.scratch, 'one.mapisync');
    const recorder = bench.mapisync('record', '--next', '--file', system.path(file));
    await until('the recorder', () => recorder.stderr().includes('Waiting'), 30_000);
    await sync(bench, { messages: 20, broken: 4, args: ['--flush', '5000'] }).ended;
    expect(await recorder.ended).toMatchObject({ code: 0 });
    const replayed = await bench.mapisync('replay', system.path(file), '--speed', 'max').ended;
    expect([replayed.code, replayed.stderr]).toEqual([0, expect.stringContaining('Replayed')]);
    const shown = await bench.mapisync('show', '^0', '--json').ended;
    expect(JSON.parse(shown.stdout)).toMatchObject({
      verdict: { code: 'ok_with_errors', text: expect.stringContaining('with 4 errors') },
      totals: { errors: 4, lost: 0 },
    });
    const ends = named(check(bench.records()), 'session.ended');
    const [first, second] = ends.map(({ outcome_reason, duration_us, totals, phases }) => {
      return { outcome_reason, duration_us, totals, phases };
    });
    expect(second).toEqual(first);
  });
}
