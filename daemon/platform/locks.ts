/**
 * Locks that end with their process, whatever ends it. They tell who is the daemon, and whether the
 * owner of a ring is alive. A process id never does: it may belong to somebody else by now.
 */
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { constants as os } from 'node:os';
import { posixCalls } from './posix-calls.ts';

/** libuv's UV_FS_O_EXLOCK: opens without sharing, so a second open fails while this one stands. */
const WINDOWS_EXCLUSIVE = 0x10000000;
const WINDOWS = process.platform === 'win32';

export interface FileLock {
  /** Open for reading and writing. Borrowed: `release()` closes it. */
  readonly fd: number;
  /** Gives the lock back; the file stays. */
  release(): void;
  /** Deletes the file, and with it the lock. */
  removeFile(): void;
}

/**
 * Paths locked by this process. POSIX locks belong to the process: a second lock would succeed, and
 * closing any descriptor of the file would drop the first.
 */
const held = new Map<string, FileLock>();

/**
 * Takes the exclusive lock on a file, made if missing.
 *
 * @returns undefined if another process has it, or this one already.
 * @throws what the system says if the file cannot be opened.
 */
export function lockFile(path: string): FileLock | undefined {
  return lock(path, constants.O_RDWR | constants.O_CREAT);
}

/**
 * Asks whether the owner of a ring file is dead. If so the file is ours until it is removed, so
 * that no other process takes it over.
 *
 * @returns undefined if the owner lives or the file is gone.
 */
export function tryLockRing(path: string): FileLock | undefined {
  try {
    return lock(path, constants.O_RDWR);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function lock(path: string, flags: number): FileLock | undefined {
  if (held.has(path)) return undefined;
  const fd = WINDOWS ? openExclusive(path, flags) : openAndLock(path, flags);
  if (fd === undefined) return undefined;
  const release = (): void => {
    if (!held.delete(path)) return;
    closeSync(fd);
  };
  const file: FileLock = {
    fd,
    release,
    removeFile() {
      // Windows deletes nothing that is open without sharing; a shim that takes the file in between
      // only deletes it too.
      if (WINDOWS) release();
      try {
        unlinkSync(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      } finally {
        release();
      }
    },
  };
  held.set(path, file);
  return file;
}

function openExclusive(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags | WINDOWS_EXCLUSIVE, 0o600);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EBUSY') return undefined;
    throw error;
  }
}

function openAndLock(path: string, flags: number): number | undefined {
  const fd = openSync(path, flags | constants.O_NOFOLLOW, 0o600);
  const errno = posixCalls().lockWhole(fd);
  if (errno === 0) return fd;
  closeSync(fd);
  if (errno === os.errno.EAGAIN || errno === os.errno.EACCES) return undefined;
  throw Object.assign(new Error(`Cannot lock ${path}: fcntl failed with errno ${errno}`), {
    errno,
  });
}
