/**
 * One client of the feed. It gets the picture, then records until it has caught up with the journal,
 * then changes; a slow one gets fewer pictures of the same session, and its records later, from the
 * journal's files. Errors and ends it gets in any case. One that falls too far behind, or reads nothing
 * for too long, is told so and cut.
 *
 * What is made for it alone is made a chunk at a time, when it has taken the chunk before; what is made
 * for all waits for it up to `MAX_BUFFERED_BYTES`.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Socket } from 'node:net';
import { encodeFeedFrame, type FeedFrame, WANT } from '../protocol/wire/clients.ts';
import { frame as framed } from '../protocol/wire/encode.ts';
import { endSoon } from './connection.ts';
import type { FeedSource } from './feed.ts';
import type { DurableLine } from './journal-batch.ts';
import {
  FEED_CHUNK_BYTES,
  MAX_BUFFERED_BYTES,
  MAX_CLIENT_BACKLOG_BYTES,
  MAX_CLIENT_STALL_MS,
  MAX_GOODBYE_MS,
} from './limits.ts';
import {
  type Cursor,
  formatCursor,
  isBefore,
  listSegments,
  readLines,
  segmentPath,
} from './platform/journal-files.ts';
import { REFUSAL } from './refusals.ts';
import type { SessionChange, SessionChanges } from './session-changes.ts';

/** Frames of records, end to end. */
export interface LineChunk {
  readonly bytes: Uint8Array;
  readonly records: number;
  /** The place behind the last of them. */
  readonly end: Cursor;
}

/** Records that became durable together. */
export interface LineBatch {
  readonly count: number;
  readonly bytes: number;
  readonly lines: readonly DurableLine[];
  /** The same as frames; made when somebody has room for them. */
  readonly chunks: readonly LineChunk[];
}

/** Sessions that a client begins with. */
export interface SessionPicture {
  readonly ids: readonly string[];
  /** Frames of `PICTURE_CHUNK_SESSIONS` of them from one on, which is a multiple of that; fewer at the end. */
  chunk(from: number): Uint8Array;
}

/** In one chunk: some 30 KiB, of sessions with the longest texts ten times as much. */
export const PICTURE_CHUNK_SESSIONS = 64;

/** What a client was not sent of what it had asked for. */
export interface Missed {
  readonly records: number;
  readonly sessions: number;
}

/** What a client needs of the feed. */
export interface FeedOfClient {
  readonly source: FeedSource;
  readonly changes: SessionChanges;
  /** The sessions as of now: what changes from here on has a number above `changes.last`. */
  readonly picture: () => SessionPicture;
  readonly bytesOf: (change: SessionChange) => Uint8Array | undefined;
  /** The client has room for what changed. */
  readonly ready: () => void;
  /** Takes the client out of the feed and says goodbye to it. */
  readonly cut: (reason: string) => void;
}

export const toBytes = (frame: FeedFrame): Uint8Array => framed(encodeFeedFrame(frame));

export class FeedClient {
  readonly socket: Socket;
  readonly wantsSessions: boolean;
  readonly wantsRecords: boolean;
  readonly #feed: FeedOfClient;
  /** The client has every record up to here. */
  #position: Cursor;
  /** Records come from the journal's files until the client has caught up. */
  #replaying = true;
  /** Where the journal ended when the client subscribed. */
  readonly #began: Cursor;
  readonly #fromNow: boolean;
  /** Records that became durable since then, and that it was not sent yet. */
  #behind = { records: 0, bytes: 0 };
  /** The first picture, and how many sessions of it were sent. */
  #picture: SessionPicture | undefined;
  #pictured = 0;
  #current = false;
  #over = false;
  #waits = false;
  /** Number of the last change that it was sent. */
  #seen: number;
  /** When it last took bytes, or had nothing to take. */
  #movedMs = performance.now();
  #waitingBytes = 0;

