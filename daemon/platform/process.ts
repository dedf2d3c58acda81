/** What the system tells of processes and of itself. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { win32Calls } from './win32-calls.ts';

const WINDOWS = process.platform === 'win32';

/** An eye on a process. On Windows it holds a handle, so that the exit code outlives the process. */
export interface ProcessWatch {
  isAlive(): boolean;
  /** Where the system tells it, and once the process has ended. */
  exitCode(): number | undefined;
  close(): void;
}

export function watchProcess(pid: number): ProcessWatch {
  return WINDOWS ? watchWindows(pid) : watchPosix(pid);
}

export function isAlive(pid: number): boolean {
  const watch = watchProcess(pid);
  try {
    return watch.isAlive();
  } finally {
    watch.close();
  }
}

function watchPosix(pid: number): ProcessWatch {
  return {
    isAlive() {
      try {
        process.kill(pid, 0);
        return true;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'EPERM';
      }
    },
    exitCode: () => undefined,
    close() {},
  };
}

function watchWindows(pid: number): ProcessWatch {
  const calls = win32Calls();
  let handle = calls.openProcess(pid);
  return {
    isAlive: () => handle !== 0 && !calls.hasEnded(handle),
    exitCode: () => (handle !== 0 && calls.hasEnded(handle) ? calls.exitCode(handle) : undefined),
    close() {
      if (handle !== 0) calls.closeHandle(handle);
      handle = 0;
    },
  };
}

/** May this process serve? An elevated one would lend its rights to whoever connects. */
export function isElevated(): boolean {
  return WINDOWS && win32Calls().isElevated();
}

export function isWine(): boolean {
  return WINDOWS && win32Calls().isWine();
}

/** 32 hex digits that change with each start of the machine; undefined where none are known. */
export function bootId(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const text = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const hex = text.replaceAll('-', '');
    return /^[0-9a-f]{32}$/.test(hex) ? hex : undefined;
  } catch {
    return undefined;
  }
}

export const hostName = (): string => hostname();
