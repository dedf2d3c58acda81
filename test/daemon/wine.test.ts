/** The Windows half of the daemon, run for real by a Windows build of Node under Wine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cleanUp, compiled, journalOf, named, root, tempDir, until } from './support.ts';

const wineDir = join(root, '.cache', 'wine');
const node = ['node', 'package']
  .map((name) => join(wineDir, name, 'bin', 'node.exe'))
  .find((path) => existsSync(path));
const koffi = join(root, 'node_modules', '@koromix', 'koffi-win32-x64');
const why =
  process.platform === 'win32'
    ? 'this is Windows itself'
    : !node || !existsSync(koffi)
      ? 'no Windows build of Node or of koffi: node bin/make.mjs test gets them where Wine is'
      : undefined;

const windowsPath = (path: string): string => `Z:${path.replaceAll('/', '\\')}`;

/** Runs lines of JavaScript under Wine. What they `say()` comes through a file. */
function runWine(dir: string, name: string, script: string): ChildProcess & { said: () => string } {
  const out = join(dir, `${name}.out`);
  const file = join(dir, `${name}.mjs`);
  const built = `file:///Z:${compiled()}/`;
  const say = `import { appendFileSync } from 'node:fs';
    const say = (line) => appendFileSync(${JSON.stringify(windowsPath(out))}, line + '\\n');
    process.on('uncaughtException', (error) => { say('FAILED ' + error.stack); process.exit(9); });`;
  writeFileSync(out, '');
  writeFileSync(file, say + script.replaceAll('built/', built));
  const child = spawn('wine', [node!, windowsPath(file)], {
    stdio: 'ignore',
    env: {
      ...process.env,
      WINEDEBUG: '-all',
      WINEPREFIX: join(wineDir, 'prefix'),
      NODE_SKIP_PLATFORM_CHECK: '1',
    },
  });
  cleanUp(() => child.kill('SIGKILL'));
  return Object.assign(child, { said: () => readFileSync(out, 'utf8') });
}

const daemonScript = (stateDir: string): string => `
  const { runDaemon } = await import('built/daemon/run.js');
  const stateDir = ${JSON.stringify(windowsPath(stateDir))};
  say('exit ' + await runDaemon({ version: '0.0.1', stateDir, say }));`;

/** Under Wine a program starts slowly. */
const SLOW_MS = 30_000;

