/**
 * What clients see: a picture of the live sessions, then its changes, and records as they become
 * durable. A slow client gets fewer pictures of the same session; errors and ends it gets in any
 * case. One that falls too far behind is told so and cut. Nobody waits for a client.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { LiveSession } from '../protocol/records/record.ts';
import { encodeFeedFrame, type FeedFrame, WANT } from '../protocol/wire/clients.ts';
import { frame as framed } from '../protocol/wire/encode.ts';
import type { DurableLine } from './journal.ts';
import {
  type Cursor,
  formatCursor,
  listSegments,
  parseCursor,
  readLines,
  segmentPath,
} from './journal-files.ts';
import { MAX_CLIENT_BACKLOG_BYTES, MAX_SESSIONS, SESSION_UPDATES_PER_SECOND } from './limits.ts';
import { REFUSAL } from './refusals.ts';

/** What a feed shows. */
export interface FeedSource {
  readonly journalDir: string;
  /** Running ones, and the last of those that ended. */
  liveSessions(): Iterable<LiveSession>;
  liveSession(id: string): LiveSession | undefined;
  /** Up to here the journal may be shown. */
  durableEnd(): Cursor;
}

/** Above this much unsent a client gets no more progress until it has read. */
const SLOW_BYTES = 65_536;
/** So much of the journal is read ahead for one client. */
const REPLAY_AHEAD_BYTES = 262_144;
const UPDATE_MS = 1000 / SESSION_UPDATES_PER_SECOND;

export class Feed {
  readonly #source: FeedSource;
  readonly #clients = new Set<FeedClient>();
  /** Sessions that changed since the last update. */
  readonly #changed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #lastUpdateMs = 0;
  #urgent = false;

  constructor(source: FeedSource) {
    this.#source = source;
  }

  /** Clients that subscribed. */
  get size(): number {
    return this.#clients.size;
  }

