/** `recover`: what rings copied from another machine hold. Needs no daemon, and changes no file. */
import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { finishRecord, type LineContext, toLine } from '../../protocol/records/line.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { rfc3339 } from '../../protocol/records/time.ts';
import { recordsOfRing } from '../../protocol/session/recovered.ts';
import { RING_FILE_BYTES } from '../../protocol/wire/limits.ts';
import { ProtocolError } from '../../protocol/wire/protocol-error.ts';
import { type RingImage, readRing } from '../../protocol/wire/ring-file.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { count } from '../render/numbers.ts';
import { PlainLines } from '../render/plain.ts';
import { quoted } from '../render/text.ts';
import type { Settings } from '../settings.ts';
import { packageVersion } from '../version.ts';

/** No ring is of this boot: what is taken has a checksum that holds. */
const NO_BOOT = '';
/** In place of the machine's name, which a ring does not tell. */
const HOST = 'unknown';
const LINES_AT_ONCE = 256;

/** Reads what it can; a file that it cannot read is said, and makes it end with 1. */
export async function recover(path: string, settings: Settings, io: Io): Promise<number> {
  const isJson = settings.output === 'json';
  const { unicode } = settings.theme;
  const plain = new PlainLines({ unicode, verbosity: settings.verbosity });
  const total = { rings: 0, frames: 0, torn: 0, records: 0, failed: 0 };
  const seen = new Set<string>();
  for (const file of ringFiles(path)) {
    let image: RingImage;
    try {
      image = readRing(readRingFile(file), { thisBoot: NO_BOOT });
    } catch (error) {
      total.failed += 1;
      await io.stderr.write(`mapisync: ${whyNot(file, error)}\n`);
      continue;
    }
    const { records, ring } = recordsOfRing(image);
    if (seen.has(image.header.ring)) {
      const text = `${file} is a copy of a ring that was read: its records come again`;
      await io.stderr.write(`mapisync: ${text}\n`);
    }
    seen.add(image.header.ring);
    total.rings += 1;
    total.frames += image.frames.length;
    total.torn += image.torn;
    total.records += records.length;
    const line = isJson ? jsonLines(image.header.ring) : undefined;
    const lines = records.flatMap((record) => line?.(record) ?? endLine(plain, record, unicode));
    for (let at = 0; at < lines.length; at += LINES_AT_ONCE) {
      await io.stdout.write(`${lines.slice(at, at + LINES_AT_ONCE).join('\n')}\n`);
    }
    if (ring.orphans > 0) {
      const text = `${count(ring.orphans, 'frame')} of sessions that began before it`;
      await io.stderr.write(`mapisync: ${file} holds ${text}: see the journal of its machine\n`);
    }
  }
  await io.stdout.write(`${summary(total, isJson)}\n`);
  return total.failed > 0 ? EXIT.failed : EXIT.done;
}

interface Total {
  readonly rings: number;
  readonly frames: number;
  readonly torn: number;
  readonly records: number;
  readonly failed: number;
}

function summary(total: Total, isJson: boolean): string {
  const { rings, frames, torn, records, failed } = total;
  const not = failed === 0 ? '' : `; cannot read ${count(failed, 'file')}`;
  const msg = `${count(rings, 'ring')}, ${count(frames, 'frame')}, ${count(records, 'record')}, ${torn} torn${not}`;
  if (!isJson) return msg;
  return jsonLines('recover')({
    event_name: 'daemon.recovered',
    level: 'info',
    time: rfc3339(Date.now() * 1000),
    msg,
    recovered: { rings, frames, torn },
  });
}

/** Decisions are numbered by ring, so that reading it again gives them the same ids. */
function jsonLines(instance: string): (record: RecordDraft) => string {
  const context: Omit<LineContext, 'counter'> = {
    service: { name: 'mapisync', version: packageVersion(), instance_id: instance },
    host: HOST,
  };
  let counter = 0;
  return (record) => {
    counter += 1;
    return toLine(finishRecord(record, { ...context, counter }));
  };
}

/** How a session ended, and its last words. */
function endLine(plain: PlainLines, record: RecordDraft, unicode: boolean): string[] {
  if (record.event_name !== 'session.ended') return [];
  const line = plain.record(record) ?? '';
  if (!record.progress) return [line];
  const { text, index, max, calls } = record.progress;
  const where = text === undefined ? '' : `${quoted(text, unicode)} `;
  return [`${line}, last words: ${where}${index}/${max} in Progress call ${calls}`];
}

/** @throws {CliError} if there is none. */
function ringFiles(path: string): string[] {
  const stats = statSync(path, { throwIfNoEntry: false });
  const hint = 'Copy *.ring from the folder "rings" of a state directory';
  if (!stats) throw new CliError(EXIT.usage, `Cannot read ${path}: it does not exist`, hint);
  if (!stats.isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => name.endsWith('.ring'));
  if (names.length > 0) return names.sort().map((name) => join(path, name));
  throw new CliError(EXIT.usage, `Cannot read ${path}: expected *.ring files, got none`, hint);
}

/** At most one byte more than a ring has. */
function readRingFile(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, RING_FILE_BYTES + 1));
    let done = 0;
    while (done < bytes.length) {
      const part = readSync(fd, bytes, done, bytes.length - done, done);
      if (part === 0) break;
      done += part;
    }
    return bytes.subarray(0, done);
  } finally {
    closeSync(fd);
  }
}

function whyNot(file: string, error: unknown): string {
  if (error instanceof ProtocolError) {
    const text = error.message.replace(/^Cannot read ring/, `Cannot read ${file}`);
    return error.reason === 'version'
      ? `${text}. Use the version of mapisync that its process had`
      : text;
  }
  if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  return `Cannot read ${file}: ${(error as Error).message}`;
}
