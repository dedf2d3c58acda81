// The demo as a user starts it, on what was built. It must leave nothing behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';

const demo = fileURLToPath(new URL('../../bin/demo.mjs', import.meta.url));

/** Everything that a demo makes lies in here. */
let scratch = '';
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

interface Demo {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  out: string;
  err: string;
}

function start(...args: string[]): Demo {
  scratch = mkdtempSync(join(tmpdir(), 'mapisync-demo-test-'));
  const child = spawn(process.execPath, [demo, ...args], {
    env: { ...process.env, TMPDIR: scratch, NO_COLOR: '1', LANG: 'C.UTF-8' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: Demo = { child, out: '', err: '', ended: once(child, 'close').then(([code]) => code) };
  child.stdout.on('data', (chunk) => {
    run.out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    run.err += chunk;
  });
  return run;
}

/** Command lines of processes that have to do with this test. */
function leftRunning(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(join('/proc', pid, 'cmdline'), 'utf8');
        return command.includes(scratch) ? [command.replaceAll('\0', ' ')] : [];
      } catch {
        return []; // It has just ended.
      }
    });
}

describe('the demo', () => {
  test('--json: one object, journal and provider agree, and nothing is left', async () => {
    const run = start('--json', '--remove', '--calls-per-second', '0', '--stores', '2');
    expect(await run.ended, run.err).toBe(0);
    expect(run.out.trimEnd().split('\n')).toHaveLength(1);
    expect(JSON.parse(run.out)).toMatchObject({
      sessions: 2,
      outcomes: { ok_with_errors: 2 },
      errors: { MAPI_E_NOT_FOUND: 12, MAPI_E_NO_ACCESS: 12, MAPI_E_CORRUPT_DATA: 36 },
      messages: 6060,
      calls: { errors: 60, dones: 2 },
      journal: { kept: false },
      consistent: true,
    });
    expect([readdirSync(scratch), leftRunning()]).toEqual([[], []]);
  });

  test('for people: what happens, then a summary, and the journal stays', async () => {
    const run = start('--calls-per-second', '0');
    expect(await run.ended, run.err).toBe(0);
    expect(run.out).toMatch(/"mapisync sample" "Mailbox" opened by sample-host/);
    expect(run.out).toMatch(/ended ok_with_errors/);
    expect(run.out).toMatch(/\nSessions {2}1: 1 ok_with_errors\nMessages {2}3 030\n/);
    expect(run.out).toMatch(/ Error, 1 Done: journal and provider agree\n/);
    const journal = /\nJournal {3}(\S+) \(/.exec(run.out)![1]!;
    expect(readdirSync(journal)).not.toHaveLength(0);
    const [folder] = readdirSync(scratch);
    expect(readdirSync(join(scratch, folder!))).toEqual(['state']);
    expect(leftRunning()).toEqual([]);
  });

  test('--kill: last words of a host that died alone, and no call is missing', async () => {
    const run = start('--kill');
    expect(await run.ended, run.err).toBe(0);
    expect(run.out).toMatch(
      /^sample-host(\.exe)? \(pid \d+\) died during "Mailbox: \w+" after Progress call [\d ]+ \(\d+\/\d+\); session [0-9a-f]{16}: abandoned, every one of the [\d ]+ calls that the host saw is in the journal\n$/,
    );
    expect(leftRunning()).toEqual([]);
  });

  test('--kill --json: one object', async () => {
    const run = start('--kill', '--json', '--remove');
    expect(await run.ended, run.err).toBe(0);
    expect(run.out.trimEnd().split('\n')).toHaveLength(1);
    const told = JSON.parse(run.out);
    expect(told).toMatchObject({
      session: { store: 'Mailbox', outcome: 'abandoned' },
      last: { method: 'Progress', call: told.calls.journal.Progress },
      consistent: true,
    });
    expect(told.calls.host.Progress).toBeGreaterThan(800);
    expect(told.calls.journal.Progress).toBeGreaterThanOrEqual(told.calls.host.Progress);
    expect([readdirSync(scratch), leftRunning()]).toEqual([[], []]);
  });

  test('--kill: a sync that ends too soon is said, and nothing is left', async () => {
    const maildir = mkdtempSync(join(tmpdir(), 'mapisync-demo-small-'));
    makeMaildir({ dir: maildir, messages: 5, folders: 1 });
    const run = start('--kill', '--maildir', maildir);
    expect([await run.ended, run.out]).toEqual([1, '']);
    expect(run.err).toMatch(/Cannot go on: the host ended/);
    expect([readdirSync(scratch), leftRunning()]).toEqual([[], []]);
    rmSync(maildir, { recursive: true });
  });

  test.for<NodeJS.Signals>(['SIGINT', 'SIGTERM'])(
    '%s in the middle: 130, nothing left',
    async (signal) => {
      const run = start('--calls-per-second', '50');
      await new Promise<void>((resolve) => {
        const look = setInterval(() => {
          if (!/ 0% /.test(run.out) && run.child.exitCode === null) return;
          clearInterval(look);
          resolve();
        }, 10);
      });
      run.child.kill(signal);
      expect(await run.ended, run.err).toBe(130);
      expect([readdirSync(scratch), leftRunning()]).toEqual([[], []]);
    },
  );

  test('a Maildir that is not there is said at once', async () => {
    const run = start('--maildir', '/nowhere/at/all');
    expect([await run.ended, run.err]).toEqual([2, expect.stringMatching(/Cannot read --maildir/)]);
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('a folder that is no Maildir: the reason of the provider, and nothing is left', async () => {
    const run = start('--json', '--maildir', join(demo, '..'));
    expect(await run.ended).toBe(1);
    expect(run.out).toBe('');
    expect(run.err).toMatch(/the host ended with [12]: .*Maildir/);
    expect([readdirSync(scratch), leftRunning()]).toEqual([[], []]);
  });

  test.for<[string[], RegExp]>([
    [['--frobnicate'], /Unknown option '--frobnicate'/],
    [['--kill', '--stores', '2'], /Cannot kill: expected one sync, got --stores/],
    [['--stores', '0'], /Cannot read --stores: expected a whole number from 1 to 64, got "0"/],
    [['--calls-per-second', 'fast'], /got "fast"/],
    [['extra'], /Cannot run the demo: .*positional/],
  ])('%j is wrong usage: 2', async ([args, want]) => {
    const run = start(...args);
    expect([await run.ended, run.out]).toEqual([2, '']);
    expect(run.err).toMatch(want);
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('--help', async () => {
    const run = start('--help');
    expect([await run.ended, run.err]).toEqual([0, '']);
    expect(run.out).toMatch(/--maildir DIR[\s\S]*Exit codes: 0 /);
  });
});
