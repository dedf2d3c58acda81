/** The few POSIX calls that Node does not offer. Loaded when first needed. */
import { createRequire } from 'node:module';
import { constants } from 'node:os';

interface PosixCalls {
  /** @returns 0, or the errno. */
  lockWhole(fd: number): number;
  /** The user at the other end of a Unix socket. @throws if the system does not tell. */
  peerUser(fd: number): number;
}

let calls: PosixCalls | undefined;

export function posixCalls(): PosixCalls {
  calls ??= load();
  return calls;
}

/** How a system spells `fcntl(fd, F_SETLK, struct flock*)`. */
const FLOCK: Record<string, { setlk: number; wrlck: number; type: number; whence: number }> = {
  // struct flock: type, whence (i16 each), padding, start, len (i64), pid.
  linux: { setlk: 6, wrlck: 1, type: 0, whence: 2 },
  // struct flock: start, len (i64), pid (i32), type, whence (i16 each).
  darwin: { setlk: 8, wrlck: 3, type: 20, whence: 22 },
};

/** Of Linux, on every machine that Node runs on. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

function load(): PosixCalls {
  const system = FLOCK[process.platform];
  if (!system) {
    throw new Error(`Cannot lock files on ${process.platform}: only Linux, macOS and Windows work`);
  }
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const libc = koffi.load(null);
  const fcntl = libc.func('int fcntl(int fd, int command, ...)');
  const failed = (name: string): Error =>
    new Error(`Cannot ask who is at the other end: ${name} failed with errno ${koffi.errno()}`);
  return {
    lockWhole(fd) {
      const flock = Buffer.alloc(32);
      flock.writeInt16LE(system.wrlck, system.type);
      flock.writeInt16LE(0, system.whence); // SEEK_SET; start 0 and length 0 mean the whole file.
      if (fcntl(fd, system.setlk, 'void *', flock) === 0) return 0;
      return koffi.errno() || constants.errno.EIO;
    },
    peerUser: process.platform === 'linux' ? linuxPeerUser() : bsdPeerUser(),
  };

  function linuxPeerUser(): (fd: number) => number {
    const getsockopt = libc.func('int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ int *)');
    return (fd) => {
      const credentials = Buffer.alloc(12); // struct ucred: pid, uid, gid.
      if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, [credentials.length]) !== 0) {
        throw failed('getsockopt');
      }
      return credentials.readUInt32LE(4);
    };
  }

  function bsdPeerUser(): (fd: number) => number {
    const getpeereid = libc.func('int getpeereid(int, _Out_ uint32_t *, _Out_ uint32_t *)');
    return (fd) => {
      const user: [number] = [0];
      if (getpeereid(fd, user, [0]) !== 0) throw failed('getpeereid');
      return user[0];
    };
  }
}
