// A daemon from logon on: what would be done, what is done, what is left.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { unitCommand, unitText } from '../../client/service/systemd.ts';
import { quotedWords, runKeyValue, taskCommand, taskXml } from '../../client/service/task.ts';
import { cleanUp, compiled, runScript, tempDir, until } from '../daemon/support.ts';
import { systems } from '../e2e/systems.ts';
import { keptIo } from './builders.ts';

const requireAll = process.env.MAPISYNC_REQUIRE === 'all';
const hasVerify = spawnSync('systemd-analyze', ['--version']).status === 0;
if (!hasVerify) {
  const text = 'the systemd unit is not verified: sudo apt-get install systemd';
  if (requireAll) throw new Error(`Cannot run all tests: ${text}`);
  process.stderr.write(`SKIPPED: ${text}\n`);
}

/** A user's home, and a `systemctl` in it that starts and stops what the unit says. */
function home(systemctl?: string) {
  const dir = tempDir();
  const stateDir = join(dir, 'sta te');
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  if (systemctl !== undefined) {
    writeFileSync(join(bin, 'systemctl'), systemctl, { mode: 0o755 });
  }
  const env = {
    LANG: 'C.UTF-8',
    HOME: dir,
    XDG_CONFIG_HOME: join(dir, 'config'),
    XDG_RUNTIME_DIR: dir,
    PATH: `${bin}:${process.env.PATH}`,
  };
  const unit = join(dir, 'config', 'systemd', 'user', 'mapisync.service');
  const mapisync = async (...args: string[]) => {
    const io = keptIo({ env, entry: join(compiled(), 'bin', 'mapisync.js') });
    const code = await run([...args, '--state-dir', stateDir], io);
    return { code, out: io.stdout.text, err: io.stderr.text };
  };
  return { dir, stateDir, unit, mapisync, calls: join(dir, 'calls') };
}

/** What a user manager would do, for machines that run none. */
const STAND_IN = `#!/bin/sh
echo "$*" >> "$HOME/calls"
unit="$XDG_CONFIG_HOME/systemd/user/mapisync.service"
case "$*" in
  *restart*) eval "$(sed -n 's/^ExecStart=//p' "$unit") > /dev/null 2>&1 &" ;;
  *--now*)
    pid="$(sed -n 's/^pid=//p' "$HOME/sta te/endpoint")"
    kill "$pid"
    # A user manager waits for its end, too. What is dead and not buried has no program any more.
    while [ -e "/proc/$pid/exe" ]; do sleep 0.02; done
    ;;
esac
`;

