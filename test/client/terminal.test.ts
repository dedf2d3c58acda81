// What a person sees: the built program in a real terminal emulator, read back as a grid of characters.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { width } from '../../client/render/text.ts';
import {
  compiled,
  FakeShim,
  newRingId,
  Script,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';

const server = `mapisync-test-${process.pid}`;
const tmux = (...args: string[]) =>
  spawnSync('tmux', ['-L', server, '-f', '/dev/null', ...args], { encoding: 'utf8' });
const missing = spawnSync('tmux', ['-V']).status !== 0;
if (missing && process.env.MAPISYNC_REQUIRE === 'all')
  throw new Error('Cannot test in a terminal: install tmux');
if (missing) process.stderr.write('SKIPPED: tests in a terminal (sudo apt-get install tmux)\n');
afterAll(() => void tmux('kill-server'));

interface Window {
  readonly stateDir: string;
  readonly columns: number;
  readonly rows: number;
}

const tailOf = (stateDir: string): string => {
  const program = `"${process.execPath}" ${join(compiled(), 'bin', 'mapisync.js')}`;
  return `LANG=C.UTF-8 ${program} tail --no-start --state-dir ${stateDir}`;
};

/** `tail` in a window of its own, in which its exit code stands in the end. @returns what is on it. */
function open(name: string, { stateDir, columns, rows }: Window): () => string[] {
  const command = `trap : INT; ${tailOf(stateDir)}; echo "ended with $?"; read never`;
  return openShell(name, columns, rows, '-c', command);
}

/** @returns what is on it. */
function openShell(name: string, columns: number, rows: number, ...args: string[]): () => string[] {
  // It must not have what ours has: a colour or output setting of whoever runs the tests.
  const env = [
    'env',
    '-i',
    `PATH=${process.env.PATH}`,
    `HOME=${tempDir()}`,
    'TERM=screen',
    'PS1=$ ',
  ];
  const size = ['-x', String(columns), '-y', String(rows)];
  tmux('new-session', '-d', '-s', name, ...size, ...env, 'sh', ...args);
  return () =>
    tmux('capture-pane', '-p', '-t', name)
      .stdout.split('\n')
      .filter((line) => line !== '');
}

/** Without what is another one each time: pids, seconds. */
const settled = (rows: readonly string[]): string =>
  rows
    .map((row) =>
      row
        .replace(/ +daemon \d+$/, '  daemon PID')
        .replace(/\b0:\d\d$/, '0:SS')
        .trimEnd(),
    )
    .join('\n');

describe.skipIf(missing)('tail in a terminal', () => {
  test.for([40, 80, 200])('of %i columns', async (columns) => {
    const daemon = await startDaemon();
    const peer = await FakeShim.connect(daemon.stateDir);
    await peer.hello(newRingId());
    const script = new Script(1, '受信トレイ')
      .progress(41, 100, 'Übersicht')
      .error('no\x1b[31m', 0x80040115);
    peer.send(...script.frames);
    await peer.acked(script.seq);

    const name = `at${columns}`;
    const screen = open(name, { stateDir: daemon.stateDir, columns, rows: 12 });
    await until('the row', () => screen().some((line) => / 41%/.test(line)), 15_000);
    const running = screen();
    for (const row of running) expect(width(row)).toBeLessThan(columns);

    // A narrower terminal in the middle of it leaves nothing behind.
    tmux('resize-window', '-t', name, '-x', '44', '-y', '12');
    await until('the redraw', () => {
      const now = screen();
      return now.length === 3 && now.every((line) => width(line) <= 44) && now;
    });

    peer.send(...script.done().close().after(3));
    await until('the end', () => screen().some((line) => /^! .*0:\d\d$/.test(line.trimEnd())));
    await until('the foot', () => screen().some((line) => /^0 running, 1 ended/.test(line)));
    const ended = screen();

    tmux('send-keys', '-t', name, 'C-c');
    await until('the exit code', () => screen().some((line) => line === 'ended with 130'));
    const screens = [running, ended, screen()].map(settled).join('\n\n');
    await expect(`${screens}\n`).toMatchFileSnapshot(`expected/screen-${columns}.expected`);
    const flags = tmux('display-message', '-p', '-t', name, '#{cursor_flag} #{wrap_flag}').stdout;
    expect(flags.trim()).toBe('1 1');
  });

  test('that is left by Ctrl-Z: the shell gets it back as it was, and then we do', async () => {
    const daemon = await startDaemon();
    const peer = await FakeShim.connect(daemon.stateDir);
    await peer.hello(newRingId());
    const script = new Script(1, 'Inbox').progress(41, 100);
    peer.send(...script.frames);
    await peer.acked(script.seq);
    const screen = openShell('left', 80, 12);
    const flags = () =>
      tmux('display-message', '-p', '-t', 'left', '#{cursor_flag} #{wrap_flag}').stdout.trim();
    const type = (...keys: string[]) => tmux('send-keys', '-t', 'left', ...keys);
    const isPrompt = () => screen().at(-1) === '$';
    const isAtEnd = () => /^1 running .* daemon \d+$/.test(screen().at(-1) ?? '');

    type(tailOf(daemon.stateDir), 'Enter');
    await until('the row', isAtEnd, 15_000);
    expect(flags()).toBe('0 0');
    type('C-z');
    await until('the prompt', isPrompt);
    expect(flags()).toBe('1 1');
    type('fg', 'Enter');
    await until('the row again', isAtEnd);
    expect(screen().filter((line) => / 41%/.test(line))).toHaveLength(2);
    type('C-c');
    await until('the prompt', isPrompt);
    type('echo "ended with $?"', 'Enter');
    await until('the exit code', () => screen().some((line) => line === 'ended with 130'));
    expect(flags()).toBe('1 1');
  });

  test('with hundreds of sessions, and a daemon that goes and comes back', async () => {
    const stateDir = join(tempDir(), 'state');
    const first = await startDaemon({ stateDir });
    for (const ring of [1, 2]) {
      const peer = await FakeShim.connect(stateDir);
      await peer.hello(newRingId());
      let seq = 1;
      for (let n = 1; n <= 150; n++) {
        const script = new Script(seq, `Mailbox ${ring}-${n}`).progress(n, 200);
        peer.send(...script.frames);
        seq = script.seq + 1;
      }
      await peer.acked(seq - 1);
    }
    const screen = open('many', { stateDir, columns: 80, rows: 12 });
    await until(
      'the foot',
      () => /^300 running, 290 not shown/.test(screen().at(-1) ?? ''),
      15_000,
    );
    expect(screen()).toHaveLength(11);

    // In 40 columns there is room for one of the two: that nothing moves any more is the news.
    tmux('resize-window', '-t', 'many', '-x', '40', '-y', '12');
    await first.stop();
    await until('it says so', () =>
      /^daemon lost, waiting for it, 300 runn/.test(screen().at(-1) ?? ''),
    );
    const second = await startDaemon({ stateDir });
    await until('it says so', () =>
      screen().some((line) => /^The daemon is back \(pid/.test(line)),
    );
    await until('the foot', () => /^300 running/.test(screen().at(-1) ?? ''));
    await second.stop();
  });
});