  /** @returns why the subscription cannot be. */
  subscribe(socket: Socket, wants: number, after: string | null): string | undefined {
    const from = after === null ? this.#source.durableEnd() : parseCursor(after);
    if (!from) return `expected a cursor like 12:3456, got ${JSON.stringify(after?.slice(0, 40))}`;
    const client = new FeedClient(socket, this.#source, wants, from);
    this.#clients.add(client);
    socket.once('close', () => this.#clients.delete(client));
    client.start();
    return undefined;
  }

  publishLines(lines: readonly DurableLine[]): void {
    for (const client of this.#clients) client.lines(lines);
  }

  /** @param urgent An error or an end: goes out at once, and is never merged away. */
  sessionChanged(id: string, urgent: boolean): void {
    if (this.#clients.size === 0) return;
    this.#changed.add(id);
    if (urgent && !this.#urgent) {
      this.#urgent = true;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      setImmediate(() => this.#update());
    } else if (!this.#timer && !this.#urgent) {
      const waitMs = Math.max(0, this.#lastUpdateMs + UPDATE_MS - performance.now());
      this.#timer = setTimeout(() => this.#update(), waitMs);
      this.#timer.unref();
    }
  }

  #update(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#urgent = false;
    this.#lastUpdateMs = performance.now();
    const sessions: LiveSession[] = [];
    for (const id of this.#changed) {
      const session = this.#source.liveSession(id);
      if (session) sessions.push(session);
    }
    this.#changed.clear();
    for (const session of sessions) {
      // Encoded once for all.
      const bytes = toBytes({ kind: 'session', session });
      for (const client of this.#clients) client.session(session, bytes);
    }
  }
}

export const toBytes = (frame: FeedFrame): Uint8Array => framed(encodeFeedFrame(frame));

class FeedClient {
  readonly #socket: Socket;
  readonly #source: FeedSource;
  readonly #wants: number;
  /** The client has every record up to here. */
  #position: Cursor;
  /** Records come from the journal's files until the client has caught up. */
  #replaying = true;
  #current = false;
  #cut = false;
  /** Sessions whose newest picture the client did not get yet. An end is kept as it was. */
  readonly #owed = new Map<string, LiveSession>();

  constructor(socket: Socket, source: FeedSource, wants: number, from: Cursor) {
    this.#socket = socket;
    this.#source = source;
    this.#wants = wants;
    this.#position = from;
    socket.on('drain', () => this.#drained());
  }

  start(): void {
    if ((this.#wants & WANT.sessions) !== 0) {
      for (const session of this.#source.liveSessions()) this.#send({ kind: 'session', session });
    }
    this.#replay();
  }

  lines(lines: readonly DurableLine[]): void {
    if (this.#cut) return;
    if (this.#replaying) {
      this.#replay();
      return;
    }
    if ((this.#wants & WANT.records) === 0) return;
    for (const [sent, { cursor, line }] of lines.entries()) {
      if (this.#tooFarBehind()) {
        this.#cutOff(lines.length - sent);
        return;
      }
      this.#send({ kind: 'record', cursor: formatCursor(cursor), line });
    }
  }

  session(session: LiveSession, bytes: Uint8Array): void {
    if (this.#cut || (this.#wants & WANT.sessions) === 0) return;
    if (!this.#current || this.#socket.writableLength > SLOW_BYTES) {
      this.#owed.set(session.id, session);
      if (this.#owed.size > MAX_SESSIONS || this.#tooFarBehind()) this.#cutOff(this.#owed.size);
      return;
    }
    this.#owed.delete(session.id);
    this.#socket.write(bytes);
  }

  #drained(): void {
    if (this.#cut) return;
    if (this.#replaying) this.#replay();
    if (this.#current) this.#payOwed();
  }

  #payOwed(): void {
    for (const [id, then] of this.#owed) {
      if (this.#socket.writableLength > SLOW_BYTES) return;
      this.#owed.delete(id);
      this.#send({ kind: 'session', session: this.#source.liveSession(id) ?? then });
    }
  }

  /** Sends from the journal's files as fast as the client reads, until it has caught up. */
  #replay(): void {
    if ((this.#wants & WANT.records) !== 0) {
      try {
        if (!this.#replayFiles()) return;
      } catch (error) {
        this.#refuse(`Cannot read the journal: ${(error as Error).message}`);
        return;
      }
    }
    this.#replaying = false;
    if (this.#current) return;
    this.#current = true;
    this.#send({ kind: 'current' });
    this.#payOwed();
  }

  /** @returns whether the client has caught up. */
  #replayFiles(): boolean {
    const durable = this.#source.durableEnd();
    const dir = this.#source.journalDir;
    if (!isBefore(this.#position, durable)) return true;
    for (const segment of listSegments(dir)) {
      if (segment < this.#position.segment || segment > durable.segment) continue;
      const from = segment === this.#position.segment ? this.#position.offset : 0;
      const end = segment === durable.segment ? durable.offset : undefined;
      const path = segmentPath(dir, segment);
      if (from > 0 && !endsLine(path, from)) throw new Error('no record ends at that cursor');
      for (const read of readLines(path, from, end)) {
        this.#position = { segment, offset: read.end };
        if (isPrivate(read.line)) continue;
        this.#send({ kind: 'record', cursor: formatCursor(this.#position), line: read.line });
        if (this.#socket.writableLength > REPLAY_AHEAD_BYTES) return false;
      }
    }
    this.#position = durable;
    return true;
  }

  #tooFarBehind(): boolean {
    return this.#socket.writableLength > MAX_CLIENT_BACKLOG_BYTES;
  }

  #cutOff(dropped: number): void {
    this.#send({ kind: 'cut', reason: 'the reader fell too far behind', dropped });
    this.#cut = true;
    endSoon(this.#socket);
  }

  #refuse(text: string): void {
    this.#send({ kind: 'refused', reason: REFUSAL.malformed, text });
    this.#cut = true;
    endSoon(this.#socket);
  }

  #send(frame: FeedFrame): void {
    this.#socket.write(toBytes(frame));
  }
}

const LINGER_MS = 2000;

/** Lets the last frames go out, for a while. */
export function endSoon(socket: Socket): void {
  socket.end();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

const isBefore = (a: Cursor, b: Cursor): boolean =>
  a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);

/** Snapshots are the daemon's own. Inside a value the quotes would be escaped. */
const isPrivate = (line: string): boolean => line.includes('"event_name":"snapshot.');

function endsLine(path: string, offset: number): boolean {
  const fd = openSync(path, 'r');
  try {
    const byte = Buffer.alloc(1);
    return readSync(fd, byte, 0, 1, offset - 1) === 1 && byte[0] === 0x0a;
  } finally {
    closeSync(fd);
  }
}
