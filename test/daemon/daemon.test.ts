/** The daemon as its peers see it: real sockets, real files, frames by hand. */
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { MAX_CLIENT_BACKLOG_BYTES, MAX_SESSIONS, TICK_MS } from '../../daemon/limits.ts';
import { readEndpoint } from '../../daemon/platform/endpoint.ts';
import type { LiveSession } from '../../protocol/records/record.ts';
import { WANT } from '../../protocol/wire/clients.ts';
import { encodeFrame, frame } from '../../protocol/wire/encode.ts';
import { makeGreeting } from '../../protocol/wire/handshake.ts';
import { MAX_SESSIONS_PER_RING } from '../../protocol/wire/limits.ts';
import {
  cleanUp,
  FakeClient,
  FakeShim,
  hello,
  journalOf,
  named,
  newRingId,
  nowUs,
  Script,
  startDaemon,
  until,
} from './support.ts';

/** How old an old backlog is: times count from the system's start, which may have been a minute ago. */
const backlogUs = Math.min(600_000_000, Math.floor(nowUs() * 0.9));

describe('a shim', () => {
  test('has its calls acknowledged once they are in the journal', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    expect(await shim.hello(newRingId())).toBe(0);
    const script = new Script().progress(0, 2, 'Inbox').error('no folder').progress(2, 2).done();
    shim.send(...script.frames);
    await shim.acked(script.seq);
    const records = journalOf(stateDir);
    expect(named(records, 'session.error')).toMatchObject([
      { seq: 3, error: { name: 'MAPI_E_NOT_FOUND', text: 'no folder' } },
    ]);
    shim.send(...script.close().after(script.seq - 1));
    await shim.acked(script.seq);
    expect(named(journalOf(stateDir), 'session.ended')).toMatchObject([
      { outcome: 'ok_with_errors', totals: { progress: 2, errors: 1 } },
    ]);
  });

  test('has its texts in the journal as they were, in snapshots too', async () => {
    const first = await startDaemon();
    const shim = await FakeShim.connect(first.stateDir);
    await shim.hello(newRingId());
    const texts = ['plain', 'Größe', '語 😀', '\u202e "\\'];
    for (const store of ['Mailbox', 'Geschäft']) {
      const script = new Script(store === 'Mailbox' ? 1 : 1 + texts.length + 1, store);
      for (const text of texts) script.error(text);
      shim.send(...script.frames);
      await shim.acked(script.seq);
    }
    await first.stop();
    const { stateDir, stop } = await startDaemon({ stateDir: first.stateDir });
    await stop();
    const errors = named(journalOf(stateDir), 'session.error');
    expect(errors.map(({ error }) => error?.text)).toEqual([...texts, ...texts]);
    const dir = join(stateDir, 'journal');
    const segments = readdirSync(dir).filter((name) => name.endsWith('.jsonl'));
    const lines = segments.flatMap((name) =>
      new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(join(dir, name))).split('\n'),
    );
    const kept = lines.filter((line) => line.includes('"event_name":"snapshot.session"'));
    expect(kept.filter((line) => line.includes('"store":"Geschäft"')).length).toBeGreaterThan(0);
  });

  test('is refused beyond its own share of sessions, and counted beyond that of all', {
    timeout: 60_000,
  }, async () => {
    const { stateDir } = await startDaemon();
    const opens = Array.from({ length: MAX_SESSIONS_PER_RING }, (_, at) => new Script(at + 1));
    const connected = async (): Promise<FakeShim> => {
      const shim = await FakeShim.connect(stateDir);
      await shim.hello(newRingId());
      return shim;
    };
    const greedy: FakeShim[] = [];
    for (let sessions = 0; sessions < MAX_SESSIONS; sessions += opens.length) {
      const shim = await connected();
      shim.send(...opens.flatMap((script) => script.frames));
      await shim.acked(opens.length);
      greedy.push(shim);
    }
    const count = (name: string): number => named(journalOf(stateDir), name).length;
    expect([count('session.opened'), count('frame.rejected')]).toEqual([MAX_SESSIONS, 0]);

    const honest = await connected();
    const late = new Script().error('not heard').done().close();
    const later = new Script(late.seq + 1);
    honest.send(...late.frames, ...later.frames);
    await honest.acked(later.seq);
    expect([count('session.opened'), count('session.error')]).toEqual([MAX_SESSIONS, 0]);
    expect(named(journalOf(stateDir), 'frame.rejected')).toMatchObject([
      { refusal: { reason: 'limit', count: 1 }, msg: expect.stringContaining('of all rings') },
    ]);

    // One session less, and the same connection has room.
    const first = opens[0]!.close().frames.at(-1)!;
    greedy[1]!.send({ ...first, seq: opens.length + 1 } as typeof first);
    await greedy[1]!.acked(opens.length + 1);
    const fits = new Script(later.seq + 1).error('heard');
    honest.send(...fits.frames);
    await honest.acked(fits.seq);
    expect([count('session.opened'), count('session.error')]).toEqual([MAX_SESSIONS + 1, 1]);

    // Its own share is another matter, full or not.
    greedy[0]!.send(...new Script(opens.length + 1).frames);
    expect((await greedy[0]!.refused()).text).toContain('of one ring');
  });

  test('gets an answer to its goodbye', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const script = new Script().done().close();
    shim.send(...script.frames, { kind: 'bye', reason: 1 });
    await shim.got('bye', ({ kind }) => kind === 'daemonBye');
    expect(shim.frames.at(-2)).toEqual({ kind: 'ack', durable: script.seq });
    await shim.closed();
  });

  test('may send again what it sent before: nothing stands there twice', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    const ring = newRingId();
    await shim.hello(ring);
    const script = new Script().error('once').done().close();
    shim.send(...script.frames);
    await shim.acked(script.seq);
    shim.socket.destroy();
    const again = await FakeShim.connect(stateDir);
    expect(await again.hello(ring)).toBe(script.seq);
    again.send(...script.frames);
    const next = new Script(script.seq + 1).done().close();
    again.send(...next.frames);
    await again.acked(next.seq);
    const records = journalOf(stateDir);
    expect(named(records, 'session.error')).toHaveLength(1);
    expect(named(records, 'session.ended')).toHaveLength(2);
  });

  test('whose old backlog is still coming in is not called quiet', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const script = new Script();
    for (let call = 1; call <= 25; call += 1) script.progress(call, 25);
    const old = script
      .done()
      .close()
      .frames.map((one) => {
        return 'timeUs' in one ? { ...one, timeUs: one.timeUs - backlogUs } : one;
      });
    // Slowly, so that the daemon looks at its sessions meanwhile.
    for (const frame of old) {
      shim.send(frame as (typeof script.frames)[number]);
      await sleep(TICK_MS / 12);
    }
    await shim.acked(script.seq);
    expect(named(journalOf(stateDir), 'session.stalled')).toEqual([]);
  });

  test.for(['stays', 'goes and comes back'])(
    'that %s in the middle of an old backlog loses none of it, and does not stall',
    async (how) => {
      const { stateDir } = await startDaemon();
      const ring = newRingId();
      const running = new Script().progress(1, 2);
      const script = new Script(3).done().error('after Done').close();
      const old = [...running.frames, ...script.frames].map((one) =>
        'timeUs' in one ? { ...one, timeUs: one.timeUs - backlogUs } : one,
      );
      let shim = await FakeShim.connect(stateDir);
      await shim.hello(ring);
      shim.send(...(old.slice(0, 4) as typeof script.frames));
      await shim.acked(4);
      if (how !== 'stays') shim.socket.destroy();
      // The daemon looks at its sessions meanwhile.
      await sleep(2.2 * TICK_MS);
      if (how !== 'stays') {
        shim = await FakeShim.connect(stateDir);
        await shim.hello(ring);
      }
      shim.send(...(old.slice(4) as typeof script.frames));
      await shim.acked(script.seq);
      expect(named(journalOf(stateDir), 'session.ended')).toMatchObject([
        { outcome: 'ok_with_errors', totals: { errors: 1 } },
      ]);
      expect(named(journalOf(stateDir), 'session.stalled')).toEqual([]);
    },
  );

  test('that freed more than the journal has is believed', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    expect(await shim.hello(newRingId(), { freed: 1000 })).toBe(1000);
    const script = new Script(1001).done().close();
    shim.send(...script.frames);
    await shim.acked(script.seq);
  });

  test('is replaced by a newer connection of its ring', async () => {
    const { stateDir } = await startDaemon();
    const ring = newRingId();
    const old = await FakeShim.connect(stateDir);
    await old.hello(ring);
    const script = new Script().error('first');
    old.send(...script.frames);
    await old.acked(script.seq);
    const newer = await FakeShim.connect(stateDir);
    expect(await newer.hello(ring)).toBe(script.seq);
    expect(await old.refused()).toMatchObject({ reason: 5 });
    old.send(...script.error('from the old one').after(script.seq - 1));
    await old.closed();
    newer.send(...new Script(1).error('first').error('from the new one').after(2));
    await newer.acked(3);
    const texts = named(journalOf(stateDir), 'session.error').map(({ error }) => error?.text);
    expect(texts).toEqual(['first', 'from the new one']);
  });

  test.for<[string, number, (shim: FakeShim) => void]>([
    ['a gap', 4, (shim) => shim.send(...new Script(2).frames)],
    ['a frame before hello', 3, (shim) => shim.send(...new Script().frames)],
    ['a second hello', 3, (shim) => shim.send(hello(newRingId()))],
    ['a frame of no bytes', 3, (shim) => void shim.socket.write(Buffer.alloc(4))],
    ['a frame too long', 3, (shim) => void shim.socket.write(Buffer.from([0, 1, 0, 1, 0x90]))],
    [
      'arrays in arrays',
      3,
      (shim) => void shim.socket.write(frame(new Uint8Array(200).fill(0xdd))),
    ],
  ])('is refused for %s, and the others go on', async ([what, reason, misbehave]) => {
    const { stateDir } = await startDaemon();
    const good = await FakeShim.connect(stateDir);
    await good.hello(newRingId());
    const bad = await FakeShim.connect(stateDir);
    if (what !== 'a frame before hello') await bad.hello(newRingId());
    misbehave(bad);
    expect(await bad.refused()).toMatchObject({ reason });
    await bad.closed();
    const script = new Script().done().close();
    good.send(...script.frames);
    await good.acked(script.seq);
    expect(named(journalOf(stateDir), 'frame.rejected')).toHaveLength(1);
  });

  test('of tomorrow may send kinds that we do not know', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const note = { kind: 'note', seq: 1, timeUs: 1, thread: 1, session: 1, key: '', value: '' };
    const body = encodeFrame(note as never);
    body[1] = 99; // The kind, behind the array's head.
    shim.socket.write(frame(body));
    const script = new Script(2).done().close();
    shim.send(...script.frames);
    await shim.acked(script.seq);
  });

  test('whose process is gone ends its sessions, if its ring died with it', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    // No process has this id: the kernel's highest is 2^22.
    await shim.hello(newRingId(), { memory: 1, pid: 0x7ffffff0 });
    shim.send(...new Script().progress(1, 10, 'Inbox').frames);
    await shim.acked(2);
    shim.socket.destroy();
    const ended = await until('it ended', () => named(journalOf(stateDir), 'session.ended')[0]);
    expect(ended).toMatchObject({ outcome: 'abandoned', totals: { progress: 1 } });
    await until('it is gone', () => named(journalOf(stateDir), 'process.gone')[0]);
  });
});

