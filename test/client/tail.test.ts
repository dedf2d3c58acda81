// `tail` on real daemons over real connections; the shims are played, frame by frame.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import type { Io } from '../../client/io.ts';
import {
  cleanUp,
  compiled,
  FakeShim,
  journalOf,
  newRingId,
  type RunningDaemon,
  Script,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';
import { Kept, keptIo } from './builders.ts';

const USER_CANCEL = 0x80040113;
const NETWORK_ERROR = 0x80040115;
const WARNING = 0x00040680;

/** A `tail` that runs in this process. */
function tail(daemon: { stateDir: string }, args: readonly string[], given: Partial<Io> = {}) {
  const interruption = new AbortController();
  const io = keptIo({ interrupted: () => interruption.signal, ...given });
  const ended = run(['tail', '--no-start', '--state-dir', daemon.stateDir, ...args], io);
  cleanUp(async () => {
    interruption.abort();
    await ended;
  });
  return {
    ended,
    io,
    interrupt: () => interruption.abort(),
    lines: () => io.stdout.text.split('\n').slice(0, -1),
    records: () =>
      io.stdout.text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
    following: () => until('tail follows', () => /Following/.test(io.stderr.text)),
  };
}

async function shim(daemon: { stateDir: string }, ring = newRingId()): Promise<FakeShim> {
  const peer = await FakeShim.connect(daemon.stateDir);
  await peer.hello(ring);
  return peer;
}

/** Sends a whole script and waits until the journal has it. */
async function play(daemon: { stateDir: string }, script: Script): Promise<FakeShim> {
  const peer = await shim(daemon);
  peer.send(...script.frames);
  await peer.acked(script.seq);
  return peer;
}

describe('--exit-on-done', () => {
  test.for<[string, (script: Script) => Script, number]>([
    ['ok', (script) => script.progress(1, 1, 'Inbox').done(), 0],
    ['ok_with_errors', (script) => script.error('x', NETWORK_ERROR).done(), 6],
    ['warned', (script) => script.done(WARNING), 6],
    ['failed', (script) => script.done(NETWORK_ERROR), 5],
    ['failed without a Done', (script) => script.progress(1, 2), 5],
    ['cancelled', (script) => script.done(USER_CANCEL), 11],
  ])('a session that ends %s', async ([outcome, plot, want]) => {
    const daemon = await startDaemon();
    const watching = tail(daemon, ['--exit-on-done', '--json']);
    await watching.following();
    await play(daemon, plot(new Script()).close());
    expect(await watching.ended).toBe(want);
    expect(watching.records().at(-1)).toMatchObject({
      event_name: 'session.ended',
      outcome: outcome.split(' ')[0],
    });
  });

  test('several sessions: it waits for the last, and the worst counts', async () => {
    const daemon = await startDaemon();
    const first = await shim(daemon);
    const [a, b] = [new Script(1, 'A').progress(1, 9), new Script(1, 'B').progress(1, 9)];
    first.send(...a.frames);
    await first.acked(a.seq - 1);
    const watching = tail(daemon, ['--exit-on-done']);
    await watching.following();
    const second = await shim(daemon);
    second.send(...b.frames);
    await second.acked(b.seq - 1);
    await until('tail shows both', () => /"B".*opened/.test(watching.io.stdout.text));
    first.send(...a.done(USER_CANCEL).close().after(2));
    await until('the first end', () => /"A" ended cancelled/.test(watching.io.stdout.text));
    second.send(...b.done().close().after(2));
    expect(await watching.ended).toBe(11);
    expect(watching.lines().at(-1)).toMatch(/"B" ended ok /);
  });

  test('watches those that were chosen and no others', async () => {
    const daemon = await startDaemon();
    const watching = tail(daemon, ['--exit-on-done', '--store', 'cal*']);
    await watching.following();
    await play(daemon, new Script(1, 'Mailbox').done(NETWORK_ERROR).close());
    await play(daemon, new Script(1, 'Calendar').done().close());
    expect(await watching.ended).toBe(0);
    expect(watching.io.stdout.text).not.toMatch(/Mailbox/);
  });
});

describe('--json', () => {
  test('gives the lines of the journal, each with a cursor to go on from', async () => {
    const daemon = await startDaemon();
    const watching = tail(daemon, ['--json', '--exit-on-done']);
    await watching.following();
    const script = new Script().progress(1, 10, 'Inbox').error('no\u202eway\x1b').progress(10, 10);
    await play(daemon, script.done().close());
    await watching.ended;
    const seen = watching.records();
    const wanted = journalOf(daemon.stateDir).filter(({ session }) => session);
    expect(seen.map(({ cursor: _, ...record }) => record)).toEqual(wanted);
    expect(watching.io.stdout.text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);

    for (const [index, { cursor }] of seen.entries()) {
      const rest = tail(daemon, ['--json', '--after', cursor, '--timeout', '300ms']);
      await rest.following();
      await until('the rest', () => rest.lines().length >= seen.length - 1 - index);
      rest.interrupt();
      await rest.ended;
      expect(rest.records()).toEqual(seen.slice(index + 1));
    }
  });

  test('--all adds what is about no session', async () => {
    const daemon = await startDaemon();
    await play(daemon, new Script().done().close());
    const names = async (...args: string[]): Promise<string[]> => {
      const watching = tail(daemon, ['--json', '--since', '1h', ...args]);
      await watching.following();
      watching.interrupt();
      expect(await watching.ended).toBe(130);
      return watching.records().map(({ event_name }) => event_name);
    };
    const bare = await names();
    expect(bare).not.toContain('process.connected');
    expect(bare).toContain('session.ended');
    expect(await names('--all')).toEqual(
      expect.arrayContaining([...bare, 'process.connected', 'daemon.started']),
    );
    expect(await names('--all', '--store', 'nowhere')).toEqual([]);
  });

  test('--since leaves out what is older', async () => {
    const daemon = await startDaemon();
    await play(daemon, new Script(1, 'Old').done().close());
    const since = new Date(Date.now() + 1).toISOString();
    await new Promise((resolve) => setTimeout(resolve, 5)); // The next ones are younger than `since`.
    await play(daemon, new Script(1, 'New').done().close());
    const watching = tail(daemon, ['--since', since, '--exit-on-done']);
    expect(await watching.ended).toBe(0);
    expect(watching.io.stdout.text).toMatch(/"New" ended/);
    expect(watching.io.stdout.text).not.toMatch(/Old/);
  });
});

describe('SESSION', () => {
  test('a running one by its prefix, until it ends', async () => {
    const daemon = await startDaemon();
    const peer = await shim(daemon);
    const script = new Script(1, 'A').progress(3, 10, 'Inbox');
    peer.send(...script.frames);
    await peer.acked(1);
    const [opened] = journalOf(daemon.stateDir).filter((r) => r.event_name === 'session.opened');
    const watching = tail(daemon, [opened!.session!.id.slice(0, 12)]);
    await watching.following();
    await until('its line', () => /"A" running/.test(watching.io.stdout.text));
    await play(daemon, new Script(1, 'B').done().close());
    peer.send(...script.done(NETWORK_ERROR).close().after(2));
    expect(await watching.ended).toBe(0); // Nobody asked how it went.
    expect(watching.io.stdout.text).not.toMatch(/"B"/);
    expect(watching.lines().at(-1)).toMatch(/ended failed/);
  });

  test('one that has ended: how it ended', async () => {
    const daemon = await startDaemon();
    await play(daemon, new Script(1, 'A').done(NETWORK_ERROR).close());
    await play(daemon, new Script(1, 'B').done().close());
    expect(await tail(daemon, ['^0', '--exit-on-done']).ended).toBe(0);
    const older = tail(daemon, ['^1', '--exit-on-done']);
    expect(await older.ended).toBe(5);
    expect(older.lines()).toEqual([expect.stringMatching(/"A" ended failed/)]);
    const none = tail(daemon, ['^2']);
    expect([await none.ended, none.io.stderr.text]).toEqual([
      2,
      expect.stringMatching(/expected at most \^1, got \^2/),
    ]);
  });
});

describe('a daemon that goes away', () => {
  test('and comes back: tail says so, and misses and repeats nothing', async () => {
    const stateDir = join(tempDir(), 'state');
    const first = await startDaemon({ stateDir });
    const watching = tail(first, ['--json', '--exit-on-done']);
    await watching.following();
    const ring = newRingId();
    const script = new Script().progress(1, 10, 'Inbox');
    const peer = await shim(first, ring);
    peer.send(...script.frames);
    await peer.acked(1);
    await first.stop();
    await until('the loss is said', () => /Lost the daemon/.test(watching.io.stderr.text));

    const second = await startDaemon({ stateDir });
    // All of it happens before tail is back, perhaps.
    const again = await FakeShim.connect(stateDir);
    const durable = await again.hello(ring);
    again.send(...script.error('x', NETWORK_ERROR).done().close().after(durable));
    expect(await watching.ended).toBe(6);
    expect(watching.io.stderr.text).toMatch(/The daemon is back/);
    const seen = watching.records().map(({ event_id }) => event_id);
    const wanted = journalOf(stateDir).filter(({ session }) => session);
    expect(seen).toEqual(wanted.map(({ event_id }) => event_id));
    await second.stop();
  });

  test('before the first record: what ended meanwhile is seen all the same', async () => {
    const stateDir = join(tempDir(), 'state');
    const first = await startDaemon({ stateDir });
    const watching = tail(first, ['--exit-on-done']);
    await watching.following();
    await first.stop();
    const second = await startDaemon({ stateDir });
    await play(second, new Script().done(USER_CANCEL).close());
    expect(await watching.ended).toBe(11);
  });

  test('tail starts one if there is none, and it stays', async () => {
    const stateDir = join(tempDir(), 'state');
    const interruption = new AbortController();
    const io = keptIo({
      entry: join(compiled(), 'bin', 'mapisync.js'),
      interrupted: () => interruption.signal,
    });
    const ended = run(['tail', '--state-dir', stateDir], io);
    await until('tail follows', () => /Following/.test(io.stderr.text), 15_000);
    interruption.abort();
    expect(await ended).toBe(130);
    expect(existsSync(join(stateDir, 'endpoint'))).toBe(true);
    expect(await run(['daemon', 'stop', '--state-dir', stateDir], keptIo())).toBe(0);
    const pid = Number(/\(daemon (\d+)\)/.exec(io.stderr.text)?.[1]);
    await until('its last line of diagnostics is written', () => {
      try {
        return !process.kill(pid, 0);
      } catch {
        return true;
      }
    });
  });
});

describe('how it ends', () => {
  const idle = async (args: string[], given: Partial<Io> = {}) => {
    const daemon: RunningDaemon = await startDaemon();
    const watching = tail(daemon, args, given);
    await watching.following();
    return { daemon, watching };
  };

  test('Ctrl-C: 130', async () => {
    const { watching } = await idle([]);
    watching.interrupt();
    expect(await watching.ended).toBe(130);
  });

  test('--timeout: 4', async () => {
    const { watching } = await idle(['--timeout', '200ms']);
    expect(await watching.ended).toBe(4);
  });

  test('a closed pipe: 0', async () => {
    const { daemon, watching } = await idle([]);
    const { OutputClosed } = await import('../../client/io.ts');
    watching.io.stdout.failure = new OutputClosed();
    await play(daemon, new Script().done().close());
    expect(await watching.ended).toBe(0);
  });

  test('a full disk: 1', async () => {
    const { daemon, watching } = await idle(['--json']);
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' });
    watching.io.stdout.failure = full;
    await play(daemon, new Script().done().close());
    expect(await watching.ended).toBe(1);
    expect(watching.io.stderr.text).toMatch(/no space is left there/);
  });

  test('-q says nothing but errors and ends', async () => {
    const daemon = await startDaemon();
    const watching = tail(daemon, ['-q', '--exit-on-done', '--since', '1h']);
    await play(daemon, new Script().progress(1, 2, 'Inbox').error('x').done().close());
    await watching.ended;
    expect(watching.io.stderr.text).toBe('');
    expect(watching.lines()).toEqual([
      expect.stringMatching(/ error MAPI_E_NOT_FOUND /),
      expect.stringMatching(/ ended ok_with_errors /),
    ]);
  });
});

describe('in a terminal', () => {
  const terminal = (columns: number): Partial<Io> => ({
    stdout: new Kept({ isTTY: true, columns, rows: 20 }),
    env: { LANG: 'C.UTF-8', TERM: 'xterm', WT_SESSION: 'x', NO_COLOR: '1' },
  });

  test('rows, errors beneath them, ends above, the task bar; and all is given back', async () => {
    const daemon = await startDaemon();
    const peer = await shim(daemon);
    const script = new Script(1, 'A\x1b[2J').progress(25, 100, 'Inbox');
    peer.send(...script.frames);
    await peer.acked(1);
    const watching = tail(daemon, ['--exit-on-done'], terminal(80));
    const text = (): string => watching.io.stdout.text;
    await until('the row', () =>
      /contoso {2}A\\u\{1b\}\[2J {2}Inbox .* 25% {2}25\/100/.test(text()),
    );
    peer.send(...script.error('x').error('y').after(2));
    await until('the errors', () =>
      /! {2}MAPI_E_NOT_FOUND 0x8004010F x2 \(not_found\) {2}y/.test(text()),
    );
    await until('the task bar', () => text().includes('\x1b]9;4;1;25\x07'));
    peer.send(...script.progress(100, 100).done().close().after(4));
    expect(await watching.ended).toBe(6);
    expect(text()).toMatch(/! {3}contoso .*ok_with_errors: 2 errors, 100\/100 +0:0\d/);
    expect(text()).not.toContain('A\x1b[2J');
    expect(text().endsWith('\x1b[?7h\x1b[?25h')).toBe(true);
    expect(text().slice(text().lastIndexOf('\x1b]9;4;'))).toMatch(/^\x1b\]9;4;0;0\x07/);
  });

  test('redraws at most ten times a second, however much comes', async () => {
    const daemon = await startDaemon();
    const watching = tail(daemon, [], terminal(100));
    const peer = await shim(daemon);
    const script = new Script(1, 'A');
    for (let call = 0; call < 5000; call++) script.progress(call, 5000, `Folder ${call % 50}`);
    const began = performance.now();
    peer.send(...script.frames);
    await until('the last call', () => /4 999\/5 000/.test(watching.io.stdout.text));
    const draws = watching.io.stdout.text.split('\x1b[J').length - 1;
    expect(draws).toBeLessThanOrEqual((performance.now() - began) / 100 + 3);
    watching.interrupt();
    expect(await watching.ended).toBe(130);
    expect(watching.io.stdout.text).toContain('\x1b[?7h\x1b[?25h\r\n');
  });
});
