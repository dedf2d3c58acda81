/** Who is not this user, and who speaks another version: told apart before anything is said. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { connect } from '../../daemon/platform/connect.ts';
import { newSecret, readEndpoint, writeEndpoint } from '../../daemon/platform/endpoint.ts';
import { makeAnswer, makeChallenge, makeGreeting } from '../../protocol/wire/handshake.ts';
import {
  cleanUp,
  journalOf,
  named,
  runScript,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';

const ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;

interface Told {
  reason?: string;
  exitCode?: number;
  message?: string;
}
const refused = (stateDir: string): Promise<Told> =>
  connect(join(stateDir, 'endpoint'), { role: 'client', timeoutMs: 5000 }).then(
    () => ({}),
    (error: Told) => error,
  );

describe.skipIf(!ROOT)('another user', () => {
  test('who gets to the socket is turned away before a byte, and counted', async () => {
    const daemon = await startDaemon();
    const { pipe } = readEndpoint(join(daemon.stateDir, 'endpoint'));
    // As if the modes that keep others out had been lost.
    chmodSync(join(daemon.stateDir, '..'), 0o755);
    chmodSync(daemon.stateDir, 0o755);
    chmodSync(pipe, 0o666);
    const stranger = runScript(
      `import { createConnection } from 'node:net';
       let tries = 0;
       (function once() {
         let heard = 0;
         const socket = createConnection(process.argv[1]);
         socket.on('error', () => {});
         socket.on('data', (bytes) => { heard += bytes.length; });
         socket.on('connect', () => socket.write(Buffer.alloc(48)));
         socket.on('close', () => { console.log('heard ' + heard); if (++tries < 3) once(); });
       })();`,
      [pipe],
      { uid: NOBODY, gid: NOBODY },
    );
    await until('it was turned away', () => stranger.exitCode !== null);
    expect(stranger.said()).toBe('heard 0\n'.repeat(3));
    const noted = () => named(journalOf(daemon.stateDir), 'peer.refused');
    await until('it was noted', () => noted()[0]);
    expect(noted()).toMatchObject([{ refusal: { reason: 'other-user', count: 1 } }]);
    expect(noted()[0]?.msg).toContain('user 65534 is at its other end, and this is user 0');
    await daemon.stop();
    // Those that were only counted are said at the end.
    const counts = noted().map(({ refusal }) => refusal?.count);
    expect(counts).toEqual([1, 2]);
  });

  test('who listens where the daemon should hears nothing', async () => {
    const dir = tempDir();
    chmodSync(dir, 0o777);
    const pipe = join(dir, 'taken');
    const impostor = runScript(
      `import { createServer } from 'node:net';
       import { chmodSync } from 'node:fs';
       const server = createServer((socket) => {
         let heard = 0;
         socket.on('data', (bytes) => { heard += bytes.length; });
         socket.on('error', () => {});
         socket.on('close', () => console.log('heard ' + heard));
       });
       server.listen(process.argv[1], () => { chmodSync(process.argv[1], 0o777); console.log('up'); });`,
      [pipe],
      { uid: NOBODY, gid: NOBODY },
    );
    await until('it listens', () => impostor.said().includes('up'));
    const stateDir = join(dir, 'state');
    mkdirSync(stateDir, { mode: 0o700 });
    const started = '2026-01-01T00:00:00.000000Z';
    const endpoint = { protocol: 1, pipe, pid: 1, started, secret: newSecret() };
    writeEndpoint(join(stateDir, 'endpoint'), endpoint);
    const error = await refused(stateDir);
    expect(error).toMatchObject({ reason: 'other-user', exitCode: 8 });
    expect(error.message).toContain('user 65534 is at its other end');
    await until('it closed', () => impostor.said().includes('heard'));
    expect(impostor.said()).toContain('heard 0');
  });
});

test('a recorded handshake opens nothing', async () => {
  const { stateDir } = await startDaemon();
  const { pipe, secret } = readEndpoint(join(stateDir, 'endpoint'));
  const shakeHands = async (greeting: Uint8Array, answerTo: (challenge: Buffer) => Uint8Array) => {
    const socket = createConnection(pipe);
    cleanUp(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(greeting);
    const challenge = await new Promise<Buffer>((resolve) => void socket.once('data', resolve));
    const answer = answerTo(challenge);
    socket.write(answer);
    return { socket, answer };
  };
  const greeting = makeGreeting({ role: 'client', nonce: Buffer.alloc(32, 5) });
  const genuine = await shakeHands(greeting, (challenge) =>
    makeAnswer({ secret, pipe, greeting }, challenge),
  );
  const replayed = await shakeHands(greeting, () => genuine.answer);
  await until('it is closed', () => replayed.socket.closed);
  expect(genuine.socket.closed).toBe(false);
});

describe('another version', () => {
  /** A daemon that proves itself and then says what the row wants. */
  const daemonOf = async (
    announced: number,
    says: (socket: Socket, greeting: Buffer, secret: Uint8Array, pipe: string) => void,
  ): Promise<string> => {
    const stateDir = join(tempDir(), 'state');
    mkdirSync(stateDir, { mode: 0o700 });
    const pipe = join(stateDir, 'socket');
    const secret = newSecret();
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (greeting) => says(socket, greeting, secret, pipe));
    });
    await new Promise<void>((resolve) => server.listen(pipe, resolve));
    cleanUp(() => server.close());
    const started = '2026-01-01T00:00:00.000000Z';
    writeEndpoint(join(stateDir, 'endpoint'), {
      protocol: announced,
      pipe,
      pid: 7,
      started,
      secret,
    });
    return stateDir;
  };
  const challenge =
    (status: number, protocol: number, version = 1): Parameters<typeof daemonOf>[1] =>
    (socket, greeting, secret, pipe) => {
      const nonce = Buffer.alloc(32, 3);
      const bytes = makeChallenge({ secret, pipe, greeting, nonce, status, protocol });
      bytes[8] = version;
      socket.write(bytes);
    };

  test.for<[string, number, Parameters<typeof daemonOf>[1], number]>([
    ['a daemon of tomorrow that refuses us', 2, challenge(1, 2), 2],
    ['a daemon of tomorrow that goes on with its own', 2, challenge(0, 2), 2],
    ['a daemon of tomorrow with another handshake', 2, challenge(0, 2, 2), 2],
    ['a daemon of tomorrow that hangs up', 2, (socket) => void socket.destroy(), 2],
    ['a daemon of yesterday', 1, challenge(1, 0), 0],
  ])('%s is named: exit 9', async ([, announced, says, version]) => {
    const error = await refused(await daemonOf(announced, says));
    expect(error).toMatchObject({ reason: 'version', exitCode: 9 });
    expect(error.message).toContain(`expected protocol 1, got ${version}`);
    expect(error.message).toContain('Run the same version of both');
  });

  test.for<[string, Parameters<typeof makeGreeting>[0]['protocol'], number, number]>([
    ['of yesterday is told what is spoken here', 0, 1, 1],
    ['of tomorrow is answered in our version', 2, 0, 1],
    ['of the far future is answered in our version', 65_535, 0, 1],
  ])('a peer %s', async ([, protocol, status, spoken]) => {
    const { stateDir } = await startDaemon();
    const { pipe, secret } = readEndpoint(join(stateDir, 'endpoint'));
    const socket = createConnection(pipe);
    cleanUp(() => socket.destroy());
    const greeting = makeGreeting({ role: 'shim', nonce: Buffer.alloc(32), protocol: protocol! });
    socket.write(greeting);
    const heard = await new Promise<Buffer>((resolve) => void socket.once('data', resolve));
    expect([heard[9], heard.readUInt16BE(10)]).toEqual([status, spoken]);
    if (status !== 0)
      await until('it was noted', () => named(journalOf(stateDir), 'peer.refused')[0]);
    else socket.write(makeAnswer({ secret, pipe, greeting }, heard));
  });

  test('of the handshake itself is refused without a word, and noted', async () => {
    const { stateDir } = await startDaemon();
    const socket = createConnection(readEndpoint(join(stateDir, 'endpoint')).pipe);
    cleanUp(() => socket.destroy());
    const greeting = makeGreeting({ role: 'client', nonce: Buffer.alloc(32) });
    greeting[8] = 2;
    let heard = 0;
    socket.on('data', (bytes) => {
      heard += bytes.length;
    });
    socket.write(greeting);
    await until('it closed', () => socket.closed);
    expect(heard).toBe(0);
    const refused = await until(
      'it was noted',
      () => named(journalOf(stateDir), 'peer.refused')[0],
    );
    expect(refused).toMatchObject({ refusal: { reason: 'version' } });
  });
});

test.skipIf(!ROOT)('a journal that may not be written is named: exit 8', async () => {
  const dir = tempDir();
  chmodSync(dir, 0o755);
  const stateDir = join(dir, 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  writeFileSync(join(stateDir, 'journal'), '', { mode: 0o600 });
  const { runDaemon } = await import('../../daemon/run.ts');
  const said: string[] = [];
  const say = (line: string): void => void said.push(line);
  expect(await runDaemon({ version: '1', stateDir, say })).toBe(8);
  expect(said.join()).toContain('expected a directory, got a file');
});
