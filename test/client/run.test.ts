// `run` as a script calls it: the program itself, the sample host with the real shim, real signals.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { EXIT } from '../../client/exit.ts';
import { compiled, journalOf, named, startDaemon, tempDir, until } from '../daemon/support.ts';
import { systems } from '../e2e/systems.ts';

const here = systems.find(({ name }) => name === 'linux');
const host = here ? join(here.native, here.names.host) : '';

let dir = '';
let mailbox = '';
let broken = '';
afterAll(() => rmSync(dir, { recursive: true, force: true }));
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'mapisync-run-test-'));
  mailbox = join(dir, 'Mailbox');
  broken = join(dir, 'Broken');
  makeMaildir({ dir: mailbox, messages: 20, folders: 2 });
  makeMaildir({ dir: broken, messages: 20, folders: 2, broken: 4 });
});

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** What is left of its own state directory. */
  readonly left: string[];
}

/** `mapisync run ARGS`; `during` may interrupt it. */
async function mapisync(
  args: readonly string[],
  during: (kill: (signal: NodeJS.Signals) => void, err: () => string) => unknown = () => {},
): Promise<Ran> {
  const temporary = join(tempDir(), 'temporary');
  mkdirSync(temporary);
  const child = spawn(process.execPath, [join(compiled(), 'bin', 'mapisync.js'), 'run', ...args], {
    env: { ...process.env, TMPDIR: temporary, MAPISYNC_STATE_DIR: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const closed = once(child, 'close');
  await during(
    (signal) => child.kill(signal),
    () => err,
  );
  const [code] = await closed;
  return { code, out, err, left: readdirSync(temporary) };
}

const sync = (maildir: string, ...more: string[]): string[] => [
  ...['--', host, '--quiet', '--maildir', maildir, '--store', join(tempDir(), 'store'), ...more],
];

describe.skipIf(!here)('the exit code says how the syncs ended', { timeout: 60_000 }, () => {
  test.for<[string, () => string[], number, RegExp]>([
    ['ok', () => sync(mailbox), EXIT.done, /"Mailbox" ended ok /],
    ['with errors', () => sync(broken), EXIT.syncWithErrors, /: Finished in .* with 4 errors/],
    ['failed', () => sync(mailbox, '--scenario', '16'), EXIT.syncFailed, /The provider gave up/],
    ['cancelled', () => sync(mailbox, '--scenario', '15'), EXIT.syncCancelled, /ended cancelled/],
    [
      'the host crashed',
      () => sync(mailbox, '--callback', 'crash'),
      EXIT.syncStalled,
      /ended while thread \d+ was inside Outlook's Progress/,
    ],
    ['no session', () => ['--', 'true'], EXIT.failed, /expected the program to open a session/],
    ['the program failed', () => ['--', 'false'], EXIT.failed, /the program ended with 1/],
    ['--timeout', () => ['--timeout', '1s', '--', 'sleep', '60'], EXIT.timeout, /within 1000 ms/],
    ['no such program', () => ['--', './nosuch'], EXIT.usage, /found none of that name/],
  ])('%s', async ([, args, code, text]) => {
    const ran = await mapisync(args());
    expect([ran.code, ran.err, ran.out]).toEqual([code, expect.stringMatching(text), '']);
    expect(ran.left).toEqual([]);
  });
});

describe.skipIf(!here)('run', { timeout: 60_000 }, () => {
  test('--json: stdout is records and nothing else; --junit has a case for each', async () => {
    const report = join(tempDir(), 'report.xml');
    const script = `echo hello; exec "$@"`;
    const [, ...command] = sync(broken, '--stores', '2');
    const ran = await mapisync([
      '--json',
      '--junit',
      report,
      '--',
      'sh',
      '-c',
      script,
      'sh',
      ...command,
    ]);
    expect(ran.code, ran.err).toBe(EXIT.syncWithErrors);
    const records = ran.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(records.map(({ event_name, outcome }) => [event_name, outcome])).toEqual([
      ['session.ended', 'ok_with_errors'],
      ['session.ended', 'ok_with_errors'],
    ]);
    expect(ran.err).toContain('hello\n');
    const cases = [...readFileSync(report, 'utf8').matchAll(/<testcase [^>]* name="(\w+)/g)];
    expect(cases.map(([, name]) => name)).toEqual(['sync', 'MS020', 'sync', 'MS020']);
  });

  test('--state-dir keeps the journal, and is no one else’s', async () => {
    const stateDir = join(tempDir(), 'state');
    const first = await mapisync(['--state-dir', stateDir, ...sync(mailbox)]);
    expect(first.code, first.err).toBe(EXIT.done);
    // The earlier run does not count any more.
    const second = await mapisync(['--state-dir', stateDir, '--', 'true']);
    expect(second.err).toMatch(/expected the program to open a session/);
    expect(named(journalOf(stateDir), 'session.ended')).toHaveLength(1);
    expect(existsSync(join(stateDir, 'endpoint'))).toBe(false);

    const daemon = await startDaemon();
    const shared = await mapisync(['--state-dir', daemon.stateDir, ...sync(mailbox)]);
    expect([shared.code, shared.err]).toEqual([
      EXIT.usage,
      expect.stringMatching(/expected one that no daemon uses, got that of pid \d+/),
    ]);
  });

  test('a host that outlives the program is waited for', async () => {
    const [, ...command] = sync(mailbox, '--calls-per-second', '40');
    const ran = await mapisync(['--', 'sh', '-c', '"$@" & exit 0', 'sh', ...command]);
    expect([ran.code, ran.err]).toEqual([EXIT.done, expect.stringMatching(/ended ok in 0:0[0-9]/)]);
  });

  test('--timeout ends the program too: 7 for one that hangs, and its session is reported', async () => {
    const report = join(tempDir(), 'report.xml');
    const ran = await mapisync([
      ...['--timeout', '6s', '--junit', report],
      ...sync(mailbox, '--callback', 'hang'),
    ]);
    expect([ran.code, ran.err]).toEqual([
      EXIT.syncStalled,
      expect.stringMatching(/to end within 6000 ms; 1 stalled/),
    ]);
    expect(ran.err).toMatch(/ended abandoned/);
    expect(readFileSync(report, 'utf8')).toContain('<failure type="abandoned"');
    expect(ran.left).toEqual([]);
  });

  test('nobody reads its output: quiet, and its daemon is gone', async () => {
    const text = `node "$0" run --json "$@" | head -c 1; echo "\${PIPESTATUS[0]}"`;
    const temporary = join(tempDir(), 'temporary');
    mkdirSync(temporary);
    const [, ...command] = sync(mailbox, '--hold', '300');
    const cli = join(compiled(), 'bin', 'mapisync.js');
    const { stdout, stderr } = spawnSync(
      'bash',
      ['-c', text, cli, '--', ...command, '--stores', '2'],
      {
        env: { ...process.env, TMPDIR: temporary },
      },
    );
    expect([String(stdout), String(stderr)]).toEqual(['{0\n', '']);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('SIGTERM: the program hears of it, and nothing is left', async () => {
    const mark = join(tempDir(), 'mark');
    const script = join(tempDir(), 'program.sh');
    writeFileSync(
      script,
      `trap 'echo ended > ${mark}; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done\n`,
    );
    const ran = await mapisync(['--', 'sh', script], async (kill, err) => {
      await until('it runs', () => err().includes('ready'), 15_000);
      kill('SIGTERM');
    });
    expect(ran.code).toBe(EXIT.interrupted);
    expect(readFileSync(mark, 'utf8')).toBe('ended\n');
    expect(ran.left).toEqual([]);
  });
});
