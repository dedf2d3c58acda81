/** Starts a daemon in the background and waits until it answers; stops one and waits until it is gone. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareStateDir, statePaths } from '../daemon/platform/paths.ts';
import { Connection, type Place } from './connection.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';

export const START_TIMEOUT_MS = 10_000;
const POLL_MS = 50;
/** Of what a daemon said before it died. */
const LAST_WORDS_LINES = 6;

/**
 * @returns A connection to the daemon that runs now, ours or one that somebody else started.
 * @throws {CliError} with the last words of a daemon that died, or exit 4 if none answers in time.
 */
export async function startDaemon(io: Io, place: Place): Promise<Connection> {
  const paths = statePaths(place.stateDir, place.env as NodeJS.ProcessEnv);
  prepareStateDir(paths);
  const log = openSync(paths.log, 'a', 0o600);
  const from = fstatSync(log).size;
  // Its own session, so that a Ctrl-C here does not reach it; a working directory that stays.
  const child = spawn(process.execPath, [io.entry, 'daemon', 'run', '--state-dir', paths.root], {
    cwd: paths.root,
    detached: true,
    stdio: ['ignore', log, log],
    windowsHide: true,
  });
  closeSync(log);
  let death: string | undefined;
  child.once('error', (error) => {
    death = error.message;
  });
  child.once('exit', (code, signal) => {
    death = signal ? `it was ended by ${signal}` : `it ended with ${code}`;
  });
  child.unref();

  const timeoutMs = place.timeoutMs ?? START_TIMEOUT_MS;
  const until = performance.now() + timeoutMs;
  for (;;) {
    const dead = death; // Before asking: another daemon may have been faster than ours.
    try {
      return await Connection.open(place);
    } catch (error) {
      const code = (error as { exitCode?: number }).exitCode;
      if (code !== EXIT.noDaemon && code !== EXIT.timeout) throw error;
      if (dead !== undefined) throw died(dead, paths.log, from, error);
      if (performance.now() > until || place.signal?.aborted) {
        const text = `Cannot start a daemon: expected an answer within ${timeoutMs} ms, got none`;
        throw new CliError(EXIT.timeout, text, `Look into ${paths.log}`, error);
      }
      await sleep(POLL_MS);
    }
  }
}

/** A connection to the daemon that runs, or to one that is started now. */
export async function connectOrStart(io: Io, place: Place, start: boolean): Promise<Connection> {
  try {
    return await Connection.open(place);
  } catch (error) {
    const none = (error as { exitCode?: number }).exitCode === EXIT.noDaemon;
    if (!none || !start) throw error;
    return startDaemon(io, place);
  }
}

const STOP_TIMEOUT_MS = 10_000;
const STOP_POLL_MS = 20;

/**
 * Tells the daemon to stop, and returns when it has written everything and its process is gone.
 *
 * @param connection Is closed in any case.
 * @throws {CliError} exit 4 if it does not end in time.
 */
export async function stopDaemon(connection: Connection, place: Place): Promise<void> {
  const { pid } = connection.daemon;
  try {
    connection.send({ kind: 'stop' });
    const until = performance.now() + (place.timeoutMs ?? STOP_TIMEOUT_MS);
    const late = setTimeout(() => connection.close(), until - performance.now());
    while (await connection.next()) {
      // Whatever it still says; the connection ends when it does.
    }
    clearTimeout(late);
    const { endpoint } = statePaths(place.stateDir, place.env as NodeJS.ProcessEnv);
    // One in this very process has no death to wait for.
    const lives = (): boolean => (pid === process.pid ? existsSync(endpoint) : isAlive(pid));
    while (lives()) {
      if (performance.now() > until) {
        const text = `Cannot stop the daemon (pid ${pid}): expected it to end, got no answer`;
        throw new CliError(EXIT.timeout, text, 'Give it longer with --timeout, or end its process');
      }
      await sleep(STOP_POLL_MS);
    }
  } finally {
    connection.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    // Linux: dead and not buried yet, which may take seconds where nobody but init is left to do it.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return true; // No such file system; or gone just now, which the next look sees.
  }
}

function died(how: string, log: string, from: number, cause: unknown): CliError {
  const said = readFileSync(log).subarray(from).toString('utf8').trimEnd().split('\n');
  // What it said to people; else what Node said of it.
  const words = said.filter((line) => line.startsWith('mapisync: ')).slice(-LAST_WORDS_LINES);
  if (words.length === 0) words.push(said.find((line) => /^\w*Error\b/.test(line)) ?? '');
  const why = words.join('\n').replace(/^mapisync: /, '');
  return new CliError(
    EXIT.failed,
    `Cannot start a daemon: ${how}${why ? `: ${why}` : ''}`,
    why ? undefined : `Look into ${log}`,
    cause,
  );
}
