/** `daemon run`, `start`, `stop`. (`daemon status` is in status.ts.) */
import { exportSettings } from '../config/exports.ts';
import { KEYS, type Key } from '../config/keys.ts';
import { type Found, find, type Sources } from '../config/sources.ts';
import { Connection, type Place } from '../connection.ts';
import { CliError, EXIT } from '../exit.ts';
import type { DaemonOptions, Io } from '../io.ts';
import { say } from '../messages.ts';
import type { Settings } from '../settings.ts';
import { startDaemon, stopDaemon } from '../start.ts';
import { packageVersion } from '../version.ts';

const placeOf = (settings: Settings, io: Io): Place => ({
  stateDir: settings.stateDir,
  env: io.env,
  ...(settings.timeoutMs === undefined ? {} : { timeoutMs: settings.timeoutMs }),
});

const isNoDaemon = (error: unknown): boolean =>
  (error as { exitCode?: number }).exitCode === EXIT.noDaemon;

export async function daemonRun(
  { recordKeep, quietAfter }: { readonly recordKeep?: string; readonly quietAfter?: string },
  settings: Settings,
  io: Io,
): Promise<number> {
  const { stateDir, verbosity } = settings;
  const options = {
    version: packageVersion(),
    stateDir,
    verbosity,
    recordKeep: find(KEYS.recordKeep, recordKeep, settings.sources).value ?? 0,
    quietMs: find(KEYS.quietAfter, quietAfter, settings.sources).value,
    ...journalOptions(settings.sources),
    exports: exportSettings(settings.sources),
  };
  if (settings.output !== 'json') return io.runDaemon(options);
  // Machines read one line each; the last one before a failure is its reason.
  let last = '';
  const line = (value: object): void => {
    io.stderr.write(`${JSON.stringify(value)}\n`).catch(() => {}); // The exit code says it too.
  };
  const exitCode = await io.runDaemon({
    ...options,
    say: (text) => {
      last = text.replace(/^mapisync: /, '');
      if (!last.startsWith('Cannot')) line({ message: last });
    },
  });
  if (exitCode !== EXIT.done) line({ error: { message: last, exit_code: exitCode } });
  return exitCode;
}

type JournalOptions = Pick<DaemonOptions, 'sync' | 'segmentBytes' | 'journalBytes' | 'journalDays'>;

/** @throws {CliError} exit 2, also for a journal that could not hold two segments. */
function journalOptions(sources: Sources): JournalOptions {
  const sync = find(KEYS.journalSync, undefined, sources).value;
  const size = find(KEYS.journalSize, undefined, sources);
  const segment = find(KEYS.journalSegment, undefined, sources);
  const journalDays = find(KEYS.journalAge, undefined, sources).value;
  const bytes = ({ value }: Found<number>, { fallback, parse }: Key<number>): number =>
    value ?? parse(fallback)!;
  const [journalBytes, segmentBytes] = [
    bytes(size, KEYS.journalSize),
    bytes(segment, KEYS.journalSegment),
  ];
  if (journalBytes < 2 * segmentBytes) {
    const got = `${size.text ?? KEYS.journalSize.fallback} (${size.origin})`;
    throw new CliError(
      EXIT.usage,
      `Cannot use journal.size: expected at least twice journal.segment, ${segment.text ?? KEYS.journalSegment.fallback} (${segment.origin}), got ${got}`,
      'See what comes from where: mapisync config list --show-origin',
    );
  }
  return {
    segmentBytes,
    journalBytes,
    ...(sync === undefined ? {} : { sync }),
    ...(journalDays === undefined ? {} : { journalDays }),
  };
}

async function report(
  what: string,
  facts: Readonly<Record<string, string | number>>,
  settings: Settings,
  io: Io,
): Promise<number> {
  if (settings.output === 'json') await io.stdout.write(`${JSON.stringify(facts)}\n`);
  else if (settings.verbosity >= 0) say(io, what);
  return EXIT.done;
}

export async function daemonStart(settings: Settings, io: Io): Promise<number> {
  const place = placeOf(settings, io);
  let connection: Connection | undefined;
  try {
    connection = await Connection.open(place);
    const { pid, stateDir } = connection.daemon;
    const facts = { state: 'running', started: 0, pid, state_dir: stateDir };
    return await report(`The daemon runs already (pid ${pid}, ${stateDir})`, facts, settings, io);
  } catch (error) {
    if (!isNoDaemon(error)) throw error;
    connection = await startDaemon(io, place);
    const { pid, stateDir } = connection.daemon;
    const facts = { state: 'running', started: 1, pid, state_dir: stateDir };
    return await report(`Started the daemon (pid ${pid}, ${stateDir})`, facts, settings, io);
  } finally {
    connection?.close();
  }
}

/** Returns when the daemon has written everything and is gone, so that another can start. */
export async function daemonStop(settings: Settings, io: Io): Promise<number> {
  const place = placeOf(settings, io);
  const connection = await Connection.open(place);
  const { pid, stateDir } = connection.daemon;
  await stopDaemon(connection, place);
  const facts = { state: 'stopped', pid, state_dir: stateDir };
  return report(`Stopped the daemon (pid ${pid}, ${stateDir})`, facts, settings, io);
}
