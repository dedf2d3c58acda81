// `export file|nats|otlp`: exporters without a daemon, and beside one.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { EXIT } from '../../client/exit.ts';
import type { Io } from '../../client/io.ts';
import { settledEnd } from '../../daemon/export/reader.ts';
import { runExport } from '../../daemon/export/run.ts';
import { segmentPath } from '../../daemon/platform/journal-files.ts';
import { hasNats, NatsServer, storedMessages } from '../daemon/export/nats-server.ts';
import { Receiver } from '../daemon/export/receiver.mjs';
import { exported, HandJournal } from '../daemon/export/support.ts';
import {
  cleanUp,
  compiled,
  FakeShim,
  journalOf,
  kill,
  newRingId,
  Script,
  spawnDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';
import { type Kept, keptIo } from './builders.ts';

const ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;
/** Of the records that the journals by hand are made of. */
const NAMES = /Mailbox|OUTLOOK|sample-host/;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** In this process. */
async function mapisync(
  args: readonly string[],
  given: Partial<Io> = {},
  io: Io & { stdout: Kept; stderr: Kept } = keptIo({ runExport, ...given }),
): Promise<Ended> {
  const code = await run(args, io);
  return { code, out: io.stdout.text, err: io.stderr.text };
}

/** In a process of its own. */
function beside(
  args: readonly string[],
  user: { uid?: number; gid?: number } = {},
): ChildProcess & { said: () => string } {
  const entry = join(compiled(), 'bin', 'mapisync.js');
  const child = spawn(process.execPath, [entry, 'export', 'file', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, HOME: '/nowhere', XDG_CONFIG_HOME: '/nowhere' },
    cwd: '/',
    ...user,
  });
  let text = '';
  child.stderr!.on('data', (bytes) => {
    text += String(bytes);
  });
  cleanUp(() => child.kill('SIGKILL'));
  return Object.assign(child, { said: () => text });
}

const ended = async (child: ChildProcess): Promise<number | null> => {
  await until('it ended', () => child.exitCode !== null || child.signalCode !== null);
  return child.exitCode;
};

const idsIn = (dir: string): (string | undefined)[] =>
  (existsSync(dir) ? exported(dir) : []).map(({ event_id }) => event_id);
const linesIn = (dir: string): number =>
  (existsSync(dir) ? readdirSync(dir) : [])
    .filter((name) => name.endsWith('.jsonl'))
    .reduce((sum, name) => sum + readFileSync(join(dir, name), 'latin1').split('\n').length - 1, 0);

