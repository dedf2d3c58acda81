/** The way from a peer to the daemon: open the pipe, make sure who is there, shake hands. */
import { randomBytes } from 'node:crypto';
import { createConnection, Socket } from 'node:net';
import {
  CHALLENGE_BYTES,
  checkChallenge,
  makeAnswer,
  makeGreeting,
  NONCE_BYTES,
  type Role,
  STATUS,
} from '../../protocol/wire/handshake.ts';
import { HANDSHAKE_TIMEOUT_MS, PROTOCOL_VERSION } from '../../protocol/wire/limits.ts';
import { ProtocolError } from '../../protocol/wire/protocol-error.ts';
import { type Endpoint, readEndpoint } from './endpoint.ts';
import { peerProblem } from './peer-user.ts';
import { PlatformError } from './platform-error.ts';
import {
  ERROR_FILE_NOT_FOUND,
  ERROR_PIPE_BUSY,
  INVALID_HANDLE,
  win32Calls,
} from './win32-calls.ts';

export interface Connected {
  /** Past the handshake, with no listeners; what the daemon sent since waits to be read. */
  readonly socket: Socket;
  readonly endpoint: Endpoint;
  /** The version to be spoken. */
  readonly protocol: number;
}

export interface ConnectOptions {
  readonly role: Role;
  readonly timeoutMs?: number;
}

/**
 * Connects to the daemon that the endpoint file names.
 *
 * @throws {PlatformError} `not-running`, `stale`, `other-user`, `malformed`, `unsafe` (something else
 * answers there), `version`, `refused`, `timeout`.
 */
export async function connect(
  endpointPath: string,
  { role, timeoutMs = HANDSHAKE_TIMEOUT_MS }: ConnectOptions,
): Promise<Connected> {
  const endpoint = readEndpoint(endpointPath);
  const deadline = Date.now() + timeoutMs;
  const socket =
    process.platform === 'win32'
      ? await openPipe(endpoint, deadline)
      : await openSocket(endpoint, deadline);
  try {
    const protocol = await shakeHands(socket, endpoint, role, deadline);
    return { socket, endpoint, protocol };
  } catch (error) {
    socket.destroy();
    if (!(error instanceof ProtocolError)) throw error;
    throw error.reason === 'version' ? skewed(endpoint, endpoint.protocol) : distrust(error);
  }
}

const skewed = (endpoint: Endpoint, protocol: number): PlatformError =>
  new PlatformError(
    'version',
    `Cannot talk to the daemon (pid ${endpoint.pid}): expected protocol ${PROTOCOL_VERSION}, got ` +
      `${protocol}. Run the same version of both`,
  );

function distrust(error: ProtocolError): PlatformError {
  const text = `Cannot trust what answers at the daemon's endpoint: ${error.message}`;
  return new PlatformError(
    'unsafe',
    `${text}. Restart the daemon: mapisync daemon stop, then start`,
    {
      cause: error,
    },
  );
}

const stale = (endpoint: Endpoint, cause?: unknown): PlatformError =>
  new PlatformError(
    'stale',
    `The daemon (pid ${endpoint.pid}, started ${endpoint.started}) is gone. Start one with: mapisync daemon start`,
    { cause },
  );

const late = (endpoint: Endpoint): PlatformError =>
  new PlatformError(
    'timeout',
    `The daemon (pid ${endpoint.pid}) does not answer. Look whether it is stopped or busy`,
  );

function openSocket(endpoint: Endpoint, deadline: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path: endpoint.pipe, allowHalfOpen: false });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(late(endpoint));
    }, deadline - Date.now());
    const done = (): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
    };
    socket.once('connect', () => {
      done();
      // Before a byte is sent: a socket of this name may be somebody else's trap.
      const problem = peerProblem(socket);
      if (!problem) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(new PlatformError('other-user', `Cannot use ${endpoint.pipe}: ${problem}`));
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      done();
      const refused = error.code === 'EACCES' || error.code === 'EPERM';
      const text = `Cannot open ${endpoint.pipe}: it belongs to another user`;
      reject(
        refused ? new PlatformError('other-user', text, { cause: error }) : stale(endpoint, error),
      );
    });
  });
}

