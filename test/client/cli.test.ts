// The command line as its user meets it: what is asked for wrongly, what is not there, how it ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { EXIT } from '../../client/exit.ts';
import type { Io } from '../../client/io.ts';
import { width } from '../../client/render/text.ts';
import { makeChallenge, STATUS } from '../../protocol/wire/handshake.ts';
import {
  cleanUp,
  compiled,
  FakeShim,
  newRingId,
  Script,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';
import { closedPipe, Kept, keptIo } from './builders.ts';
import { impostor } from './impostor.ts';

const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

async function mapisync(args: readonly string[], given: Partial<Io> = {}) {
  const io = keptIo(given);
  const code = await run(args, io);
  return { code, out: io.stdout.text, err: io.stderr.text };
}

/** A state directory in which nothing has been yet. */
const nowhere = (): string => join(tempDir(), 'state');

describe('wrong usage ends with 2, says what was expected, and what was meant', () => {
  test.for<[string[], RegExp, Record<string, string>?]>([
    [['tial'], /Cannot run "tial": there is no such command\n {2}Did you mean "mapisync tail"\?/],
    [['frobnicate'], /no such command\n {2}See what there is: mapisync --help/],
    [
      ['tail', '--exit-on-dne'],
      /unknown option '--exit-on-dne'\n {2}Did you mean --exit-on-done\?/,
    ],
    [['status', 'now'], /too many arguments/],
    [['tail', 'a', 'b'], /too many arguments/],
    [['hresult'], /missing required argument 'code'/],
    [
      ['run'],
      /missing required argument 'command'\n {2}Such as: mapisync run -- .*\n {2}See: mapisync run --help/,
    ],
    [['daemon', 'stop', 'now'], /too many arguments.*\n {2}See: mapisync daemon stop --help/],
    [['hresult', 'MAPI_E_NTWORK_ERROR'], /Did you mean MAPI_E_NETWORK_ERROR\?/],
    [
      ['hresult', '0x123456789'],
      /Cannot read result code "0x123456789": expected a name or a number/,
    ],
    [['show'], /missing required argument 'session'/],
    [['show', 'Mailbox'], /Cannot find session "Mailbox": expected an id, a prefix of one/],
    [['show', '^0'], /Cannot find session \^0: expected one that was recorded/],
    [['show', '^0', '--journal', '/nowhere'], /Cannot read --journal: expected a directory with/],
    [['sessions', '--outcome', 'faild'], /Cannot read --outcome: .*\n {2}Did you mean failed\?/],
    [['sessions', '--limit', '-1'], /Cannot read --limit: expected 0 to 1000000, got "-1"/],
    [['sessions', '--since', 'x'], /Cannot read --since: expected RFC 3339/],
    [['logs', '-p', 'fatal'], /argument 'fatal' is invalid. Allowed choices are debug, info/],
    [['logs', '-n', 'x'], /Cannot read --lines: expected 0 to 1000000, got "x"/],
    [['logs', '--until', 'x'], /Cannot read --until: expected RFC 3339/],
    [['logs', '--after', '1'], /Cannot read --after: expected segment:offset/],
    [
      ['logs', '-g', '('],
      /Cannot read --grep: expected a regular expression of RE2, got "\(": missing/,
    ],
    [['logs', '--session', '^0'], /Cannot find session \^0: expected one that was recorded/],
    [['logs', '--cursor-file', 'a', '--after', '1:2'], /cannot be used with/],
    [['diff', '^0'], /missing required argument 'b'/],
    [['record'], /Cannot record: expected --next or SESSION, got neither/],
    [['record', '3f', '--next'], /Cannot record: expected --next or SESSION, got both/],
    [['replay', 'x', '--speed', '0x'], /Cannot read --speed: expected 1x to 1000x, or max/],
    [['replay', '/nowhere.mapisync'], /Cannot read \/nowhere.mapisync: there is no such file/],
    [['check', '/nowhere.mapisync'], /Cannot read \/nowhere.mapisync: there is no such file/],
    [['decode', '/'], /Cannot read \/: expected a recording, got a directory/],
    [
      ['daemon', 'run', '--quiet-after', '999ms'],
      /Cannot read --quiet-after: expected .*at least 1s/,
    ],
    [['daemon', 'run', '--quiet-after', '30'], /Cannot read --quiet-after: .*got "30"/],
    [['daemon', 'run', '--record-keep', '33'], /Cannot read --record-keep: expected 0 to 32/],
    [['daemon'], /expected run, start, stop or status, got nothing/],
    [['config'], /expected list, path, validate or schema, got nothing/],
    [['completion', 'tcsh'], /expected bash, zsh, fish or powershell/],
    [['daemon', 'strt'], /unknown command 'strt'\n {2}Did you mean start\?/],
    [['tail', '--since', 'yesterday'], /Cannot read --since: expected RFC 3339 .* got "yesterday"/],
    [['tail', '--after', '12'], /Cannot read --after: expected segment:offset .* got "12"/],
    [['tail', '--after', '1:2', '--since', '1h'], /'--after <cursor>' cannot be used with/],
    [['status', '--timeout', '5'], /Cannot read --timeout: expected a duration .* got "5"/],
    [
      ['version', '-o', 'xml'],
      /Cannot read --output: expected auto, tty, plain or json, got "xml"/,
    ],
    [['version', '--color', 'red'], /Cannot read --color: .* got "red"/],
    [['version'], /Cannot read MAPISYNC_OUTPUT: .* got "xml"/, { MAPISYNC_OUTPUT: 'xml' }],
    [['status'], /Cannot read MAPISYNC_TIMEOUT: .* got "soon"/, { MAPISYNC_TIMEOUT: 'soon' }],
  ])('%j', async ([args, want, env = {}]) => {
    const { code, out, err } = await mapisync(args, {
      env: { MAPISYNC_STATE_DIR: nowhere(), ...env },
    });
    expect(err).toMatch(want);
    expect(err).toMatch(/^mapisync: Cannot /);
    expect([code, out]).toEqual([EXIT.usage, '']);
  });

  test.for([['--json'], ['-o', 'json'], ['-ojson'], ['--output=json']])(
    'with %j it is one line of JSON',
    async (flags) => {
      const { code, err } = await mapisync(['tail', '--nonsense', ...flags]);
      expect(err.trimEnd().split('\n')).toHaveLength(1);
      expect(json(err)).toMatchObject({ error: { exit_code: EXIT.usage } });
      expect(code).toBe(EXIT.usage);
    },
  );
});

describe('help', () => {
  const looking = ['show', 'diff', 'check', 'record', 'replay', 'decode'];
  const commands = [
    'tail',
    'status',
    'sessions',
    'logs',
    ...looking,
    'wait',
    'run',
    'recover',
    'hresult',
  ];
  const forAuthors = ['demo', 'test-provider'];
  const groups = {
    daemon: ['run', 'start', 'stop', 'status'],
    service: ['install', 'uninstall', 'status'],
    config: ['list', 'path', 'validate', 'schema'],
    sdk: ['path', 'copy'],
  };
  const inner = Object.entries(groups).flatMap(([group, names]) =>
    names.map((name) => [group, name]),
  );
  test.for([
    [],
    ...[...commands, ...forAuthors, 'doctor', 'completion', 'version'].map((name) => [name]),
    ...inner,
  ])('of %j has options, two examples and the exit codes', async (words) => {
    const { code, out, err } = await mapisync([...words, '--help']);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/Options:\n/);
    expect(out).toMatch(/\nExamples:\n {2}.*mapisync .*\n {2}mapisync .*\n/);
    expect(out).toMatch(/\nExit codes:\n +0 {2}done\n/);
    expect(out).toMatch(/--state-dir <dir>/);
  });

  test('lists what there is and nothing else', async () => {
    const { out } = await mapisync(['--help']);
    const listed = /\nCommands:\n([\s\S]*?)\n\n/.exec(out)![1]!;
    const names = [...listed.matchAll(/^ {2}([\w-]+)/gm)].map(([, name]) => name);
    expect(names).toEqual([
      ...commands,
      'daemon',
      'sdk',
      ...forAuthors,
      'service',
      'doctor',
      'config',
      'completion',
      'export',
      'metrics',
      'version',
      'help',
    ]);
  });

  test('`help tail` is the same as `tail --help`', async () => {
    expect(await mapisync(['help', 'tail'])).toEqual(await mapisync(['tail', '--help']));
  });
});

