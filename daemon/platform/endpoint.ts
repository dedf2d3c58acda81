/** The file that tells peers where the daemon listens, and holds the secret that both ends share. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { MAX_ENDPOINT_BYTES } from '../../protocol/wire/limits.ts';
import { PlatformError } from './platform-error.ts';

export interface Endpoint {
  /** The highest protocol version that the daemon speaks. */
  readonly protocol: number;
  /** A Windows pipe or the path of a Unix socket, as the proofs of the handshake cover it. */
  readonly pipe: string;
  readonly pid: number;
  /** RFC 3339. */
  readonly started: string;
  /** 32 bytes, new at every start. */
  readonly secret: Buffer;
}

export const newSecret = (): Buffer => randomBytes(32);

/** No Unix socket has a longer path, and no Windows pipe of ours a longer name. */
const MAX_PIPE_BYTES = 100;
const KEYS: ReadonlySet<string> = new Set(['protocol', 'pipe', 'pid', 'started', 'secret']);

/** Writes the file whole and private, or not at all. */
export function writeEndpoint(path: string, endpoint: Endpoint): void {
  const lines = [
    `protocol=${endpoint.protocol}`,
    `pipe=${endpoint.pipe}`,
    `pid=${endpoint.pid}`,
    `started=${endpoint.started}`,
    `secret=${endpoint.secret.toString('hex')}`,
  ];
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, `${lines.join('\n')}\n`, { flag: 'wx', mode: 0o600 });
  renameSync(temporary, path);
}

export function removeEndpoint(path: string): void {
  rmSync(path, { force: true });
}

/**
 * Reads what a daemon announced. It may be dead by now: `connect()` finds out.
 *
 * @throws {PlatformError} `not-running`, `other-user` or `malformed`.
 */
export function readEndpoint(path: string): Endpoint {
  return parseEndpoint(path, readPrivately(path));
}

function readPrivately(path: string): string {
  let fd: number;
  try {
    // Without O_NONBLOCK a fifo in its place would hold us for ever.
    const careful = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    fd = openSync(path, constants.O_RDONLY | careful);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new PlatformError(
        'not-running',
        'No daemon is running. Start one with: mapisync daemon start',
      );
    }
    const text = code === 'ELOOP' ? 'expected a file, got a symbolic link' : String(code);
    throw new PlatformError('other-user', `Cannot read ${path}: ${text}`, { cause: error });
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new PlatformError('malformed', `Cannot read ${path}: not a file`);
    const uid = process.getuid?.();
    if (uid !== undefined && stats.uid !== uid) {
      const text = `it belongs to user ${stats.uid}, and this is user ${uid}`;
      throw new PlatformError(
        'other-user',
        `Cannot use ${path}: ${text}. Choose another --state-dir`,
      );
    }
    if (uid !== undefined && (stats.mode & 0o077) !== 0) {
      const text = `others may use it. Restart the daemon, or mend it with: chmod 600 '${path}'`;
      throw new PlatformError('other-user', `Cannot use ${path}: ${text}`);
    }
    const bytes = Buffer.alloc(MAX_ENDPOINT_BYTES + 1);
    const size = readSync(fd, bytes, 0, bytes.length, 0);
    if (size > MAX_ENDPOINT_BYTES) {
      throw malformed(path, `expected at most ${MAX_ENDPOINT_BYTES} bytes`);
    }
    return bytes.toString('utf8', 0, size);
  } finally {
    closeSync(fd);
  }
}

/**
 * @param path Where the text was found; for errors.
 * @throws {PlatformError} `malformed`
 */
export function parseEndpoint(path: string, text: string): Endpoint {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals <= 0) continue;
    const key = line.slice(0, equals);
    if (values.has(key) && KEYS.has(key)) throw malformed(path, `the line ${key}= is there twice`);
    values.set(key, line.slice(equals + 1).replace(/\r$/, ''));
  }
  const value = (key: string, shape: RegExp): string => {
    const found = values.get(key);
    if (found === undefined) throw malformed(path, `the line ${key}= is missing`);
    if (!shape.test(found)) throw malformed(path, `the value of ${key} makes no sense`);
    return found;
  };
  const pipeShape =
    process.platform === 'win32' ? /^\\\\\.\\pipe\\mapisync\.[0-9a-fA-F]{32}$/ : /^\/[^\0]+$/;
  const pipe = value('pipe', pipeShape);
  if (Buffer.byteLength(pipe) > MAX_PIPE_BYTES) {
    throw malformed(path, `the value of pipe is longer than ${MAX_PIPE_BYTES} bytes`);
  }
  return {
    protocol: Number(value('protocol', /^[1-9][0-9]{0,4}$/)),
    pipe,
    pid: Number(value('pid', /^[0-9]{1,10}$/)),
    started: value('started', /^[0-9T:.Z+-]{1,40}$/),
    secret: Buffer.from(value('secret', /^[0-9a-fA-F]{64}$/), 'hex'),
  };
}

const malformed = (path: string, text: string): PlatformError =>
  new PlatformError('malformed', `Cannot read ${path}: ${text}. Restart the daemon`);
