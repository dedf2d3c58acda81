// Every command, writing to a reader that is gone, and to a full disk: a command without a row fails. And what
// may be long, to a slow reader: all of it arrives, and the writer does not keep it meanwhile.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { segmentPath } from '../../daemon/platform/journal-files.ts';
import {
  cleanUp,
  compiled,
  FakeShim,
  newRingId,
  root,
  Script,
  startDaemon,
  tempDir,
} from '../daemon/support.ts';
import { keptIo } from './builders.ts';

const AT_ONCE = 4;
const FULL =
  'mapisync: Cannot write the output: no space is left there\n' +
  '  Make room, or write somewhere else\nended 1\n';
/** The journal of the slow reader has about 50 MB; Node itself takes about 50. */
const MAX_RSS_KB = 140_000;

/** Words of a command, and what it needs to write something and end with 0. */
const ROWS: Record<string, string[]> = {
  '': [],
  tail: ['^0', '--exit-on-done'],
  status: [],
  sessions: [],
  logs: [],
  show: ['^0'],
  diff: ['^0', '^0'],
  check: ['^0'],
  record: ['^0', '--file', '-'],
  decode: [join(root, 'test', 'recordings', 'done-then-more.mapisync')],
  hresult: ['0x8004010F'],
  'daemon status': [],
  'service install': ['--dry-run'],
  'service uninstall': ['--dry-run'],
  'config list': [],
  'config path': [],
  'config validate': [],
  'config schema': [],
  'export status': [],
  metrics: [],
  completion: ['bash'],
  version: [],
};

/** Their reason: what they write is not theirs, or nothing, or is written by the tests that they have. */
const LEFT_OUT: Record<string, string> = {
  wait: 'writes as tail does',
  run: 'in run.test.ts',
  replay: 'changes what the others see',
  recover: 'in recover.test.ts',
  'daemon run': 'writes to stderr alone',
  'export file': 'writes to stderr alone',
  'export nats': 'writes to stderr alone',
  'export otlp': 'writes to stderr alone',
  'daemon start': 'says on stderr that one runs',
  'service status': 'ends with 1 where nothing is installed',
  'daemon stop': 'ends what the others ask',
  doctor: 'ends with 10 if something is wrong with this machine',
  demo: 'a script of its own',
  'test-provider': 'runs a host',
  'sdk path': 'the SDK may not be packed',
  'sdk copy': 'the SDK may not be packed',
};

async function commandsOf(words: readonly string[] = []): Promise<string[]> {
  const io = keptIo();
  await run([...words, '--help'], io);
  const list = /\nCommands:\n((?: {2}.*\n)*)/.exec(io.stdout.text)?.[1] ?? '';
  const names = [...list.matchAll(/^ {2}([a-z-]+)/gm)]
    .map(([, name]) => name!)
    .filter((name) => name !== 'help');
  if (names.length === 0) return [words.join(' ')];
  const inner = await Promise.all(names.map((name) => commandsOf([...words, name])));
  return inner.flat();
}

/** A daemon with one session that has ended. */
async function scene(): Promise<string> {
  const { stateDir } = await startDaemon({ recordKeep: 1 });
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  const script = new Script().progress(1, 2).done().close();
  shim.send(...script.frames);
  await shim.acked(script.seq);
  return stateDir;
}

const entry = (): string => join(compiled(), 'bin', 'mapisync.js');

/** @param shell What happens to `"$@"`. */
async function inShell(shell: string, name: string, stateDir: string): Promise<string> {
  const words = name === '' ? [] : name.split(' ');
  const args = [entry(), ...words, ...ROWS[name]!, '--state-dir', stateDir];
  const home = { HOME: stateDir, XDG_CONFIG_HOME: join(stateDir, 'none'), LANG: 'C.UTF-8' };
  const child = spawn('sh', ['-c', shell, 'sh', process.execPath, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...home, PATH: process.env.PATH },
    timeout: 60_000,
  });
  const err = await text(child.stderr);
  return /ended \d+\n$/.test(err) ? err : `It did not end. ${err}`;
}

describe.skipIf(!existsSync('/dev/full'))('output', { timeout: 60_000 }, () => {
  test('has a row for each command', async () => {
    const known = [...Object.keys(ROWS), ...Object.keys(LEFT_OUT)].filter((name) => name !== '');
    expect((await commandsOf()).sort()).toEqual(known.sort());
  });

  test('to a reader that is gone, and to a full disk', async () => {
    const stateDir = await scene();
    const names = Object.keys(ROWS);
    const found = new Map<string, string[]>();
    const waiting = [...names];
    const work = async (): Promise<void> => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        const gone = await inShell('{ "$@"; echo "ended $?" >&2; } | :', name, stateDir);
        const full = await inShell('"$@" > /dev/full; echo "ended $?" >&2', name, stateDir);
        found.set(name, [gone, full]);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    const wanted = ['ended 0\n', FULL];
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries(names.map((name) => [name, wanted])),
    );
  });

  test('logs: a slow reader gets all, and memory stays bounded', async () => {
    const state = tempDir();
    mkdirSync(join(state, 'journal'));
    const kept = join(root, 'test', 'protocol', 'records', 'journals', '0.1.0');
    const all = readFileSync(join(kept, readdirSync(kept)[0]!), 'utf8').split('\n');
    const some = all.find((line) => !line.includes('"event_name":"snapshot.'));
    const path = segmentPath(join(state, 'journal'), 1);
    for (let part = 0; part < 50; part++) appendFileSync(path, `${some}\n`.repeat(2000));
    const child = spawn(
      process.execPath,
      [entry(), 'logs', '--json', '--journal', join(state, 'journal')],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    cleanUp(() => child.kill('SIGKILL'));
    let lines = 0;
    let peakKb = 0;
    child.stdout.setEncoding('utf8');
    for await (const chunk of child.stdout) {
      lines += chunk.split('\n').length - 1;
      await sleep(1);
      const status = existsSync(`/proc/${child.pid}/status`)
        ? readFileSync(`/proc/${child.pid}/status`, 'utf8')
        : '';
      peakKb = Math.max(peakKb, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
    }
    if (child.exitCode === null) await once(child, 'exit');
    expect([lines, child.exitCode]).toEqual([100_000, 0]);
    expect(peakKb).toBeGreaterThan(0);
    expect(peakKb).toBeLessThan(MAX_RSS_KB);
  });
});
