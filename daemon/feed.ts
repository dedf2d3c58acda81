/**
 * What clients see: a picture of the live sessions, then its changes, and records as they become
 * durable. A slow client gets fewer pictures of the same session, and its records later, from the
 * journal's files; errors and ends it gets in any case. One that falls too far behind, or reads nothing
 * for too long, is told so and cut. Nobody waits for a client, and none has more than
 * `MAX_BUFFERED_BYTES` and one chunk in memory.
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
import {
  MAX_BUFFERED_BYTES,
  MAX_CLIENT_BACKLOG_BYTES,
  MAX_CLIENT_STALL_MS,
  MAX_ENDS_KEPT,
  SESSION_UPDATES_PER_SECOND,
} from './limits.ts';
import { REFUSAL } from './refusals.ts';
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

const UPDATE_MS = 1000 / SESSION_UPDATES_PER_SECOND;
/** Records go out in chunks of about so much, made once for all clients. */
const CHUNK_BYTES = 65_536;
const STALL_CHECK_MS = 1000;

export class Feed {
  readonly counts: FeedCounts = { cut: 0, records: 0, sessions: 0 };
  readonly #source: FeedSource;
  readonly #clients = new Set<FeedClient>();
  readonly #changes = new SessionChanges();
  /** Sessions that changed since the last update; with their end if they have one. */
  readonly #changed = new Map<string, LiveSession | undefined>();
  #timer: NodeJS.Timeout | undefined;
  #lastUpdateMs = 0;
  #lastStallCheckMs = 0;
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
    const { counts } = this;
    const client = new FeedClient(socket, this.#source, this.#changes, counts, wants, from);
    this.#clients.add(client);
    socket.once('close', () => this.#clients.delete(client));
    client.start();
    return undefined;
  }

  publishLines(lines: readonly DurableLine[]): void {
    if (this.#clients.size === 0 || lines.length === 0) return;
    const batch = new Batch(lines);
    for (const client of this.#clients) client.lines(batch);
  }

  /** To be called about once a second. */
  tick(nowMs: number): void {
    if (nowMs - this.#lastStallCheckMs < STALL_CHECK_MS) return;
    this.#lastStallCheckMs = nowMs;
    for (const client of this.#clients) client.checkStall(nowMs);
  }

  /**
   * @param urgent An error or an end: goes out at once, and is never merged away.
   * @param end How the session ended, if it did.
   */
  sessionChanged(id: string, urgent: boolean, end?: LiveSession): void {
    if (this.#clients.size === 0) return;
    this.#changed.set(id, end);
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
    for (const [id, end] of this.#changed) this.#changes.add(id, end);
    this.#changed.clear();
    for (const client of this.#clients) client.sessions();
    this.#forget();
  }

  /** Keeps what some client still has to get; a client that holds up too many ends is cut. */
  #forget(): void {
    for (;;) {
      let slowest: FeedClient | undefined;
      for (const client of this.#clients) {
        if (client.seen < (slowest?.seen ?? Number.POSITIVE_INFINITY)) slowest = client;
      }
      const ends = this.#changes.forgetTo(slowest?.seen ?? this.#changes.last);
      if (ends <= MAX_ENDS_KEPT || !slowest) return;
      slowest.cutOff('the reader fell too far behind');
    }
  }
}

export const toBytes = (frame: FeedFrame): Uint8Array => framed(encodeFeedFrame(frame));

/** Records that became durable together, as chunks of frames. Made once, for the first that asks. */
class Batch {
  readonly lines: readonly DurableLine[];
  readonly bytes: number;
  #chunks: { readonly bytes: Uint8Array; readonly records: number; readonly end: Cursor }[] = [];

  constructor(lines: readonly DurableLine[]) {
    this.lines = lines;
    this.bytes = lines.reduce((sum, { line }) => sum + line.length, 0);
  }

  get chunks(): readonly {
    readonly bytes: Uint8Array;
    readonly records: number;
    readonly end: Cursor;
  }[] {
    if (this.#chunks.length > 0) return this.#chunks;
    let frames: Uint8Array[] = [];
    let size = 0;
    for (const [at, { cursor, line }] of this.lines.entries()) {
      const bytes = toBytes({ kind: 'record', cursor: formatCursor(cursor), line });
      frames.push(bytes);
      size += bytes.length;
      if (size < CHUNK_BYTES && at < this.lines.length - 1) continue;
      this.#chunks.push({ bytes: Buffer.concat(frames), records: frames.length, end: cursor });
      frames = [];
      size = 0;
    }
    return this.#chunks;
  }
}

class FeedClient {
  readonly #socket: Socket;
  readonly #source: FeedSource;
  readonly #changes: SessionChanges;
  readonly #counts: FeedCounts;
  readonly #wants: number;
  /** The client has every record up to here. */
  #position: Cursor;
  /** Records come from the journal's files until the client has caught up. */
  #replaying = true;
  /** Where the journal ended when the client subscribed. */
  readonly #began: Cursor;
  readonly #fromNow: boolean;
  /** Records that became durable since then, and that it was not sent yet. */
  #behind = { records: 0, bytes: 0 };
  /** Sessions of the first picture that are still to be sent. */
  #picture: Iterator<string> | undefined;
  #current = false;
  #cut = false;
  /** Number of the last change that it was sent. */
  #seen: number;
  /** When it last took bytes, or had nothing to take. */
  #movedMs = performance.now();
  #waitingBytes = 0;

  constructor(
    socket: Socket,
    source: FeedSource,
    changes: SessionChanges,
    counts: FeedCounts,
    wants: number,
    from: Cursor,
  ) {
    this.#socket = socket;
    this.#source = source;
    this.#changes = changes;
    this.#counts = counts;
    this.#wants = wants;
    this.#position = from;
    this.#began = source.durableEnd();
    this.#fromNow = !isBefore(from, this.#began);
    this.#seen = changes.last;
    socket.on('drain', () => this.#goOn());
  }

  /** Number of the last change that it needs no more. */
  get seen(): number {
    return this.#wantsSessions && !this.#cut ? this.#seen : Number.POSITIVE_INFINITY;
  }

  start(): void {
    if (this.#wantsSessions) this.#picture = [...this.#source.sessionIds()].values();
    this.#goOn();
  }

  lines(batch: Batch): void {
    if (this.#cut || !this.#wantsRecords) return;
    if (this.#replaying) {
      this.#missed(batch.lines.length, batch.bytes);
      return;
    }
    let left = batch.lines.length;
    for (const chunk of batch.chunks) {
      if (this.#isFull) break;
      this.#socket.write(chunk.bytes);
      this.#position = chunk.end;
      left -= chunk.records;
    }
    if (left === 0) return;
    // The rest it gets from the files, when it has read what it has.
    this.#replaying = true;
    const unsent = batch.lines.slice(batch.lines.length - left);
    this.#missed(
      left,
      unsent.reduce((sum, { line }) => sum + line.length, 0),
    );
  }

  /** Sends what changed, as far as there is room. */
  sessions(): void {
    if (!this.#current || this.#cut || !this.#wantsSessions || this.#isFull) return;
    for (const change of this.#changes.after(this.#seen)) {
      if (this.#isFull) return;
      this.#seen = change.number;
      const bytes = this.#bytesOf(change);
      if (bytes) this.#socket.write(bytes);
    }
    this.#seen = this.#changes.last;
  }

  checkStall(nowMs: number): void {
    const { writableLength } = this.#socket;
    if (writableLength === 0 || writableLength < this.#waitingBytes) this.#movedMs = nowMs;
    this.#waitingBytes = writableLength;
    if (nowMs - this.#movedMs > MAX_CLIENT_STALL_MS) this.cutOff('the reader reads nothing');
  }

  cutOff(reason: string): void {
    if (this.#cut) return;
    this.#cut = true;
    const sessions = this.#wantsSessions ? this.#changes.countAfter(this.#seen) : 0;
    const { records } = this.#behind;
    this.#counts.cut += 1;
    this.#counts.records += records;
    this.#counts.sessions += sessions;
    this.#send({ kind: 'cut', reason, dropped: this.#wantsRecords ? records : sessions });
    this.#source.cut(reason);
    endSoon(this.#socket);
  }

  get #wantsRecords(): boolean {
    return (this.#wants & WANT.records) !== 0;
  }

  get #wantsSessions(): boolean {
    return (this.#wants & WANT.sessions) !== 0;
  }

  get #isFull(): boolean {
    return this.#socket.writableLength > MAX_BUFFERED_BYTES;
  }

  #missed(records: number, bytes: number): void {
    this.#behind.records += records;
    this.#behind.bytes += bytes;
    // Who asked for old records is behind by its own wish, until it has caught up once.
    if ((this.#fromNow || this.#current) && this.#behind.bytes > MAX_CLIENT_BACKLOG_BYTES) {
      this.cutOff('the reader fell too far behind');
    }
  }

  /** The picture, then records until it has caught up, then changes; each as far as it reads. */
  #goOn(): void {
    if (this.#cut || !this.#sendPicture()) return;
    if (this.#replaying) {
      try {
        if (this.#wantsRecords && !this.#replayFiles()) return;
      } catch (error) {
        this.#refuse(`Cannot read the journal: ${(error as Error).message}`);
        return;
      }
      this.#replaying = false;
      this.#behind = { records: 0, bytes: 0 };
    }
    if (!this.#current) {
      this.#current = true;
      this.#send({ kind: 'current' });
    }
    this.sessions();
  }

  /** @returns whether all of it was sent. */
  #sendPicture(): boolean {
    while (this.#picture) {
      if (this.#isFull) return false;
      const { value: id, done } = this.#picture.next();
      if (done) this.#picture = undefined;
      else {
        const session = this.#source.liveSession(id);
        if (session) this.#send({ kind: 'session', session });
      }
    }
    return true;
  }

  /** Sends from the journal's files. @returns whether the client has caught up. */
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
        if (this.#isFull) return false;
        this.#position = { segment, offset: read.end };
        if (isPrivate(read.line)) continue;
        if (isBefore(this.#began, this.#position)) {
          this.#behind.records -= 1;
          this.#behind.bytes -= read.line.length;
        }
        this.#send({ kind: 'record', cursor: formatCursor(this.#position), line: read.line });
      }
    }
    this.#position = durable;
    return true;
  }

  #bytesOf(change: SessionChange): Uint8Array | undefined {
    if (!change.bytes) {
      const session = change.end ?? this.#source.liveSession(change.id);
      if (session) change.bytes = toBytes({ kind: 'session', session });
    }
    return change.bytes;
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
