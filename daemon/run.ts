/** `mapisync daemon run`: a daemon in the foreground, from its lock to its last line. */
import { randomBytes } from 'node:crypto';
import type { ExportSettings } from '../protocol/records/exports.ts';
import { PROTOCOL_VERSION } from '../protocol/wire/limits.ts';
import { nowText } from './clock.ts';
import { Daemon } from './daemon.ts';
import { openDiagnostics, type Say, sayOnStderr } from './diagnostics.ts';
import type { JournalOptions, SyncPolicy } from './journal.ts';
import { JOURNAL_BYTES, JOURNAL_DAYS, SEGMENT_BYTES } from './limits.ts';
import { newSecret, readEndpoint, removeEndpoint, writeEndpoint } from './platform/endpoint.ts';
import { collectEarly } from './platform/garbage.ts';
import { listen } from './platform/listen.ts';
import { type FileLock, lockFile } from './platform/locks.ts';
import { prepareStateDir, type StatePaths, statePaths } from './platform/paths.ts';
import { PlatformError } from './platform/platform-error.ts';
import { hostName, isElevated, isWine } from './platform/process.ts';
import { isSystemJournal } from './platform/system-journal.ts';

export interface RunOptions {
  /** Of the program. */
  readonly version: string;
  readonly stateDir?: string | undefined;
  /** When a record counts as durable. */
  readonly sync?: SyncPolicy;
  readonly segmentBytes?: number;
  readonly journalBytes?: number;
  readonly journalDays?: number;
  /** A session without a call for so long counts as stalled. Left out: what is usual for its store. */
  readonly quietMs?: number | undefined;
  /** So many sessions are recorded without being asked for; the newest stay. */
  readonly recordKeep?: number;
  /** What takes the log elsewhere. */
  readonly exports?: readonly ExportSettings[];
  /** Nothing else runs in this process, so flags of V8 may be set. */
  readonly ownsProcess?: boolean;
  /** Below 0: nothing on stderr but errors. */
  readonly verbosity?: number;
  /** `open` of node:fs/promises, but for tests that make the system fail. */
  readonly openFile?: JournalOptions['openFile'];
  /** Ends the daemon as a signal would. Signals of the process are handled besides. */
  readonly signal?: AbortSignal;
  /** For people. */
  readonly say?: Say;
}

const EXIT_FAILED = 1;
/** How the system asks a process to end. SIGHUP is also a closed console on Windows. */
const END_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK'] as const;

/** @returns the exit code, once everything is written and the endpoint is gone. */
export async function runDaemon(options: RunOptions): Promise<number> {
  if (options.ownsProcess) collectEarly();
  const write = (text: string): void => void process.stderr.write(text);
  const say = options.say ?? sayOnStderr(write, isSystemJournal(process.env));
  try {
    return await serve(options, say);
  } catch (error) {
    if (error instanceof PlatformError) {
      say(`mapisync: ${error.message}`, 'error');
      return error.exitCode;
    }
    say(`mapisync: Cannot run the daemon: ${(error as Error).message}`, 'error');
    return EXIT_FAILED;
  }
}

async function serve(options: RunOptions, say: Say): Promise<number> {
  const wine = isWine();
  // Wine runs everybody elevated.
  if (isElevated() && !wine) {
    throw new PlatformError(
      'unsafe',
      'Cannot run the daemon elevated: every program of this user could use its rights. ' +
        'Start it from a console that was not opened as administrator',
    );
  }
  const paths = statePaths(options.stateDir);
  prepareStateDir(paths);
  const lock = lockOrSay(paths);
  try {
    return await serveLocked(options, paths, wine, say);
  } finally {
    lock.release();
  }
}

function lockOrSay(paths: StatePaths): FileLock {
  const lock = lockFile(paths.lock);
  if (lock) return lock;
  let who = '';
  try {
    who = ` (pid ${readEndpoint(paths.endpoint).pid})`;
  } catch {
    // It is still starting, or already stopping.
  }
  throw new PlatformError(
    'already-running',
    `Cannot run a second daemon for ${paths.root}: one runs already${who}. ` +
      'Stop it with: mapisync daemon stop; or choose another --state-dir',
  );
}

async function serveLocked(
  options: RunOptions,
  paths: StatePaths,
  wine: boolean,
  say: Say,
): Promise<number> {
  const log = openDiagnostics(paths.log, isSystemJournal(process.env) ? say : undefined);
  // Whatever a dead daemon announced is not true any more.
  removeEndpoint(paths.endpoint);
  const secret = newSecret();
  const started = nowText();
  const daemon = await Daemon.start({
    paths,
    secret,
    started,
    host: hostName(),
    service: {
      name: 'mapisync',
      version: options.version,
      instance_id: randomBytes(8).toString('hex'),
    },
    journal: {
      sync: options.sync ?? 'system',
      segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
      journalBytes: options.journalBytes ?? JOURNAL_BYTES,
      journalDays: options.journalDays ?? JOURNAL_DAYS,
      ...(options.openFile ? { openFile: options.openFile } : {}),
    },
    quietMs: options.quietMs,
    recordKeep: options.recordKeep,
    exports: options.exports ?? [],
    log,
    say,
  });

  let stopped: (why: string) => void = () => {};
  const stop = new Promise<string>((resolve) => {
    stopped = resolve;
  });
  daemon.onStop = stopped;
  const handlers = END_SIGNALS.map((name) => {
    const handler = (): void => stopped(name);
    process.on(name, handler);
    return [name, handler] as const;
  });
  const abort = (): void => stopped('aborted');
  options.signal?.addEventListener('abort', abort, { once: true });
  if (options.signal?.aborted) abort();

  try {
    const listener = await listen({
      root: paths.root,
      onPeer: (socket) => daemon.peer(socket),
      onStranger: (problem) => daemon.stranger(problem),
      onError: (error) => {
        log.error({ err: error, said: true }, 'The listener failed');
        say(`mapisync: The daemon cannot take more peers: ${error.message}`, 'error');
        stopped('the listener failed');
      },
    });
    daemon.listening(listener.pipe, { ...listener.facts, wine });
    writeEndpoint(paths.endpoint, {
      protocol: PROTOCOL_VERSION,
      pipe: listener.pipe,
      pid: process.pid,
      started,
      secret,
    });
    if ((options.verbosity ?? 0) >= 0) {
      say(`mapisync: The daemon is ready (pid ${process.pid}, ${paths.root})`);
    }
    const why = await stop;
    log.info({ why }, 'stopping');
    // First the name, so that nobody comes while the rest goes.
    removeEndpoint(paths.endpoint);
    await listener.close();
    await daemon.stop(why);
    log.info('stopped');
    return 0;
  } catch (error) {
    await daemon.stop('it could not listen');
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', abort);
    for (const [name, handler] of handlers) process.removeListener(name, handler);
  }
}
