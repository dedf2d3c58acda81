/** `status`, `daemon status`: what runs now. Starts nothing. */
import type { LiveSession } from '../../protocol/records/record.ts';
import { type DaemonFacts, WANT } from '../../protocol/wire/clients.ts';
import { Connection } from '../connection.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';

export interface Status {
  readonly daemon: DaemonFacts;
  /** What the daemon says of itself. */
  readonly facts: Readonly<Record<string, unknown>>;
  readonly sessions: readonly LiveSession[];
}

/** @throws {PlatformError | CliError} exit 3 if no daemon runs. */
export async function askStatus(settings: Settings, io: Io): Promise<Status> {
  const connection = await Connection.open({
    stateDir: settings.stateDir,
    env: io.env,
    ...(settings.timeoutMs === undefined ? {} : { timeoutMs: settings.timeoutMs }),
  });
  try {
    // Both at once: the daemon answers in their order.
    connection.send({ kind: 'status' });
    connection.send({ kind: 'subscribe', wants: WANT.sessions, after: null });
    const { status } = await connection.answer('status');
    const sessions: LiveSession[] = [];
    for (;;) {
      const frame = await connection.next();
      if (frame?.kind === 'session') sessions.push(frame.session);
      else if (frame === undefined || frame.kind === 'current') break;
    }
    return { daemon: connection.daemon, facts: status, sessions };
  } finally {
    connection.close();
  }
}

export async function status(
  options: { readonly withSessions: boolean },
  settings: Settings,
  io: Io,
): Promise<number> {
  const found = await askStatus(settings, io);
  if (settings.output === 'json') {
    const sessions = options.withSessions ? { sessions: found.sessions } : {};
    await io.stdout.write(`${JSON.stringify({ ...found.facts, ...sessions })}\n`);
    return EXIT.done;
  }
  // Measuring text takes longer to load than all the rest: scripts that ask often do without.
  const { liveLines, statusLines } = await import('../render/status-lines.ts');
  const { theme } = settings;
  const lines = statusLines(found.facts, theme, new Date());
  // What is no terminal has no width: a pipe gets what the rows need.
  const columns = io.stdout.columns || PIPE_COLUMNS;
  if (options.withSessions)
    lines.push('', ...liveLines(found.sessions, theme, io.nowMs(), columns));
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

const PIPE_COLUMNS = 120;