const BUSY_RETRY_MS = 10;

async function openPipe(endpoint: Endpoint, deadline: number): Promise<Socket> {
  const calls = win32Calls();
  for (;;) {
    const handle = calls.openPipe(endpoint.pipe);
    if (handle !== INVALID_HANDLE) {
      // Before a byte is sent: a pipe of this name may be somebody else's trap.
      const problem = ownerProblem(handle);
      if (!problem) {
        return new Socket({ fd: calls.toDescriptor(handle), readable: true, writable: true });
      }
      calls.closeHandle(handle);
      throw new PlatformError('other-user', `Cannot use ${endpoint.pipe}: ${problem}`);
    }
    const code = calls.getLastError();
    if (code === ERROR_FILE_NOT_FOUND) throw stale(endpoint);
    if (code !== ERROR_PIPE_BUSY) {
      throw new PlatformError('other-user', `Cannot open ${endpoint.pipe}: Windows error ${code}`);
    }
    if (Date.now() > deadline) throw late(endpoint);
    await new Promise((resolve) => setTimeout(resolve, BUSY_RETRY_MS));
  }
}

/** @returns What is wrong with the owner of a pipe; who cannot be told is nobody to be trusted. */
function ownerProblem(handle: number): string | undefined {
  const calls = win32Calls();
  try {
    const owner = calls.ownerOf(handle);
    const user = calls.userSid();
    return owner === user ? undefined : `it belongs to ${owner}, and this is ${user}`;
  } catch (error) {
    return `whom it belongs to is not to be found out: ${(error as Error).message}`;
  }
}

async function shakeHands(
  socket: Socket,
  endpoint: Endpoint,
  role: Role,
  deadline: number,
): Promise<number> {
  const greeting = makeGreeting({ role, nonce: randomBytes(NONCE_BYTES) });
  const proving = { secret: endpoint.secret, pipe: endpoint.pipe, greeting };
  socket.write(greeting);
  const challenge = await readBytes(socket, CHALLENGE_BYTES, endpoint, deadline);
  const { status, protocol } = checkChallenge(proving, challenge);
  if (status === STATUS.version) throw skewed(endpoint, protocol);
  if (status !== STATUS.goOn) {
    const why = status === STATUS.tooMany ? 'it has too many peers' : 'it is stopping';
    throw new PlatformError('refused', `The daemon (pid ${endpoint.pid}) turned us away: ${why}`);
  }
  // It may speak no version as old as ours, or have been told of one that we do not speak.
  if (protocol !== PROTOCOL_VERSION) throw skewed(endpoint, protocol);
  socket.write(makeAnswer(proving, challenge));
  return protocol;
}

/** Takes so many bytes and leaves what follows in the stream. */
function readBytes(
  socket: Socket,
  size: number,
  endpoint: Endpoint,
  deadline: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(late(endpoint))), deadline - Date.now());
    const settle = (then: () => void): void => {
      clearTimeout(timer);
      socket.removeListener('readable', take);
      socket.removeListener('error', gone);
      socket.removeListener('close', gone);
      socket.removeListener('end', gone);
      then();
    };
    const take = (): void => {
      const bytes = socket.read(size) as Uint8Array | null;
      if (bytes?.length === size) settle(() => resolve(bytes));
      else if (bytes) gone();
    };
    const gone = (): void =>
      settle(() =>
        reject(
          // A daemon of another version may hang up without a word at a handshake of ours.
          endpoint.protocol === PROTOCOL_VERSION
            ? new PlatformError('refused', `The daemon (pid ${endpoint.pid}) closed the connection`)
            : skewed(endpoint, endpoint.protocol),
        ),
      );
    socket.on('readable', take);
    socket.on('error', gone);
    socket.on('close', gone);
    socket.on('end', gone);
    take();
  });
}
