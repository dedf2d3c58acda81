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
    const command = `trap : INT; LANG=C.UTF-8 "${process.execPath}" ${join(compiled(), 'bin', 'mapisync.js')} tail --no-start --state-dir ${daemon.stateDir}; echo "ended with $?"; read never`;
    // Its shell must not have what ours has: a colour or output setting of whoever runs the tests.
    tmux(
      'new-session',
      '-d',
      '-s',
      name,
      '-x',
      String(columns),
      '-y',
      '12',
      'env',
      '-i',
      `PATH=${process.env.PATH}`,
      `HOME=${tempDir()}`,
      'TERM=screen',
      'sh',
      '-c',
      command,
    );
    const screen = (): string[] => tmux('capture-pane', '-p', '-t', name).stdout.split('\n');
    await until('the row', () => screen().some((line) => / 41%/.test(line)), 15_000);
    const rows = screen().filter((line) => line !== '');
    expect(rows[0]).toMatch(/^ {4}.*受信トレイ +Übersicht.* 41%/);
    expect(rows[1]).toMatch(/^ {6}! {2}MAPI_E_NETWORK_ERROR 0x800/);
    expect(rows[2]).toMatch(/^1 running/);
    expect(rows).toHaveLength(3);
    for (const row of rows) expect(width(row)).toBeLessThan(columns);

    // A narrower terminal in the middle of it leaves nothing behind.
    tmux('resize-window', '-t', name, '-x', '44', '-y', '12');
    await until('the redraw', () => {
      const now = screen().filter((line) => line !== '');
      return now.length === 3 && now.every((line) => width(line) <= 44) && now;
    });

    peer.send(...script.done().close().after(3));
    await until('the end', () => screen().some((line) => /^! .*0:\d\d$/.test(line.trimEnd())));
    await until('the foot', () => screen().some((line) => /^0 running, 1 ended/.test(line)));

    tmux('send-keys', '-t', name, 'C-c');
    await until('the exit code', () => screen().some((line) => line === 'ended with 130'));
    const left = screen().filter((line) => line !== '');
    expect(left[0]).toMatch(/^! .*0:\d\d$/);
    expect(left[1]).toMatch(/^ {6}! {2}MAPI_E_NETWORK_ERROR/);
    expect(left.at(-1)).toBe('ended with 130');
    const flags = tmux('display-message', '-p', '-t', name, '#{cursor_flag} #{wrap_flag}').stdout;
    expect(flags.trim()).toBe('1 1');
  });
});
