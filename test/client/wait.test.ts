// `wait` on real daemons over real connections; the shims are played, frame by frame.
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { EXIT } from '../../client/exit.ts';
import {
  cleanUp,
  FakeShim,
  journalOf,
  named,
  newRingId,
  Script,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';
import { keptIo } from './builders.ts';

const USER_CANCEL = 0x80040113;
const NETWORK_ERROR = 0x80040115;
const WARNING = 0x00040680;

type Daemon = Awaited<ReturnType<typeof startDaemon>>;

/** A `wait` that runs in this process. */
function wait(daemon: { stateDir: string }, ...args: string[]) {
  const interruption = new AbortController();
  const io = keptIo({ interrupted: () => interruption.signal });
  const all = ['wait', '--no-start', '--state-dir', daemon.stateDir, ...args];
  let code: number | undefined;
  const ended = run(all, io).then((result) => {
    code = result;
    return result;
  });
  cleanUp(async () => {
    interruption.abort();
    await ended;
  });
  return {
    ended,
    io,
    interrupt: () => interruption.abort(),
    waits: async (): Promise<void> => {
      await until('it says so', () => /Waiting /.test(io.stderr.text));
      expect(code).toBeUndefined();
    },
  };
}

class Syncs {
  readonly #daemon: Daemon;
  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** Begins a sync; what is returned ends it. */
  async begin(store: string) {
    const peer = await FakeShim.connect(this.#daemon.stateDir);
    await peer.hello(newRingId());
    const script = new Script(1, store).progress(1, 9, 'Inbox');
    peer.send(...script.frames);
    await peer.acked(1);
    const before = script.seq;
    return async (result: number): Promise<void> => {
      peer.send(...script.done(result).close().after(before));
      await peer.acked(script.seq);
    };
  }
}

const outcomes = (text: string): string[] =>
  [...text.matchAll(/"(\w+)" ended (\w+)/g)].map(([, store, outcome]) => `${store} ${outcome}`);

describe('--for ended', () => {
  test.for<[string, number, number]>([
    ['ok', 0, EXIT.done],
    ['warned', WARNING, EXIT.syncWithErrors],
    ['failed', NETWORK_ERROR, EXIT.syncFailed],
    ['cancelled', USER_CANCEL, EXIT.syncCancelled],
  ])('a session that ends %s', async ([outcome, result, code]) => {
    const daemon = await startDaemon();
    const end = await new Syncs(daemon).begin('A');
    const waiting = wait(daemon, '^0');
    await waiting.waits();
    await end(result);
    expect(await waiting.ended, waiting.io.stderr.text).toBe(code);
    expect(outcomes(waiting.io.stdout.text)).toEqual([`A ${outcome}`]);
  });

  test('one that has ended: at once', async () => {
    const daemon = await startDaemon();
    await (await new Syncs(daemon).begin('A'))(USER_CANCEL);
    const [ended] = named(journalOf(daemon.stateDir), 'session.ended');
    const waiting = wait(daemon, ended!.session!.id.slice(0, 12), '--json');
    expect(await waiting.ended).toBe(EXIT.syncCancelled);
    expect(JSON.parse(waiting.io.stdout.text)).toMatchObject({ event_name: 'session.ended' });
  });

  test.for<[string, string[], [string, number][], number, string[]]>([
    // what, arguments, ends in order, exit code, said
    [
      'all: the worst counts',
      [],
      [
        ['A', USER_CANCEL],
        ['B', 0],
      ],
      11,
      ['A cancelled', 'B ok'],
    ],
    ['all: at once when one fails', ['--all'], [['A', NETWORK_ERROR]], 5, ['A failed']],
    ['any: the first', ['--any'], [['B', 0]], 0, ['B ok']],
  ])('%s', async ([, args, ends, code, said]) => {
    const daemon = await startDaemon();
    const syncs = new Syncs(daemon);
    const begun = new Map([
      ['A', await syncs.begin('A')],
      ['B', await syncs.begin('B')],
    ]);
    const waiting = wait(daemon, ...args);
    await waiting.waits();
    // Whoever comes later is not waited for.
    await syncs.begin('C');
    for (const [store, result] of ends) await begun.get(store)!(result);
    expect(await waiting.ended, waiting.io.stderr.text).toBe(code);
    expect(outcomes(waiting.io.stdout.text)).toEqual(said);
  });

  test('nothing runs: nothing to wait for', async () => {
    const waiting = wait(await startDaemon());
    expect([await waiting.ended, waiting.io.stdout.text]).toEqual([EXIT.done, '']);
  });

  test('--since: what has ended since then counts, and there must be one', async () => {
    const daemon = await startDaemon();
    const syncs = new Syncs(daemon);
    const early = wait(daemon, '--since', '1h');
    await early.waits();
    await (await syncs.begin('A'))(WARNING);
    expect(await early.ended).toBe(EXIT.syncWithErrors);
    const late = wait(daemon, '--since', '1h');
    expect(await late.ended).toBe(EXIT.syncWithErrors);
    expect(outcomes(late.io.stdout.text)).toEqual(['A warned']);
  });
});

test('--for idle: until none runs, those that begin meanwhile too', async () => {
  const daemon = await startDaemon();
  const syncs = new Syncs(daemon);
  const endA = await syncs.begin('A');
  const waiting = wait(daemon, '--for', 'idle');
  await waiting.waits();
  const endB = await syncs.begin('B');
  await endA(0);
  await until('A is said', () => /"A" ended/.test(waiting.io.stdout.text));
  await endB(USER_CANCEL);
  expect(await waiting.ended).toBe(EXIT.syncCancelled);
  expect(await wait(daemon, '--for', 'idle').ended).toBe(EXIT.done);
});

test('--for opened: the next one, or one since then', async () => {
  const daemon = await startDaemon();
  const syncs = new Syncs(daemon);
  await syncs.begin('A');
  const waiting = wait(daemon, '--for', 'opened');
  await waiting.waits();
  await syncs.begin('B');
  expect(await waiting.ended).toBe(EXIT.done);
  expect(waiting.io.stdout.text).toMatch(/^\S+ \w{16} "contoso" "B" opened by [^\n]*\n$/);
  const since = wait(daemon, '--for', 'opened', '--since', '1h');
  expect([await since.ended, since.io.stdout.text]).toEqual([
    EXIT.done,
    expect.stringMatching(/"A" opened/),
  ]);
});

describe('how it ends otherwise', () => {
  test('--timeout: 4, and what still runs', async () => {
    const daemon = await startDaemon();
    await new Syncs(daemon).begin('A');
    const waiting = wait(daemon, '--timeout', '300ms');
    expect([await waiting.ended, waiting.io.stderr.text]).toEqual([
      EXIT.timeout,
      expect.stringMatching(
        /expected one that has ended within 300 ms, got none: 1 session runs\n/,
      ),
    ]);
  });

  test('--timeout while one is stalled: 7', async () => {
    const daemon = await startDaemon({ quietMs: 100 });
    await new Syncs(daemon).begin('A');
    await until('it stalls', () => named(journalOf(daemon.stateDir), 'session.stalled')[0]);
    const waiting = wait(daemon, '--timeout', '300ms');
    expect([await waiting.ended, waiting.io.stderr.text]).toEqual([
      EXIT.syncStalled,
      expect.stringMatching(/1 session runs, 1 stalled/),
    ]);
  });

  test('Ctrl-C: 130', async () => {
    const daemon = await startDaemon();
    await new Syncs(daemon).begin('A');
    const waiting = wait(daemon);
    await waiting.waits();
    waiting.interrupt();
    expect(await waiting.ended).toBe(EXIT.interrupted);
  });

  test('no daemon, and none is to be started: 3', async () => {
    const waiting = wait({ stateDir: tempDir() });
    expect(await waiting.ended).toBe(EXIT.noDaemon);
  });

  test('over a restart of the daemon', async () => {
    const first = await startDaemon();
    const { stateDir } = first;
    const ring = newRingId();
    const peer = await FakeShim.connect(stateDir);
    await peer.hello(ring);
    const script = new Script(1, 'A').progress(1, 9);
    peer.send(...script.frames);
    await peer.acked(1);
    const waiting = wait(first);
    await waiting.waits();
    await first.stop();
    const second = await startDaemon({ stateDir });
    const again = await FakeShim.connect(stateDir);
    const durable = await again.hello(ring);
    again.send(...script.done(NETWORK_ERROR).close().after(durable));
    expect(await waiting.ended).toBe(EXIT.syncFailed);
    await second.stop();
  });

  test.for<[string[], RegExp]>([
    [['--for', 'never'], /Allowed choices are ended, idle, opened/],
    [['--since', 'soon'], /Cannot read --since: expected RFC 3339/],
    [['--any', '--all'], /cannot be used with/],
    [['^0', '--any'], /Cannot wait for \^0 and others/],
    [['--any', '--for', 'idle'], /Cannot wait for --any to be idle: expected --for ended/],
  ])('%s: 2', async ([args, text]) => {
    const waiting = wait({ stateDir: tempDir() }, ...args);
    expect([await waiting.ended, waiting.io.stderr.text]).toEqual([
      EXIT.usage,
      expect.stringMatching(text),
    ]);
  });
});
