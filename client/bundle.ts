/** A zip for somebody else: the journal with tokens in place of texts, and what the doctor found. */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privacyOf } from '../protocol/records/privacy.ts';
import { CliError, EXIT } from './exit.ts';
import { journalLines, segments } from './journal.ts';

/** Of the journal before it is packed; the newest segments go in. */
const MAX_BUNDLE_BYTES = 67_108_864;
/** What a bundle may unpack to: that and the segment that crossed it. */
const MAX_UNPACKED_BYTES = 2 * MAX_BUNDLE_BYTES;
const ENTRY = /^journal\/mapisync\.\d{6,9}\.jsonl$/;

/** Loaded when needed: most commands pack nothing. */
const zip = (): typeof import('fflate') => createRequire(import.meta.url)('fflate');

export interface Packed {
  readonly segments: number;
  /** Older ones that were too many. */
  readonly leftOut: number;
  readonly bytes: number;
}

/**
 * @param about Goes in as `doctor.json`; holds no text of a host.
 * @throws {CliError} exit 2 if the file is there already.
 */
export function writeBundle(
  file: string,
  journal: string,
  about: object,
  token: (text: string) => string,
): Packed {
  const files: Record<string, Uint8Array> = {
    'doctor.json': Buffer.from(`${JSON.stringify(about, null, 2)}\n`),
  };
  const numbers = segments(journal);
  const hide = privacyOf('token', token);
  let bytes = 0;
  let packed = 0;
  for (const segment of numbers) {
    if (bytes > MAX_BUNDLE_BYTES) break;
    const lines: string[] = [];
    for (const { line } of journalLines(journal, segment)) {
      try {
        lines.push(`${JSON.stringify(hide(JSON.parse(line)))}\n`);
      } catch {
        // A damaged line could hold anything; the doctor counts them.
      }
    }
    const content = Buffer.from(lines.join(''));
    files[`journal/mapisync.${String(segment).padStart(6, '0')}.jsonl`] = content;
    bytes += content.length;
    packed += 1;
  }
  const content = zip().zipSync(files);
  const fd = create(file);
  try {
    writeFileSync(fd, content);
  } finally {
    closeSync(fd);
  }
  return { segments: packed, leftOut: numbers.length - packed, bytes: content.length };
}

function create(file: string): number {
  try {
    return openSync(file, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const text = `Cannot write ${file}: expected a new file, got one that is there`;
    throw new CliError(EXIT.usage, text, 'Remove it, or choose another name');
  }
}

/**
 * Unpacks the journal of a bundle to a directory that goes with this process.
 *
 * @throws {CliError} exit 2 if it is none.
 */
export function openBundle(file: string): string {
  const wrong = (got: string, cause?: unknown): CliError => {
    const text = `Cannot read ${file}: expected a bundle of mapisync doctor --bundle, got ${got}`;
    return new CliError(EXIT.usage, text, undefined, cause);
  };
  let total = 0;
  let entries: Record<string, Uint8Array>;
  try {
    entries = zip().unzipSync(readFileSync(file), {
      filter: ({ name, originalSize }) => {
        if (!ENTRY.test(name)) return false;
        total += originalSize;
        return total <= MAX_UNPACKED_BYTES;
      },
    });
  } catch (error) {
    throw wrong((error as Error).message, error);
  }
  if (total > MAX_UNPACKED_BYTES) throw wrong(`more than ${MAX_UNPACKED_BYTES} bytes`);
  if (Object.keys(entries).length === 0) throw wrong('no journal in it');
  const dir = mkdtempSync(join(tmpdir(), 'mapisync-bundle-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'journal'));
  for (const [name, content] of Object.entries(entries)) {
    writeFileSync(join(dir, name), content, { mode: 0o600 });
  }
  return join(dir, 'journal');
}
