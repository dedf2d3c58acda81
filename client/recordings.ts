/** Recordings as files: read with a limit, written so that nobody else can read them. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';
import { MAX_RECORDING_BYTES, type Recording, readRecording } from '../protocol/wire/recording.ts';
import { CliError, EXIT } from './exit.ts';

const STDIN = 0;
const CHUNK_BYTES = 1_048_576;

const MAKE_ONE = 'Make a recording with: mapisync record --next';

/** @param path `-` is stdin. @throws {CliError} if it can't be read, or is too large. */
export function readBytes(path: string): Buffer {
  let fd = STDIN;
  try {
    if (path !== '-') fd = openSync(path, 'r');
    if (fstatSync(fd).isDirectory()) {
      throw new CliError(EXIT.usage, `Cannot read ${path}: expected a recording, got a directory`);
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const read = readSome(fd, chunk);
      if (read === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, read));
      size += read;
      if (size > MAX_RECORDING_BYTES) {
        const want = `at most ${MAX_RECORDING_BYTES} bytes`;
        throw new CliError(EXIT.failed, `Cannot read ${path}: expected ${want}, got more`);
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new CliError(EXIT.usage, `Cannot read ${path}: there is no such file`, MAKE_ONE);
  } finally {
    if (fd !== STDIN) closeSync(fd);
  }
}

/** A pipe on stdin may be empty for now, or already closed. */
function readSome(fd: number, chunk: Buffer): number {
  for (;;) {
    try {
      return readSync(fd, chunk);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN') throw error;
      // Nothing else runs in this command, so it may block.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/** @throws {CliError} naming the byte where the file stops being a recording. */
export function loadRecording(path: string): Recording {
  try {
    return readRecording(readBytes(path));
  } catch (error) {
    throw damagedFile(path, error);
  }
}

/** @param before How to see what stands before the damage. */
export function damagedFile(
  path: string,
  error: unknown,
  before = `What stands before the damage is shown by: mapisync decode ${path}`,
): unknown {
  if (!(error instanceof ProtocolError)) return error;
  const text = error.message.replace(/^Cannot read recording/, `Cannot read ${path}`);
  let hint = before;
  if (error.reason === 'version')
    hint = 'Use the version of mapisync that recorded it, or a newer one';
  else if (text.endsWith('this is no recording')) hint = MAKE_ONE;
  return new CliError(EXIT.failed, text, hint, error);
}
