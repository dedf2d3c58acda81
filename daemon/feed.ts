/**
 * What clients see: a picture of the live sessions, then its changes, and records as they become
 * durable. Nobody waits for a client, and one that does not read costs nothing but its place: what all
 * get is made once, when the first of them has room for it (`feed-client.ts` is one client).
 */
import type { Socket } from 'node:net';
import type { LiveSession } from '../protocol/records/record.ts';
import {
  FeedClient,
  type LineBatch,
  type LineChunk,
  PICTURE_CHUNK_SESSIONS,
  type SessionPicture,
  toBytes,
} from './feed-client.ts';
import type { DurableLine, DurableLines } from './journal-batch.ts';
import { FEED_CHUNK_BYTES, MAX_ENDS_KEPT, SESSION_UPDATES_PER_SECOND } from './limits.ts';
import { type Cursor, formatCursor, parseCursor } from './platform/journal-files.ts';
import { type SessionChange, SessionChanges } from './session-changes.ts';

/** What a feed shows. */
export interface FeedSource {
  readonly journalDir: string;
  /** Running ones, and the last of those that ended. */
  sessionIds(): Iterable<string>;
  liveSession(id: string): LiveSession | undefined;
  /** Up to here the journal may be shown. */
  durableEnd(): Cursor;
  /** A client was told so and cut. */
  cut(reason: string): void;
}

export interface FeedCounts {
  /** Clients that were cut. */
  cut: number;
  /** Of what those clients had asked for: what they were not sent. */
  records: number;
  sessions: number;
}

/** What `sessionMoved()` needs of a session. */
export interface Moved {
  readonly id: string;
  mark: number;
}

const UPDATE_MS = 1000 / SESSION_UPDATES_PER_SECOND;
const STALL_CHECK_MS = 1000;

export class Feed {
  readonly counts: FeedCounts = { cut: 0, records: 0, sessions: 0 };
  readonly #source: FeedSource;
  readonly #clients = new Set<FeedClient>();
  /** Those of them that want sessions. */
  readonly #watchers = new Set<FeedClient>();
  /** Of clients that were cut and have not read on, the first to be cut first. */
  readonly #goodbyes = new Set<Socket>();
  readonly #changes = new SessionChanges();
  /** Sessions that changed since the last update, and go out with the next. */
  readonly #changed = new Set<string>();
  /** A session that has it is known to have changed. */
  #mark = 1;
  /** The same, but at once; with their end if they have one. */
  readonly #urgent = new Map<string, LiveSession | undefined>();
  /** For all who come until one of its sessions gets a change with a number, or for a second. */
  #picture: Picture | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastUpdateMs = 0;
  #lastStallCheckMs = 0;

  constructor(source: FeedSource) {
    this.#source = source;
  }

  /** @returns why the subscription cannot be. */
  subscribe(socket: Socket, wants: number, after: string | null): string | undefined {
    const from = after === null ? this.#source.durableEnd() : parseCursor(after);
    if (!from) return `expected a cursor like 12:3456, got ${JSON.stringify(after?.slice(0, 40))}`;
    const client = new FeedClient(socket, wants, from, {
      source: this.#source,
      changes: this.#changes,
      picture: () => {
        this.#picture ??= new Picture([...this.#source.sessionIds()], this.#source);
        return this.#picture;
      },
      bytesOf: (change) => this.#bytesOf(change),
      ready: () => this.#schedule(),
      cut: (reason) => this.#cut(client, reason),
    });
    this.#clients.add(client);
    if (client.wantsSessions) this.#watchers.add(client);
    socket.once('close', () => {
      this.#forget(client);
      this.#goodbyes.delete(socket);
    });
    client.start();
    return undefined;
  }