describe.skipIf(why)(`under Wine${why ? ` (skipped: ${why})` : ''}`, { timeout: 90_000 }, () => {
  test('a daemon serves its pipe, refuses a second one, adopts a ring, and stops', async () => {
    const dir = tempDir();
    const stateDir = join(dir, 'state');
    const endpoint = join(stateDir, 'endpoint');
    const daemon = runWine(dir, 'daemon', daemonScript(stateDir));
    await until('it is ready', () => daemon.said().includes('ready'), SLOW_MS);
    const pipe = /^pipe=(.*)$/m.exec(readFileSync(endpoint, 'utf8'))?.[1];
    expect(pipe).toMatch(/^\\\\\.\\pipe\\mapisync\.[0-9a-f]{32}$/);
    const started = await until(
      'its first record',
      () => named(journalOf(stateDir), 'daemon.started')[0],
      SLOW_MS,
    );
    expect(started.detail).toMatchObject({ platform: 'win32', wine: true });

    const second = runWine(dir, 'second', daemonScript(stateDir));
    await until('the second is told', () => second.said().includes('exit 1'), SLOW_MS);
    expect(second.said()).toContain('one runs already (pid ');

    // Five connections at once and one after the other; a ring whose owner is dead.
    mkdirSync(join(stateDir, 'rings'), { recursive: true });
    const client = runWine(
      dir,
      'client',
      `
      const { connect } = await import('built/daemon/platform/connect.js');
      const { lockFile, tryLockRing } = await import('built/daemon/platform/locks.js');
      const { openSync, writeFileSync } = await import('node:fs');
      const { encodeFrame, frame } = await import('built/protocol/wire/encode.js');
      const { decodeDaemonFrame } = await import('built/protocol/wire/decode.js');
      const { FrameReader } = await import('built/protocol/wire/frame-reader.js');
      const { encodeClientFrame } = await import('built/protocol/wire/clients.js');
      const stateDir = ${JSON.stringify(windowsPath(stateDir))};
      const endpoint = stateDir + '\\\\endpoint';
      const now = () => Math.floor(Number(process.hrtime.bigint()) / 1000);
      async function shim(number) {
        const { socket } = await connect(endpoint, { role: 'shim', timeoutMs: 5000 });
        const reader = new FrameReader();
        const send = (value) => socket.write(frame(encodeFrame(value)));
        const ring = String(number).padStart(32, '0');
        const wallUs = Date.now() * 1000;
        const header = (seq) => ({ seq, timeUs: now(), thread: 1, session: 1 });
        const counters = { progress: 0, errors: 1, dones: 1, merged: 0, lost: 0, innerUs: 0, innerMaxUs: 0 };
        await new Promise((resolve, reject) => {
          socket.on('close', reject);
          socket.on('data', (bytes) => {
            for (const body of reader.push(bytes)) {
              const { kind, durable } = decodeDaemonFrame(body);
              if (kind === 'welcome') {
                send({ kind: 'open', ...header(1), attach: 1, flags: null, provider: 'p', store: null, wallUs, callback: 1 });
                send({ kind: 'error', ...header(2), call: 1, hresult: 0x80040115, marks: 0, text: 'shim ' + number });
                send({ kind: 'done', ...header(3), call: 1, hresult: 0, handle: 0 });
                send({ kind: 'close', ...header(4), counters });
              } else if (durable === 4) resolve();
            }
          });
          send({ kind: 'hello', protocol: 1, ring, freed: 0, pid: process.pid, bits: 64, executable: 'x.exe',
            shimVersion: '1', timeUs: now(), wallUs, clockResolutionUs: 1, memory: 1 });
        });
        socket.removeAllListeners('close');
        socket.destroy();
      }
      await Promise.all([1, 2, 3, 4, 5].map(shim));
      for (const number of [6, 7, 8]) await shim(number);
      const path = stateDir + '\\\\lock';
      say('lock of the daemon: ' + (lockFile(path) === undefined));
      const ring = stateDir + '\\\\rings\\\\' + 'a'.repeat(32) + '.ring';
      writeFileSync(ring, '');
      const held = openSync(ring, 0x10000000 | 2);
      say('ring of a living owner: ' + (tryLockRing(ring) === undefined));
      say('handle ' + held);
      const { socket } = await connect(endpoint, { role: 'client' });
      socket.on('close', () => say('goodbye')).resume();
      const send = (value) => socket.write(frame(encodeClientFrame(value)));
      send({ kind: 'hello', protocol: 1, version: '1', pid: process.pid });
      send({ kind: 'stop' });
      `,
    );
    await until('it said goodbye', () => /goodbye|FAILED/.test(client.said()), SLOW_MS);
    expect(client.said()).toContain('lock of the daemon: true');
    expect(client.said()).toContain('ring of a living owner: true');
    expect(client.said()).toContain('goodbye');
    await until('the daemon ended', () => daemon.said().includes('exit 0'), SLOW_MS);
    expect(existsSync(endpoint)).toBe(false);
    const records = journalOf(stateDir);
    const texts = named(records, 'session.error').map(({ error }) => error?.text);
    expect(texts.sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((number) => `shim ${number}`));
    expect(named(records, 'session.ended')).toHaveLength(8);

    // The owner of the ring is dead by now, and nothing is in it.
    const third = runWine(dir, 'third', daemonScript(stateDir));
    await until('it is ready', () => third.said().includes('ready'), SLOW_MS);
    const ring = join(stateDir, 'rings', `${'a'.repeat(32)}.ring`);
    await until('the ring is gone', () => !existsSync(ring), SLOW_MS);
    third.kill('SIGKILL');
    rmSync(endpoint, { force: true });
  });
});
