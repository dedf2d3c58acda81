/** Both sides of what peers may hold open: the last that fits, and one more. */
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MAX_CLIENTS, MAX_GREETING, MAX_PROVIDERS } from '../../daemon/limits.ts';
import { connect } from '../../daemon/platform/connect.ts';
import { readEndpoint } from '../../daemon/platform/endpoint.ts';
import type { Role } from '../../protocol/wire/handshake.ts';
import { cleanUp, journalOf, named, startDaemon, until } from '../daemon/support.ts';

test.for<[string, Role, number]>([
  ['providers', 'shim', MAX_PROVIDERS],
  ['clients', 'client', MAX_CLIENTS],
])('%s: no more get in when they come all at once', async ([, role, most]) => {
  const { stateDir } = await startDaemon();
  const enter = async () => {
    const { socket } = await connect(join(stateDir, 'endpoint'), { role, timeoutMs: 5000 });
    cleanUp(() => socket.destroy());
    return socket;
  };
  for (let count = 5; count < most; count++) await enter();
  const tries = await Promise.allSettled(Array.from({ length: 20 }, enter));
  expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
});

test.for<[string, Role, number]>([
  ['providers', 'shim', MAX_PROVIDERS],
  ['clients', 'client', MAX_CLIENTS],
])(
  '%s: the last gets in, one more is told why, and there is room again',
  async ([, role, most]) => {
    const { stateDir } = await startDaemon();
    const enter = async () => {
      const { socket } = await connect(join(stateDir, 'endpoint'), { role, timeoutMs: 5000 });
      cleanUp(() => socket.destroy());
      return socket;
    };
    const first = await enter();
    for (let count = 1; count < most; count++) await enter();
    for (let again = 0; again < 2; again++) {
      await expect(enter()).rejects.toMatchObject({
        reason: 'refused',
        message: expect.stringContaining('it has too many peers'),
      });
    }
    const refused = await until(
      'it was noted',
      () => named(journalOf(stateDir), 'peer.refused')[0],
    );
    expect(refused).toMatchObject({ refusal: { reason: 'limit', count: 1 } });
    // The second one was counted, and not repeated.
    expect(named(journalOf(stateDir), 'peer.refused')).toHaveLength(1);
    first.destroy();
    // The daemon hears of it a moment later.
    let entered = false;
    for (let tries = 0; tries < 100 && !entered; tries++) {
      entered = await enter().then(
        () => true,
        () => false,
      );
    }
    expect(entered).toBe(true);
  },
);

test('peers that shake hands: the last may, one more is closed at once, counted, and there is room again', async () => {
  const { stateDir } = await startDaemon();
  const { pipe } = readEndpoint(join(stateDir, 'endpoint'));
  const knock = async () => {
    const socket = createConnection(pipe);
    cleanUp(() => socket.destroy());
    socket.on('error', () => {});
    socket.resume();
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    return socket;
  };
  const waiting: Socket[] = [];
  while (waiting.length < MAX_GREETING) waiting.push(await knock());
  const beyond = await knock();
  await until('one more is closed', () => beyond.closed);
  expect(waiting.filter(({ closed }) => closed)).toHaveLength(0);
  const refused = await until('it was noted', () => named(journalOf(stateDir), 'peer.refused')[0]);
  expect(refused).toMatchObject({ refusal: { reason: 'limit', count: 1 } });
  expect(refused.msg).toContain('too many peers shake hands at once');
  for (const socket of waiting) socket.destroy();
  await until('all are gone', () => waiting.every(({ closed }) => closed));
  const { socket } = await connect(join(stateDir, 'endpoint'), { role: 'client', timeoutMs: 5000 });
  socket.destroy();
});