  publishLines(lines: DurableLines): void {
    if (this.#clients.size === 0) return;
    const batch = new Batch(lines);
    for (const client of this.#clients) client.lines(batch);
  }

  /**
   * @param urgent An error or an end: goes out at once, and is never merged away.
   * @param end How the session ended, if it did.
   */
  sessionChanged(id: string, urgent: boolean, end?: LiveSession): void {
    if (this.#watchers.size === 0) return;
    if (!urgent) {
      this.#changed.add(id);
      this.#schedule();
      return;
    }
    if (this.#urgent.size === 0) setImmediate(() => this.#updateUrgent());
    this.#urgent.set(id, end);
  }

  /** Its bar moved on, as it does many thousand times a second: whether that is known, the session says. */
  sessionMoved(session: Moved): void {
    if (session.mark === this.#mark || this.#watchers.size === 0) return;
    session.mark = this.#mark;
    this.#changed.add(session.id);
    this.#schedule();
  }

  /** To be called about once a second. */
  tick(nowMs: number): void {
    if (nowMs - this.#lastStallCheckMs < STALL_CHECK_MS) return;
    this.#lastStallCheckMs = nowMs;
    this.#picture = undefined;
    for (const client of this.#clients) client.checkStall(nowMs);
  }

  /** Somebody else needs a place: of those that were cut, the first waits no longer to be heard. */
  makeRoom(): boolean {
    for (const socket of this.#goodbyes) {
      this.#goodbyes.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  #schedule(): void {
    if (this.#timer || (this.#changed.size === 0 && this.#changes.size === 0)) return;
    const waitMs = Math.max(0, this.#lastUpdateMs + UPDATE_MS - performance.now());
    this.#timer = setTimeout(() => this.#update(), waitMs);
    this.#timer.unref();
  }

  #update(): void {
    this.#timer = undefined;
    this.#lastUpdateMs = performance.now();
    // While nobody has room, sessions only become part of what changed.
    if (this.#hasReader()) {
      this.#number();
      for (const client of this.#watchers) client.sessions();
    }
    this.#drop();
  }

  #updateUrgent(): void {
    const reader = this.#hasReader();
    for (const [id, end] of this.#urgent) {
      if (!reader && end === undefined) this.#changed.add(id);
      else this.#changes.add(id, end);
      if (!reader && end === undefined) continue;
      // Who comes from here on starts behind this change.
      if (this.#changed.delete(id)) this.#mark += 1;
      this.#picture = undefined;
    }
    this.#urgent.clear();
    if (reader) for (const client of this.#watchers) client.sessions();
    this.#schedule();
  }

  #hasReader(): boolean {
    for (const client of this.#watchers) if (client.isReady) return true;
    return false;
  }

  /** Gives what changed its place in the order of changes. */
  #number(): void {
    for (const id of this.#changed) this.#changes.add(id, undefined);
    this.#changed.clear();
    this.#mark += 1;
    this.#picture = undefined;
  }

  /** Keeps what some client still has to get; a client that holds up too many ends is cut. */
  #drop(): void {
    for (;;) {
      let slowest: FeedClient | undefined;
      for (const client of this.#watchers) {
        if (client.seen < (slowest?.seen ?? Number.POSITIVE_INFINITY)) slowest = client;
      }
      const ends = this.#changes.forgetTo(slowest?.seen ?? this.#changes.last);
      if (ends <= MAX_ENDS_KEPT || !slowest) return;
      slowest.cutOff('the reader fell too far behind');
    }
  }

  #cut(client: FeedClient, reason: string): void {
    this.#number();
    const missed = client.missed();
    this.#forget(client);
    this.counts.cut += 1;
    this.counts.records += missed.records;
    this.counts.sessions += missed.sessions;
    client.goodbye(reason, missed);
    this.#goodbyes.add(client.socket);
    this.#source.cut(reason);
  }

  #forget(client: FeedClient): void {
    this.#clients.delete(client);
    this.#watchers.delete(client);
    if (this.#watchers.size > 0) return;
    // From here on nobody notes what changes.
    this.#changed.clear();
    this.#mark += 1;
    this.#urgent.clear();
    this.#picture = undefined;
    this.#changes.forgetTo(this.#changes.last);
  }

  #bytesOf(change: SessionChange): Uint8Array | undefined {
    if (!change.bytes) {
      const session = change.end ?? this.#source.liveSession(change.id);
      if (session) change.bytes = toBytes({ kind: 'session', session });
    }
    return change.bytes;
  }
}

/**
 * Sessions for those who come, in chunks that are made once for all of them, when the first has room. What
 * changes after a chunk was made gets its number later: so whoever gets the one gets the other, too.
 */
class Picture implements SessionPicture {
  readonly ids: readonly string[];
  readonly #source: FeedSource;
  readonly #chunks: Uint8Array[] = [];

  constructor(ids: readonly string[], source: FeedSource) {
    this.ids = ids;
    this.#source = source;
  }

  chunk(from: number): Uint8Array {
    const at = from / PICTURE_CHUNK_SESSIONS;
    let chunk = this.#chunks[at];
    if (!chunk) {
      const frames = this.ids.slice(from, from + PICTURE_CHUNK_SESSIONS).map((id) => {
        const session = this.#source.liveSession(id);
        return session ? toBytes({ kind: 'session', session }) : new Uint8Array(0);
      });
      chunk = Buffer.concat(frames);
      this.#chunks[at] = chunk;
    }
    return chunk;
  }
}

/** Records that became durable together, as chunks of frames. Made once, for the first that asks. */
class Batch implements LineBatch {
  readonly count: number;
  readonly bytes: number;
  readonly #durable: DurableLines;
  #lines: readonly DurableLine[] | undefined;
  #chunks: readonly LineChunk[] | undefined;

  constructor(durable: DurableLines) {
    this.#durable = durable;
    this.count = durable.count;
    this.bytes = durable.bytes;
  }

  get lines(): readonly DurableLine[] {
    this.#lines ??= this.#durable.lines();
    return this.#lines;
  }

  get chunks(): readonly LineChunk[] {
    this.#chunks ??= chunksOf(this.lines);
    return this.#chunks;
  }
}

function chunksOf(lines: readonly DurableLine[]): LineChunk[] {
  const chunks: LineChunk[] = [];
  let frames: Uint8Array[] = [];
  let size = 0;
  for (const [at, { cursor, line }] of lines.entries()) {
    const bytes = toBytes({ kind: 'record', cursor: formatCursor(cursor), line });
    frames.push(bytes);
    size += bytes.length;
    if (size < FEED_CHUNK_BYTES && at < lines.length - 1) continue;
    chunks.push({ bytes: Buffer.concat(frames), records: frames.length, end: cursor });
    frames = [];
    size = 0;
  }
  return chunks;
}
