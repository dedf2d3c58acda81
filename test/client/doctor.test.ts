// What the doctor finds, whether its commands mend it, and what a bundle tells to whom.
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { unzipSync, zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import type { Facts } from '../../client/doctor/facts.ts';
import { diagnose } from '../../client/doctor/findings.ts';
import { EXIT } from '../../client/exit.ts';
import { unitText } from '../../client/service/systemd.ts';
import { packageVersion } from '../../client/version.ts';
import { ringImage } from '../daemon/ring-image.ts';
import {
  cleanUp,
  compiled,
  FakeShim,
  newRingId,
  nowUs,
  Script,
  startDaemon,
  tempDir,
} from '../daemon/support.ts';
import { keptIo } from './builders.ts';

const version = packageVersion();
const JOURNAL = {
  bytes: 1000,
  capBytes: 1_000_000,
  damaged: 0,
  damagedIn: 0,
  lost: 0,
  clockJumpMs: 0,
  clockJumpAt: '',
};
const HEALTHY: Facts = {
  version,
  windows: false,
  root: '/state',
  dir: { kind: 'ok', fsType: 0xef53, freeBytes: 10e9 },
  daemon: { kind: 'running', pid: 7, version },
  liveRings: 0,
  deadRings: [],
  journal: JOURNAL,
  disabled: [],
  elevated: false,
  config: [],
  service: undefined,
  koffi: undefined,
};
const none = { kind: 'none' } as const;
const service = { manager: 'systemd', where: '/u', command: [], missing: ['/gone'] } as const;
const failed = { kind: 'failed', pid: 7, text: 'x' } as const;

describe('diagnose()', () => {
  test.for<[string[], Partial<Facts>, RegExp?]>([
    [[], {}],
    [[], { daemon: none }],
    [['config-invalid'], { config: [{ file: '/c', text: 'color: x' }] }, /\/c: color: x/],
    [['koffi-missing'], { koffi: 'Cannot find the native module', daemon: none }],
    [['state-dir-missing'], { dir: { kind: 'missing' }, daemon: none }],
    [
      ['state-dir-wrong'],
      { dir: { kind: 'wrong', text: 'mode 755', mend: 'chmod' }, daemon: none },
    ],
    [['state-dir-network'], { dir: { kind: 'ok', fsType: 0x6969, freeBytes: 1e10 } }, /NFS/],
    [['state-dir-network'], { root: '\\\\server\\home' }, /a share/],
    [[], { dir: { kind: 'ok', fsType: 1, freeBytes: 268_435_456 } }],
    [['disk-low'], { dir: { kind: 'ok', fsType: 1, freeBytes: 268_435_455 } }],
    [['shim-disabled'], { disabled: ['MAPISYNC_DISABLE is 1 in this environment'] }],
    [
      ['shim-disabled'],
      { windows: true, disabled: ['HKLM\\Software\\Policies\\mapisync\\Disable is 1'] },
    ],
    [['elevated'], { elevated: true }],
    [['endpoint-stale'], { daemon: { ...failed, reason: 'stale' } }],
    [['endpoint-timeout'], { daemon: { ...failed, reason: 'timeout' } }],
    [['rings-wait'], { daemon: none, deadRings: ['OUTLOOK.EXE (pid 1)'] }, /1: OUTLOOK.EXE/],
    [['no-daemon'], { daemon: none, liveRings: 2 }],
    [['daemon-version'], { daemon: { kind: 'running', pid: 7, version: '0.0.0' } }, /0.0.0/],
    [['service-broken'], { service }, /\/gone/],
    [['frames-lost'], { journal: { ...JOURNAL, lost: 3 } }, /3 frames/],
    [['journal-damaged'], { journal: { ...JOURNAL, damaged: 2, damagedIn: 4 } }, /segment 4/],
    [[], { journal: { ...JOURNAL, bytes: 900_000 } }],
    [['journal-near-cap'], { journal: { ...JOURNAL, bytes: 900_001 } }],
    [[], { journal: { ...JOURNAL, clockJumpMs: -4999 } }],
    [
      ['clock-jumped'],
      { journal: { ...JOURNAL, clockJumpMs: -5000, clockJumpAt: 'then' } },
      /then/,
    ],
  ])('%j of %j', ([codes, facts, proof = /./]) => {
    const found = diagnose({ ...HEALTHY, ...facts });
    expect(found.map(({ code }) => code)).toEqual(codes);
    for (const one of found) {
      expect(one.proof).toMatch(proof);
      expect(one.mend).toMatch(/^\S[^\n]*$/);
    }
  });

  test('the command for a policy names its key and value', () => {
    const [found] = diagnose({
      ...HEALTHY,
      disabled: ['HKCU\\Software\\Policies\\mapisync\\Disable is 1'],
    });
    expect(found?.mend).toBe('reg delete HKCU\\Software\\Policies\\mapisync /v Disable');
  });
});

/** A user of this machine. */
function scene(env: Record<string, string> = {}) {
  const dir = tempDir();
  const stateDir = join(dir, 'state');
  const all = {
    LANG: 'C.UTF-8',
    HOME: dir,
    XDG_CONFIG_HOME: join(dir, 'config'),
    PATH: process.env.PATH!,
    ...env,
  };
  const mapisync = async (...args: string[]) => {
    const io = keptIo({ env: all, entry: join(compiled(), 'bin', 'mapisync.js') });
    const code = await run([...args, '--state-dir', stateDir], io);
    return { code, out: io.stdout.text, err: io.stderr.text };
  };
  const codes = async (): Promise<string[]> => {
    const { code, out, err } = await mapisync('doctor', '--json');
    expect(err).toBe('');
    const found = JSON.parse(out);
    expect(code).toBe(found.problems > 0 ? EXIT.problems : EXIT.done);
    return found.findings.map((one: { code: string }) => one.code);
  };
  cleanUp(() => mapisync('daemon', 'stop'));
  return {
    dir,
    stateDir,
    mapisync,
    codes,
    config: join(all.XDG_CONFIG_HOME, 'mapisync', 'config.json'),
  };
}

describe.skipIf(process.platform === 'win32')('doctor', () => {
  test('finds what is wrong, and its commands mend it', { timeout: 60_000 }, async () => {
    const { stateDir, mapisync, codes } = scene();
    const first = await mapisync('doctor');
    expect(first.code).toBe(EXIT.problems);
    expect(first.out).toBe(
      `x  There is no state directory, so shims do not record\n   ${stateDir} does not exist\n   mapisync daemon start\n`,
    );
    expect(existsSync(stateDir)).toBe(false); // It starts and makes nothing.
    expect((await mapisync('daemon', 'start')).code).toBe(0);
    expect(await mapisync('doctor')).toEqual({
      code: 0,
      out: `ok  No problems in ${stateDir}\n`,
      err: '',
    });

    const pid = Number(/^pid=(\d+)/m.exec(readFileSync(join(stateDir, 'endpoint'), 'utf8'))![1]);
    process.kill(pid, 'SIGKILL');
    const ring = newRingId();
    writeFileSync(join(stateDir, 'rings', `${ring}.ring`), ringImage({ ring, frames: [] }), {
      mode: 0o600,
    });
    while (JSON.stringify(await codes()) === '[]'); // Until the system has let go of it.
    expect(await codes()).toEqual(['endpoint-stale', 'rings-wait']);
    expect((await mapisync('doctor')).out).toMatch(/\n {3}1: HOST.EXE \(pid 2147483632\)\n/);
    expect((await mapisync('daemon', 'start')).code).toBe(0);
    expect(await codes()).toEqual([]);

    chmodSync(stateDir, 0o755);
    const wrong = JSON.parse((await mapisync('doctor', '--json')).out).findings[0];
    expect(wrong.code).toBe('state-dir-wrong');
    spawnSync('sh', ['-c', wrong.mend]);
    expect(await codes()).toEqual([]);

    appendFileSync(join(stateDir, 'journal', 'mapisync.000001.jsonl'), 'damage\n');
    expect(await codes()).toEqual(['journal-damaged']);
  });

  test('a bad config, a disabled shim, a service that is gone, a daemon of another version', async () => {
    const { stateDir, codes, config } = scene({ MAPISYNC_DISABLE: '1' });
    mkdirSync(dirname(config), { recursive: true });
    writeFileSync(config, '{"color":"red"}');
    const unit = join(dirname(dirname(config)), 'systemd', 'user', 'mapisync.service');
    mkdirSync(dirname(unit), { recursive: true });
    writeFileSync(
      unit,
      unitText({ node: process.execPath, entry: '/gone.js', stateDir: undefined }),
    );
    await startDaemon({ stateDir });
    expect(await codes()).toEqual([
      'config-invalid',
      'shim-disabled',
      'daemon-version',
      'service-broken',
    ]);
  });

  test('lost frames of the last day, and a clock that jumped', async () => {
    const { stateDir, codes } = scene();
    const { stop } = await startDaemon({ stateDir });
    await stop();
    const line = (fields: object): string =>
      `${JSON.stringify({ v: 1, level: 'info', msg: 'x', ...fields })}\n`;
    const at = (agoMs: number): string => new Date(Date.now() - agoMs).toISOString();
    const lost = (agoMs: number) =>
      line({
        event_name: 'frames.lost',
        time: at(agoMs),
        lost: { by_kind: { progress: 2 }, reason: 'full' },
      });
    const called = (agoMs: number, monoMs: number) =>
      line({ event_name: 'session.error', time: at(agoMs), ring: 'a', mono_us: monoMs * 1000 });
    const journal = join(stateDir, 'journal', 'mapisync.000009.jsonl');
    writeFileSync(journal, lost(25 * 3_600_000) + called(60_000, 1000) + called(50_000, 11_000));
    expect(await codes()).toEqual([]);
    appendFileSync(journal, lost(3_600_000) + called(60_000, 21_000));
    expect(await codes()).toEqual(['frames-lost', 'clock-jumped']);
  });
});

describe('a bundle', () => {
  const PLANTED = ['Kaleidoscope', 'Wintergreen', 'Marzipan', 'Nightingale', 'Thunderclap'];

  /** A journal in which a host has said all that a host can say. */
  async function journalWithNames() {
    const place = scene();
    const { stateDir, stop } = await startDaemon({ stateDir: place.stateDir });
    const peer = await FakeShim.connect(stateDir);
    await peer.hello(newRingId());
    const script = new Script(1, PLANTED[0]);
    const [open] = script.frames;
    script.frames[0] = { ...open, provider: PLANTED[1]! } as typeof open & object;
    script.progress(1, 9, PLANTED[2]).error(`${PLANTED[3]} is gone`).progress(12, 9, PLANTED[2]);
    peer.send(...script.frames);
    peer.send({
      kind: 'note',
      seq: script.seq + 1,
      timeUs: nowUs(),
      thread: 7,
      session: 1,
      key: 'mood',
      value: PLANTED[4]!,
    });
    await peer.acked(script.seq + 1);
    await stop();
    const file = join(place.dir, 'out.zip');
    const packed = await place.mapisync('doctor', '--bundle', file);
    expect(packed.err).toMatch(/Wrote .*out.zip: \d journal segments?, \d+ bytes\n$/);
    return { ...place, file };
  }

  test('holds none of the names that were planted', async () => {
    const { stateDir, dir, file } = await journalWithNames();
    const journal = readFileSync(join(stateDir, 'journal', 'mapisync.000001.jsonl'), 'utf8');
    for (const name of PLANTED) expect(journal).toContain(name); // They were there.
    const entries = unzipSync(readFileSync(file));
    expect(Object.keys(entries).sort()).toEqual(['doctor.json', 'journal/mapisync.000001.jsonl']);
    const text = Object.values(entries)
      .map((bytes) => Buffer.from(bytes).toString())
      .join('');
    for (const name of [...PLANTED, hostname(), dir, 'mood']) expect(text).not.toContain(name);
    expect(text).toMatch(/"store":"~[0-9a-f]{12}"/);
    expect(JSON.parse(Buffer.from(entries['doctor.json']!).toString())).toMatchObject({
      version,
      settings: { 'journal.size': { value: '256MiB', origin: 'default' } },
    });
  });

  test('is read elsewhere by show, diff and check, and by its like only', async () => {
    const { file, mapisync, dir } = await journalWithNames();
    const there = scene();
    const show = await there.mapisync('show', '^0', '--journal', file);
    expect([show.code, show.err]).toEqual([0, '']);
    expect(show.out).toMatch(/~[0-9a-f]{12}/);
    expect(show.out).toMatch(/MAPI_E_NOT_FOUND/);
    expect((await there.mapisync('diff', '^0', '^0', '--journal', file)).code).toBe(0);
    const checks = await there.mapisync('check', '^0', '--journal', file, '--json');
    expect(checks.code).toBe((await mapisync('check', '^0')).code);

    const again = await mapisync('doctor', '--bundle', file);
    expect([again.code, again.err]).toEqual([
      EXIT.usage,
      expect.stringMatching(/expected a new file/),
    ]);
    for (const [content, why] of [
      ['not a zip', /invalid zip/],
      [zipSync({ 'letter.txt': Buffer.from('x') }), /no journal in it/],
      [zipSync({ '../journal/mapisync.000001.jsonl': Buffer.from('x') }), /no journal in it/],
    ] as const) {
      const bad = join(dir, 'bad.zip');
      writeFileSync(bad, content);
      const { code, err } = await there.mapisync('show', '^0', '--journal', bad);
      expect([code, err]).toEqual([EXIT.usage, expect.stringMatching(why)]);
    }
  });
});
