// Exporters in a daemon as it ships, in their thread: killed, hindered, asked, and with names to hide.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority, hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { run } from '../../../client/cli.ts';
import type { ExportSettings } from '../../../protocol/records/exports.ts';
import { keptIo } from '../../client/builders.ts';
import {
  cleanUp,
  FakeShim,
  journalOf,
  kill,
  newRingId,
  runScript,
  Script,
  spawnDaemon,
  tempDir,
  until,
} from '../support.ts';
import { hasNats, NatsServer, storedMessages } from './nats-server.ts';
import { Receiver } from './receiver.mjs';
import { exported } from './support.ts';

/** One session after another, each with texts of its own. @returns The texts. */
async function sessions(stateDir: string, count: number, executable: string): Promise<string[]> {
  const shim = await FakeShim.connect(stateDir);
  const names = [executable];
  const name = (): string => {
    names.push(`Jane Roe ${executable} ${names.length}`);
    return names.at(-1)!;
  };
  await shim.hello(newRingId(), { executable });
  let last = 0;
  for (let at = 0; at < count; at++) {
    const script = new Script(last + 1, name());
    script.progress(0, 2, name()).error(name()).progress(1, 2, name()).done().close();
    shim.send(...script.frames);
    last = script.seq;
  }
  await shim.got('its acknowledgement', (frame) => frame.kind === 'ack' && frame.durable >= last);
  shim.socket.destroy();
  return names;
}

const ids = (records: readonly { event_id?: string }[]): (string | undefined)[] =>
  records.map(({ event_id }) => event_id);

test('a daemon that is killed again and again exports each record once, and no text', async () => {
  const root = tempDir();
  const stateDir = join(root, 'Jane Roe state');
  const dir = join(root, 'out');
  const receiver = new Receiver();
  cleanUp(() => receiver.close());
  const exports: ExportSettings[] = [
    { name: 'file', kind: 'file', text: 'token', dir },
    { name: 'otlp', kind: 'otlp', text: 'token', url: await receiver.listen() },
  ];
  const nats = hasNats ? await new NatsServer().start() : undefined;
  const place = { servers: [nats?.url ?? ''] };
  if (nats) exports.push({ name: 'nats', kind: 'nats', text: 'token', ...place });
  const names: string[] = [];
  for (let round = 0; round < 3; round++) {
    const daemon = await spawnDaemon(stateDir, { exports });
    names.push(...(await sessions(stateDir, 64, `JANE${round}.EXE`)));
    await kill(daemon);
  }
  const daemon = await spawnDaemon(stateDir, { exports });
  names.push(...(await sessions(stateDir, 64, 'JANE.EXE')));
  // What a daemon says last may wait for its next start; nothing before it does.
  const logs = () => new Set(receiver.logs.map(({ attributes }) => attributes['log.record.uid']));
  const wanted = ids(journalOf(stateDir));
  const isDone = async () => {
    const uids = logs();
    return (
      wanted.every((id) => uids.has(id)) &&
      exported(dir).length >= wanted.length &&
      (!nats || (await storedMessages(place)).length >= wanted.length)
    );
  };
  while (!(await isDone())) await sleep(20);
  await kill(daemon, 'SIGTERM');
  const own = ids(journalOf(stateDir));
  const files = ids(exported(dir));
  expect(files).toEqual(own.slice(0, files.length));
  const stored = nats ? await storedMessages(place) : [];
  expect(stored.map(({ id }) => id)).toEqual(own.slice(0, stored.length));
  expect([...logs()].filter((id) => !own.includes(id as string))).toEqual([]);
  expect(names.length).toBeGreaterThan(1000);
  const text = readFileSync(join(dir, 'mapisync.000001.jsonl'), 'utf8');
  const left = [text, ...receiver.bytes.map(String), ...stored.map((one) => JSON.stringify(one))];
  for (const one of left) {
    // Nothing shorter: among thousands of random bytes of trace ids, three letters do turn up.
    expect(one).not.toMatch(/jane| roe /i);
    expect(one).not.toContain(JSON.stringify(hostname()));
  }
  for (const { resource } of receiver.logs) expect(resource['host.name']).toMatch(/^~/);
  // The journal of the user has them all.
  const whole = JSON.stringify(journalOf(stateDir));
  expect(names.filter((name) => !whole.includes(name))).toEqual([]);
});

