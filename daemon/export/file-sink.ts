/**
 * JSON lines in `DIR/mapisync.NNNNNN.jsonl`, for a shipper that runs as somebody else. A file is only ever
 * appended to, by whole batches, and never renamed: whatever follows it keeps its place by its name. The
 * oldest go when all together are too big, whether or not they were read. One process at a time writes there.
 */
import { constants, existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FileExport } from '../../protocol/records/exports.ts';
import { listSegments, segmentPath } from '../platform/journal-files.ts';
import { type FileLock, lockFile } from '../platform/locks.ts';
import { type OutRecord, type Sink, SinkError } from './sink.ts';

const FILE_BYTES = 8_388_608;
const TOTAL_BYTES = 67_108_864;
/** So that a shipper that is a little behind keeps most of it. */
const MIN_FILES = 4;
const LINGER_MS = 100;
/** The group may read: whose group, says the directory (setgid). */
const FILE_MODE = 0o640;
const DIR_MODE = 0o750;
const LOCK_NAME = '.mapisync.lock';
const NEWLINE = 10;
/** Not for appending: Windows cannot cut such a file. */
const FLAGS = constants.O_RDWR | constants.O_CREAT;

export async function openFileSink(settings: FileExport): Promise<Sink> {
  try {
    await makeDir(settings.dir);
    return await FileSink.open(settings);
  } catch (error) {
    throw explain(error, settings.dir);
  }
}

/** With its parents. Node's `recursive` never ends where one is there that takes no directory, as /proc. */
async function makeDir(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: DIR_MODE });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || existsSync(dirname(dir))) throw error;
    await makeDir(dirname(dir));
    await makeDir(dir);
  }
}

class FileSink implements Sink {
  readonly lingerMs = LINGER_MS;
  readonly #dir: string;
  readonly #fileBytes: number;
  readonly #totalBytes: number;
  readonly #lock: FileLock;
  #number: number;
  #file: FileHandle;
  #bytes: number;

  static async open(settings: FileExport): Promise<FileSink> {
    const lock = lockFile(join(settings.dir, LOCK_NAME));
    if (!lock) {
      const text = `Cannot write to ${settings.dir}: another mapisync exports there already`;
      throw new SinkError('failed', `${text}. Stop that one, or take another directory`);
    }
    try {
      const number = listSegments(settings.dir).at(-1) ?? 1;
      const file = await open(segmentPath(settings.dir, number), FLAGS, FILE_MODE);
      const bytes = await wholeBytes(file);
      // A batch that was cut off by a full disk or a crash of the system: what follows must begin a line.
      await file.truncate(bytes);
      return new FileSink(settings, lock, { number, file, bytes });
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor(
    settings: FileExport,
    lock: FileLock,
    { number, file, bytes }: { number: number; file: FileHandle; bytes: number },
  ) {
    this.#dir = settings.dir;
    this.#lock = lock;
    this.#totalBytes = settings.totalBytes ?? TOTAL_BYTES;
    this.#fileBytes = settings.fileBytes ?? Math.min(FILE_BYTES, this.#totalBytes / MIN_FILES);
    this.#number = number;
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Those of the two newest files: a batch stands in one. */
  async stored(): Promise<ReadonlySet<string>> {
    const ids = new Set<string>();
    for (const number of listSegments(this.#dir).slice(-2)) {
      const text = await readFile(segmentPath(this.#dir, number), 'utf8');
      for (const [, id] of text.matchAll(/^.{0,400}?"event_id":"([^"]+)"/gm)) ids.add(id!);
    }
    return ids;
  }

  async send(records: readonly OutRecord[]): Promise<void> {
    const bytes = Buffer.from(records.map(({ line }) => `${line}\n`).join(''));
    try {
      if (this.#bytes > 0 && this.#bytes + bytes.length > this.#fileBytes) await this.#rotate();
      let done = 0;
      while (done < bytes.length) {
        const rest = bytes.length - done;
        const { bytesWritten } = await this.#file.write(bytes, done, rest, this.#bytes + done);
        done += bytesWritten;
      }
      await this.#file.datasync();
      this.#bytes += bytes.length;
    } catch (error) {
      await this.#file.truncate(this.#bytes).catch(() => {}); // Done again when it is opened.
      throw explain(error, this.#dir);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
    this.#lock.release();
  }

  async #rotate(): Promise<void> {
    await this.#file.close();
    this.#number += 1;
    this.#file = await open(segmentPath(this.#dir, this.#number), FLAGS, FILE_MODE);
    this.#bytes = 0;
    const files: { path: string; size: number }[] = [];
    for (const number of listSegments(this.#dir)) {
      const path = segmentPath(this.#dir, number);
      files.push({ path, size: (await stat(path)).size });
    }
    let total = files.reduce((sum, { size }) => sum + size, this.#fileBytes);
    for (const { path, size } of files.slice(0, -1)) {
      if (total <= this.#totalBytes) break;
      await rm(path, { force: true });
      total -= size;
    }
  }
}

/** Bytes up to the end of the last whole line. */
async function wholeBytes(file: FileHandle): Promise<number> {
  const bytes = await file.readFile();
  return bytes.lastIndexOf(NEWLINE) + 1;
}

function explain(error: unknown, dir: string): SinkError {
  if (error instanceof SinkError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const text = `Cannot write to ${dir}: ${message}`;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new SinkError('full', `${text}. Make room there`, error);
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const hint = 'Give it to the user whose journal this is';
    return new SinkError('denied', `${text}. ${hint}`, error);
  }
  if (code === 'ENOTDIR' || code === 'EEXIST') {
    return new SinkError(
      'failed',
      `${text}. Take a directory, or a name that nothing has yet`,
      error,
    );
  }
  return new SinkError('failed', text, error);
}
