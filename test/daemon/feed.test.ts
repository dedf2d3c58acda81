/** The feed alone, with real sockets: what clients that do not read cost, and what they are told. */
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Feed } from '../../daemon/feed.ts';
import type { DurableLines } from '../../daemon/journal-batch.ts';
import {
  MAX_CLIENT_BACKLOG_BYTES,
  MAX_CLIENT_STALL_MS,
  MAX_ENDS_KEPT,
  MAX_GOODBYE_MS,
} from '../../daemon/limits.ts';
import type { LiveSession } from '../../protocol/records/record.ts';
import { decodeFeedFrame, type FeedFrame, WANT } from '../../protocol/wire/clients.ts';
import { FrameReader } from '../../protocol/wire/frame-reader.ts';
import { cleanUp, tempDir, until } from './support.ts';

const live = (id: string, state: LiveSession['state'] = 'running'): LiveSession =>
  ({ id, state, progress: { text: 'x'.repeat(1000) } }) as LiveSession;

let feed: Feed;
let ids: string[];
/** How often a session was looked at for a frame. */
let looks: number;
let cuts: string[];
let server: ReturnType<typeof createServer>;
let path: string;

beforeEach(async () => {
  ids = [];
  looks = 0;
  cuts = [];
  feed = new Feed({
    journalDir: tempDir(),
    sessionIds: () => ids,
    liveSession: (id) => {
      looks += 1;
      return live(id);
    },
    durableEnd: () => ({ segment: 1, offset: 0 }),
    cut: (reason) => void cuts.push(reason),
  });
  path = join(tempDir(), 'socket');
  server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  cleanUp(() => server.close());
});
afterEach(() => void vi.useRealTimers());

interface Tail {
  /** The daemon's end. */
  readonly socket: Socket;
  readonly frames: FeedFrame[];
  read(): void;
}

async function tail(wants: number, reads: boolean): Promise<Tail> {
  const [one] = await tails(1, wants, reads);
  return one as Tail;
}

/** So many, that subscribe together. */
async function tails(count: number, wants: number, reads: boolean): Promise<Tail[]> {
  const all: Tail[] = [];
  while (all.length < count) all.push(await connected(reads));
  for (const { socket } of all) expect(feed.subscribe(socket, wants, null)).toBeUndefined();
  const isCurrent = ({ frames }: Tail) => frames.some(({ kind }) => kind === 'current');
  if (reads) await until('they are current', () => all.every(isCurrent));
  return all;
}

async function connected(reads: boolean): Promise<Tail> {
  const accepted = once(server, 'connection');
  const other = createConnection(path);
  const [socket] = (await accepted) as [Socket];
  const frames: FeedFrame[] = [];
  const reader = new FrameReader();
  other.on('error', () => {});
  const read = (): void => {
    other.on('data', (bytes: Buffer) => {
      for (const body of reader.push(bytes)) frames.push(decodeFeedFrame(body) as FeedFrame);
    });
  };
  if (reads) read();
  cleanUp(() => other.destroy());
  cleanUp(() => socket.destroy());
  return { socket, frames, read };
}

const sessionsOf = ({ frames }: Tail): LiveSession[] =>
  frames.flatMap((frame) => (frame.kind === 'session' ? [frame.session] : []));

let offset = 0;
const LINE = JSON.stringify({ text: 'y'.repeat(1000) });
const lines = (count: number): DurableLines => {
  const first = offset;
  const bytes = LINE.length + 1;
  offset += count * bytes;
  const at = (n: number): { segment: number; offset: number } => ({
    segment: 1,
    offset: first + (n + 1) * bytes,
  });
  const made = Array.from({ length: count }, (_, n) => ({ line: LINE, cursor: at(n) }));
  return { count, bytes: count * bytes, end: at(count - 1), lines: () => made };
};

test('what changed is made once for all who read', async () => {
  const five = await tails(5, WANT.sessions, true);
  feed.sessionChanged('a', false);
  await until('all have it', () => five.every((one) => sessionsOf(one).length === 1));
  feed.sessionChanged('a', true);
  await until('all have it again', () => five.every((one) => sessionsOf(one).length === 2));
  expect(looks).toBe(2);
});

test('a picture is made once for all who come together', async () => {
  ids = ['a', 'b', 'c'];
  const five = await tails(5, WANT.sessions, true);
  for (const one of five) expect(sessionsOf(one)).toHaveLength(3);
  expect(looks).toBe(3);
});

test('who gets a picture made before a change gets the change, too', async () => {
  ids = ['a', ...Array.from({ length: 4000 }, (_, at) => `s${at}`)];
  const session = { id: 'a', mark: 0 };
  const [first] = await tails(1, WANT.sessions, false);
  // Nobody has room: what changes now has no number yet.
  feed.sessionMoved(session);
  feed.sessionMoved(session);
  const late = await tail(WANT.sessions, true);
  // A picture of each, made once for both, and perhaps the change by now.
  expect(looks - ids.length).toBeOneOf([0, 1]);
  await until(
    'it has the change',
    () => sessionsOf(late).filter(({ id }) => id === 'a').length > 1,
  );
  // And again, once that has its number; and when an error brought it at once.
  for (const urgent of [false, true, false, true, false]) {
    const got = sessionsOf(late).length;
    feed.sessionMoved(session);
    if (urgent) feed.sessionChanged('a', true);
    await until('it has the next', () => sessionsOf(late).length > got);
  }
  first?.read();
  await until('so does the other', () => sessionsOf(first as Tail).length > ids.length);
});

