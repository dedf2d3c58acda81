/** The edge to the system: paths, permissions, locks, endpoint, connecting. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { connect } from '../../daemon/platform/connect.ts';
import { newSecret, readEndpoint, writeEndpoint } from '../../daemon/platform/endpoint.ts';
import { lockFile, tryLockRing } from '../../daemon/platform/locks.ts';
import { prepareStateDir, statePaths } from '../../daemon/platform/paths.ts';
import { judgePipeSecurity, pipeSddl } from '../../daemon/platform/pipe-security.ts';
import { isAlive } from '../../daemon/platform/process.ts';
import { runDaemon } from '../../daemon/run.ts';
import {
  cleanUp,
  FakeShim,
  journalOf,
  kill,
  named,
  newRingId,
  runScript,
  Script,
  spawnDaemon,
  startDaemon,
  tempDir,
  until,
} from './support.ts';

const POSIX = process.platform !== 'win32';
const ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;

const reasonOf = (error: unknown): string => (error as { reason: string }).reason;
const thrown = async (
  run: () => unknown,
): Promise<Error & { reason: string; exitCode: number }> => {
  try {
    await run();
  } catch (error) {
    return error as Error & { reason: string; exitCode: number };
  }
  throw new Error('Expected an error, got none');
};

describe('the state directory', () => {
  test.for<[string, string | undefined, NodeJS.ProcessEnv, string]>([
    ['the option wins', '/a', { MAPISYNC_STATE_DIR: '/b' }, '/a'],
    ['then the environment', undefined, { MAPISYNC_STATE_DIR: '/b' }, '/b'],
    ['then XDG', undefined, { XDG_STATE_HOME: '/c' }, '/c/mapisync'],
  ])('%s', { skip: !POSIX }, ([, option, env, want]) => {
    expect(statePaths(option, env).root).toBe(want);
  });

  test('an XDG path that is not absolute counts for nothing', { skip: !POSIX }, () => {
    const { root } = statePaths(undefined, { XDG_STATE_HOME: 'c' });
    expect(root).toMatch(/^\/.*\/\.local\/state\/mapisync$/);
  });

  test('is made private, whatever the umask is', { skip: !POSIX }, () => {
    const before = process.umask(0);
    try {
      const paths = statePaths(join(tempDir(), 'deep', 'state'));
      prepareStateDir(paths);
      for (const dir of [paths.root, paths.journal, paths.rings]) {
        expect(statSync(dir).mode & 0o777).toBe(0o700);
      }
    } finally {
      process.umask(before);
    }
  });

  test.for<[string, (dir: string) => void, RegExp]>([
    ['others may enter', (dir) => mkdirSync(dir, { mode: 0o755 }), /chmod 700/],
    ['it is a file', (dir) => writeFileSync(dir, ''), /got a file/],
    ['it is a link', (dir) => symlinkSync('/tmp', dir), /symbolic link/],
  ])('is refused if %s, with exit code 8', { skip: !POSIX }, async ([, make, text]) => {
    const stateDir = join(tempDir(), 'state');
    make(stateDir);
    chmodSync(join(stateDir, '..'), 0o700);
    const said: string[] = [];
    const exit = await runDaemon({ version: '1', stateDir, say: (line) => void said.push(line) });
    expect(exit).toBe(8);
    expect(said.join()).toMatch(text);
  });

  test('of another user is refused, also to that user of ours', async ({ skip }) => {
    if (!ROOT) return skip('only root can be two users');
    const dir = tempDir();
    chmodSync(dir, 0o777);
    const stateDir = join(dir, 'state');
    await startDaemon({ stateDir });
    const child = runScript(
      `import { runDaemon } from 'built/daemon/run.js';
       import { readEndpoint } from 'built/daemon/platform/endpoint.js';
       console.log('exit', await runDaemon({ version: '1', stateDir: process.argv[1] }));
       try { readEndpoint(process.argv[1] + '/endpoint'); } catch (error) { console.log('endpoint', error.reason, error.exitCode); }`,
      [stateDir],
      { uid: NOBODY, gid: NOBODY },
    );
    await until('it ended', () => child.exitCode !== null);
    expect(child.said()).toContain('exit 8');
    expect(child.said()).toContain('it belongs to user 0, and this is user 65534');
    expect(child.said()).toContain('endpoint other-user 8');
  });

  test('that may not be made is refused', async ({ skip }) => {
    if (!ROOT) return skip('needs a user without rights');
    const dir = tempDir();
    const child = runScript(
      `import { runDaemon } from 'built/daemon/run.js';
       console.log('exit', await runDaemon({ version: '1', stateDir: process.argv[1] }));`,
      [join(dir, 'state')],
      { uid: NOBODY, gid: NOBODY },
    );
    await until('it ended', () => child.exitCode !== null);
    expect(child.said()).toContain('exit 8');
    expect(child.said()).toMatch(/Cannot (make|use)/);
  });

  test('may be deeper than a socket can be', { skip: !POSIX }, async () => {
    const stateDir = join(tempDir(), 'x'.repeat(90), 'state');
    await startDaemon({ stateDir });
    const { pipe } = readEndpoint(join(stateDir, 'endpoint'));
    expect(Buffer.byteLength(pipe)).toBeLessThanOrEqual(100);
    expect(statSync(join(pipe, '..')).mode & 0o777).toBe(0o700);
    expect(statSync(pipe).mode & 0o777).toBe(0o600);
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
  });
});

describe('the endpoint file', () => {
  const endpoint = () => ({
    protocol: 1,
    pipe: '/tmp/socket',
    pid: 7,
    started: '2026-01-01T00:00:00.000000Z',
    secret: newSecret(),
  });

  test('says what was written, to this user alone', { skip: !POSIX }, () => {
    const path = join(tempDir(), 'endpoint');
    const written = endpoint();
    writeEndpoint(path, written);
    expect(readEndpoint(path)).toEqual(written);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(existsSync(`${path}.new`)).toBe(false);
  });

  test('may have keys of tomorrow, in any order', { skip: !POSIX }, () => {
    const path = join(tempDir(), 'endpoint');
    writeEndpoint(path, endpoint());
    const lines = readFileSync(path, 'utf8').trim().split('\n').reverse();
    writeFileSync(path, `colour=blue\n${lines.join('\r\n')}\n`);
    expect(readEndpoint(path).pid).toBe(7);
  });

  test.for<[string, string, (path: string) => void]>([
    ['is missing', 'not-running', () => {}],
    ['is empty', 'malformed', (path) => writeFileSync(path, '', { mode: 0o600 })],
    ['is a directory', 'malformed', (path) => mkdirSync(path)],
    [
      'is a link',
      'other-user',
      (path) => {
        writeEndpoint(`${path}.real`, endpoint());
        symlinkSync(`${path}.real`, path);
      },
    ],
    ['is open to others', 'other-user', (path) => writeFileSync(path, 'x', { mode: 0o644 })],
    ['is too long', 'malformed', (path) => writeFileSync(path, '\n'.repeat(4097), { mode: 0o600 })],
    [
      'has a secret too short',
      'malformed',
      (path) => {
        writeEndpoint(path, { ...endpoint(), secret: Buffer.alloc(31) });
      },
    ],
    [
      'has a pipe twice',
      'malformed',
      (path) => {
        writeEndpoint(path, { ...endpoint(), pipe: '/a\npipe=/b' });
      },
    ],
    [
      'has a path too long',
      'malformed',
      (path) => {
        writeEndpoint(path, { ...endpoint(), pipe: `/${'é'.repeat(50)}` });
      },
    ],
    [
      'has a path that is not absolute',
      'malformed',
      (path) => {
        writeEndpoint(path, { ...endpoint(), pipe: 'socket' });
      },
    ],
    [
      'belongs to somebody else',
      'other-user',
      (path) => {
        writeEndpoint(path, endpoint());
        if (ROOT) chownSync(path, NOBODY, NOBODY);
        else chmodSync(path, 0o666);
      },
    ],
  ])('that %s is told apart: %s', { skip: !POSIX }, async ([, reason, make]) => {
    const path = join(tempDir(), 'endpoint');
    make(path);
    expect((await thrown(() => readEndpoint(path))).reason).toBe(reason);
  });
});

describe('connect()', () => {
  const at = (stateDir: string) =>
    connect(join(stateDir, 'endpoint'), { role: 'client', timeoutMs: 500 });

  test('tells that no daemon is there', async () => {
    const error = await thrown(() => at(tempDir()));
    expect(error).toMatchObject({ reason: 'not-running', exitCode: 3 });
  });

  test('tells that the daemon is gone', async () => {
    const stateDir = join(tempDir(), 'state');
    await kill(await spawnDaemon(stateDir));
    const error = await thrown(() => at(stateDir));
    expect(error).toMatchObject({ reason: 'stale', exitCode: 3 });
    expect(error.message).toContain('daemon start');
  });

  test('tells that the daemon does not answer', { skip: !POSIX }, async () => {
    const stateDir = join(tempDir(), 'state');
    const daemon = await spawnDaemon(stateDir);
    daemon.kill('SIGSTOP');
    expect(await thrown(() => at(stateDir))).toMatchObject({ reason: 'timeout', exitCode: 4 });
  });

  test('sends nothing to an impostor that it could use', { skip: !POSIX }, async () => {
    const stateDir = join(tempDir(), 'state');
    await startDaemon({ stateDir });
    const path = join(stateDir, 'endpoint');
    const real = readEndpoint(path);
    const impostor = join(stateDir, 'impostor');
    let heard = 0;
    let closed = false;
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('close', () => {
        closed = true;
      });
      socket.on('data', (bytes) => {
        heard += bytes.length;
        // What a daemon would say, but for the proof.
        const challenge = Buffer.alloc(80);
        challenge.write('MAPISYNC');
        challenge[8] = 1;
        challenge[11] = 1;
        socket.write(challenge);
      });
    });
    await new Promise<void>((resolve) => server.listen(impostor, resolve));
    cleanUp(() => server.close());
    writeEndpoint(path, { ...real, pipe: impostor });
    expect(await thrown(() => at(stateDir))).toMatchObject({ reason: 'unsafe', exitCode: 8 });
    await until('all that it said has come', () => closed);
    expect(heard).toBe(48);
  });

  test('does not get in with the secret of another start', async () => {
    const stateDir = join(tempDir(), 'state');
    await startDaemon({ stateDir });
    const path = join(stateDir, 'endpoint');
    const { secret, ...rest } = readEndpoint(path);
    writeEndpoint(path, { ...rest, secret: newSecret() });
    expect(reasonOf(await thrown(() => at(stateDir)))).toBe('unsafe');
    writeEndpoint(path, { ...rest, secret });
    (await at(stateDir)).socket.destroy();
  });
});

describe('locks', () => {
  const HOLDER = `
    import { lockFile } from 'built/daemon/platform/locks.js';
    console.log(lockFile(process.argv[1]) ? 'locked' : 'taken');
    setInterval(() => {}, 1000);
  `;

  test('end with the process that held them, however it ended', async () => {
    const path = join(tempDir(), 'x.ring');
    writeFileSync(path, 'x');
    const holder = runScript(HOLDER, [path]);
    await until('it holds the lock', () => holder.said().includes('locked'));
    // Looking takes nothing away from the owner, also when it is done twice.
    expect(tryLockRing(path)).toBeUndefined();
    expect(tryLockRing(path)).toBeUndefined();
    await kill(holder);
    const lock = tryLockRing(path);
    expect(lock).toBeDefined();
    const second = runScript(HOLDER, [path]);
    await until('it is told', () => second.said().includes('taken'));
    lock?.removeFile();
    expect(existsSync(path)).toBe(false);
    expect(tryLockRing(path)).toBeUndefined();
  });

  test('count within one process as well', () => {
    const path = join(tempDir(), 'lock');
    const lock = lockFile(path);
    expect(lock).toBeDefined();
    expect(lockFile(path)).toBeUndefined();
    lock?.release();
    lockFile(path)?.release();
  });

  test('a process is alive, and then it is not', async () => {
    const child = runScript('setInterval(() => {}, 1000); console.log("up")');
    await until('it runs', () => child.said().includes('up'));
    expect(isAlive(child.pid ?? 0)).toBe(true);
    await kill(child);
    expect(isAlive(child.pid ?? 0)).toBe(false);
  });
});

describe('judgePipeSecurity()', () => {
  const user = 'S-1-5-21-1-2-3-1001';
  const label = 'S:(ML;;NWNR;;;ME)';
  const good = `O:${user}G:${user}D:P(A;;GA;;;${user})${label}`;

  test('accepts what we asked for', () => {
    expect(pipeSddl(user)).toBe(good);
    expect(judgePipeSecurity(good, user, false)).toEqual({ labelled: true });
  });

  test.for<[string, string, boolean, boolean]>([
    ['rights as Windows shows them', good.replace('GA', 'FA'), false, true],
    ['no label under Wine', good.replace(label, ''), true, true],
    ['no label on Windows', good.replace(label, ''), false, false],
    ['another owner', good.replace(`O:${user}`, 'O:BA'), false, false],
    ['everybody', good.replace('(A;;GA', '(A;;GR;;;WD)(A;;GA'), false, false],
    ['somebody else', good.replace(`;;;${user})`, ';;;S-1-5-21-1-2-3-1002)'), false, false],
    ['fewer rights', good.replace('GA', 'GR'), false, false],
    ['inherited rules', good.replace('D:P', 'D:'), false, false],
    ['no rules at all', `O:${user}G:${user}`, true, false],
    ['the administrator by its letters', good.replaceAll(user, 'LA'), false, false],
    ['nothing', '', true, false],
  ])('%s', ([, sddl, wine, fine]) => {
    expect(judgePipeSecurity(sddl, user, wine).problem === undefined).toBe(fine);
  });

  test('knows the built-in administrator by its letters', () => {
    const administrator = 'S-1-5-21-1-2-3-500';
    const shown = pipeSddl(administrator).replaceAll(administrator, 'LA');
    expect(judgePipeSecurity(shown, administrator, false).problem).toBeUndefined();
  });
});

test('SIGTERM ends a daemon cleanly: goodbye, journal whole, endpoint gone', async () => {
  const stateDir = join(tempDir(), 'state');
  const daemon = await spawnDaemon(stateDir);
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  const script = new Script().error('last words');
  shim.send(...script.frames);
  await shim.acked(script.seq);
  await kill(daemon, 'SIGTERM');
  expect(daemon.exitCode).toBe(0);
  expect(shim.frames.at(-1)).toEqual({ kind: 'daemonBye' });
  expect(existsSync(join(stateDir, 'endpoint'))).toBe(false);
  expect(named(journalOf(stateDir), 'daemon.stopping')).toHaveLength(1);
});
