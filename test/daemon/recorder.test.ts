// Recording over real connections: what a client that asked gets of the frames that shims send.
import { expect, test } from 'vitest';
import { MAX_TAPE_BYTES } from '../../daemon/limits.ts';
import { sessionId } from '../../protocol/session/ids.ts';
import { NOT_KEPT } from '../../protocol/wire/clients.ts';
import { decodeShimFrame } from '../../protocol/wire/decode.ts';
import { encodeFrame } from '../../protocol/wire/encode.ts';
import { FrameReader } from '../../protocol/wire/frame-reader.ts';
import type { ShimFrame, Unknown } from '../../protocol/wire/frames.ts';
import { RECORDED } from '../../protocol/wire/recording.ts';
import { FakeClient, FakeShim, newRingId, Script, startDaemon, until } from './support.ts';

/** The frames that a client was sent so far. */
function recorded(client: FakeClient): ShimFrame[] {
  const reader = new FrameReader();
  return client.frames
    .flatMap((frame) => (frame.kind === 'recording' ? reader.push(frame.bytes) : []))
    .map((body) => decodeShimFrame(body));
}

const how = (client: FakeClient): Promise<unknown> =>
  until('the recording ended', () => {
    const end = client.frames.findLast(({ kind }) => kind === 'recorded');
    return end?.kind === 'recorded' && [end.how];
  });

const bodies = (frames: readonly Exclude<ShimFrame, Unknown>[]): string[] =>
  frames.map((frame) => Buffer.from(encodeFrame(frame)).toString('hex'));

/** Waits until the daemon has taken what the client asked for before. */
async function asked(client: FakeClient): Promise<void> {
  client.send({ kind: 'status' });
  await client.got('status', ({ kind }) => kind === 'status');
}

test('the next session is recorded from its open on, and no other', async () => {
  const { stateDir } = await startDaemon();
  const shim = await FakeShim.connect(stateDir);
  const ring = newRingId();
  await shim.hello(ring);
  const before = new Script(1, 'before');
  shim.send(...before.frames);
  await shim.acked(before.seq);

  const client = await FakeClient.connect(stateDir);
  client.send({ kind: 'record', session: null });
  await asked(client);
  const one = new Script(before.seq + 1).progress(0, 2, 'Inbox').error('no').progress(2, 2).done();
  one.close();
  const clock = { seq: one.seq + 1, timeUs: 5, thread: 0, session: 0, wallUs: 9 };
  shim.send(...one.frames, { kind: 'clock', ...clock });
  const other = new Script(one.seq + 2, 'other').done().close();
  shim.send(...other.frames);
  await shim.acked(other.seq);

  expect(await how(client)).toEqual([RECORDED.closed]);
  const [hello, ...frames] = recorded(client);
  expect(hello).toMatchObject({ kind: 'hello', ring, executable: 'OUTLOOK.EXE' });
  expect(bodies(frames as Exclude<ShimFrame, Unknown>[])).toEqual(bodies(one.frames));
});

test('a session whose process dies is recorded to its end', async () => {
  const { stateDir } = await startDaemon();
  const client = await FakeClient.connect(stateDir);
  client.send({ kind: 'record', session: null });
  await asked(client);
  const shim = await FakeShim.connect(stateDir);
  // A ring in plain memory, of a process that does not exist.
  await shim.hello(newRingId(), { memory: 1, pid: 0x7ffffffe });
  const script = new Script().progress(1, 2);
  shim.send(...script.frames);
  await shim.acked(script.seq);
  shim.socket.destroy();
  expect(await how(client)).toEqual([RECORDED.gone]);
  expect(recorded(client)).toHaveLength(3);
});

test('frames that are sent again are recorded once', async () => {
  const { stateDir } = await startDaemon();
  const client = await FakeClient.connect(stateDir);
  client.send({ kind: 'record', session: null });
  await asked(client);
  const ring = newRingId();
  const first = await FakeShim.connect(stateDir);
  await first.hello(ring);
  const script = new Script().progress(1, 3).progress(2, 3).progress(3, 3).done().close();
  first.send(...script.frames.slice(0, 3));
  await first.acked(3);
  const second = await FakeShim.connect(stateDir);
  await second.hello(ring);
  second.send(...script.frames.slice(1));
  expect(await how(client)).toEqual([RECORDED.closed]);
  const [, ...frames] = recorded(client);
  expect(bodies(frames as Exclude<ShimFrame, Unknown>[])).toEqual(bodies(script.frames));
});