  constructor(socket: Socket, wants: number, from: Cursor, feed: FeedOfClient) {
    this.socket = socket;
    this.wantsSessions = (wants & WANT.sessions) !== 0;
    this.wantsRecords = (wants & WANT.records) !== 0;
    this.#feed = feed;
    this.#position = from;
    this.#began = feed.source.durableEnd();
    this.#fromNow = !isBefore(from, this.#began);
    this.#seen = feed.changes.last;
    socket.on('drain', () => this.#later());
  }

  /** Number of the last change that it was sent. */
  get seen(): number {
    return this.#seen;
  }

  /** Changes of sessions may go to it now. */
  get isReady(): boolean {
    return this.#current && !this.#over && !this.#isFull;
  }

  start(): void {
    if (this.wantsSessions) this.#picture = this.#feed.picture();
    this.#goOn();
  }

  lines(batch: LineBatch): void {
    if (this.#over || !this.wantsRecords) return;
    if (this.#replaying) {
      this.#fallBehind(batch.count, batch.bytes);
      return;
    }
    let left = batch.count;
    if (!this.#isFull) {
      for (const chunk of batch.chunks) {
        this.socket.write(chunk.bytes);
        this.#position = chunk.end;
        left -= chunk.records;
        if (this.#isFull) break;
      }
    }
    if (left === 0) return;
    // The rest it gets from the files, when it has read what it has.
    this.#replaying = true;
    if (left === batch.count) {
      this.#fallBehind(left, batch.bytes);
      return;
    }
    const unsent = batch.lines.slice(-left);
    this.#fallBehind(
      left,
      unsent.reduce((sum, { line }) => sum + line.length, 0),
    );
  }

  /** Sends what changed, as far as there is room. */
  sessions(): void {
    if (!this.isReady || !this.wantsSessions) return;
    this.socket.cork();
    for (const change of this.#feed.changes.after(this.#seen)) {
      if (this.#isFull) break;
      this.#seen = change.number;
      const bytes = this.#feed.bytesOf(change);
      if (bytes) this.socket.write(bytes);
    }
    if (!this.#isFull) this.#seen = this.#feed.changes.last;
    this.socket.uncork();
  }

  checkStall(nowMs: number): void {
    const { writableLength } = this.socket;
    if (writableLength === 0 || writableLength < this.#waitingBytes) this.#movedMs = nowMs;
    this.#waitingBytes = writableLength;
    if (nowMs - this.#movedMs > MAX_CLIENT_STALL_MS) this.cutOff('the reader reads nothing');
  }

  cutOff(reason: string): void {
    if (!this.#over) this.#feed.cut(reason);
  }

  missed(): Missed {
    const sessions = new Set(this.#picture?.ids.slice(this.#pictured));
    if (this.wantsSessions) {
      for (const { id } of this.#feed.changes.after(this.#seen)) sessions.add(id);
    }
    return { records: this.#behind.records, sessions: sessions.size };
  }

  /** The last word, behind what it was sent: it stands there until the client reads, for a while. */
  goodbye(reason: string, { records, sessions }: Missed): void {
    this.#over = true;
    this.#send({ kind: 'cut', reason, dropped: this.wantsRecords ? records : sessions });
    endSoon(this.socket, MAX_GOODBYE_MS);
  }

  get #isFull(): boolean {
    return this.socket.writableLength > MAX_BUFFERED_BYTES;
  }

  #fallBehind(records: number, bytes: number): void {
    this.#behind.records += records;
    this.#behind.bytes += bytes;
    // Who asked for old records is behind by its own wish, until it has caught up once.
    if ((this.#fromNow || this.#current) && this.#behind.bytes > MAX_CLIENT_BACKLOG_BYTES) {
      this.cutOff('the reader fell too far behind');
    }
  }

  /** One chunk for each turn of the event loop: a fast reader of much must not hold up the others. */
  #later(): void {
    if (this.#waits) return;
    this.#waits = true;
    setImmediate(() => {
      this.#waits = false;
      this.#goOn();
    });
  }

  /** The picture, then records until it has caught up, then changes; each as far as it reads. */
  #goOn(): void {
    if (this.#over || this.socket.destroyed || !this.#sendPicture()) return;
    if (this.#replaying) {
      try {
        if (this.wantsRecords && !this.#replayFiles()) return;
      } catch (error) {
        this.#refuse(`Cannot read the journal: ${(error as Error).message}`);
        return;
      }
      this.#replaying = false;
      this.#behind = { records: 0, bytes: 0 };
    }
    if (!this.#current) {
      this.#current = true;
      this.#picture = undefined;
      this.#send({ kind: 'current' });
    }
    if (!this.wantsSessions) return;
    this.sessions();
    this.#feed.ready();
  }

  /** @returns whether all of it was sent; if not, the rest follows when the client has taken this. */
  #sendPicture(): boolean {
    const { ids } = this.#picture ?? { ids: [] };
    while (this.#pictured < ids.length) {
      if (this.socket.writableNeedDrain) return false;
      this.socket.write(this.#picture!.chunk(this.#pictured));
      this.#pictured += PICTURE_CHUNK_SESSIONS;
    }
    return true;
  }

  /** Sends from the journal's files. @returns whether the client has caught up. */
  #replayFiles(): boolean {
    const { source } = this.#feed;
    const durable = source.durableEnd();
    const dir = source.journalDir;
    if (!isBefore(this.#position, durable)) return true;
    const frames: Uint8Array[] = [];
    let size = 0;
    const flush = (): void => {
      if (size > 0) this.socket.write(Buffer.concat(frames.splice(0)));
      size = 0;
    };
    for (const segment of listSegments(dir)) {
      if (segment < this.#position.segment || segment > durable.segment) continue;
      const from = segment === this.#position.segment ? this.#position.offset : 0;
      const end = segment === durable.segment ? durable.offset : undefined;
      const path = segmentPath(dir, segment);
      if (from > 0 && !endsLine(path, from)) throw new Error('no record ends at that cursor');
      for (const read of readLines(path, from, end)) {
        if (size >= FEED_CHUNK_BYTES) flush();
        if (size === 0 && this.socket.writableNeedDrain) return false;
        this.#position = { segment, offset: read.end };
        if (isPrivate(read.line)) continue;
        if (isBefore(this.#began, this.#position)) {
          this.#behind.records -= 1;
          this.#behind.bytes -= read.line.length;
        }
        const cursor = formatCursor(this.#position);
        const bytes = toBytes({ kind: 'record', cursor, line: read.line });
        frames.push(bytes);
        size += bytes.length;
      }
    }
    flush();
    this.#position = durable;
    return true;
  }

  #refuse(text: string): void {
    this.#send({ kind: 'refused', reason: REFUSAL.malformed, text });
    this.#over = true;
    endSoon(this.socket);
  }

  #send(frame: FeedFrame): void {
    this.socket.write(toBytes(frame));
  }
}

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
