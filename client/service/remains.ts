/** What lies in a state directory when nobody serves it any more, and how it is removed. */
import { readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { lockFile, tryLockRing } from '../../daemon/platform/locks.ts';
import type { StatePaths } from '../../daemon/platform/paths.ts';
import { CliError, EXIT } from '../exit.ts';

export interface Remains {
  readonly journalBytes: number;
  readonly segments: number;
  /** Their processes still run. They are never removed. */
  readonly liveRings: number;
  readonly deadRings: number;
}

const SEGMENT = /^mapisync\.\d{6,9}\.jsonl$/;
const RING = /\.ring$/;
/** Beside the folders. */
const FILES = [
  'endpoint',
  'endpoint.new',
  'socket',
  'token-key',
  'daemon.log',
  'daemon.log.1',
  'service.xml',
];

export function remains({ journal, rings }: StatePaths): Remains {
  const segments = named(journal, SEGMENT);
  const alive = named(rings, RING).map(isLive);
  return {
    journalBytes: segments.reduce((sum, path) => sum + sizeOf(path), 0),
    segments: segments.length,
    liveRings: alive.filter(Boolean).length,
    deadRings: alive.filter((one) => !one).length,
  };
}

function isLive(path: string): boolean {
  const lock = tryLockRing(path);
  lock?.release();
  return lock === undefined;
}

/**
 * Removes what is ours by name, and nothing else: whatever directory this is.
 *
 * @throws {CliError} exit 1 if a daemon runs.
 */
export function purge(paths: StatePaths): void {
  if (!exists(paths.root)) return;
  const lock = lockFile(paths.lock);
  if (!lock) {
    const text = `Cannot purge ${paths.root}: expected no daemon, got one that runs`;
    throw new CliError(EXIT.failed, text, 'Stop it with: mapisync daemon stop');
  }
  try {
    // Whoever has its lock is dead; the others record on.
    for (const path of named(paths.rings, RING)) tryLockRing(path)?.removeFile();
    const cursors = join(paths.root, 'cursors');
    const files = [
      ...named(paths.journal, SEGMENT),
      join(paths.journal, 'reserve'),
      ...named(cursors, /./),
      ...FILES.map((name) => join(paths.root, name)),
    ];
    for (const path of files) rmSync(path, { force: true });
    for (const dir of [paths.journal, paths.rings, cursors]) removeIfEmpty(dir);
  } finally {
    lock.removeFile();
  }
  removeIfEmpty(paths.root);
}

function named(dir: string, shape: RegExp): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => shape.test(name))
      .map((name) => join(dir, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}