test('a place that cannot be written is said once, shown by status, and caught up with when it is mended', async () => {
  const root = tempDir();
  const stateDir = join(root, 'state');
  const dir = join(root, 'out');
  writeFileSync(dir, 'in the way');
  const exports: ExportSettings[] = [{ name: 'file', kind: 'file', text: 'plain', dir }];
  const daemon = await spawnDaemon(stateDir, { exports });
  await sessions(stateDir, 20, 'OUTLOOK.EXE');
  const ask = async (...args: string[]) => {
    const io = keptIo();
    const code = await run([...args, '--state-dir', stateDir], io);
    return { code, text: io.stdout.text };
  };
  await until('it is in the journal', () =>
    JSON.stringify(journalOf(stateDir)).includes('export.failed'),
  );
  let shown = await ask('export', 'status', '--json');
  while (!shown.text.includes('failing')) shown = await ask('export', 'status', '--json');
  expect(shown.code).toBe(1);
  expect(JSON.parse(shown.text)).toMatchObject({ name: 'file', state: 'failing', cause: 'failed' });
  expect((await ask('export', 'status')).text).toContain(`failed: Cannot write to ${dir}`);
  expect((await ask('daemon', 'status')).text).toMatch(
    /Export file +failing, [\d\s]+ bytes behind, Cannot write/,
  );
  rmSync(dir);
  await until('it caught up', () =>
    JSON.stringify(journalOf(stateDir)).includes('export.caught_up'),
  );
  await kill(daemon, 'SIGTERM');
  const records = journalOf(stateDir);
  const there = exported(dir);
  expect(there).toEqual(records.slice(0, there.length));
  expect(ids(there)).toContain(
    records.find(({ event_name }) => event_name === 'export.failed')?.event_id,
  );
  const said = records.filter(({ event_name }) => event_name.startsWith('export.'));
  expect(said.map(({ event_name }) => event_name)).toEqual(['export.failed', 'export.caught_up']);
});

test('a thread of exporters leaves the young generation of the main thread as small as it was', async () => {
  const root = tempDir();
  const exports = [{ name: 'file', kind: 'file', text: 'token', dir: join(root, 'out') }];
  const script = `
    import { runDaemon } from 'built/daemon/run.js';
    import { getHeapSpaceStatistics } from 'node:v8';
    const exports = JSON.parse(process.argv[1]);
    process.stdin.once('data', () => {
      const kept = Array.from({ length: 400_000 }, (_, at) => ({ at, text: String(at) + 'x' }));
      const young = getHeapSpaceStatistics().find((one) => one.space_name === 'new_space');
      console.log('young ' + young.space_size, kept.length);
    });
    await runDaemon({ version: '0.0.1', stateDir: process.argv[2], exports, ownsProcess: true });
  `;
  const young = async (given: readonly object[], name: string): Promise<number> => {
    const child = runScript(script, [JSON.stringify(given), join(root, name)]);
    await until('it is ready', () => child.said().includes('ready'));
    if (given.length > 0)
      await until('it exports', () => existsSync(join(root, 'out', '.mapisync.lock')));
    child.stdin!.write('now');
    await until('it says', () => /young \d+ \d/.test(child.said()));
    await kill(child);
    return Number(/young (\d+)/.exec(child.said())![1]);
  };
  // Once it may grow, while the thread begins.
  expect(await young(exports, 'with')).toBeLessThanOrEqual(2 * (await young([], 'without')));
});

test('the settings name what is exported, and wrong ones are refused', async () => {
  const home = tempDir();
  mkdirSync(join(home, 'mapisync'));
  const given: unknown[] = [];
  const runDaemon = async (options: unknown) => {
    given.push(options);
    return 0;
  };
  const daemonRun = async (config: object) => {
    writeFileSync(join(home, 'mapisync', 'config.json'), JSON.stringify(config));
    const io = keptIo({ env: { XDG_CONFIG_HOME: home }, runDaemon });
    return { code: await run(['daemon', 'run'], io), err: io.stderr.text };
  };
  expect((await daemonRun({})).code).toBe(0);
  expect(given.pop()).toMatchObject({ exports: [] });
  const dir = join(home, 'out');
  expect((await daemonRun({ export: { file: { dir, text: 'drop', size: '8MiB' } } })).code).toBe(0);
  expect(given.pop()).toMatchObject({
    exports: [{ name: 'file', kind: 'file', dir, text: 'drop', totalBytes: 8_388_608 }],
  });
  const wrong = await daemonRun({ export: { file: { dir: 'out' } } });
  expect(wrong.code).toBe(2);
  expect(wrong.err).toContain('export.file.dir: expected an absolute path, got "out"');
});

test.runIf(process.platform === 'linux')(
  'whoever takes frames has a higher priority than exporters, and a daemon without any has no such thread',
  async () => {
    const root = tempDir();
    /** Of each thread, the first one before the others. */
    const priorities = ({ pid }: { pid?: number | undefined }): number[] =>
      readdirSync(`/proc/${pid}/task`)
        .sort((a, b) => Number(a) - Number(b))
        // Behind the name, which may hold anything: the state, then 15 numbers.
        .map((thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8'))
        .map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
    const exports: ExportSettings[] = [
      { name: 'file', kind: 'file', text: 'token', dir: join(root, 'out') },
    ];
    const usual = getPriority();
    const without = await spawnDaemon(join(root, 'without'));
    expect(new Set(priorities(without))).toEqual(new Set([usual]));
    const daemon = await spawnDaemon(join(root, 'with'), { exports });
    await until('its exporters run', () => priorities(daemon).some((one) => one > usual));
    const [first, ...others] = priorities(daemon);
    expect(first).toBe(usual);
    expect(others.filter((one) => one !== usual)).toHaveLength(1);
  },
);