describe('export file', () => {
  test('follows, killed again and again while files rotate: each record once, and no names', async () => {
    const journal = new HandJournal();
    const dir = join(journal.root, 'out');
    const args = ['--state-dir', journal.root, '--dir', dir, '--size', '4MiB'];
    for (let round = 0; round < 2; round++) {
      const child = beside(args);
      for (let part = 0; part < 3; part++) {
        const before = linesIn(dir);
        journal.grow(300);
        await until('some more is there', () => linesIn(dir) > before);
      }
      await kill(child);
      journal.rotate();
    }
    const last = beside(args);
    journal.settle();
    await until('it caught up', () => linesIn(dir) >= journal.ids.length);
    last.kill('SIGINT');
    expect(await ended(last)).toBe(EXIT.interrupted);
    expect(last.said()).toMatch(/^mapisync: Exporting \S+ to \S+ until Ctrl-C\nmapisync: Exported/);
    expect(idsIn(dir)).toEqual(journal.ids);
    const files = readdirSync(dir).filter((name) => name.endsWith('.jsonl'));
    expect(files.length).toBeGreaterThan(1);
    for (const name of files) expect(readFileSync(join(dir, name), 'utf8')).not.toMatch(NAMES);
  });

  test('--exit-on-done goes on behind its cursor; another directory gets all; plain says names', async () => {
    const journal = new HandJournal();
    const to = (name: string, ...more: string[]) =>
      mapisync([
        ...['export', 'file', '--state-dir', journal.root, '--exit-on-done'],
        ...['--dir', join(journal.root, name), ...more],
      ]);
    journal.settle();
    const first = journal.ids.length;
    expect(await to('a')).toMatchObject({ code: 0, err: expect.stringContaining('Exported ') });
    journal.settle();
    const status = JSON.parse((await to('a', '--json')).out);
    expect(status).toMatchObject({ name: 'file', state: 'stopped', backlog_bytes: 0 });
    expect(status.sent).toBe(journal.ids.length - first);
    expect((await to('b', '--text', 'plain', '-q')).err).toBe('');
    expect(idsIn(join(journal.root, 'a'))).toEqual(journal.ids);
    expect(idsIn(join(journal.root, 'b'))).toEqual(journal.ids);
    expect(JSON.stringify(exported(join(journal.root, 'b')))).toMatch(NAMES);
    expect(JSON.stringify(exported(join(journal.root, 'a')))).not.toMatch(NAMES);
  });

  test('begins with what there is where the journal was deleted, and its segments begin anew', async () => {
    const journal = new HandJournal();
    const dir = join(journal.root, 'out');
    const args = ['export', 'file', '--state-dir', journal.root, '--exit-on-done', '--dir', dir];
    journal.rotate();
    journal.settle();
    await mapisync(args);
    rmSync(journal.dir, { recursive: true });
    const other = new HandJournal();
    other.settle();
    mkdirSync(journal.dir, { mode: 0o700 });
    const text = readFileSync(segmentPath(other.dir, 1), 'utf8').replaceAll('0011', 'aabb');
    writeFileSync(segmentPath(journal.dir, 1), text);
    expect((await mapisync(args)).code).toBe(0);
    expect(idsIn(dir)).toHaveLength(2 * journal.ids.length);
  });

  test('gives way to a daemon that exports there, and a daemon to it; nothing comes twice', async () => {
    const root = tempDir();
    const dir = join(root, 'out');
    const stateDir = join(root, 'state');
    const exports = [{ name: 'file', kind: 'file', text: 'token', dir } as const];
    const args = ['--state-dir', stateDir, '--dir', dir];
    const sync = async (): Promise<void> => {
      const shim = await FakeShim.connect(stateDir);
      await shim.hello(newRingId());
      const script = new Script().progress(1, 2).done().close();
      shim.send(...script.frames);
      await shim.acked(script.seq);
      shim.socket.destroy();
    };
    const first = await spawnDaemon(stateDir, { exports });
    await sync();
    await until('it exports', () => linesIn(dir) > 3);
    const { code, err } = await mapisync(['export', 'file', ...args]);
    expect([code, err]).toEqual([
      EXIT.failed,
      expect.stringMatching(/its exporter file runs already, in its daemon .* Stop that one/),
    ]);
    // Somebody else's daemon: it is the directory that is taken.
    const other = new HandJournal();
    expect(
      await mapisync(['export', 'file', '--state-dir', other.root, '--dir', dir, '--exit-on-done']),
    ).toMatchObject({
      code: EXIT.failed,
      err: expect.stringContaining('another mapisync exports there already'),
    });
    await kill(first, 'SIGTERM');

    const command = beside(args);
    await until('the command exports', () => linesIn(dir) === journalOf(stateDir).length);
    await spawnDaemon(stateDir, { exports });
    await sync();
    await until('the daemon waits', () =>
      JSON.stringify(journalOf(stateDir)).includes('its exporter file runs already'),
    );
    await until('the command brings that', () => linesIn(dir) === journalOf(stateDir).length);
    await kill(command);
    await until('the daemon goes on', () =>
      JSON.stringify(journalOf(stateDir)).includes('export.caught_up'),
    );
    await until('it has all', () => linesIn(dir) === journalOf(stateDir).length);
    expect(idsIn(dir)).toEqual(journalOf(stateDir).map(({ event_id }) => event_id));
  });

  test('an unprivileged user: refused at once; refused later, it says so and waits', async ({
    skip,
  }) => {
    if (!ROOT) return skip('needs a user without rights');
    const journal = new HandJournal();
    chownSync(journal.root, NOBODY, NOBODY);
    journal.settle();
    const user = { uid: NOBODY, gid: NOBODY };
    for (const path of [journal.dir, journal.cursors, segmentPath(journal.dir, 1)]) {
      chownSync(path, NOBODY, NOBODY);
    }
    const closed = join(journal.root, 'closed');
    mkdirSync(closed, { mode: 0o755 });
    const refused = beside(['--state-dir', journal.root, '--dir', closed], user);
    expect(await ended(refused)).toBe(EXIT.permission);
    expect(refused.said()).toMatch(
      /Cannot write to \S+: EACCES.*Give it to the user whose journal/,
    );

    const dir = join(journal.root, 'open');
    const child = beside(['--state-dir', journal.root, '--dir', dir, '--size', '4MiB'], user);
    const isThere = (): boolean => linesIn(dir) === journal.ids.length;
    await until('it is there', isThere);
    chmodSync(dir, 0o500); // Once the first file is full there can be no second.
    while (isThere()) {
      journal.settle();
      await until('it took it, or not', () => isThere() || child.said().includes('waits'));
    }
    expect(child.said()).toMatch(/The exporter file waits: Cannot write to .*EACCES/);
    expect(child.exitCode).toBeNull();
    chmodSync(dir, 0o750);
    await until('it caught up', () => child.said().includes('has caught up'));
    child.kill('SIGTERM');
    await ended(child);
    expect(idsIn(dir)).toEqual(journal.ids);
  });
});

