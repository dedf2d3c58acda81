/** Deadlines of a connection, on both sides of each: a real socket, and the clock by hand. */
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { serveConnection } from '../../daemon/connection.ts';
import { encodeFrame, frame } from '../../protocol/wire/encode.ts';
import { makeAnswer, makeGreeting, STATUS } from '../../protocol/wire/handshake.ts';
import { FRAME_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS } from '../../protocol/wire/limits.ts';
import { cleanUp, hello, newRingId, tempDir } from './support.ts';

const secret = Buffer.alloc(32, 9);
const pipe = 'pipe';
const greeting = makeGreeting({ role: 'shim', nonce: Buffer.alloc(32, 7) });

/** What the gate was told. */
let told: string[];
let peer: Socket;
let socket: Socket;
let got: Buffer;

beforeEach(async () => {
  told = [];
  got = Buffer.alloc(0);
  const server = createServer();
  const path = join(tempDir(), 'socket');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = once(server, 'connection');
  peer = createConnection(path);
  peer.on('error', () => {});
  peer.on('data', (bytes) => {
    got = Buffer.concat([got, bytes]);
  });
  [socket] = (await accepted) as [Socket];
  cleanUp(() => [peer.destroy(), socket.destroy(), server.close()]);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  serveConnection(socket, {
    secret,
    pipe,
    admit: () => STATUS.goOn,
    enter: () => ({
      take(_bytes, _start, end) {
        told.push('frame');
        return end;
      },
      turn() {},
      broken: (error) => void told.push(error.reason),
      closed: () => void told.push('closed'),
    }),
    refused: (reason) => void told.push(`refused: ${reason}`),
    left: (admitted) => void told.push(`left: ${admitted}`),
  });
});
afterEach(() => void vi.useRealTimers());

/** For what was said to arrive: real sockets know no fake clock. */
async function arrives(what: string, look: () => boolean): Promise<void> {
  for (const end = performance.now() + 8000; !look(); ) {
    if (performance.now() > end) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
const turns = async (): Promise<void> => {
  for (let count = 0; count < 3; count++) await new Promise((resolve) => setImmediate(resolve));
};
/** Passes time up to a moment before a deadline, then to it. */
async function pass(ms: number, before: () => void, after: () => void): Promise<void> {
  vi.advanceTimersByTime(ms - 1);
  await turns();
  before();
  vi.advanceTimersByTime(1);
  await turns();
  after();
}
const enter = async (): Promise<void> => {
  peer.write(greeting);
  await arrives('the challenge came', () => got.length === 80);
  peer.write(makeAnswer({ secret, pipe, greeting }, got));
  await arrives('it is in', () => told.includes('left: shim'));
  told = [];
};
const sendAndSee = async (bytes: Uint8Array): Promise<void> => {
  const want = socket.bytesRead + bytes.length;
  peer.write(bytes);
  await arrives('it was read', () => socket.bytesRead === want);
};

describe('the handshake has its time and no more', () => {
  test.for<[string, Uint8Array, string | undefined]>([
    ['with nothing said', new Uint8Array(0), undefined],
    ['with all but a byte of the greeting', greeting.subarray(0, -1), undefined],
    ['with no answer', greeting, 'shim'],
  ])('%s', async ([, bytes, admitted]) => {
    await sendAndSee(bytes);
    await pass(
      HANDSHAKE_TIMEOUT_MS,
      () => expect([socket.destroyed, told]).toEqual([false, []]),
      () =>
        expect([socket.destroyed, told]).toEqual([true, [`left: ${admitted}`, 'refused: timeout']]),
    );
  });

  test('and none of it counts once the peer is in', async () => {
    await enter();
    vi.advanceTimersByTime(10 * HANDSHAKE_TIMEOUT_MS);
    await turns();
    expect([socket.destroyed, told]).toEqual([false, []]);
  });
});

describe('a frame has its time to become whole and no more', () => {
  const bytes = frame(encodeFrame(hello(newRingId())));

  test('single bytes of it are no progress', async () => {
    await enter();
    await sendAndSee(bytes.subarray(0, 5));
    vi.advanceTimersByTime(FRAME_TIMEOUT_MS / 2);
    await sendAndSee(bytes.subarray(5, 6));
    await pass(
      FRAME_TIMEOUT_MS / 2,
      () => expect(told).toEqual([]),
      () => expect(told).toEqual(['timeout']),
    );
  });

  test('a whole one ends the wait, and what begins behind it has its own', async () => {
    await enter();
    await sendAndSee(bytes.subarray(0, 5));
    vi.advanceTimersByTime(FRAME_TIMEOUT_MS - 1);
    await sendAndSee(Buffer.concat([bytes.subarray(5), bytes.subarray(0, 5)]));
    await pass(
      FRAME_TIMEOUT_MS,
      () => expect(told).toEqual(['frame']),
      () => expect(told).toEqual(['frame', 'timeout']),
    );
  });
});
