/** The few POSIX calls that Node does not offer. Loaded when first needed. */
import { createRequire } from 'node:module';
import { constants } from 'node:os';

interface PosixCalls {
  /** @returns 0, or the errno. */
  lockWhole(fd: number): number;
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

function load(): PosixCalls {
  const system = FLOCK[process.platform];
  if (!system) {
    throw new Error(`Cannot lock files on ${process.platform}: only Linux, macOS and Windows work`);
  }
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const fcntl = koffi.load(null).func('int fcntl(int fd, int command, ...)');
  return {
    lockWhole(fd) {
      const flock = Buffer.alloc(32);
      flock.writeInt16LE(system.wrlck, system.type);
      flock.writeInt16LE(0, system.whence); // SEEK_SET; start 0 and length 0 mean the whole file.
      if (fcntl(fd, system.setlk, 'void *', flock) === 0) return 0;
      return koffi.errno() || constants.errno.EIO;
    },
  };
}
