/** `status`, `daemon status`: what runs now. Starts nothing. */
import type { LiveSession } from '../../protocol/records/record.ts';
import { type DaemonFacts, WANT } from '../../protocol/wire/clients.ts';
import { Connection } from '../connection.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { layOut, renderRow } from '../render/columns.ts';
import { endedRow, errorLines, liveRow } from '../render/session-row.ts';
import { statusLines } from '../render/status-lines.ts';
import type { Theme } from '../render/theme.ts';
import type { Settings } from '../settings.ts';
import { glance } from '../view.ts';

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
    connection.send({ kind: 'status' });
    const { status } = await connection.answer('status');
    connection.send({ kind: 'subscribe', wants: WANT.sessions, after: null });
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
  const lines = statusLines(found.facts, settings.theme, new Date());
  if (options.withSessions) lines.push('', ...sessionLines(found.sessions, settings.theme, io));
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

/** Sessions as `tail` shows them: one row each, errors beneath. */
function sessionLines(sessions: readonly LiveSession[], theme: Theme, io: Io): string[] {
  if (sessions.length === 0) return ['No session is running'];
  const nowMs = io.nowMs();
  const watched = sessions.map((live) => glance(live, nowMs));
  const rows = watched.map((one) =>
    one.live.state === 'ended' ? endedRow(one, theme) : liveRow(one, nowMs, theme),
  );
  // What is no terminal has no width: a pipe gets what the rows need.
  const layout = layOut(rows, io.stdout.columns || PIPE_COLUMNS);
  return watched.flatMap((one, index) => [
    renderRow(rows[index]!, layout, theme),
    ...errorLines(one, layout.room, theme),
  ]);
}

const PIPE_COLUMNS = 120;
