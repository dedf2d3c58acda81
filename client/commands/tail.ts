/** `tail`: bars in a terminal, a line for each change in a pipe, records with --json. */
import { statePaths } from '../../daemon/platform/paths.ts';
import type { DaemonFacts } from '../../protocol/wire/clients.ts';
import type { Place } from '../connection.ts';
import { EXIT } from '../exit.ts';
import { type FeedEvent, follow } from '../feed.ts';
import { findSession } from '../find-session.ts';
import type { Io } from '../io.ts';
import { cursorAt, journalEnd, parseRecord, withCursor } from '../journal.ts';
import { say } from '../messages.ts';
import { patience } from '../patience.ts';
import { Dashboard } from '../render/dashboard.ts';
import { PlainLines } from '../render/plain.ts';
import { exitCodeOf, isDecided, makeSelector, type Selector } from '../selection.ts';
import type { Settings } from '../settings.ts';
import { connectOrStart } from '../start.ts';
import { type FeedRecord, View } from '../view.ts';

export interface TailOptions {
  readonly session?: string;
  readonly all: boolean;
  readonly provider?: string;
  readonly store?: string;
  readonly sinceMs?: number;
  readonly after?: string;
  readonly exitOnDone: boolean;
  readonly start: boolean;
}

/** Whatever shows a feed. Each call resolves when the output has taken it. */
export interface Renderer {
  /** The snapshot is complete; from here on come changes. */
  current(view: View, daemon: DaemonFacts): Promise<void> | void;
  /** Something in the view changed. */
  changed(view: View): Promise<void> | void;
  record(
    record: FeedRecord,
    given: { readonly cursor: string; readonly line: string },
    view: View,
  ): Promise<void> | void;
  /** A line for people, on stderr. */
  message(text: string): Promise<void> | void;
  /** Leaves the output tidy. */
  end(view: View): Promise<void> | void;
}

/** With --exit-on-done somebody waits for an answer: a daemon that stays away is one. */
const PATIENCE_MS = 60_000;

export async function tail(options: TailOptions, settings: Settings, io: Io): Promise<number> {
  const { stopped, signal } = patience(settings, io);
  const place: Place = { stateDir: settings.stateDir, env: io.env, signal };
  const ending = (): number => (stopped.aborted ? EXIT.interrupted : EXIT.timeout);
  try {
    (await connectOrStart(io, place, options.start)).close();
    const id =
      options.session === undefined ? undefined : await findSession(options.session, place);
    if (id !== undefined && id.ended !== undefined)
      return showEnded(id.ended, options, settings, io);
    const code = await watch(options, id?.id, settings, io, place);
    return signal.aborted && code !== EXIT.syncStalled ? ending() : code;
  } catch (error) {
    if (signal.aborted) return ending();
    throw error;
  }
}

async function showEnded(
  record: FeedRecord,
  options: TailOptions,
  settings: Settings,
  io: Io,
): Promise<number> {
  const lines = new PlainLines({ unicode: settings.theme.unicode, verbosity: settings.verbosity });
  const line = settings.output === 'json' ? JSON.stringify(record) : lines.record(record);
  await io.stdout.write(`${line}\n`);
  return options.exitOnDone ? exitCodeOf([record.outcome ?? 'failed']) : EXIT.done;
}

async function watch(
  options: TailOptions,
  id: string | undefined,
  settings: Settings,
  io: Io,
  place: Place,
): Promise<number> {
  const selector = makeSelector({ ...options, ...(id === undefined ? {} : { id }) });
  const { journal } = statePaths(place.stateDir, place.env as NodeJS.ProcessEnv);
  const asked = options.sinceMs === undefined ? options.after : cursorAt(journal, options.sinceMs);
  // A place to begin at, so that nothing is missed should the daemon go before the first record.
  const after = asked ?? journalEnd(journal);
  const view = new View({ replays: asked !== undefined });
  const renderer = makeRenderer(settings, io, asked !== undefined);
  const events = follow({
    ...place,
    after,
    ...(options.exitOnDone ? { patienceMs: PATIENCE_MS } : {}),
  });
  try {
    for await (const event of events) {
      await show(event, view, selector, renderer, io);
      const idle = view.isCurrent && view.sessions.size === 0 && view.endedCount > 0;
      // One session by its id can't come again.
      if (idle && (options.exitOnDone || id !== undefined)) break;
      if (options.exitOnDone && isDecided(view.outcomes.keys())) break;
    }
    if (!options.exitOnDone) return EXIT.done;
    const hangs = place.signal?.aborted && !io.interrupted().aborted && view.stalledCount > 0;
    return hangs ? EXIT.syncStalled : exitCodeOf(view.outcomes.keys());
  } finally {
    await renderer.end(view);
  }
}

async function show(
  event: FeedEvent,
  view: View,
  selector: Selector,
  renderer: Renderer,
  io: Io,
): Promise<void> {
  switch (event.type) {
    case 'connected':
      view.connected(event.daemon);
      if (event.again) await renderer.message(`The daemon is back (pid ${event.daemon.pid})`);
      return;
    case 'session':
      if (!selector.session(event.session)) return;
      view.live(event.session, io.nowMs());
      return renderer.changed(view);
    case 'current':
      view.current();
      return renderer.current(view, view.daemon!);
    case 'record': {
      const record = parseRecord(event.line);
      if (!record || !selector.record(record)) return;
      return renderer.record(record, event, view);
    }
    case 'lost':
      view.lost();
      await renderer.message(`Lost the daemon: ${event.why}. Waiting for it to come back`);
      return renderer.changed(view);
  }
}

function makeRenderer(settings: Settings, io: Io, replays: boolean): Renderer {
  if (settings.output === 'tty') return new Dashboard(settings, io);
  const message = (text: string): void => {
    if (settings.verbosity >= 0) say(io, text);
  };
  // Whoever started us from a script may start the sync now.
  let announced = false;
  const announce = (view: View, daemon: DaemonFacts): void => {
    if (announced) return;
    announced = true;
    const sessions = view.sessions.size === 1 ? '1 session' : `${view.sessions.size} sessions`;
    message(`Following ${sessions} (daemon ${daemon.pid})`);
  };
  if (settings.output === 'json') {
    return {
      current: announce,
      changed: () => {},
      record: (record, { cursor, line }, view) => {
        view.record(record, io.nowMs());
        return io.stdout.write(`${withCursor(line, cursor)}\n`);
      },
      message,
      end: () => {},
    };
  }
  const lines = new PlainLines({ unicode: settings.theme.unicode, verbosity: settings.verbosity });
  let first = true;
  return {
    current: async (view, daemon) => {
      announce(view, daemon);
      // After a replay the sessions have their lines already.
      const running = first && !replays ? [...view.sessions.values()] : [];
      first = false;
      for (const { live } of running) await io.stdout.write(`${lines.running(live)}\n`);
    },
    changed: () => {},
    record: async (record, _, view) => {
      view.record(record, io.nowMs());
      const line = lines.record(record);
      if (line !== undefined) await io.stdout.write(`${line}\n`);
    },
    message,
    end: () => {},
  };
}