describe('hresult', () => {
  test.for([
    '0x8004010F',
    '8004010f',
    '-2147221233',
    '2147746063',
    '0xFFFFFFFF8004010F',
    'MAPI_E_NOT_FOUND',
  ])('reads %s', async (text) => {
    const { code, out } = await mapisync(['hresult', text]);
    expect(code).toBe(0);
    expect(out).toMatch(/^0x8004010F {2}MAPI_E_NOT_FOUND {2}error, class not_found\n/);
  });

  test('several, in order, as JSON lines', async () => {
    const { out } = await mapisync(['hresult', '0', '0xB1704005', 'E_FAIL', '--json']);
    const lines = out.trimEnd().split('\n').map(json);
    expect(lines).toMatchObject([
      { name: 'S_OK', severity: 'success' },
      {
        hex: '0xB1704005',
        name: expect.stringMatching(/^MAPI_E_CALL_FAILED/),
        note: expect.stringMatching(/guess/),
      },
      {
        hex: '0x80004005',
        name: 'E_FAIL',
        aliases: expect.arrayContaining(['MAPI_E_CALL_FAILED']),
      },
    ]);
  });

  test('loads nothing that takes long', async () => {
    const script = `
      import { run } from 'file://${compiled()}/client/cli.js';
      import { processIo } from 'file://${compiled()}/client/io.js';
      await run(['hresult', '0x8004010F'], processIo({ entry: '', runDaemon: () => 0 }));
      const { Module } = await import('node:module');
      process.stderr.write(Object.keys(Module._cache).concat(process.moduleLoadList).join('\\n'));
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    await once(child, 'close');
    expect(out).toMatch(/MAPI_E_NOT_FOUND/);
    expect(err).toMatch(/commander/); // It does see what was loaded.
    expect(err).not.toMatch(/koffi|\/pino\/|string-width/);
  });
});

describe('settings', () => {
  test.for<[string, string[], Record<string, string>, RegExp]>([
    ['the flag first', ['--json'], { MAPISYNC_OUTPUT: 'plain' }, /^\{/],
    ['then the environment', [], { MAPISYNC_OUTPUT: 'json' }, /^\{/],
    ['an empty variable is none', [], { MAPISYNC_OUTPUT: '' }, /^mapisync \d/],
    ['then the default', [], {}, /^mapisync \d/],
  ])('%s', async ([, flags, env, want]) => {
    expect((await mapisync(['version', ...flags], { env })).out).toMatch(want);
  });

  test('the state directory: the flag before MAPISYNC_STATE_DIR', async () => {
    const [one, other] = [nowhere(), nowhere()];
    const env = { MAPISYNC_STATE_DIR: one };
    expect((await mapisync([], { env })).out).toContain(one);
    expect((await mapisync(['--state-dir', other], { env })).out).toContain(other);
  });
});

describe('without a daemon', () => {
  test.for([['status'], ['daemon', 'status'], ['daemon', 'stop'], ['tail', '--no-start']])(
    '%j ends with 3, says how to start one, and starts none',
    async (args) => {
      const state = nowhere();
      const { code, out, err } = await mapisync([...args, '--state-dir', state]);
      expect([code, out]).toEqual([EXIT.noDaemon, '']);
      expect(err).toMatch(/mapisync daemon start/);
      expect(existsSync(state)).toBe(false);
    },
  );

  test('`mapisync` alone says how things stand', async () => {
    const { code, out, err } = await mapisync(['--state-dir', nowhere()]);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^No daemon is running \(/);
    const next = out.split('\nNext\n')[1]!.trimEnd().split('\n');
    expect(next).toHaveLength(3);
    for (const line of next) expect(line).toMatch(/^ {2}mapisync \w+/);
    const narrow = new Kept({ isTTY: true, columns: 40, rows: 24 });
    const { out: said } = await mapisync(['--state-dir', nowhere()], { stdout: narrow });
    const rows = said
      .replace(/\x1b\[\d+m/g, '')
      .split('\nNext\n')[1]!
      .trimEnd()
      .split('\n');
    expect(rows).toHaveLength(6);
    for (const row of rows) expect(width(row)).toBeLessThan(40);
  });
});

describe('`mapisync` alone', () => {
  test('shows how the last sessions ended, newest first, with and without a daemon', async () => {
    const { stateDir, stop } = await startDaemon();
    const peer = await FakeShim.connect(stateDir);
    await peer.hello(newRingId());
    const first = new Script(1, 'Old').progress(9, 9).done().close();
    const second = new Script(first.seq + 1, 'New').error('x', 0x80040115).done(0x80040115).close();
    peer.send(...first.frames, ...second.frames);
    await peer.acked(second.seq);
    const running = new Script(second.seq + 1, 'Now').progress(1, 2);
    peer.send(...running.frames);
    await peer.acked(second.seq + 1);

    const args = ['--state-dir', stateDir];
    const { code, out, err } = await mapisync(args);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^Daemon \d+ follows 1 session \(/);
    const ends = /\nHow the last sessions ended\n([\s\S]*?)\n\n/.exec(out)![1]!.split('\n');
    expect(ends).toEqual([
      expect.stringMatching(/^x {3}contoso {2}New +failed: .* ago$/),
      expect.stringMatching(/^ok {2}contoso {2}Old +9\/9 .* ago$/),
    ]);
    expect(out).toMatch(/mapisync hresult 0x80040115/);
    expect(json((await mapisync(['--json', ...args])).out)).toMatchObject({
      sessions: [{ store: 'Now' }],
      last: [{ outcome: 'failed' }, { outcome: 'ok' }],
    });
    const status = await mapisync(['status', ...args]);
    expect(status.out).toMatch(/\nProcesses {2}OUTLOOK.EXE \d+ x64, \d sessions?, shim 0.0.1\n/);
    expect(status.out).toMatch(/contoso {2}Now +/);

    await stop();
    const without = await mapisync(args);
    expect(without.out).toMatch(/^No daemon is running/);
    expect(without.out).toMatch(/\nx {3}contoso {2}New/);
  });

  test.skipIf(process.getuid?.() !== 0)('a journal of somebody else: 8', async () => {
    const state = nowhere();
    mkdirSync(join(state, 'journal'), { recursive: true, mode: 0o700 });
    chmodSync(join(state, '..'), 0o755);
    chmodSync(state, 0o755);
    chmodSync(join(state, 'journal'), 0o700);
    const child = spawn(
      process.execPath,
      [join(compiled(), 'bin', 'mapisync.js'), '--state-dir', state],
      { uid: 65534, gid: 65534, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' },
    );
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const [code] = await once(child, 'close');
    expect([code, err]).toEqual([
      EXIT.permission,
      expect.stringMatching(/EACCES[\s\S]*--state-dir/),
    ]);
  });
});

describe('output that fails', () => {
  test('a closed pipe ends quietly with 0', async () => {
    for (const args of [['version'], ['--help'], ['hresult', '0']]) {
      const io = keptIo();
      io.stdout.failure = closedPipe();
      expect([await run(args, io), io.stderr.text]).toEqual([0, '']);
    }
  });

  test('`| head -n 1` for real', async () => {
    const command = `"${process.execPath}" ${compiled()}/bin/mapisync.js hresult ${'0 '.repeat(20_000)}; echo $? >&2`;
    const child = spawn('sh', ['-c', `(${command}) | head -n 1`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    await once(child, 'close');
    expect(err).toBe('0\n');
  });

  test.skipIf(!existsSync('/dev/full'))('a full disk is said, and ends with 1', async () => {
    const command = `"${process.execPath}" ${compiled()}/bin/mapisync.js version > /dev/full`;
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'ignore', 'pipe'] });
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const [code] = await once(child, 'close');
    expect([code, err]).toEqual([1, expect.stringMatching(/no space is left there/)]);
  });
});

describe('daemons', () => {
  test('start, again, status, stop', async () => {
    const state = nowhere();
    const entry = join(compiled(), 'bin', 'mapisync.js');
    const at = ['--state-dir', state];
    const started = await mapisync(['daemon', 'start', '--json', ...at], { entry });
    expect([started.code, started.err]).toEqual([0, '']);
    const pid = Number(json(started.out).pid);
    cleanUp(() => {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended as it should.
      }
    });
    expect(json(started.out)).toMatchObject({ state: 'running', started: 1, state_dir: state });
    const again = await mapisync(['daemon', 'start', ...at], { entry });
    expect(again).toMatchObject({
      code: 0,
      err: expect.stringMatching(`runs already \\(pid ${pid}`),
    });

    const asked = await mapisync(['status', '--json', ...at]);
    expect(json(asked.out)).toMatchObject({ daemon: { pid, state_dir: state }, sessions: [] });
    const shown = await mapisync(['daemon', 'status', ...at]);
    expect(shown.out).toMatch(new RegExp(`^Daemon +running, pid ${pid}, version`));

    const second = await mapisync(['daemon', 'stop', ...at]);
    expect(second.code).toBe(0);
    expect(existsSync(join(state, 'endpoint'))).toBe(false);
    await until('its process is gone', () => {
      try {
        return !process.kill(pid, 0);
      } catch {
        return true;
      }
    });
  });

  test('one that dies early: its last words are shown', async () => {
    const state = nowhere();
    mkdirSync(join(state, 'journal', 'mapisync.000001.jsonl'), { recursive: true });
    for (const dir of [state, join(state, 'journal')]) chmodSync(dir, 0o700);
    const entry = join(compiled(), 'bin', 'mapisync.js');
    const { code, err } = await mapisync(['daemon', 'start', '--state-dir', state], { entry });
    expect(code).toBe(1);
    expect(err).toMatch(/^mapisync: Cannot start a daemon: it ended with 1: Cannot .*EISDIR/);
  });

  test('a daemon that speaks another protocol ends it with 9', async () => {
    const { endpoint } = impostor((greeting, endpoint) =>
      makeChallenge({
        secret: endpoint.secret,
        pipe: endpoint.pipe,
        greeting,
        nonce: new Uint8Array(32),
        status: STATUS.version,
        protocol: 99,
      }),
    );
    const { code, err } = await mapisync(['status', '--state-dir', endpoint]);
    expect([code, err]).toEqual([
      EXIT.version,
      expect.stringMatching(/expected protocol 1, got 99/),
    ]);
  });

  test('one that does not answer ends it with 4', async () => {
    const { endpoint } = impostor(() => undefined);
    const args = ['status', '--timeout', '100ms', '--state-dir', endpoint];
    const { code, err } = await mapisync(args);
    expect([code, err]).toEqual([EXIT.timeout, expect.stringMatching(/does not answer/)]);
  });

  test('somebody else, who does not know the secret, is not believed', async () => {
    const { endpoint } = impostor(() => new Uint8Array(80));
    const { code, err } = await mapisync(['status', '--state-dir', endpoint]);
    expect([code, err]).toEqual([EXIT.permission, expect.stringMatching(/Cannot trust/)]);
  });

  test.skipIf(process.getuid?.() !== 0)('another user may not use it: 8', async () => {
    const { stateDir } = await startDaemon();
    // Even where the way there is open.
    chmodSync(join(stateDir, '..'), 0o755);
    chmodSync(stateDir, 0o755);
    chmodSync(join(stateDir, 'endpoint'), 0o644);
    const child = spawn(
      process.execPath,
      [join(compiled(), 'bin', 'mapisync.js'), 'status', '--state-dir', stateDir],
      { uid: 65534, gid: 65534, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' },
    );
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const [code] = await once(child, 'close');
    expect([code, err]).toEqual([EXIT.permission, expect.stringMatching(/belongs to user 0/)]);
  });
});

test('the exit codes are those of the documentation, and no two are the same', () => {
  const codes = Object.values(EXIT);
  expect(new Set(codes).size).toBe(codes.length);
  expect(EXIT).toEqual({
    done: 0,
    failed: 1,
    usage: 2,
    noDaemon: 3,
    timeout: 4,
    syncFailed: 5,
    syncWithErrors: 6,
    syncStalled: 7,
    permission: 8,
    version: 9,
    problems: 10,
    syncCancelled: 11,
    interrupted: 130,
  });
});