test('a session that runs is had whole where recordings are kept, and only there', async () => {
  for (const recordKeep of [0, 1]) {
    const { stateDir } = await startDaemon({ recordKeep });
    const ring = newRingId();
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(ring);
    const script = new Script().progress(1, 2);
    shim.send(...script.frames);
    await shim.acked(script.seq);
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'record', session: sessionId(ring, 1) });
    await asked(client);
    shim.send(...script.done().close().after(2));
    if (recordKeep === 0) {
      expect(await how(client)).toEqual([NOT_KEPT]);
      expect(recorded(client)).toHaveLength(0);
      continue;
    }
    expect(await how(client)).toEqual([RECORDED.closed]);
    expect(recorded(client)).toHaveLength(script.frames.length + 1);
    // It is still kept when it has ended, until a newer one takes its place.
    const later = await FakeClient.connect(stateDir);
    later.send({ kind: 'record', session: sessionId(ring, 1) });
    expect(await how(later)).toEqual([RECORDED.closed]);
    expect(recorded(later)).toEqual(recorded(client));
    const next = new Script(script.seq + 1);
    shim.send(...next.frames);
    await shim.acked(next.seq);
    const late = await FakeClient.connect(stateDir);
    late.send({ kind: 'record', session: sessionId(ring, 1) });
    expect(await how(late)).toEqual([NOT_KEPT]);
  }
});

test('of a session with too many frames nothing is kept, and of one with as many as may be all', async () => {
  const { stateDir } = await startDaemon({ recordKeep: 2 });
  const shim = await FakeShim.connect(stateDir);
  const ring = newRingId();
  await shim.hello(ring);
  const text = 'x'.repeat(4000);
  const per = encodeFrame(new Script().error(text).frames.at(-1)!).length;
  const most = Math.floor(MAX_TAPE_BYTES / per);
  let seq = 0;
  for (const [errors, end] of [
    [most - 10, RECORDED.closed],
    [most + 10, NOT_KEPT],
  ] as const) {
    const script = new Script(seq + 1);
    for (let n = 0; n < errors; n += 1) script.error(text);
    script.done().close();
    // Half of what a daemon may have to take from a shim at once.
    for (let at = 0; at < script.frames.length; at += 30) {
      const some = script.frames.slice(at, at + 30);
      shim.send(...some);
      await shim.acked(seq + at + some.length);
    }
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'record', session: sessionId(ring, seq + 1) });
    expect(await how(client)).toEqual([end]);
    expect(recorded(client)).toHaveLength(end === NOT_KEPT ? 0 : script.frames.length + 1);
    seq = script.seq;
  }
});

test('who records and does not read is cut, and the shim never waits', async () => {
  const { stateDir } = await startDaemon();
  const client = await FakeClient.connect(stateDir);
  client.send({ kind: 'record', session: null });
  await asked(client);
  client.socket.pause();
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  const script = new Script();
  const text = 'x'.repeat(8000);
  for (let n = 0; n < 2000; n += 1) script.progress(n, 2000, text);
  shim.send(...script.done().close().frames);
  await shim.acked(script.seq);
  client.socket.resume();
  const cut = await client.got('cut', ({ kind }) => kind === 'cut');
  expect(cut).toMatchObject({ reason: expect.stringContaining('too far behind') });
  await client.closed();
});

test('a client that asks twice is refused', async () => {
  const { stateDir } = await startDaemon();
  const client = await FakeClient.connect(stateDir);
  client.send({ kind: 'record', session: null }, { kind: 'record', session: null });
  const refused = await client.got('refused', ({ kind }) => kind === 'refused');
  expect(refused).toMatchObject({ text: 'Cannot record twice on one connection' });
});