test('a picture made before a change that went out at once is made anew', async () => {
  ids = ['a'];
  await tail(WANT.sessions, true);
  feed.sessionChanged('a', true);
  await new Promise((resolve) => setImmediate(resolve));
  expect(looks).toBe(2);
  await tail(WANT.sessions, true);
  expect(looks).toBe(3);
});

test('nothing is made for who does not read; when it does, it gets the newest of each and every end', async () => {
  ids = Array.from({ length: 4000 }, (_, at) => `s${at}`);
  const silent = await tail(WANT.sessions, false);
  // What the system takes, and a chunk.
  expect(looks).toBeLessThan(1000);
  const before = looks;
  for (let round = 0; round < 3; round++) {
    for (const id of ids) feed.sessionChanged(id, false);
    feed.sessionChanged('s7', true);
    await new Promise((resolve) => setTimeout(resolve, 110));
  }
  feed.sessionChanged('s0', true, live('s0', 'ended'));
  await new Promise((resolve) => setImmediate(resolve));
  // A straggler never takes back an end.
  feed.sessionChanged('s0', false);
  expect(looks).toBe(before);
  silent.read();
  await until('it has the end', () => sessionsOf(silent).some(({ state }) => state === 'ended'));
  await until('it has all', () => new Set(sessionsOf(silent).map(({ id }) => id)).size === 4000);
  feed.sessionChanged('last', false);
  await until('it has what came last', () => sessionsOf(silent).some(({ id }) => id === 'last'));
  const newest = new Map(sessionsOf(silent).map((session) => [session.id, session.state]));
  expect(newest.get('s0')).toBe('ended');
});

describe('a client that does not read', () => {
  const fallBehind = async (): Promise<Tail> => {
    const silent = await tail(WANT.records, false);
    const before = feed.counts.cut;
    while (feed.counts.cut === before) feed.publishLines(lines(100));
    return silent;
  };

  test('is cut above its backlog and not before', async () => {
    const silent = await tail(WANT.records, false);
    // The first lines go out, until there is no room; from then on all is counted.
    let published = 0;
    while (silent.socket.writableLength < 131_072) {
      feed.publishLines(lines(10));
      published += 10;
    }
    const most = Math.floor(MAX_CLIENT_BACKLOG_BYTES / LINE.length);
    feed.publishLines(lines(most - 20));
    expect(feed.counts.cut).toBe(0);
    feed.publishLines(lines(40));
    published += most + 20;
    expect(feed.counts.cut).toBe(1);
    silent.read();
    const cut = await until('it is told', () => silent.frames.find(({ kind }) => kind === 'cut'));
    const got = silent.frames.filter(({ kind }) => kind === 'record').length;
    expect(cut).toMatchObject({ dropped: published - got });
    expect(feed.counts.records).toBe(published - got);
  });

  test('is cut when it took nothing for so long, and not before', async () => {
    const silent = await tail(WANT.records, false);
    while (silent.socket.writableLength < 131_072) feed.publishLines(lines(10));
    const nowMs = performance.now();
    feed.tick(nowMs);
    feed.tick(nowMs + MAX_CLIENT_STALL_MS - 2000);
    expect(cuts).toEqual([]);
    feed.tick(nowMs + MAX_CLIENT_STALL_MS + 2000);
    expect(cuts).toEqual(['the reader reads nothing']);
  });

  test('is cut when it holds up more ends than are kept, and not before', async () => {
    ids = Array.from({ length: 1000 }, (_, at) => `s${at}`);
    await tail(WANT.sessions, false);
    const end = (count: number, from: number) => {
      for (let at = from; at < from + count; at++) {
        feed.sessionChanged(`e${at}`, true, live(`e${at}`, 'ended'));
      }
    };
    end(MAX_ENDS_KEPT, 0);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(cuts).toEqual([]);
    end(1, MAX_ENDS_KEPT);
    await until('it is cut', () => cuts.length > 0);
    // All that ended, and what it had not got of its first picture.
    expect(feed.counts.sessions).toBe(MAX_ENDS_KEPT + 1 + ids.length - looks);
  });

  test('hears why when it reads on, and waits so long for that and no longer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const [one, two] = [await fallBehind(), await fallBehind()];
    vi.advanceTimersByTime(MAX_GOODBYE_MS - 1);
    expect([one.socket.destroyed, two.socket.destroyed]).toEqual([false, false]);
    one.read();
    await once(one.socket, 'close');
    expect(one.frames.at(-1)).toMatchObject({ kind: 'cut', reason: expect.any(String) });
    vi.advanceTimersByTime(1);
    expect(two.socket.destroyed).toBe(true);
  });

  test('gives its place to who comes: the first that was cut goes first', async () => {
    const reading = await tail(WANT.sessions, true);
    expect(feed.makeRoom()).toBe(false);
    const [one, two] = [await fallBehind(), await fallBehind()];
    expect(feed.makeRoom()).toBe(true);
    expect([one.socket.destroyed, two.socket.destroyed]).toEqual([true, false]);
    expect(feed.makeRoom()).toBe(true);
    expect(feed.makeRoom()).toBe(false);
    expect(reading.socket.destroyed).toBe(false);
  });
});
