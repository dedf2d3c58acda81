/** `wait`: returns when sessions have ended, have begun, or none runs; the exit code says how they ended. */
import { statePaths } from '../../daemon/platform/paths.ts';
import type { Place } from '../connection.ts';
import { CliError, EXIT } from '../exit.ts';
import { type FeedEvent, follow } from '../feed.ts';
import { findSession } from '../find-session.ts';
import type { Io } from '../io.ts';
import { cursorAt, journalEnd, parseRecord, withCursor } from '../journal.ts';
import { writeJunit } from '../junit.ts';
import { say } from '../messages.ts';
import { patience } from '../patience.ts';
import { PlainLines } from '../render/plain.ts';
import { exitCodeOf, isDecided } from '../selection.ts';
import type { Settings } from '../settings.ts';
import { connectOrStart } from '../start.ts';
import { type FeedRecord, View } from '../view.ts';

export const CONDITIONS = ['ended', 'idle', 'opened'] as const;

export interface WaitOptions {
  readonly session?: string;
  /** The first that ends is enough. */
  readonly any: boolean;
  readonly for: (typeof CONDITIONS)[number];
  readonly sinceMs?: number;
  readonly start: boolean;
  readonly junit?: string;
}

/** Somebody waits for an answer: a daemon that stays away is one. */
const PATIENCE_MS = 60_000;

