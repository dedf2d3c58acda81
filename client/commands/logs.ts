/** `logs`: the journal, filtered, and followed as it is written. Needs no daemon. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises';
import {
  type Cursor,
  formatCursor,
  parseCursor,
  readCursorFile,
  writeCursorFile,
} from '../../daemon/platform/journal-files.ts';
import { statePaths } from '../../daemon/platform/paths.ts';
import { CliError, EXIT } from '../exit.ts';
import { findHistory, findInHistory } from '../history.ts';
import type { Io } from '../io.ts';
import { cursorAt, journalEnd, withCursor } from '../journal.ts';
import { beforeNewest, type Passage, readOn } from '../journal-reader.ts';
import { type LogFilter, type LogFilterOptions, makeLogFilter } from '../log-filter.ts';
import { say } from '../messages.ts';
import { logLine } from '../render/log-line.ts';
import type { Settings } from '../settings.ts';

export interface LogsOptions extends Omit<LogFilterOptions, 'id'> {
  readonly follow: boolean;
  /** So many of the newest that pass the filters. */
  readonly lines?: number;
  readonly session?: string;
  readonly after?: string;
  readonly cursorFile?: string;
  readonly journal?: string;
}

/** With --follow, where nothing else says where to begin. */
const FOLLOWED_LINES = 10;
const POLL_MS = 100;
/** From a call to its record in the journal. */
const SETTLE_MS = 500;
/** So much is written at once, and then the cursor is saved. */
const MAX_WRITE_BYTES = 65_536;
/** So many lines are read before Ctrl-C is looked for. */
const LINES_AT_ONCE = 2000;

export async function logs(options: LogsOptions, settings: Settings, io: Io): Promise<number> {
  const stopped = io.interrupted();
  const history = findHistory(options.journal, settings, io);
  const { session, ...filters } = options;
  const filter = makeLogFilter({
    ...filters,
    ...(session === undefined ? {} : { id: findInHistory(history, session) }),
  });
  const saved = options.cursorFile === undefined ? undefined : savedPlace(options, settings, io);
  const from = saved?.at ?? startOf(options, history.dir);
  const printer = new Printer(saved?.path, filter, settings, io);
  const isBare = from === undefined && saved === undefined;
  const lines = options.lines ?? (options.follow && isBare ? FOLLOWED_LINES : undefined);
  let at =
    lines === undefined
      ? from
      : beforeNewest(history.dir, from, lines, (line) => typeof filter(line) === 'object');

  const late = settings.timeoutMs === undefined ? [] : [AbortSignal.timeout(settings.timeoutMs)];
  const over = AbortSignal.any([stopped, ...late]);
  // What happened at that very moment is still to be written.
  const untilMs = (options.untilMs ?? Number.POSITIVE_INFINITY) + SETTLE_MS;
  for (;;) {
    const isLast = !options.follow || Date.now() > untilMs;
    at = await printer.print(readOn(history.dir, at), at, over);
    if (isLast || over.aborted) break;
    await sleep(POLL_MS, undefined, { signal: over }).catch(() => {}); // The next round sees why.
  }
  printer.end();
  if (!over.aborted) return EXIT.done;
  return stopped.aborted ? EXIT.interrupted : EXIT.timeout;
}

function startOf({ after, sinceMs }: LogsOptions, dir: string): Cursor | undefined {
  if (after !== undefined) return parseCursor(after);
  if (sinceMs === undefined) return undefined;
  return parseCursor(cursorAt(dir, sinceMs) ?? journalEnd(dir) ?? '');
}

const READER_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,47}$/;

interface SavedPlace {
  readonly path: string;
  /** undefined: nothing was saved yet. */
  readonly at: Cursor | undefined;
}