describe('the handshake', () => {
  const raw = async (stateDir: string) => {
    const socket = createConnection(readEndpoint(join(stateDir, 'endpoint')).pipe);
    cleanUp(() => socket.destroy());
    socket.on('error', () => {});
    const got: Buffer[] = [];
    socket.on('data', (bytes) => void got.push(bytes));
    return { socket, bytes: () => Buffer.concat(got) };
  };
  const greeting = makeGreeting({ role: 'shim', nonce: Buffer.alloc(32, 7) });

  test('ends without a word for who does not know the secret', async () => {
    const { stateDir } = await startDaemon();
    const { socket, bytes } = await raw(stateDir);
    socket.write(greeting);
    await until('the challenge came', () => bytes().length === 80);
    socket.write(Buffer.alloc(32));
    await until('it closed', () => socket.closed);
    expect(bytes()).toHaveLength(80);
    await until('it was noted', () => named(journalOf(stateDir), 'peer.refused')[0]);
  });

  test('ends for who stays silent', async () => {
    const { stateDir } = await startDaemon();
    const { socket, bytes } = await raw(stateDir);
    socket.write(greeting.subarray(0, 10));
    await until('it closed', () => socket.closed);
    expect(bytes()).toHaveLength(0);
  });

  test('tells who speaks no version of ours', async () => {
    const { stateDir } = await startDaemon();
    const { socket, bytes } = await raw(stateDir);
    socket.write(makeGreeting({ role: 'client', nonce: Buffer.alloc(32), protocol: 0 }));
    await until('it closed', () => socket.closed);
    expect(bytes()[9]).toBe(1);
  });

  test('works byte by byte', async () => {
    const { stateDir } = await startDaemon();
    const shim = await FakeShim.connect(stateDir);
    const body = frame(encodeFrame(hello(newRingId())));
    for (const byte of body) {
      shim.socket.write(Buffer.from([byte]));
      await sleep(1);
    }
    await shim.got('welcome', ({ kind }) => kind === 'welcome');
  });
});