describe.skipIf(process.platform !== 'linux')('on systemd', () => {
  test.skipIf(!hasVerify).for([
    ['plain', undefined],
    ['odd', '/tmp/a b/100%/$HOME/"x"/\\y'],
  ] as const)('the unit of a %s place passes systemd-analyze verify', ([, stateDir]) => {
    const entry = join(compiled(), 'bin', 'mapisync.js');
    const text = unitText({ node: process.execPath, entry, stateDir });
    const file = join(tempDir(), 'mapisync.service');
    writeFileSync(file, text);
    const { status, stderr } = spawnSync('systemd-analyze', ['--user', 'verify', file], {
      encoding: 'utf8',
      env: { ...process.env, XDG_RUNTIME_DIR: tempDir() },
    });
    expect([status, stderr.split('\n').filter((line) => line.includes('mapisync'))]).toEqual([
      0,
      [],
    ]);
    const words = [process.execPath, entry, 'daemon', 'run'];
    expect(unitCommand(text)).toEqual(stateDir ? [...words, '--state-dir', stateDir] : words);
  });

  test('--dry-run prints what install then does, and does nothing', async () => {
    const { dir, unit, mapisync, stateDir } = home(STAND_IN);
    const { code, out } = await mapisync('service', 'install', '--dry-run');
    expect(code).toBe(0);
    expect(out).toContain(`Write ${unit}:\n    # From: mapisync service install\n`);
    expect(out).toContain(`"--state-dir" "${stateDir}"\n`);
    expect(out.split('\n').filter((line) => line.startsWith('Run '))).toEqual([
      'Run systemctl --user daemon-reload',
      'Run systemctl --user enable mapisync.service',
      'Run systemctl --user restart mapisync.service',
    ]);
    expect(readdirSync(dir)).toEqual(['bin']);
  });

  test('install, status, install again, uninstall, purge', { timeout: 60_000 }, async () => {
    const { stateDir, unit, mapisync, calls } = home(STAND_IN);
    cleanUp(() => mapisync('daemon', 'stop'));
    expect(await mapisync('service', 'status')).toMatchObject({
      code: 1,
      out: 'Not installed: mapisync service install\nDaemon      none runs\n',
    });
    // One that was started by hand gives way.
    expect((await mapisync('daemon', 'start')).code).toBe(0);
    const byHand = pidOf(stateDir);
    const installed = await mapisync('service', 'install', '--json');
    expect(installed).toMatchObject({ code: 0 });
    const { daemon } = JSON.parse(installed.out);
    expect(daemon.pid).not.toBe(byHand);
    expect(readFileSync(calls, 'utf8')).toBe(
      '--user daemon-reload\n--user enable mapisync.service\n--user restart mapisync.service\n',
    );
    const status = await mapisync('service', 'status', '--json');
    expect([status.code, JSON.parse(status.out)]).toMatchObject([
      0,
      { installed: { manager: 'systemd', where: unit, missing: [] }, daemon: { pid: daemon.pid } },
    ]);

    expect((await mapisync('service', 'install')).code).toBe(0);
    expect(pidOf(stateDir)).not.toBe(daemon.pid);

    const gone = await mapisync('service', 'uninstall');
    expect(gone).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        /^Uninstalled .*\nStays in .*: \d journal segments? \([\d ]+ bytes\)\n.*--purge\n$/s,
      ),
    });
    expect(existsSync(unit)).toBe(false);
    expect((await mapisync('daemon', 'status')).code).toBe(3);
    const purged = await mapisync('service', 'uninstall', '--purge');
    expect(purged.out).toBe(`No service was installed\nNothing of it stays in ${stateDir}\n`);
    expect(existsSync(stateDir)).toBe(false);
  });

  test('without a user manager it says so, and leaves nothing', async () => {
    const { unit, mapisync } = home('#!/bin/sh\necho "Failed to connect to bus" >&2; exit 1\n');
    const { code, err } = await mapisync('service', 'install');
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(
        /^mapisync: Cannot run systemctl --user daemon-reload: Failed to connect to bus\n.*mapisync daemon start/,
      ),
    ]);
    expect(existsSync(unit)).toBe(false);
  });

  test('a unit whose program is gone is told', async () => {
    const { unit, mapisync } = home();
    mkdirSync(join(unit, '..'), { recursive: true });
    writeFileSync(
      unit,
      unitText({ node: process.execPath, entry: '/gone/mapisync.js', stateDir: '/s' }),
    );
    expect((await mapisync('service', 'status')).out).toMatch(
      /Missing {5}\/gone\/mapisync.js: mapisync service install\n/,
    );
  });
});

const pidOf = (stateDir: string): number =>
  Number(/^pid=(\d+)$/m.exec(readFileSync(join(stateDir, 'endpoint'), 'utf8'))?.[1]);