describe('export', () => {
  test.for<[string, string[], number, RegExp]>([
    ['nowhere to go', ['file'], EXIT.usage, /expected where to .* got nothing\n {2}Give --dir/],
    ['no server', ['nats'], EXIT.usage, /got nothing\n {2}Set export\.nats\.servers or MAPISYNC_/],
    ['no receiver', ['otlp', '--text', 'plain'], EXIT.usage, /Set export\.otlp\.url/],
    ['an unknown policy', ['file', '--dir', 'x', '--text', 'all'], EXIT.usage, /--text: expected/],
    [
      'a file where the directory should be',
      ['file', '--dir', process.execPath],
      EXIT.failed,
      /ENOTDIR.*Take a directory/,
    ],
    [
      '--timeout',
      ['file', '--dir', 'out', '--timeout', '20ms'],
      EXIT.timeout,
      /Exported 0 records/,
    ],
  ])('ends where it should: %s', async ([, args, code, err]) => {
    const stateDir = tempDir();
    const words = args.map((word) => (word === 'out' ? join(stateDir, 'out') : word));
    const end = await mapisync(['export', ...words, '--state-dir', stateDir]);
    expect(end).toEqual({ code, out: '', err: expect.stringMatching(err) });
  });

  test('makes no state directory, with which shims would record', async () => {
    const stateDir = join(tempDir(), 'state');
    const end = await mapisync(['export', 'file', '--dir', '/nowhere', '--state-dir', stateDir]);
    expect(end.code).toBe(EXIT.noDaemon);
    // And says before that of no export that does not begin.
    expect(end.err).toMatch(
      /^mapisync: Cannot export .* expected the state directory of a daemon, got none. Start one with/,
    );
    expect(existsSync(stateDir)).toBe(false);
  });

  test('what the machine enforces no flag changes', async () => {
    const journal = new HandJournal();
    const machineConfig = join(journal.root, 'config.json');
    const config = { export: { file: { text: 'token' } }, enforced: ['export.file.text'] };
    writeFileSync(machineConfig, JSON.stringify(config));
    const words = ['--dir', join(journal.root, 'out'), '--state-dir', journal.root];
    const end = await mapisync(['export', 'file', ...words, '--text', 'plain'], { machineConfig });
    expect(end.code).toBe(EXIT.usage);
    expect(end.err).toContain('Cannot use --text');
  });

  test('to a receiver of OpenTelemetry, and to one that refuses', async () => {
    const journal = new HandJournal();
    const receiver = new Receiver();
    cleanUp(() => receiver.close());
    const env = { MAPISYNC_EXPORT_OTLP_URL: await receiver.listen() };
    const args = ['export', 'otlp', '--state-dir', journal.root, '--exit-on-done'];
    journal.settle();
    expect((await mapisync(args, { env })).code).toBe(0);
    const uids = receiver.logs.map(({ attributes }) => attributes['log.record.uid']);
    expect([...uids].sort()).toEqual([...journal.ids].sort());
    expect(receiver.bytes.map(String).join()).not.toMatch(NAMES);
    receiver.fate = () => 401;
    journal.settle();
    const end = await mapisync(args, { env });
    expect(end.code).toBe(EXIT.permission);
    expect(end.err).toMatch(/Cannot export to http.* 401 .*export\.otlp\.headers/);
  });

  test.runIf(hasNats)('to a stream of NATS, each record once', async () => {
    const journal = new HandJournal();
    const server = await new NatsServer().start();
    const env = { MAPISYNC_EXPORT_NATS_SERVERS: server.url };
    for (let round = 0; round < 2; round++) {
      journal.settle();
      const args = ['export', 'nats', '--state-dir', journal.root, '--exit-on-done'];
      expect((await mapisync(args, { env })).code).toBe(0);
    }
    const stored = await storedMessages({ servers: [server.url] });
    expect(stored.map(({ id }) => id)).toEqual(journal.ids);
  });
});

describe('settledEnd()', () => {
  const group = (n: number, of: number): object => ({
    event_name: 'session.note',
    group: { n, of },
  });
  const one = { event_name: 'session.note', msg: 'quotes "group": {"n":1,"of":2}' };
  const [begin, state, end] = ['begin', 'session', 'end'].map((name) => ({
    event_name: `snapshot.${name}`,
  }));

  test.for<[string, object[], number]>([
    ['nothing', [], 0],
    ['records', [one, one], 2],
    ['a group', [one, group(1, 2), group(2, 2)], 3],
    ['a group that goes on', [one, group(1, 3), group(2, 3)], 1],
    ['a snapshot', [begin!, state!, end!], 3],
    ['a snapshot that goes on', [begin!, state!], 0],
  ])('stands behind %s as recovery would', ([, records, settled]) => {
    const dir = tempDir();
    const lines = records.map((record) => `${JSON.stringify(record)}\n`);
    const path = segmentPath(dir, 3);
    writeFileSync(path, lines.join(''));
    appendFileSync(path, '{"event_name":"torn');
    const offset = lines.slice(0, settled).join('').length;
    expect(settledEnd(dir, { segment: 2, offset: 99 })).toEqual({ segment: 3, offset });
    expect(settledEnd(dir, { segment: 3, offset })).toEqual({ segment: 3, offset });
  });
});
