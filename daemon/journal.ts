/**
 * The journal: one append-only stream of records in segments, the one truth that the daemon keeps.
 *
 * What always holds:
 * - Lines stand in the order of `append()`, whole, and those of one call in one segment.
 * - A barrier runs after everything that was appended before it is durable, never earlier.
 * - A segment opens with a snapshot of the state as of the line before it, and stays within its size.
 * - Nothing is acknowledged after a write or a sync that failed: the journal stops for good and its
 *   owner starts over from what is durable. A full disk alone is waited out.
 */
import { type FileHandle, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordDraft } from '../protocol/records/record.ts';
import { nowText } from './clock.ts';
import { type DurableLines, JournalBatch } from './journal-batch.ts';
import type { LineMaker } from './journal-lines.ts';
import { DISK_RETRY_MS, MAX_GROUP_BYTES, RESERVE_BYTES } from './limits.ts';
import {
  type Cursor,
  listSegments,
  parseCursor,
  readLines,
  segmentPath,
} from './platform/journal-files.ts';

/** When a record counts as durable: the system has it, the disk has it, or so many ms later. */
export type SyncPolicy = 'system' | 'disk' | number;

export interface JournalOptions {
  readonly dir: string;
  readonly lines: LineMaker;
  readonly sync: SyncPolicy;
  /** Number of the segment to begin with; no file of it may exist. */
  readonly firstSegment: number;
  readonly segmentBytes: number;
  readonly journalBytes: number;
  readonly journalDays: number;
  /** The state as of everything appended so far, as records. */
  readonly snapshot: () => Iterable<RecordDraft>;
  /** What is to be done about a record once it is durable, before the barriers behind it. */
  readonly onRecord?: (draft: RecordDraft) => (() => void) | undefined;
  /** Lines that became durable, in order. Snapshots are not among them. */
  readonly onDurable: (lines: DurableLines) => void;
  readonly onTrouble: (trouble: JournalTrouble) => void;
  /** `open` of node:fs/promises, but for tests that make the system fail. */
  readonly openFile?: typeof open;
}

export type JournalTrouble =
  /** Waiting for space, and trying again. */
  | { readonly type: 'full'; readonly error: Error }
  /** There is space again, and nothing was lost. */
  | { readonly type: 'well' }
  /** Stopped for good. What is not durable is cut away. */
  | { readonly type: 'failed'; readonly error: Error };

interface Rotation {
  readonly snapshot: JournalBatch;
  /** Ids of sessions that have not ended. */
  readonly running: ReadonlySet<string>;
  /** What the segment may grow to. */
  readonly limit: number;
  /** Ids of the sessions that its records are about. Grows with them. */
  readonly sessions: Set<string>;
}

/** So much is written at once. */
const BATCH_BYTES = 1_048_576;
/** One is written, and a few may wait: as many as a shim's window of errors fills. */
const MAX_SPARE = 8;