describe('purge', () => {
  test('keeps the ring of a living process, and whatever is not ours', async () => {
    const { stateDir, mapisync } = home();
    const rings = join(stateDir, 'rings');
    const journal = join(stateDir, 'journal');
    for (const dir of [stateDir, rings, journal]) {
      mkdirSync(dir, { recursive: true });
      chmodSync(dir, 0o700);
    }
    const files = {
      live: join(rings, `${'a'.repeat(32)}.ring`),
      dead: join(rings, `${'b'.repeat(32)}.ring`),
      segment: join(journal, 'mapisync.000001.jsonl'),
      foreign: join(stateDir, 'letter.txt'),
    };
    for (const path of Object.values(files)) writeFileSync(path, 'x');
    const owner = runScript(
      `import { lockFile } from 'built/daemon/platform/locks.js';
       console.log('held ' + (lockFile(process.argv[1]) !== undefined)); setInterval(() => {}, 1000);`,
      [files.live],
    );
    await until('the ring is held', () => owner.said().includes('held true'));
    const { code, out } = await mapisync('service', 'uninstall', '--purge');
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/1 ring of running processes, which record on\n$/),
    ]);
    expect(
      Object.entries(files)
        .filter(([, path]) => existsSync(path))
        .map(([name]) => name),
    ).toEqual(['live', 'foreign']);
  });

  test('refuses while a daemon runs, and removes nothing', async () => {
    const { stateDir, mapisync } = home();
    expect((await mapisync('daemon', 'start')).code).toBe(0);
    cleanUp(() => mapisync('daemon', 'stop'));
    const { code, err } = await mapisync('service', 'uninstall', '--purge');
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/expected no daemon, got one that runs/),
    ]);
    expect(readdirSync(join(stateDir, 'journal'))).toContain('mapisync.000001.jsonl');
  });
});

describe('on Windows', () => {
  const launch = {
    node: 'C:\\Program Files\\nodejs\\node.exe',
    entry: 'C:\\R & D\\<x>\\mapisync.js',
    stateDir: 'D:\\',
  };

  test('a task, and what can be read back of it', () => {
    const xml = taskXml(launch, 'S-1-5-21-1');
    expect(xml).toContain('C:\\R &amp; D\\&lt;x&gt;\\mapisync.js');
    expect(taskCommand(xml)).toEqual([
      launch.node,
      launch.entry,
      'daemon',
      'run',
      '--state-dir',
      'D:\\',
    ]);
    expect(quotedWords(runKeyValue(launch)).slice(2)).toEqual([
      'daemon',
      'start',
      '--state-dir',
      'D:\\',
    ]);
  });

  const wine = systems.find(({ name }) => name === 'wine');
  test.skipIf(!wine)('install, logon, uninstall under Wine', { timeout: 120_000 }, async () => {
    const scratch = tempDir();
    const state = join(scratch, 'sta te');
    const mapisync = (...args: string[]) =>
      wine!.mapisync([...args, '--state-dir', wine!.path(state)], { scratch }).ended;
    cleanUp(() => mapisync('service', 'uninstall'));
    // Wine's schtasks makes the task and does not run it: the Run key takes over.
    const installed = await mapisync('service', 'install', '--json', '--timeout', '60s');
    expect([installed.code, installed.stderr]).toEqual([
      0,
      expect.stringContaining('the Run key has to'),
    ]);
    const { pid } = JSON.parse(installed.stdout).daemon;
    expect(JSON.parse(installed.stdout).installed).toMatchObject({
      manager: 'run-key',
      missing: [],
    });

    expect((await mapisync('daemon', 'stop')).code).toBe(0);
    // What the system does at logon.
    spawnSync('wine', ['wineboot'], {
      stdio: 'ignore',
      env: {
        ...process.env,
        WINEPREFIX: join(wine!.native, '..', '..', '..', '.cache', 'wine', 'prefix'),
        WINEDEBUG: '-all',
        NODE_SKIP_PLATFORM_CHECK: '1',
      },
    });
    await until('the daemon is back', () => existsSync(join(state, 'endpoint')), 60_000);
    expect(pidOf(state)).not.toBe(pid);

    expect(await mapisync('service', 'uninstall', '--purge')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Uninstalled \(HKCU.*\nNothing of it stays in /s),
    });
  });
});
