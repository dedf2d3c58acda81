/** Where peers come in: a named pipe of this user on Windows, a Unix socket elsewhere. */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { collectEarlyStill } from './garbage.ts';
import { preparePrivateDir } from './paths.ts';
import { peerProblem } from './peer-user.ts';
import { judgePipeSecurity, pipeSddl } from './pipe-security.ts';
import type { WaiterMessage, WaiterSetup } from './pipe-waiter.ts';
import { PlatformError } from './platform-error.ts';
import { win32Calls } from './win32-calls.ts';

export interface Listener {
  /** As peers open it, and as the handshake's proofs cover it. */
  readonly pipe: string;
  /** What the system made of our wish for privacy, for `daemon.started`. */
  readonly facts: Record<string, string | boolean>;
  /** No more peers. Those that are connected stay. */
  close(): Promise<void>;
}

export interface ListenOptions {
  /** The state directory, prepared. Its lock is ours: what a dead daemon left there may go. */
  readonly root: string;
  readonly onPeer: (socket: Socket) => void;
  /** Somebody was turned away before a byte: they are not this user. */
  readonly onStranger: (problem: string) => void;
  /** The listener broke later on. */
  readonly onError: (error: Error) => void;
}

/** @throws {PlatformError} */
export function listen(options: ListenOptions): Promise<Listener> {
  return process.platform === 'win32' ? listenOnPipe(options) : listenOnSocket(options);
}

/** The shortest `sun_path` among systems is 104 bytes with its end; Node cuts a longer one. */
const MAX_SOCKET_PATH_BYTES = 100;
const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;

/** The socket's folder: the state directory, or a private one with a short path if that is too deep. */
export function socketDir(root: string, env: NodeJS.ProcessEnv = process.env): string {
  if (fits(join(root, 'socket.new'))) return root;
  // The same state directory leads to the same place, so that a restart finds its leftovers.
  const name = `mapisync-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`;
  const bases = [env.XDG_RUNTIME_DIR, tmpdir()].filter((base) => base !== undefined);
  const dir = bases.map((base) => join(base, name)).find((path) => fits(join(path, 'socket.new')));
  if (dir) return dir;
  throw new PlatformError(
    'state-dir',
    `Cannot listen: the path of a socket may have ${MAX_SOCKET_PATH_BYTES} bytes, and ${root} and ` +
      `${tmpdir()} are both too long. Choose a shorter --state-dir`,
  );
}

async function listenOnSocket({
  root,
  onPeer,
  onStranger,
  onError,
}: ListenOptions): Promise<Listener> {
  const dir = socketDir(root);
  if (dir !== root) preparePrivateDir(dir);
  const path = join(dir, 'socket');
  const temporary = join(dir, 'socket.new');
  rmSync(temporary, { force: true });
  const server = createServer({ noDelay: false }, (socket) => {
    const problem = peerProblem(socket);
    if (!problem) {
      onPeer(socket);
      return;
    }
    onStranger(problem);
    socket.destroy();
  });
  await opened(server, temporary);
  server.on('error', onError);
  chmodSync(temporary, 0o600);
  // The name appears only when the socket behind it is private and listens.
  renameSync(temporary, path);
  return {
    pipe: path,
    facts: {},
    async close() {
      rmSync(path, { force: true });
      await new Promise((resolve) => {
        server.close(resolve);
        // `close` waits for connections, which are not the listener's business.
        server.unref();
        setImmediate(resolve);
      });
    },
  };
}

function opened(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new PlatformError('state-dir', `Cannot listen on ${path}: ${error.message}`, {
          cause: error,
        }),
      );
    });
    server.listen(path, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

async function listenOnPipe({ onPeer, onError }: ListenOptions): Promise<Listener> {
  const calls = win32Calls();
  const user = calls.userSid();
  const wine = calls.isWine();
  const pipe = `\\\\.\\pipe\\mapisync.${randomBytes(16).toString('hex')}`;
  const stop = calls.newEvent();
  const setup: WaiterSetup = { pipe, sddl: pipeSddl(user), stop };
  // The same extension as this file: `.ts` from source, `.js` once built.
  const file = `./pipe-waiter.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`;
  const worker = new Worker(new URL(file, import.meta.url), { workerData: setup });
  worker.once('online', collectEarlyStill);
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  let closing = false;

  const close = async (): Promise<void> => {
    closing = true;
    calls.setEvent(stop);
    await ended;
    calls.closeHandle(stop);
  };
  const security = await new Promise<string>((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(new PlatformError('unsafe', `Cannot listen on ${pipe}: ${error.message}`));
      if (!closing) onError(error);
    };
    worker.on('error', fail);
    worker.on('message', (message: WaiterMessage) => {
      switch (message.type) {
        case 'listening':
          resolve(message.security);
          return;
        case 'failed':
          fail(new Error(message.text));
          return;
        case 'peer':
          if (closing) calls.closeHandle(message.handle);
          else hand(message.handle, onPeer, onError);
      }
    });
  });
  const judged = judgePipeSecurity(security, user, wine);
  if (judged.problem) {
    await close();
    throw new PlatformError('unsafe', `Cannot listen: the pipe is not private: ${judged.problem}`);
  }
  return { pipe, facts: { pipe_labelled: judged.labelled, wine }, close };
}

function hand(
  handle: number,
  onPeer: (socket: Socket) => void,
  onError: (error: Error) => void,
): void {
  let fd: number;
  try {
    fd = win32Calls().toDescriptor(handle);
  } catch (error) {
    onError(error as Error);
    return;
  }
  onPeer(new Socket({ fd, readable: true, writable: true }));
}
