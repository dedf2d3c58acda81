// What a daemon says with the journal of systemd as its stderr, and with anything else.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDiagnostics, sayOnStderr } from '../../daemon/diagnostics.ts';
import { MAX_SAID_BYTES } from '../../daemon/limits.ts';
import { isSystemJournal } from '../../daemon/platform/system-journal.ts';
import { cleanUp, compiled, tempDir, until } from './support.ts';

describe('isSystemJournal()', () => {
  test.for<[string, (device: bigint, inode: bigint) => string | undefined, boolean]>([
    ['this very file', (device, inode) => `${device}:${inode}`, true],
    ['another file', (device, inode) => `${device}:${inode + 1n}`, false],
    ['another device', (device, inode) => `${device + 1n}:${inode}`, false],
    ['no number', (device) => `${device}:x`, false],
    ['half of it', (device) => `${device}`, false],
    ['nothing', () => '', false],
    ['no variable', () => undefined, false],
  ])('with a variable that says %s', ([, variable, wanted]) => {
    const fd = openSync(join(tempDir(), 'stream'), 'w');
    const { dev, ino } = fstatSync(fd, { bigint: true });
    const env = { JOURNAL_STREAM: variable(dev, ino) };
    expect(isSystemJournal(env, fd)).toBe(wanted);
    closeSync(fd);
    expect(isSystemJournal(env, fd)).toBe(false);
  });
});

test('each line has its level, and none is left out for their number', () => {
  let text = '';
  const say = sayOnStderr((part) => {
    text += part;
  }, true);
  say('mapisync: It is ready');
  say('mapisync: It fails:\n  look there\n', 'error');
  expect(text).toBe('<6>It is ready\n<3>It fails:\n<3>  look there\n');
  for (let n = 0; n < 1000; n++) say(`mapisync: ${n} ${'x'.repeat(100)}`, 'warn');
  expect(text.length).toBeGreaterThan(MAX_SAID_BYTES);
  expect(text.trimEnd().split('\n').at(-1)).toMatch(/^<4>999 x+$/);
});

test('lines of the log are told, but those that people have heard of', () => {
  const told: unknown[] = [];
  const log = openDiagnostics(join(tempDir(), 'daemon.log'), (...said) => void told.push(said));
  log.info({ why: 'SIGTERM' }, 'stopping');
  log.warn({ path: '/r.ring', reason: 'oversize' }, 'Cannot read frame');
  log.error({ err: new Error('of\nthe system') }, 'Cannot adopt');
  log.error({ err: new Error('full'), said: true }, 'journal full');
  expect(told).toEqual([
    ['stopping: SIGTERM', 'info'],
    ['Cannot read frame: /r.ring', 'warn'],
    ['Cannot adopt: of\nthe system', 'error'],
  ]);
});

/** Of a shell: makes its stderr the journal's stream, as systemd says it. */
const RIGHT = 'export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)';
const WRONG = 'export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/0)';
const entry = (): string => join(compiled(), 'bin', 'mapisync.js');

describe.runIf(process.platform === 'linux')('a daemon', () => {
  test.for([
    [
      'the journal of systemd',
      RIGHT,
      '<6>The daemon is ready',
      '<6>stopping: SIGTERM\n<6>stopped\n',
    ],
    ['something else', WRONG, 'mapisync: The daemon is ready', ''],
  ] as const)('says what it says as %s takes it', async ([, shell, ready, last]) => {
    const dir = tempDir();
    const path = join(dir, 'stderr');
    const start = (...more: string[]) => {
      const fd = openSync(path, 'a');
      const words = [process.execPath, entry(), 'daemon', 'run', '--state-dir', join(dir, 'state')];
      const child = spawn('sh', ['-c', `${shell}; exec "$@"`, 'sh', ...words, ...more], {
        stdio: ['ignore', 'ignore', fd],
      });
      closeSync(fd);
      cleanUp(() => child.kill('SIGKILL'));
      return child;
    };
    const said = (): string => readFileSync(path, 'utf8');
    const child = start();
    await until('it is ready', () => said().includes('ready'));
    expect(said()).toMatch(new RegExp(`^${ready} .*\\n$`));
    if (shell === RIGHT) {
      writeFileSync(path, '');
      expect((await once(start(), 'exit'))[0]).toBe(1);
      expect(said()).toMatch(/^<3>Cannot run a second daemon .*\n$/);
      writeFileSync(path, '');
      expect((await once(start('--quiet-after', '1ms', 'x'), 'exit'))[0]).toBe(2);
      expect(said()).toMatch(/^<3>Cannot read.*\n<3> {2}See: .*\n$/);
    }
    writeFileSync(path, '');
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect(said()).toBe(last);
  });

  const journald = ['/usr/lib/systemd/systemd-journald', '/lib/systemd/systemd-journald'].find(
    existsSync,
  );
  const hasJournal =
    journald !== undefined &&
    spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'x', '/run']).status === 0;

  test.runIf(hasJournal)('has its levels in a real journal', () => {
    const script = `
      mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal || exit
      "$1" & journald=$!
      while [ ! -S /run/systemd/journal/stdout ]; do sleep 0.02; done
      daemon() { exec systemd-cat -t mapisync sh -c '${RIGHT}; exec "$@"' sh "$@"; }
      shift
      (daemon "$@") & first=$!
      while [ ! -e "$STATE/endpoint" ]; do sleep 0.02; done
      (daemon "$@")
      kill $first; wait $first
      journalctl --sync
      journalctl -t mapisync -o json
      kill $journald; wait $journald`;
    const state = join(tempDir(), 'state');
    const words = [process.execPath, entry(), 'daemon', 'run', '--state-dir', state];
    const { stdout } = spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', journald!, ...words], {
      encoding: 'utf8',
      env: { ...process.env, STATE: state },
    });
    const entries = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(entries.map(({ PRIORITY, MESSAGE }) => `${PRIORITY} ${MESSAGE.split(' (')[0]}`)).toEqual(
      [
        '6 The daemon is ready',
        expect.stringMatching(/^3 Cannot run a second daemon for .* one runs already$/),
        '6 stopping: SIGTERM',
        '6 stopped',
      ],
    );
  });
});
