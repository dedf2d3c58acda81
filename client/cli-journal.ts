/** The part of the command line that looks through the journal: all sessions, all records. */
import { Option } from 'commander';
import type { Level } from '../protocol/records/record.ts';
import { journal, type Wiring } from './cli-sessions.ts';
import { CliError, EXIT } from './exit.ts';
import { readTime } from './values.ts';

const TIME = 'RFC 3339, 10m (ago), today';
const MAX_LISTED = 1_000_000;

export function addJournalCommands({ program, io, leaf, perform }: Wiring): void {
  leaf(
    program.command('sessions'),
    [EXIT.noDaemon, EXIT.timeout, EXIT.permission, EXIT.interrupted],
    'mapisync sessions --since today --outcome failed',
    'mapisync sessions --limit 100 --json',
  )
    .summary('running and finished sessions')
    .description(
      'List running and finished sessions, the newest first: the first is ^0 of other commands.\nReads the journal; needs no daemon. With --fleet: of all machines, from the last 24 hours or --since on.',
    )
    .option('--since <time>', `only those that ran then or later: ${TIME}`)
    .option(
      '--outcome <outcome>',
      'only those that ended so; also running, stalled, unknown; may be repeated',
      collect,
    )
    .option('--provider <glob>', 'only of providers with such a name')
    .option('--store <glob>', 'only of stores with such a label')
    .option('-n, --limit <count>', 'at most so many', '20')
    .addOption(journal())
    .addOption(
      new Option('--fleet', 'of all machines that export to the stream of export.nats.*').conflicts(
        'journal',
      ),
    )
    .action((flags: SessionsFlags, command) => {
      const { since, outcome, limit, fleet, ...options } = flags;
      const given = {
        ...options,
        outcomes: outcome ?? [],
        limit: readCount('--limit', limit),
        ...(since === undefined ? {} : { sinceMs: readTime('--since', since) }),
      };
      return perform(command, async (settings) =>
        fleet
          ? (await import('./commands/fleet-sessions.ts')).fleetSessions(given, settings, io)
          : (await import('./commands/sessions.ts')).sessions(given, settings, io),
      );
    });

  leaf(
    program.command('logs'),
    [EXIT.timeout, EXIT.permission, EXIT.interrupted],
    'mapisync logs -f -p warn',
    'mapisync logs --json --cursor-file nightly | ./ship-it',
  )
    .summary('the journal, filtered and followed')
    .description(
      "Print the journal's records: a line each, with --json as they stand there and their cursor.\n" +
        'Of several filters a record must pass each. Needs no daemon: -f looks ten times a second.\n' +
        '--cursor-file keeps the place behind what was printed, and the next call goes on from there: after a\n' +
        'crash a record may come again, but none is left out. A name without a slash is kept in the state\n' +
        'directory, and journal.trimmed names a reader whose records were deleted before it came.',
    )
    .option('-f, --follow', 'go on with what is written from now on', false)
    .option('-n, --lines <count>', 'only the newest that pass the filters (with -f alone: 10)')
    .option('-S, --since <time>', `only records from then on: ${TIME}`)
    .option('-U, --until <time>', `only records up to then; with -f it ends then: ${TIME}`)
    .addOption(
      new Option('-p, --level <level>', 'only of such a level or a more severe one').choices([
        'debug',
        'info',
        'warn',
        'error',
      ]),
    )
    .option('--event <glob>', 'only such events; may be repeated', collect)
    .option('--session <session>', 'only of an id, a unique prefix, or ^0 for the newest')
    .option(
      '-g, --grep <regex>',
      'only lines in which this of RE2 occurs; without capitals: of any case',
    )
    .option('--after <cursor>', 'from the record on that comes after this cursor')
    .addOption(
      new Option('--cursor-file <file>', 'go on from the cursor in it, and keep it').conflicts(
        'after',
      ),
    )
    .addOption(journal())
    .action((flags: LogsFlags, command) => {
      const { since, until, lines, event, ...options } = flags;
      if (flags.after !== undefined) checkCursor(flags.after);
      const given = {
        ...options,
        events: event ?? [],
        ...(lines === undefined ? {} : { lines: readCount('--lines', lines) }),
        ...(since === undefined ? {} : { sinceMs: readTime('--since', since) }),
        ...(until === undefined ? {} : { untilMs: readTime('--until', until) }),
      };
      return perform(command, async (settings) =>
        (await import('./commands/logs.ts')).logs(given, settings, io),
      );
    });
}

interface SessionsFlags {
  readonly since?: string;
  readonly outcome?: string[];
  readonly provider?: string;
  readonly store?: string;
  readonly limit: string;
  readonly journal?: string;
  readonly fleet?: boolean;
}

interface LogsFlags {
  readonly follow: boolean;
  readonly lines?: string;
  readonly since?: string;
  readonly until?: string;
  readonly level?: Level;
  readonly event?: string[];
  readonly session?: string;
  readonly grep?: string;
  readonly after?: string;
  readonly cursorFile?: string;
  readonly journal?: string;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** @throws {CliError} exit 2 */
function readCount(flag: string, text: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (count <= MAX_LISTED) return count;
  throw new CliError(EXIT.usage, `Cannot read ${flag}: expected 0 to ${MAX_LISTED}, got "${text}"`);
}

/** @throws {CliError} exit 2 */
export function checkCursor(text: string): void {
  if (/^\d{1,9}:\d{1,15}$/.test(text)) return;
  const expected = 'segment:offset as in the field "cursor" of a record';
  throw new CliError(EXIT.usage, `Cannot read --after: expected ${expected}, got "${text}"`);
}