/** @throws {CliError} exit 2 for a file that holds something else, which is left alone. */
function savedPlace(options: LogsOptions, settings: Settings, io: Io): SavedPlace {
  const given = options.cursorFile ?? '';
  let path = given;
  if (READER_NAME.test(given)) {
    if (options.journal !== undefined) {
      throw new CliError(
        EXIT.usage,
        `Cannot use --cursor-file ${given}: expected a path beside --journal, got a name`,
        `For a file in this directory: --cursor-file ./${given}`,
      );
    }
    // Exporters have their cursors there too, under names of their own.
    const { root } = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
    path = join(root, 'cursors', `logs.${given}`);
  } else if (!existsSync(dirname(path))) {
    throw new CliError(
      EXIT.usage,
      `Cannot keep --cursor-file ${path}: expected a directory ${dirname(path)}, got none`,
    );
  }
  const text = readCursorFile(path);
  if (!text) return { path, at: undefined };
  const at = parseCursor(text);
  if (at) return { path, at };
  throw new CliError(
    EXIT.usage,
    `Cannot read --cursor-file ${path}: expected segment:offset, got ${JSON.stringify(text.slice(0, 40))}`,
    'Give it a file of its own',
  );
}

/** Writes what is wanted, and saves the place behind what was written: never ahead of it. */
class Printer {
  readonly #cursorPath: string | undefined;
  readonly #filter: LogFilter;
  readonly #settings: Settings;
  readonly #io: Io;
  #pending = '';
  #saved = '';
  /** Behind it stands what --until leaves to the next call. */
  #kept: Cursor | undefined;
  #damaged = 0;

  constructor(cursorPath: string | undefined, filter: LogFilter, settings: Settings, io: Io) {
    this.#cursorPath = cursorPath;
    this.#filter = filter;
    this.#settings = settings;
    this.#io = io;
  }

  /** @returns The place behind the last of `passages`, or behind what was written when it is over. */
  async print(
    passages: Generator<Passage, Cursor | undefined>,
    from: Cursor | undefined,
    over: AbortSignal,
  ): Promise<Cursor | undefined> {
    let at = from;
    let lines = 0;
    for (let step = passages.next(); ; step = passages.next()) {
      if (step.done) {
        await this.#flush(step.value);
        return step.value;
      }
      const passage = step.value;
      if (passage.type === 'lost') this.#sayLost(passage);
      else {
        this.#take(passage.line, at, passage.end);
        at = passage.end;
      }
      lines += 1;
      if (this.#pending.length >= MAX_WRITE_BYTES || lines % LINES_AT_ONCE === 0) {
        await this.#flush(at);
        await breathe();
        if (over.aborted) return at;
      }
    }
  }

  end(): void {
    if (this.#damaged === 0) return;
    say(this.#io, `Left out ${this.#damaged} damaged lines of the journal`);
  }

  #take(line: string, from: Cursor | undefined, end: Cursor): void {
    const record = this.#filter(line);
    if (record === 'damaged') this.#damaged += 1;
    if (record === 'later') this.#kept ??= from ?? { segment: end.segment, offset: 0 };
    if (typeof record !== 'object') return;
    const { output, theme } = this.#settings;
    const text = output === 'json' ? withCursor(line, formatCursor(end)) : logLine(record, theme);
    this.#pending += `${text}\n`;
  }

  async #flush(at: Cursor | undefined): Promise<void> {
    const text = this.#pending;
    this.#pending = '';
    if (text !== '') await this.#io.stdout.write(text);
    const place = this.#kept ?? at;
    if (this.#cursorPath === undefined || place === undefined) return;
    if (formatCursor(place) === this.#saved) return;
    this.#saved = formatCursor(place);
    try {
      mkdirSync(dirname(this.#cursorPath), { recursive: true, mode: 0o700 });
      writeCursorFile(this.#cursorPath, place);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new CliError(
        code === 'EACCES' || code === 'EPERM' ? EXIT.permission : EXIT.failed,
        `Cannot keep --cursor-file ${this.#cursorPath}: ${message}`,
        'What was printed last comes again with the next call',
        error,
      );
    }
  }

  #sayLost({ from, to }: { readonly from: Cursor; readonly to: Cursor }): void {
    const place = formatCursor(from);
    const last = to.segment - 1;
    const what =
      from.segment > to.segment
        ? `The journal was begun anew and has no ${place}`
        : from.segment === last
          ? `Segment ${last} was deleted: what stood behind ${place} is lost, if anything did`
          : `Segments ${from.segment} to ${last} were deleted: what stood behind ${place} is lost`;
    say(this.#io, `${what}. Going on with the oldest record, ${formatCursor(to)}`);
  }
}
