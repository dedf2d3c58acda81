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
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordDraft } from '../protocol/records/record.ts';
import { nowText } from './clock.ts';
import { type Cursor, listSegments, segmentPath } from './journal-files.ts';
import type { LineMaker } from './journal-lines.ts';
import { DISK_RETRY_MS, MAX_GROUP_BYTES, RESERVE_BYTES } from './limits.ts';

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
  readonly snapshot: () => readonly RecordDraft[];
  /** Lines that became durable, in order. Snapshots are not among them. */
  readonly onDurable: (lines: readonly DurableLine[]) => void;
  readonly onTrouble: (trouble: JournalTrouble) => void;
  /** `open` of node:fs/promises, but for tests that make the system fail. */
  readonly openFile?: typeof open;
}

export interface DurableLine {
  readonly draft: RecordDraft;
  /** Without its newline. */
  readonly line: string;
  /** The place behind the line. */
  readonly cursor: Cursor;
}

export type JournalTrouble =
  /** Waiting for space, and trying again. */
  | { readonly type: 'full'; readonly error: Error }
  /** There is space again, and nothing was lost. */
  | { readonly type: 'well' }
  /** Stopped for good. What is not durable is cut away. */
  | { readonly type: 'failed'; readonly error: Error };

interface Line {
  readonly draft: RecordDraft;
  readonly text: string;
  readonly bytes: number;
}

type Step =
  | { readonly type: 'line'; readonly line: Line }
  | { readonly type: 'rotate'; readonly snapshot: readonly Line[] }
  | { readonly type: 'barrier'; readonly run: () => void };

/** So much is written at once. */
const BATCH_BYTES = 1_048_576;

export class Journal {
  readonly #options: JournalOptions;
  #queue: Step[] = [];
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
  #backlogBytes = 0;
  #state: 'open' | 'full' | 'failed' | 'closed' = 'open';
  #closing = false;
  #lastSyncMs = Number.NEGATIVE_INFINITY;

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