describe('a client', () => {
  const running = async (stateDir: string): Promise<[FakeShim, Script]> => {
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const script = new Script().progress(3, 10, 'Inbox').error('no folder');
    shim.send(...script.frames);
    await shim.acked(script.seq);
    return [shim, script];
  };

  test('gets the picture, then its changes', async () => {
    const { stateDir } = await startDaemon();
    const [shim, script] = await running(stateDir);
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'subscribe', wants: 2, after: null });
    await client.got('current', ({ kind }) => kind === 'current');
    const sessions = (): LiveSession[] =>
      client.frames.flatMap((got) => (got.kind === 'session' ? [got.session] : []));
    expect(sessions()).toMatchObject([
      { state: 'running', progress: { index: 3, max: 10, text: 'Inbox' }, errors: 1 },
    ]);
    shim.send(...script.done().close().after(3));
    await until('it ended', () => sessions().at(-1)?.state === 'ended');
    expect(sessions().at(-1)).toMatchObject({ outcome: 'ok_with_errors' });
  });

  test('gets records from a cursor on, each once, and none of the snapshots', async () => {
    const { stateDir } = await startDaemon();
    const [shim, script] = await running(stateDir);
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'subscribe', wants: 1, after: '1:0' });
    await client.got('current', ({ kind }) => kind === 'current');
    shim.send(...script.done().close().after(3));
    await until('the end came', () => named(client.records(), 'session.ended')[0]);
    const all = journalOf(stateDir);
    expect(client.records()).toEqual(all);
    const middle = client.frames.find(
      (got) => got.kind === 'record' && got.line.includes('session.error'),
    );
    const later = await FakeClient.connect(stateDir);
    later.send({ kind: 'subscribe', wants: 1, after: (middle as { cursor: string }).cursor });
    await later.got('current', ({ kind }) => kind === 'current');
    const at = all.findIndex(({ event_name }) => event_name === 'session.error');
    expect(later.records()).toEqual(all.slice(at + 1));
  });

  test.for(['x', '1:17', '-1:0'])('is refused for the cursor %s', async (after) => {
    const { stateDir } = await startDaemon();
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'subscribe', wants: 1, after });
    await client.got('refused', ({ kind }) => kind === 'refused');
    await client.closed();
  });

  /** Subscribes and reads no more; meanwhile the journal gets so many errors. */
  const unread = async (stateDir: string, wants: number, errors: number) => {
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'subscribe', wants, after: null });
    await client.got('current', ({ kind }) => kind === 'current');
    client.socket.pause();
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const script = new Script();
    const text = 'x'.repeat(2000);
    for (let count = 0; count < errors; count++) script.error(text);
    shim.send(...script.frames);
    await shim.acked(script.seq);
    return { client, shim, script };
  };

  test('that falls behind gets it all later, if it is not too much', async () => {
    const { stateDir } = await startDaemon();
    const { client } = await unread(stateDir, WANT.records, 600);
    expect(client.frames.filter(({ kind }) => kind === 'record').length).toBeLessThan(600);
    client.socket.resume();
    await until('it has all', () => named(client.records(), 'session.error').length === 600);
    expect(client.records()).toEqual(journalOf(stateDir).slice(-client.records().length));
    expect(client.frames.some(({ kind }) => kind === 'cut')).toBe(false);
  });

  test('that reads too slowly is cut, told what it missed, and nobody waits for it', async () => {
    const { stateDir } = await startDaemon();
    const { client } = await unread(stateDir, WANT.records | WANT.sessions, 2400);
    client.socket.resume();
    const cut = await client.got('cut', ({ kind }) => kind === 'cut');
    await client.closed();
    const all = journalOf(stateDir).filter(({ event_name }) => event_name !== 'peer.refused');
    expect(named(all, 'session.error')).toHaveLength(2400);
    // What it got has no gap, and what it was cut for is what it missed.
    const got = client.records();
    const first = all.findIndex(({ event_id }) => event_id === got[0]?.event_id);
    expect(got).toEqual(all.slice(first, first + got.length));
    const { dropped } = cut as { dropped: number };
    const missed = all.slice(first + got.length);
    const bytesOf = (records: unknown[]) => JSON.stringify(records).length;
    expect(missed.length).toBeGreaterThanOrEqual(dropped);
    expect(bytesOf(missed.slice(0, dropped))).toBeGreaterThan(MAX_CLIENT_BACKLOG_BYTES);
    const refused = await until(
      'it was noted',
      () => named(journalOf(stateDir), 'peer.refused')[0],
    );
    expect(refused).toMatchObject({ refusal: { reason: 'slow', count: 1 } });
    const other = await FakeClient.connect(stateDir);
    other.send({ kind: 'status' });
    expect(await other.got('status', ({ kind }) => kind === 'status')).toMatchObject({
      status: { counts: { clients_cut: 1, records_not_sent: dropped } },
    });
  });

  test('gets the end of every session, however many end at once', async () => {
    const { stateDir } = await startDaemon();
    const client = await FakeClient.connect(stateDir);
    client.send({ kind: 'subscribe', wants: WANT.sessions, after: null });
    await client.got('current', ({ kind }) => kind === 'current');
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const frames = Array.from({ length: 200 }, (_, at) => new Script(1 + 3 * at).done().close());
    shim.send(...frames.flatMap((script) => script.frames));
    await shim.acked(600);
    const ended = (): Set<string> =>
      new Set(
        client.frames.flatMap((got) =>
          got.kind === 'session' && got.session.state === 'ended' ? [got.session.id] : [],
        ),
      );
    await until('all ends came', () => ended().size === 200);
  });

  test('sees how the daemon is, and ends it', async () => {
    const daemon = await startDaemon();
    await running(daemon.stateDir);
    const client = await FakeClient.connect(daemon.stateDir);
    client.send({ kind: 'status' });
    const answer = await client.got('status', ({ kind }) => kind === 'status');
    expect(answer).toMatchObject({
      status: {
        daemon: { state: 'running', pid: process.pid },
        journal: { state: 'open' },
        processes: [{ executable: 'OUTLOOK.EXE', connected: true, sessions: 1 }],
      },
    });
    client.send({ kind: 'stop' });
    await client.got('bye', ({ kind }) => kind === 'bye');
    expect(await daemon.stop()).toBe(0);
    expect(named(journalOf(daemon.stateDir), 'daemon.stopping')).toHaveLength(1);
  });
});
