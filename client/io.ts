/** What commands may touch of the process. Tests pass their own; bin/ passes the real one. */
import type { StatePaths } from '../daemon/platform/paths.ts';
import type { ExportSettings, ExportStatus } from '../protocol/records/exports.ts';
import { EXIT } from './exit.ts';
import type { Env } from './render/theme.ts';

/** Whoever read our output went away. Not an error: the command ends quietly. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

export interface Output {
  readonly isTTY: boolean;
  /** 0 if this is no terminal. */
  readonly columns: number;
  readonly rows: number;
  /**
   * Resolves when the system has taken the text.
   *
   * @throws {OutputClosed} or the system's error, also for later calls.
   */
  readonly write: (text: string) => Promise<void>;
  /** @returns How to stop listening. */
  readonly onResize: (listener: () => void) => () => void;
}

/** How a daemon is run in this process. Given from outside: the client knows no daemon. */
export interface DaemonOptions {
  /** Of this program. */
  readonly version: string;
  readonly stateDir: string | undefined;
  readonly verbosity: number;
  /** Sessions whose frames are kept without being asked for. */
  readonly recordKeep: number;
  /** A session without a call for so long is stalled; undefined: what is usual for its store. */
  readonly quietMs: number | undefined;
  /** Of the journal; undefined: the daemon's own. Bytes and days. */
  readonly sync?: 'system' | 'disk' | number;
  readonly segmentBytes?: number;
  readonly journalBytes?: number;
  readonly journalDays?: number;
  /** Where the log is taken besides. */
  readonly exports?: readonly ExportSettings[];
  /** Takes what the daemon says to people; absent: stderr. */
  readonly say?: (line: string) => void;
}

/** One exporter in this process. */
export interface ExportOptions {
  readonly paths: StatePaths;
  readonly settings: ExportSettings;
  /** Ends when all that stands in the journal now is there; else only `signal` ends it. */
  readonly exitOnDone: boolean;
  readonly signal: AbortSignal;
  /** The far side answers. */
  readonly begun: () => void;
  /** Takes, in a sentence, what goes wrong meanwhile, and that it is well again. */
  readonly say: (text: string, level: 'info' | 'warn') => void;
}

export interface Io {
  readonly env: Env;
  readonly platform: NodeJS.Platform;
  readonly stdout: Output;
  readonly stderr: Output;
  /** The executable's script: what `daemon start` starts. */
  readonly entry: string;
  /** In place of the machine's config file, for tests. */
  readonly machineConfig?: string;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  /** Aborted when the user wants to stop. The first call takes over Ctrl-C. */
  readonly interrupted: () => AbortSignal;
  /**
   * Ctrl-Z: `leave` gives the terminal back before we stop, `back` takes it again.
   *
   * @returns How to stop listening.
   */
  readonly onSuspend: (leave: () => void, back: () => void) => () => void;
  /** @returns The exit code, when the daemon has stopped. */
  readonly runDaemon: (options: DaemonOptions) => Promise<number>;
  /** @returns How it was at its end: with a `cause` if the far side failed. */
  readonly runExport: (options: ExportOptions) => Promise<ExportStatus>;
}

function output(stream: NodeJS.WriteStream): Output {
  let failure: Error | undefined;
  const note = (error: Error): Error => {
    const closed = ['EPIPE', 'EOF', 'ERR_STREAM_DESTROYED'].includes(
      (error as NodeJS.ErrnoException).code ?? '',
    );
    failure ??= closed ? new OutputClosed() : error;
    return failure;
  };
  stream.on('error', note); // Without a listener it would end the process.
  return {
    get isTTY() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? 0;
    },
    get rows() {
      return stream.rows ?? 0;
    },
    write: (text) =>
      new Promise((resolve, reject) => {
        if (failure) return reject(failure);
        stream.write(text, (error) => (error ? reject(note(error)) : resolve()));
      }),
    onResize: (listener) => {
      stream.on('resize', listener);
      return () => stream.off('resize', listener);
    },
  };
}

/** A Ctrl-C so long after the first one is a second one. */
const INSIST_MS = 500;

export function processIo(given: Pick<Io, 'entry' | 'runDaemon' | 'runExport'>): Io {
  let interruption: AbortController | undefined;
  return {
    ...given,
    env: process.env,
    platform: process.platform,
    stdout: output(process.stdout),
    stderr: output(process.stderr),
    nowMs: () => performance.now(),
    interrupted: () => {
      if (!interruption) {
        interruption = new AbortController();
        let sinceMs = 0;
        const stop = (signal: NodeJS.Signals): void => {
          const isAgain = interruption?.signal.aborted && performance.now() - sinceMs > INSIST_MS;
          // The user means it, whatever we are doing.
          if (isAgain && signal === 'SIGINT') process.exit(EXIT.interrupted);
          sinceMs ||= performance.now();
          interruption?.abort();
        };
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
      }
      return interruption.signal;
    },
    onSuspend: (leave, back) => {
      if (process.platform === 'win32') return () => {};
      const stop = (): void => {
        leave();
        // As if nobody listened: where no shell could wake us, the system does not stop us.
        process.off('SIGTSTP', stop);
        process.kill(process.pid, 'SIGTSTP');
        process.on('SIGTSTP', stop);
        back();
      };
      process.on('SIGTSTP', stop);
      return () => process.off('SIGTSTP', stop);
    },
  };
}
