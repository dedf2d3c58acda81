/** `mapisync` alone: how things stand, how the last sessions ended, what to type next. */
import { statePaths } from '../../daemon/platform/paths.ts';
import type { LiveSession } from '../../protocol/records/record.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { newestRecords } from '../journal.ts';
import { layOut, NARROW_COLUMNS, renderRow } from '../render/columns.ts';
import { clock, count } from '../render/numbers.ts';
import { endedRow } from '../render/session-row.ts';
import type { Settings } from '../settings.ts';
import { ended, type FeedRecord, seed, type Watched } from '../view.ts';
import { askStatus, type Status } from './status.ts';

/** Of how the last sessions ended. */
const LAST = 5;
const PIPE_COLUMNS = 120;
const EXAMPLE_CODE = '0x8004010F';

export async function overview(settings: Settings, io: Io): Promise<number> {
  const { root, journal } = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
  const found = await daemonIfAny(settings, io);
  const last = newestRecords(journal, 'session.ended', LAST);
  const running = (found?.sessions ?? []).filter(({ state }) => state !== 'ended');
  if (settings.output === 'json') {
    const told = {
      daemon: found?.daemon ?? null,
      state_dir: root,
      sessions: running,
      last: last.map(summary),
    };
    await io.stdout.write(`${JSON.stringify(told)}\n`);
    return EXIT.done;
  }
  const { paint } = settings.theme;
  const lines = [
    found
      ? `Daemon ${found.daemon.pid} follows ${count(running.length, 'session')} (${root})`
      : `No daemon is running (${root})`,
  ];
  if (last.length > 0) {
    lines.push('', paint('bold', 'How the last sessions ended'), ...lastLines(last, settings, io));
  }
  const [error] = newestRecords(journal, 'session.error', 1);
  const next = nextCommands(found !== undefined, running, error?.error?.hresult ?? EXAMPLE_CODE);
  const columns = Math.max(...next.map(([command]) => command.length));
  const between = isNarrow(io)
    ? () => '\n    '
    : (word: string) => ' '.repeat(columns + 2 - word.length);
  lines.push('', paint('bold', 'Next'));
  for (const [command, why] of next)
    lines.push(`  ${command}${between(command)}${paint('dim', why)}`);
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

const columnsOf = (io: Io): number => io.stdout.columns || PIPE_COLUMNS;
const isNarrow = (io: Io): boolean => columnsOf(io) < NARROW_COLUMNS;

async function daemonIfAny(settings: Settings, io: Io): Promise<Status | undefined> {
  try {
    return await askStatus(settings, io);
  } catch (error) {
    if ((error as { exitCode?: number }).exitCode === EXIT.noDaemon) return undefined;
    throw error;
  }
}

const summary = (record: FeedRecord): object => ({
  id: record.session?.id,
  provider: record.session?.provider,
  store: record.session?.store,
  ended: record.time,
  outcome: record.outcome,
  outcome_reason: record.outcome_reason,
  duration_us: record.duration_us,
});

function lastLines(last: readonly FeedRecord[], settings: Settings, io: Io): string[] {
  const { theme } = settings;
  const watched = last.flatMap((record): Watched[] => {
    const live = seed(record);
    if (!live) return [];
    return [{ live: ended(live, record), atMs: 0, errors: new Map(), otherErrors: 0 }];
  });
  const rows = watched.map((one) => endedRow(one, theme));
  const layout = layOut(rows, columnsOf(io));
  return rows.map((row, index) => {
    if (isNarrow(io)) return renderRow(row, layout, theme);
    const age = Date.now() - Date.parse(last[index]!.time);
    const ago = clock(age * 1000);
    return renderRow(
      { ...row, span: { ...row.span!, end: `${row.span!.end}  ${ago} ago` } },
      layout,
      theme,
    );
  });
}

function nextCommands(
  hasDaemon: boolean,
  running: readonly LiveSession[],
  code: string,
): [string, string][] {
  return [
    running.length > 0
      ? ['mapisync tail', 'follow what is running']
      : ['mapisync tail', 'follow the next sync as it happens'],
    hasDaemon
      ? ['mapisync status', 'daemon, processes and sessions']
      : ['mapisync daemon start', 'record in the background'],
    [`mapisync hresult ${code}`, 'what a result code means'],
  ];
}