export class Journal {
  readonly #options: JournalOptions;
  #queue: (JournalBatch | Rotation)[] = [];
  #pumping: Promise<void> | undefined;
  #segment: number;
  #file: FileHandle | undefined;
  /** Where the next byte goes in the file. */
  #offset = 0;
  /** Up to here the file is durable. */
  #durableOffset = 0;
  /** Bytes of the segment once everything in the queue is written. */
  #plannedBytes = 0;
  #plannedLimit = 0;
  #plannedSessions = new Set<string>();
  /** Of the segments that this journal began. */
  readonly #sessionsIn = new Map<number, ReadonlySet<string>>();
  #backlogBytes = 0;
  #state: 'open' | 'full' | 'failed' | 'closed' = 'open';
  #closing = false;
  /** Of batches that are over: a new one for each would make V8 collect all its garbage again and again. */
  readonly #spare: Buffer[] = [];
  #lastSyncMs = Number.NEGATIVE_INFINITY;
  #trimming: Promise<void> = Promise.resolve();

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#segment = options.firstSegment - 1;
  }

  get state(): 'open' | 'full' | 'failed' | 'closed' {
    return this.#state;
  }

  get segment(): number {
    return this.#segment;
  }

  /** Behind the last byte that was written. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes that wait to be written. */
  get backlogBytes(): number {
    return this.#backlogBytes;
  }

  /** Resolves once what was too much when it was opened is deleted. */
  get trimmed(): Promise<void> {
    return this.#trimming;
  }

  /** Opens the first segment with a snapshot. @throws what the system says if it cannot. */
  async open(): Promise<void> {
    await this.#makeReserve();
    this.#planRotation();
    const first = this.#queue.shift();
    if (!first || first instanceof JournalBatch) return;
    try {
      await this.#rotate(first);
      // Behind "ready": where much has to go, and sessions run, it takes seconds.
      this.#trimming = this.#trim(first, () => this.#closing);
    } catch (error) {
      await this.#file?.close().catch(() => {});
      this.#file = undefined;
      throw error;
    }
  }

  /**
   * Appends the records of one frame, or of one decision, as a group that recovery keeps or cuts
   * whole. The state that `snapshot()` tells must contain their effects by now.
   */
  append(drafts: readonly RecordDraft[]): void {
    if (this.#state === 'failed' || this.#state === 'closed') return;
    const batch = this.#lastBatch();
    const { lines, onRecord } = this.#options;
    for (const draft of drafts) {
      const bytes = batch.add(lines.line(draft), lines.isPlain);
      this.#plannedBytes += bytes;
      this.#backlogBytes += bytes;
      if (draft.span_id !== undefined) this.#plannedSessions.add(draft.span_id);
      const effect = onRecord?.(draft);
      if (effect) batch.after.push(effect);
    }
    if (this.#plannedBytes + MAX_GROUP_BYTES > this.#plannedLimit) this.#planRotation();
    this.#start();
  }

  /** Runs `run` once everything appended so far is durable; never if the journal fails before. */
  barrier(run: () => void): void {
    if (this.#state === 'failed' || this.#state === 'closed') return;
    this.#lastBatch().after.push(run);
    this.#start();
  }

  /** Where what is appended now goes. */
  #lastBatch(): JournalBatch {
    const last = this.#queue.at(-1);
    if (last instanceof JournalBatch && last.size < BATCH_BYTES) return last;
    const batch = new JournalBatch(this.#spare.pop());
    this.#queue.push(batch);
    return batch;
  }

  /** Writes what waits, as long as there is hope for it, and lets go of the file. */
  async close(timeoutMs: number): Promise<void> {
    this.#closing = true;
    const late = setTimeout(() => this.#fail(new Error('stopped with a full disk')), timeoutMs);
    await this.#trimming;
    while (this.#pumping) await this.#pumping;
    clearTimeout(late);
    if (this.#state !== 'failed') this.#state = 'closed';
    await this.#file?.close();
    this.#file = undefined;
  }

  #planRotation(): void {
    const snapshot = new JournalBatch();
    const running = new Set<string>();
    const { lines } = this.#options;
    for (const draft of this.#options.snapshot()) {
      snapshot.add(lines.line(draft), lines.isPlain);
      if (isRunning(draft) && draft.span_id !== undefined) running.add(draft.span_id);
    }
    const bytes = snapshot.size;
    this.#plannedBytes = bytes;
    // A snapshot that fills its segment would be followed by another one at once, for ever.
    this.#plannedLimit = Math.max(this.#options.segmentBytes, 2 * bytes + 2 * MAX_GROUP_BYTES);
    const sessions = new Set<string>();
    this.#plannedSessions = sessions;
    this.#queue.push({ snapshot, running, limit: this.#plannedLimit, sessions });
  }

  /** One batch for each turn of the event loop, so that a burst of frames costs one write. */
  #start(): void {
    if (this.#pumping || this.#state === 'failed') return;
    this.#pumping = new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#pump())
      .catch((error: Error) => this.#fail(error))
      .finally(() => {
        this.#pumping = undefined;
        if (this.#queue.length > 0) this.#start();
      });
  }

  async #pump(): Promise<void> {
    while (this.#state !== 'failed') {
      const next = this.#queue.shift();
      if (!next) return;
      if (next instanceof JournalBatch) await this.#commit(next);
      else {
        await this.#trimming;
        await this.#rotate(next);
        await this.#trim(next);
      }
    }
  }

  /** Writes lines at the end of the segment; waits while the disk is full. */
  async #commit(batch: JournalBatch): Promise<void> {
    if (batch.count > 0) {
      const start = this.#offset;
      const { bytes } = batch;
      await this.#untilSpace(() => this.#writeBytes(bytes));
      this.#offset += bytes.length;
      await this.#sync();
      this.#backlogBytes -= bytes.length;
      if (this.#state === 'failed') return;
      this.#options.onDurable(batch.durable(this.#segment, start));
    }
    for (const run of batch.after) run();
    if (this.#spare.length < MAX_SPARE) this.#spare.push(batch.buffer);
  }

  /** Always at the same offset, so that a second attempt overwrites a first that stopped half-way. */
  async #writeBytes(bytes: Uint8Array): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.#file!.write(
        bytes,
        done,
        bytes.length - done,
        this.#offset + done,
      );
      done += bytesWritten;
    }
  }

  async #sync(): Promise<void> {
    const { sync } = this.#options;
    if (typeof sync === 'number') {
      // Not the wall clock: set back by an hour it would hold every acknowledgement for an hour.
      const rest = this.#lastSyncMs + sync - performance.now();
      // Meanwhile the queue grows, and the next batch carries it all.
      if (rest > 0 && !this.#closing) await sleep(rest);
      this.#lastSyncMs = performance.now();
    }
    if (sync !== 'system') await this.#file!.datasync();
    this.#durableOffset = this.#offset;
  }

  async #rotate({ snapshot, sessions }: Rotation): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    this.#segment += 1;
    this.#sessionsIn.set(this.#segment, sessions);
    this.#offset = 0;
    this.#durableOffset = 0;
    await this.#untilSpace(async () => {
      const path = segmentPath(this.#options.dir, this.#segment);
      this.#file ??= await (this.#options.openFile ?? open)(path, 'wx', 0o600);
      await this.#writeBytes(snapshot.bytes);
    });
    this.#offset = snapshot.size;
    this.#durableOffset = this.#offset;
    if (this.#options.sync !== 'system') {
      await this.#file!.datasync();
      await syncDirectory(this.#options.dir);
    }
  }

  /** What cannot be deleted now is tried again with the next segment. */
  #trim(rotation: Rotation, mustStop = () => false): Promise<void> {
    return this.#delete(this.#segment, rotation, mustStop).catch(() => {});
  }

  /**
   * Deletes the oldest segments, so that all stay within their size while `newest` grows to its limit.
   * Never that one nor the one before it: recovery may need both. Whoever still needed what is deleted
   * is named: readers with a saved cursor, and how many sessions that have not ended.
   */
  async #delete(newest: number, rotation: Rotation, mustStop: () => boolean): Promise<void> {
    const { dir, journalBytes, journalDays } = this.#options;
    const { running: live, limit } = rotation;
    const sized: { segment: number; path: string; size: number; mtimeMs: number }[] = [];
    for (const segment of listSegments(dir).filter((one) => one < newest)) {
      const path = segmentPath(dir, segment);
      const { size, mtimeMs } = await stat(path);
      sized.push({ segment, path, size, mtimeMs });
    }
    let total = sized.reduce((sum, { size }) => sum + size, limit);
    const oldest = Date.now() - journalDays * 86_400_000;
    const cut = new Set<string>();
    let last: { segment: number; size: number } | undefined;
    let segments = 0;
    let bytes = 0;
    for (const old of sized.slice(0, -1)) {
      if ((total <= journalBytes && old.mtimeMs >= oldest) || mustStop()) break;
      const sessions = this.#sessionsIn.get(old.segment);
      if (!sessions) addSessionsIn(old.path, live, cut);
      else for (const id of live) if (sessions.has(id)) cut.add(id);
      try {
        await rm(old.path, { force: true });
      } catch {
        // Windows keeps a file that somebody reads. It goes with the next segment.
        break;
      }
      this.#sessionsIn.delete(old.segment);
      last = old;
      total -= old.size;
      bytes += old.size;
      segments += 1;
    }
    if (!last) return;
    const readers = await readersBehind(join(dir, '..', 'cursors'), last);
    const needed = [
      ...(readers.length > 0 ? [`unread by ${readers.join(', ')}`] : []),
      ...(cut.size > 0 ? [`with records of ${cut.size} running sessions`] : []),
    ];
    const what = [`${bytes} bytes`, ...needed].join(', ');
    this.append([
      {
        event_name: 'journal.trimmed',
        level: 'warn',
        time: nowText(),
        msg: `Deleted ${segments} old journal segments (${what})`,
        trimmed: {
          segments,
          bytes,
          ...(readers.length > 0 ? { reader: readers.join(',') } : {}),
        },
        ...(cut.size > 0 ? { detail: { running_sessions: cut.size } } : {}),
      },
    ]);
  }

  /** Does `write`; while the disk is full says so and tries again. Other errors pass through. */
  async #untilSpace(write: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await write();
        if (this.#state === 'full') {
          this.#state = 'open';
          await this.#makeReserve();
          this.#options.onTrouble({ type: 'well' });
        }
        return;
      } catch (error) {
        if (!isFull(error) || this.#state === 'failed') throw error;
        if (this.#state !== 'full') {
          this.#state = 'full';
          await this.#sayFull(error as Error);
          this.#options.onTrouble({ type: 'full', error: error as Error });
        }
        await sleep(DISK_RETRY_MS);
        if ((this.#state as string) === 'failed') throw error;
      }
    }
  }

  /** Gives up the reserve, so that the journal itself can say why nothing follows. */
  async #sayFull(error: Error): Promise<void> {
    await rm(this.#reservePath(), { force: true });
    // Before its snapshot a segment must hold nothing.
    if (!this.#file || this.#offset === 0) return;
    const line = this.#options.lines.line({
      event_name: 'journal.failed',
      level: 'error',
      time: nowText(),
      msg: `The disk is full: records wait until there is space (${error.message})`,
      detail: { cause: 'full', backlog_bytes: this.#backlogBytes },
    });
    try {
      await this.#file.truncate(this.#offset);
      const bytes = Buffer.from(line);
      await this.#writeBytes(bytes);
      this.#offset += bytes.length;
      this.#plannedBytes += bytes.length;
      await this.#file.datasync();
      this.#durableOffset = this.#offset;
    } catch {
      // The reserve was gone as well. stderr and the clients are told all the same.
      await this.#file.truncate(this.#offset).catch(() => {});
    }
  }

  #fail(error: Error): void {
    if (this.#state === 'failed' || this.#state === 'closed') return;
    this.#state = 'failed';
    this.#queue = [];
    this.#backlogBytes = 0;
    const report = (): void => this.#options.onTrouble({ type: 'failed', error });
    if (this.#closing) return;
    // Peers will send again what is not durable, so it must not stand there twice.
    const file = this.#file;
    this.#file = undefined;
    if (!file) {
      report();
      return;
    }
    file
      .truncate(this.#durableOffset)
      .finally(() => file.close())
      .catch(() => {})
      .finally(report);
  }

  #reservePath(): string {
    return join(this.#options.dir, 'reserve');
  }

  async #makeReserve(): Promise<void> {
    const path = this.#reservePath();
    try {
      const { size } = await stat(path).catch(() => ({ size: 0 }));
      if (size === RESERVE_BYTES) return;
      const file = await open(path, 'w', 0o600);
      // Real bytes: a hole reserves nothing. Random enough for a file system that compresses zeros.
      await file.write(Buffer.alloc(RESERVE_BYTES, 'mapisync reserve\n'));
      await file.close();
    } catch {
      // Too little space for it: then the disk is said to be full on stderr only.
      await rm(path, { force: true });
    }
  }
}

/** Does a snapshot say of a session that it has not ended? */
const isRunning = ({ event_name, state }: RecordDraft): boolean =>
  event_name === 'snapshot.session' && (state as { ended?: unknown } | undefined)?.ended === null;

/**
 * Adds to `found` which of `live` the records in a segment of an earlier daemon are about; what only a
 * snapshot says is no record.
 */
function addSessionsIn(path: string, live: ReadonlySet<string>, found: Set<string>): void {
  if (live.size === found.size) return;
  // Line by line: with a segment as one text a journal at its limit took a quarter fewer errors.
  for (const { line } of readLines(path)) {
    if (line.includes('"event_name":"snapshot.')) continue;
    const id = /"span_id":"([0-9a-f]{16})"/.exec(line)?.[1];
    if (id === undefined || !live.has(id)) continue;
    found.add(id);
    if (live.size === found.size) return;
  }
}

/** `segment:offset` and a newline are shorter. */
const MAX_CURSOR_BYTES = 64;
const READER_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;
/** More are not looked at: their names must fit in one record. */
const MAX_READERS = 64;

/** Names of readers whose saved cursor stands before the end of a segment. */
async function readersBehind(
  dir: string,
  last: { readonly segment: number; readonly size: number },
): Promise<string[]> {
  const names = (await readdir(dir).catch(() => [])).filter((name) => READER_NAME.test(name));
  const behind: string[] = [];
  for (const name of names.sort().slice(0, MAX_READERS)) {
    const cursor = await savedCursor(join(dir, name));
    if (!cursor) continue;
    const { segment, offset } = cursor;
    if (segment < last.segment || (segment === last.segment && offset < last.size)) {
      behind.push(name);
    }
  }
  return behind;
}

/** @returns undefined if the file holds no cursor. */
async function savedCursor(path: string): Promise<Cursor | undefined> {
  try {
    const { size } = await stat(path);
    if (size > MAX_CURSOR_BYTES) return undefined;
    return parseCursor((await readFile(path, 'utf8')).trim());
  } catch {
    // Removed meanwhile, or no file: nobody reads from there.
    return undefined;
  }
}

const isFull = (error: unknown): boolean => {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOSPC' || code === 'EDQUOT';
};

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A new name is durable only once its directory is. Windows has no such call and needs none. */
async function syncDirectory(dir: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