  /** Opens the first segment with a snapshot. @throws what the system says if it cannot. */
  async open(): Promise<void> {
    await this.#makeReserve();
    this.#planRotation();
    const first = this.#queue.shift();
    if (first?.type !== 'rotate') return;
    try {
      await this.#rotate(first.snapshot);
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
    for (const draft of drafts) {
      const line = this.#makeLine(draft);
      this.#plannedBytes += line.bytes;
      this.#backlogBytes += line.bytes;
      this.#queue.push({ type: 'line', line });
    }
    if (this.#plannedBytes + MAX_GROUP_BYTES > this.#plannedLimit) this.#planRotation();
    this.#start();
  }

  /** Runs `run` once everything appended so far is durable; never if the journal fails before. */
  barrier(run: () => void): void {
    if (this.#state === 'failed' || this.#state === 'closed') return;
    this.#queue.push({ type: 'barrier', run });
    this.#start();
  }

  /** Writes what waits, as long as there is hope for it, and lets go of the file. */
  async close(timeoutMs: number): Promise<void> {
    this.#closing = true;
    const late = setTimeout(() => this.#fail(new Error('stopped with a full disk')), timeoutMs);
    while (this.#pumping) await this.#pumping;
    clearTimeout(late);
    if (this.#state !== 'failed') this.#state = 'closed';
    await this.#file?.close();
    this.#file = undefined;
  }

  #makeLine(draft: RecordDraft): Line {
    const text = this.#options.lines.line(draft);
    return { draft, text, bytes: Buffer.byteLength(text) };
  }

  #planRotation(): void {
    const snapshot = this.#options.snapshot().map((draft) => this.#makeLine(draft));
    const bytes = snapshot.reduce((sum, line) => sum + line.bytes, 0);
    this.#plannedBytes = bytes;
    // A snapshot that fills its segment would be followed by another one at once, for ever.
    this.#plannedLimit = Math.max(this.#options.segmentBytes, 2 * bytes + 2 * MAX_GROUP_BYTES);
    this.#queue.push({ type: 'rotate', snapshot });
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
    while (this.#queue.length > 0 && this.#state !== 'failed') {
      const steps = this.#takeBatch();
      const [first] = steps;
      if (first?.type === 'rotate') await this.#rotate(first.snapshot);
      else await this.#commit(steps);
    }
  }

  /** A rotation alone, or everything up to the next one within the size of a batch. */
  #takeBatch(): Step[] {
    let count = 0;
    let bytes = 0;
    for (const step of this.#queue) {
      if (step.type === 'rotate') {
        if (count === 0) count = 1;
        break;
      }
      if (step.type === 'line') bytes += step.line.bytes;
      count += 1;
      if (bytes >= BATCH_BYTES) break;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(steps: readonly Step[]): Promise<void> {
    const lines: Line[] = [];
    for (const step of steps) if (step.type === 'line') lines.push(step.line);
    if (lines.length > 0) {
      const durable = await this.#write(lines);
      await this.#sync();
      for (const line of lines) this.#backlogBytes -= line.bytes;
      if (this.#state === 'failed') return;
      this.#options.onDurable(durable);
    }
    for (const step of steps) if (step.type === 'barrier') step.run();
  }

  /** Writes lines at the end of the segment; waits while the disk is full. */
  async #write(lines: readonly Line[]): Promise<DurableLine[]> {
    const bytes = Buffer.from(lines.map((line) => line.text).join(''));
    await this.#untilSpace(() => this.#writeBytes(bytes));
    let offset = this.#offset;
    this.#offset += bytes.length;
    return lines.map(({ draft, text, bytes: size }) => {
      offset += size;
      return { draft, line: text.slice(0, -1), cursor: { segment: this.#segment, offset } };
    });
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

  async #rotate(snapshot: readonly Line[]): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    this.#segment += 1;
    this.#offset = 0;
    this.#durableOffset = 0;
    await this.#untilSpace(async () => {
      const path = segmentPath(this.#options.dir, this.#segment);
      this.#file ??= await (this.#options.openFile ?? open)(path, 'wx', 0o600);
      await this.#writeBytes(Buffer.from(snapshot.map((line) => line.text).join('')));
    });
    this.#offset = snapshot.reduce((sum, line) => sum + line.bytes, 0);
    this.#durableOffset = this.#offset;
    if (this.#options.sync !== 'system') {
      await this.#file!.datasync();
      await syncDirectory(this.#options.dir);
    }
    // What cannot be deleted now is tried again with the next segment.
    await this.#trim().catch(() => {});
  }

  /** Deletes the oldest segments. Never this one nor the one before it: recovery may need both. */
  async #trim(): Promise<void> {
    const { dir, journalBytes, journalDays } = this.#options;
    const sized: { path: string; bytes: number; mtimeMs: number }[] = [];
    for (const segment of listSegments(dir)) {
      const path = segmentPath(dir, segment);
      const stats = await stat(path);
      sized.push({ path, bytes: stats.size, mtimeMs: stats.mtimeMs });
    }
    let total = sized.reduce((sum, { bytes }) => sum + bytes, 0);
    const oldest = Date.now() - journalDays * 86_400_000;
    let segments = 0;
    let bytes = 0;
    for (const old of sized.slice(0, -2)) {
      // The segment that is being written will grow to its limit.
      const fits = total + this.#options.segmentBytes <= journalBytes;
      if (fits && old.mtimeMs >= oldest) break;
      await rm(old.path, { force: true });
      total -= old.bytes;
      bytes += old.bytes;
      segments += 1;
    }
    if (segments === 0) return;
    const msg = `Deleted ${segments} old journal segments (${bytes} bytes)`;
    this.append([
      {
        event_name: 'journal.trimmed',
        level: 'warn',
        time: nowText(),
        msg,
        trimmed: { segments, bytes },
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
    const { text, bytes } = this.#makeLine({
      event_name: 'journal.failed',
      level: 'error',
      time: nowText(),
      msg: `The disk is full: records wait until there is space (${error.message})`,
      detail: { cause: 'full', backlog_bytes: this.#backlogBytes },
    });
    try {
      await this.#file.truncate(this.#offset);
      await this.#writeBytes(Buffer.from(text));
      this.#offset += bytes;
      this.#plannedBytes += bytes;
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
