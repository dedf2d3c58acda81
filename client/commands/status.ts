/** `status`, `daemon status`: what runs now. Starts nothing. */
import type { LiveSession } from '../../protocol/records/record.ts';
import { type DaemonFacts, WANT } from '../../protocol/wire/clients.ts';
import { Connection } from '../connection.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { layOut, renderRow } from '../render/columns.ts';
import { facts } from '../render/facts.ts';
import { endedRow, errorLines, liveRow } from '../render/session-row.ts';
import type { Theme } from '../render/theme.ts';
import type { Settings } from '../settings.ts';
import { View, type Watched } from '../view.ts';

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
  const lines = facts(found.facts, settings.theme);
  if (options.withSessions) lines.push('', ...sessionLines(found.sessions, settings.theme, io));
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

/** Sessions as `tail` shows them: one row each, errors beneath. */
export function sessionLines(
  sessions: readonly LiveSession[],
  theme: Theme,
  io: Io,
  max = Number.POSITIVE_INFINITY,
): string[] {
  if (sessions.length === 0) return ['No session is running'];
  const nowMs = io.nowMs();
  const watched: Watched[] = sessions.slice(0, max).map((live) => {
    const view = new View({ replays: false });
    view.live({ ...live, state: live.state === 'ended' ? 'running' : live.state }, nowMs);
    return { ...view.sessions.get(live.id)!, live };
  });
  const rows = watched.map((one) =>
    one.live.state === 'ended' ? endedRow(one, theme) : liveRow(one, nowMs, theme),
  );
  // What is no terminal has no width: a pipe gets what the rows need.
  const layout = layOut(rows, io.stdout.columns || PIPE_COLUMNS);
  const lines = watched.flatMap((one, index) => [
    renderRow(rows[index]!, layout, theme),
    ...errorLines(one, layout.room, theme),
  ]);
  const hidden = sessions.length - watched.length;
  if (hidden > 0) lines.push(`    and ${hidden} more: mapisync status`);
  return lines;
}

const PIPE_COLUMNS = 120;