export async function wait(options: WaitOptions, settings: Settings, io: Io): Promise<number> {
  const { stopped, signal } = patience(settings, io);
  const place: Place = { stateDir: settings.stateDir, env: io.env, signal };
  const { journal } = statePaths(place.stateDir, place.env as NodeJS.ProcessEnv);
  const waiting = new Waiting(options);
  try {
    (await connectOrStart(io, place, options.start)).close();
    const from = options.sinceMs === undefined ? undefined : cursorAt(journal, options.sinceMs);
    // Before anything is asked: what ends meanwhile is seen twice, and never missed.
    const after = from ?? journalEnd(journal);
    const found =
      options.session === undefined ? undefined : await findSession(options.session, place);
    if (found) waiting.only(found.id);
    const show = shower(settings, io);
    if (found?.ended) {
      waiting.record(found.ended, io.nowMs());
      await show(found.ended, JSON.stringify(found.ended));
    } else {
      // Whoever started us from a script may start the sync now.
      let announced = false;
      for await (const event of follow({ ...place, after, patienceMs: PATIENCE_MS })) {
        const news = waiting.take(event, io.nowMs());
        if (news) {
          const { cursor, line } = event as Extract<FeedEvent, { type: 'record' }>;
          await show(news, withCursor(line, cursor));
        }
        if (waiting.isOver) break;
        if (event.type !== 'current' || announced || settings.verbosity < 0) continue;
        announced = true;
        say(io, `Waiting ${waiting.wanted} (daemon ${waiting.view.daemon?.pid})`);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (options.junit !== undefined) writeJunit(options.junit, waiting.seen, settings, io);
  if (waiting.isOver) return exitCodeOf(waiting.outcomes);
  if (stopped.aborted) return EXIT.interrupted;
  throw tooLate(waiting, options, settings);
}

function tooLate({ view }: Waiting, options: WaitOptions, { timeoutMs }: Settings): CliError {
  const running = view.sessions.size;
  const sessions = running === 1 ? '1 session runs' : `${running} sessions run`;
  const state = view.stalledCount > 0 ? `${sessions}, ${view.stalledCount} stalled` : sessions;
  const wanted = options.for === 'idle' ? 'that none runs' : `one that has ${options.for}`;
  return new CliError(
    view.stalledCount > 0 ? EXIT.syncStalled : EXIT.timeout,
    `Cannot wait any longer: expected ${wanted} within ${timeoutMs} ms, got none: ${state}`,
    running > 0 ? 'Look what they do: mapisync tail' : 'Give it longer with --timeout',
  );
}

type Shower = (record: FeedRecord, line: string) => Promise<void> | void;

function shower({ output, verbosity, theme }: Settings, io: Io): Shower {
  if (output === 'json') return (_, line) => io.stdout.write(`${line}\n`);
  const lines = new PlainLines({ unicode: theme.unicode, verbosity });
  return (record) => {
    const line = lines.record(record);
    return line === undefined ? undefined : io.stdout.write(`${line}\n`);
  };
}

/** What is waited for, as a fold over the feed. No I/O, no clock. */
export class Waiting {
  readonly view = new View({ replays: true });
  readonly #options: Pick<WaitOptions, 'any' | 'for' | 'sinceMs'>;
  /** Sessions that count; undefined until it is known which run. */
  #targets: Set<string> | undefined;
  readonly #outcomes = new Map<string, string>();
  #opened: string | undefined;

  constructor(options: Pick<WaitOptions, 'any' | 'for' | 'sinceMs'>) {
    this.#options = options;
  }

  /** Nothing but this session counts. */
  only(id: string): void {
    this.#targets = new Set([id]);
  }

  get outcomes(): Iterable<string> {
    return this.#outcomes.values();
  }

  /** Sessions that ended, and those that are still waited for. */
  get seen(): string[] {
    return [...new Set([...this.#outcomes.keys(), ...(this.#targets ?? [])])];
  }

  /** For people: `for 2 sessions to end`. */
  get wanted(): string {
    const { any, for: condition } = this.#options;
    if (condition === 'opened') return 'for a session to begin';
    if (condition === 'idle') return `until none runs, now ${this.view.sessions.size}`;
    const size = this.#targets?.size ?? 0;
    if (any || size === 0) return 'for a session to end';
    return size === 1 ? 'for 1 session to end' : `for ${size} sessions to end`;
  }

  /** @returns a record that is worth a line */
  take(event: FeedEvent, nowMs: number): FeedRecord | undefined {
    switch (event.type) {
      case 'connected':
        this.view.connected(event.daemon);
        return undefined;
      case 'session':
        this.view.live(event.session, nowMs);
        return undefined;
      case 'current':
        this.view.current();
        // With --since, those that ended before we came are waited for as well: it is over at once.
        this.#targets ??= new Set([...this.view.sessions.keys(), ...this.#outcomes.keys()]);
        // A daemon that came back without its journal knows nothing of them.
        for (const id of this.#targets) {
          if (this.view.sessions.has(id) || this.#outcomes.has(id)) continue;
          this.#outcomes.set(id, 'abandoned');
        }
        return undefined;
      case 'record': {
        const record = parseRecord(event.line);
        return record && this.record(record, nowMs) ? record : undefined;
      }
      case 'lost':
        this.view.lost();
        return undefined;
    }
  }

  /** @returns whether it is one of those that are waited for */
  record(record: FeedRecord, nowMs: number): boolean {
    const { event_name: name, session, outcome } = record;
    this.view.record(record, nowMs);
    if (session === undefined) return false;
    if (name === 'session.opened' && this.#options.for === 'opened') {
      this.#opened ??= session.id;
      return this.#opened === session.id;
    }
    // Somebody who says since when expects that there is at least one.
    const isFirst = this.#options.sinceMs !== undefined && this.#targets?.size === 0;
    if (name === 'session.opened' && isFirst) this.#targets?.add(session.id);
    if (name !== 'session.ended') return false;
    if (this.#options.for === 'ended' && !this.#options.any && this.#targets) {
      if (!this.#targets.has(session.id)) return false;
    }
    this.#outcomes.set(session.id, outcome ?? 'failed');
    return true;
  }

  get isOver(): boolean {
    const { any, for: condition, sinceMs } = this.#options;
    if (condition === 'opened') return this.#opened !== undefined;
    if (isDecided(this.outcomes)) return true;
    if (condition === 'idle') return this.view.isCurrent && this.view.sessions.size === 0;
    if (any) return this.#outcomes.size > 0;
    if (this.#targets === undefined) return false;
    if (this.#targets.size === 0) return sinceMs === undefined;
    return [...this.#targets].every((id) => this.#outcomes.has(id));
  }
}
