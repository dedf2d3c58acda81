/** `run`: a program with a daemon of its own around it; the exit code says how its syncs ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type StatePaths, statePaths } from '../../daemon/platform/paths.ts';
import { Connection, type Place } from '../connection.ts';
import { CliError, EXIT } from '../exit.ts';
import { follow } from '../feed.ts';
import { findHistory, storyOf } from '../history.ts';
import type { Io } from '../io.ts';
import {
  type JournalLine,
  journalEnd,
  journalLines,
  parseRecord,
  segments,
  withCursor,
} from '../journal.ts';
import { writeJunit } from '../junit.ts';
import { say } from '../messages.ts';
import { patience } from '../patience.ts';
import { PlainLines } from '../render/plain.ts';
import { printable } from '../render/text.ts';
import { exitCodeOf, isDecided } from '../selection.ts';
import type { Settings } from '../settings.ts';
import { startDaemon, stopDaemon } from '../start.ts';
import { View } from '../view.ts';

export interface RunOptions {
  readonly junit?: string;
  /** Where the journal stays; absent: a place of its own that is deleted at the end. */
  readonly stateDir?: string;
}

/** A daemon that died does not come back by itself. */
const PATIENCE_MS = 1000;
/** How long a program may take to end when it was told to. */
const END_MS = 5000;
/** By then the daemon has adopted the rings of processes that are gone; what is left belongs to one that lives. */
const ADOPTED_MS = 3000;
/** The same where all of them were ended by us. */
const ALL_ADOPTED_MS = 10_000;
const POLL_MS = 50;

export async function runAround(
  command: readonly [string, ...string[]],
  options: RunOptions,
  given: Settings,
  io: Io,
): Promise<number> {
  const own = options.stateDir === undefined;
  const stateDir = options.stateDir ?? mkdtempSync(join(tmpdir(), 'mapisync-run-'));
  const settings = { ...given, stateDir };
  try {
    return await runIn(stateDir, command, options, settings, io);
  } finally {
    // Windows lets go of a file of a process that ended only a moment later.
    if (own) rmSync(stateDir, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function runIn(
  stateDir: string,
  command: readonly [string, ...string[]],
  options: RunOptions,
  settings: Settings,
  io: Io,
): Promise<number> {
  const { stopped, signal } = patience(settings, io);
  const place: Place = { stateDir, env: io.env };
  await refuseShared(place);
  const daemon = await startDaemon(io, place);
  const watched = new AbortController();
  const sessions = new Sessions(stateDir, settings, io);
  let end: End;
  let failure: unknown;
  try {
    const watching = sessions.watch({ ...place, signal: watched.signal }).catch((error) => {
      failure = error;
    });
    await Promise.race([sessions.current, watching]);
    if (failure) throw failure;
    const program = start(command, { stateDir, json: settings.output === 'json' }, io);
    const passed = new Promise<'passed'>((resolve) => {
      if (signal.aborted) resolve('passed');
      signal.addEventListener('abort', () => resolve('passed'), { once: true });
    });
    const lost = watching.then(() => 'lost' as const);
    const ended = program.ended.then(async (how) => {
      // One that failed has nothing to wait for but what it left.
      await sessions.settled({ signal, expected: how.code === 0 });
      return how;
    });
    const first = await Promise.race([ended, passed, lost]);
    end = typeof first === 'string' ? { how: first } : { how: 'ended', program: first };
    // Before its end makes abandoned ones of them.
    const stalled = sessions.view.stalledCount;
    const outcomes = [...sessions.view.outcomes.keys()];
    if (end.how !== 'ended') {
      await stopProgram(program);
      if (end.how === 'passed') await sessions.settled({ withinMs: ALL_ADOPTED_MS });
      end = { ...end, stalled, outcomes };
    }
  } finally {
    watched.abort();
    const stopping = stopDaemon(daemon, place);
    // Where something else failed already, that is what there is to say.
    await (failure ? stopping.catch(() => {}) : stopping);
  }
  if (failure) throw failure;
  await sessions.readOn();
  await explain(sessions, settings, io);
  if (options.junit !== undefined) writeJunit(options.junit, [...sessions.seen], settings, io);
  return verdict(end, sessions, stopped.aborted, settings);
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface End {
  /** The program ended, time has passed or the user wants to stop, the daemon is gone. */
  readonly how: 'ended' | 'passed' | 'lost';
  readonly program?: Exit;
  /** Sessions at the moment at which somebody stopped waiting. */
  readonly stalled?: number;
  readonly outcomes?: readonly string[];
}

function verdict(
  end: End,
  sessions: Sessions,
  isStopped: boolean,
  { timeoutMs }: Settings,
): number {
  if (isStopped) return EXIT.interrupted;
  if (end.how === 'lost') {
    throw new CliError(EXIT.noDaemon, 'Cannot go on: the daemon of this run is gone');
  }
  if (end.how === 'passed') {
    const code = exitCodeOf(end.outcomes ?? []);
    if (code !== EXIT.done) return code;
    throw new CliError(
      end.stalled ? EXIT.syncStalled : EXIT.timeout,
      `Cannot wait any longer: expected the program and its sessions to end within ${timeoutMs} ms${end.stalled ? `; ${end.stalled} stalled` : ''}`,
      'Give it longer with --timeout',
    );
  }
  const code = exitCodeOf(sessions.view.outcomes.keys());
  if (code !== EXIT.done) return code;
  const { code: exit = 0, signal = null } = end.program ?? {};
  if (exit !== 0) {
    const how = signal ? `was ended by ${signal}` : `ended with ${exit}`;
    throw new CliError(EXIT.failed, `Cannot call this a success: the program ${how}`);
  }
  if (sessions.seen.size > 0) return code;
  throw new CliError(
    EXIT.failed,
    'Cannot tell how the sync ended: expected the program to open a session, got none',
    'Is the shim in the provider, and MAPISYNC_DISABLE not set? See: mapisync doctor',
  );
}

/** Somebody else's sessions would be taken for ours. */
async function refuseShared(place: Place): Promise<void> {
  let connection: Connection;
  try {
    connection = await Connection.open(place);
  } catch (error) {
    if ((error as { exitCode?: number }).exitCode === EXIT.noDaemon) return;
    throw error;
  }
  const { pid } = connection.daemon;
  connection.close();
  throw new CliError(
    EXIT.usage,
    `Cannot run with --state-dir ${place.stateDir}: expected one that no daemon uses, got that of pid ${pid}`,
    'Leave --state-dir out, or use wait beside the daemon that runs',
  );
}

interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Exit>;
}

function start(
  [name, ...args]: readonly [string, ...string[]],
  { stateDir, json }: { readonly stateDir: string; readonly json: boolean },
  io: Io,
): Program {
  const child = spawn(name, args, {
    env: { ...(io.env as NodeJS.ProcessEnv), MAPISYNC_STATE_DIR: stateDir },
    // With --json stdout is ours: a reader of JSON lines must not stumble over somebody else's.
    stdio: ['inherit', json ? 2 : 'inherit', 'inherit'],
  });
  const ended = new Promise<Exit>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const got = error.code === 'ENOENT' ? 'found none of that name' : `got ${error.message}`;
      const text = `Cannot run "${name}": expected a program, ${got}`;
      reject(new CliError(EXIT.usage, text, 'Give its whole path after --', error));
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  ended.catch(() => {}); // Whoever waits for it hears of it.
  return { child, ended };
}

async function stopProgram({ child, ended }: Program): Promise<void> {
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await ended.catch(() => {});
  clearTimeout(kill);
}

/**
 * The sessions of this run, each said when it ends. The feed tells while it lasts; what it had not told when
 * the daemon was stopped is read from the journal.
 */
class Sessions {
  readonly view = new View({ replays: true });
  /** In the order of their beginning. */
  readonly seen = new Set<string>();
  readonly current: Promise<void>;
  readonly #paths: StatePaths;
  readonly #io: Io;
  readonly #json: boolean;
  readonly #lines: PlainLines;
  readonly #silent: boolean;
  /** Of the newest record that was taken; at first, of the end of earlier runs. */
  #cursor: string | undefined;
  #isCurrent: () => void = () => {};

  constructor(stateDir: string, { output, theme, verbosity }: Settings, io: Io) {
    this.#paths = statePaths(stateDir);
    this.#io = io;
    this.#json = output === 'json';
    this.#silent = verbosity < 0;
    this.#lines = new PlainLines({ unicode: theme.unicode, verbosity });
    this.current = new Promise((resolve) => {
      this.#isCurrent = resolve;
    });
  }

  /** Until the signal comes. @throws what ends the feed: the daemon is gone, or nobody reads our output. */
  async watch(place: Place): Promise<void> {
    this.#cursor = journalEnd(this.#paths.journal);
    const after = this.#cursor;
    for await (const event of follow({ ...place, after, patienceMs: PATIENCE_MS })) {
      if (event.type === 'connected') this.view.connected(event.daemon);
      else if (event.type === 'session') this.view.live(event.session, this.#io.nowMs());
      else if (event.type === 'lost') this.view.lost();
      else if (event.type === 'record') await this.#take(event);
      else {
        this.view.current();
        this.#isCurrent();
      }
    }
  }

  /** The rest, from the journal of a daemon that has stopped. */
  async readOn(): Promise<void> {
    const [first = 0, offset = 0] = (this.#cursor ?? '').split(':').map(Number);
    for (const segment of segments(this.#paths.journal).reverse()) {
      if (segment < first) continue;
      for (const line of journalLines(this.#paths.journal, segment)) {
        if (segment === first && Number(line.cursor.split(':')[1]) <= offset) continue;
        await this.#take(line);
      }
    }
  }

  async #take({ line, cursor }: JournalLine): Promise<void> {
    this.#cursor = cursor;
    const record = parseRecord(line);
    if (!record?.session || record.event_name.startsWith('snapshot.')) return;
    this.seen.add(record.session.id);
    this.view.record(record, this.#io.nowMs());
    if (record.event_name !== 'session.ended') return;
    if (this.#json) await this.#io.stdout.write(`${withCursor(line, cursor)}\n`);
    else if (!this.#silent) say(this.#io, this.#lines.record(record) ?? '');
  }

  /**
   * The program is gone: resolves when its sessions are over, or one of them decided it.
   *
   * @param how `signal`: somebody stops waiting. `expected`: there should be a session, and what the
   *   program left running may still begin one. `withinMs`: over by then in any case.
   */
  async settled({
    signal,
    expected = false,
    withinMs = Number.POSITIVE_INFINITY,
  }: {
    readonly signal?: AbortSignal;
    readonly expected?: boolean;
    readonly withinMs?: number;
  }): Promise<void> {
    const began = performance.now();
    while (!signal?.aborted && !isDecided(this.view.outcomes.keys())) {
      const passedMs = performance.now() - began;
      if (passedMs > withinMs) return;
      const rings = readdirSync(this.#paths.rings).some((name) => name.endsWith('.ring'));
      // Every process is gone, and what its ring held is in the journal.
      if (!rings && (this.seen.size > 0 || !expected)) return;
      if (passedMs > Math.min(ADOPTED_MS, withinMs) && this.view.isCurrent) {
        if (this.view.sessions.size === 0) return;
      }
      await sleep(POLL_MS);
    }
  }
}

/** Whose fault it was, a sentence for each session that did not end well. */
async function explain(sessions: Sessions, settings: Settings, io: Io): Promise<void> {
  if (settings.output === 'json' || settings.verbosity < 0) return;
  const history = findHistory(undefined, settings, io);
  for (const id of sessions.seen) {
    const { outcome, verdict } = storyOf(history, id);
    if (outcome !== undefined && exitCodeOf([outcome]) === EXIT.done) continue;
    say(io, `${id}: ${printable(verdict.text, settings.theme.unicode)}`);
  }
}
