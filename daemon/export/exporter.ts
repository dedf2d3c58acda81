/**
 * One exporter: reads the journal behind its cursor, hides texts, hands batches to a sink, and moves the
 * cursor only when the far side has answered for them. It runs in a thread of its own and is told how far
 * the journal is.
 *
 * What always holds: nothing is skipped but what the far side says it has; after a failure everything
 * behind the cursor is sent again, with the same ids.
 */

import type { ExportStatus } from '../../protocol/records/exports.ts';
import type { FinishedRecord } from '../../protocol/records/line.ts';
import type { Privacy } from '../../protocol/records/privacy.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { escapeLine } from '../../protocol/records/text.ts';
import { nowText } from '../clock.ts';
import { type Cursor, isBefore } from '../platform/journal-files.ts';
import { FIRST_RETRY_MS, MAX_RETRY_MS, SEND_TIMEOUT_MS } from './limits.ts';
import { bytesBetween, readBatch, SavedCursor } from './reader.ts';
import { type OutRecord, type Sink, SinkError } from './sink.ts';

export interface ExporterOptions {
  readonly name: string;
  readonly kind: string;
  readonly journalDir: string;
  readonly cursorDir: string;
  /** File name of the saved cursor; left out: `name`. */
  readonly cursorName?: string;
  /**
   * Makes this process the one that moves the cursor.
   *
   * @returns How to give that up.
   * @throws {SinkError} if another process does.
   */
  readonly own?: () => () => void;
  readonly privacy: Privacy;
  readonly open: () => Promise<Sink>;
  /** Takes what belongs into the journal. */
  readonly record: (draft: RecordDraft) => void;
  /** Hears that `status` changed. */
  readonly changed: () => void;
  readonly firstRetryMs?: number;
  readonly sendTimeoutMs?: number;
}

export class Exporter {
  readonly #options: ExporterOptions;
  readonly #saved: SavedCursor;
  #cursor: Cursor;
  #disown: (() => void) | undefined;
  #until: Cursor = { segment: 0, offset: 0 };
  #sink: Sink | undefined;
  /** What the far side had when the sink was opened, until the first batch without any of it. */
  #stored: ReadonlySet<string> | undefined;
  #failure: SinkError | undefined;
  #failures = 0;
  #sent = 0;
  #state: ExportStatus['state'] = 'starting';
  /** The last batch left something over, so the next one gathers nothing by waiting. */
  #isFull = false;
  #stopAtMs: number | undefined;
  #wake: () => void = () => {};

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#saved = new SavedCursor(options.cursorDir, options.cursorName ?? options.name);
    this.#cursor = this.#saved.load();
  }

  get cursor(): Cursor {
    return this.#cursor;
  }

  get status(): ExportStatus {
    const { name, kind, journalDir } = this.#options;
    return {
      name,
      kind,
      state: this.#state,
      backlog_bytes: bytesBetween(journalDir, this.#cursor, this.#until),
      sent: this.#sent,
      ...(this.#failure ? { cause: this.#failure.reason, error: this.#failure.message } : {}),
    };
  }

  /** Up to here the journal stays as it is. */
  grown(until: Cursor): void {
    this.#until = until;
    this.#beginAnewIfDeleted();
    this.#wake();
  }

  /** Ends `run()`: at once if the far side does not answer, else when all is sent or the time is up. */
  stop(withinMs = Number.POSITIVE_INFINITY): void {
    this.#stopAtMs = performance.now() + withinMs;
    if (Number.isFinite(withinMs)) setTimeout(() => this.#wake(), withinMs).unref();
    this.#wake();
  }

  async run(): Promise<void> {
    while (!this.#mustStop()) {
      try {
        const more = await this.#step();
        if (!more) {
          if (this.#stopAtMs !== undefined) break;
          await this.#sleep();
        }
      } catch (error) {
        await this.#fail(error);
      }
    }
    this.#state = 'stopped';
    await this.#close(); // Everything that counts was answered for.
    this.#disown?.();
  }

  /** @returns false if there is nothing to do until the journal grows. */
  async #step(): Promise<boolean> {
    const { journalDir, privacy, open } = this.#options;
    if (this.#sink?.isOpen === false) await this.#close(); // It ended by itself.
    if (!this.#disown) {
      this.#disown = this.#options.own?.() ?? (() => {});
      this.#cursor = this.#saved.load(); // Whoever had it before has moved it.
      this.#beginAnewIfDeleted();
    }
    if (!this.#sink) {
      const sink = await this.#within(open(), 'open');
      this.#sink = sink;
      this.#stored = await (sink.stored && this.#within(sink.stored(), 'look what is there'));
    }
    if (!this.#isBehind()) return this.#isCaughtUp();
    if (this.#stopAtMs === undefined && !this.#isFull) {
      await pause(this.#sink.lingerMs, (wake) => this.#onlyStopWakes(wake));
    }
    const batch = readBatch(journalDir, this.#cursor, this.#until);
    this.#isFull = isBefore(batch.end, this.#until);
    const records = this.#leaveOutStored(batch.records).map((record) => toOut(privacy(record)));
    if (records.length > 0) await this.#within(this.#sink.send(records), 'answer');
    this.#sent += records.length;
    this.#failures = 0;
    const isFirst = this.#state !== 'running' && this.#failure === undefined;
    this.#state = 'running';
    const moved = !isSame(this.#cursor, batch.end);
    this.#cursor = batch.end;
    if (moved) this.#saved.save(batch.end);
    if (isFirst || !this.#isBehind()) this.#options.changed();
    return moved;
  }

  /** Only a journal that was deleted whole ends before where a reader was. */
  #beginAnewIfDeleted(): void {
    const { segment } = this.#until;
    if (segment > 0 && this.#cursor.segment > segment) this.#cursor = { segment: 0, offset: 0 };
  }

  #isBehind(): boolean {
    return isBefore(this.#cursor, this.#until);
  }

  /** Lets go of the sink. One that waits for a far side that never answers does so alone. */
  async #close(): Promise<void> {
    const sink = this.#sink;
    this.#sink = undefined;
    this.#stored = undefined;
    if (sink) await this.#within(sink.close(), 'let go').catch(() => {});
  }

  /** Says so once after a failure. @returns false: there is nothing to do. */
  #isCaughtUp(): false {
    if (this.#state === 'starting') {
      this.#state = 'running';
      this.#options.changed();
    }
    if (!this.#failure) return false;
    this.#failure = undefined;
    this.#failures = 0;
    this.#state = 'running';
    const { name } = this.#options;
    this.#options.record({
      event_name: 'export.caught_up',
      level: 'info',
      time: nowText(),
      msg: `The exporter ${name} has caught up`,
      export: { name, backlog_bytes: 0 },
    });
    this.#options.changed();
    return false;
  }

  #leaveOutStored(records: readonly FinishedRecord[]): readonly FinishedRecord[] {
    const stored = this.#stored;
    if (!stored || records.length === 0) return records;
    const rest = records.filter(({ event_id }) => !stored.has(event_id));
    // A batch holds at least what one that was cut off held, since it begins at the same place.
    if (rest.length === records.length) this.#stored = undefined;
    return rest;
  }

  async #fail(error: unknown): Promise<void> {
    const failure =
      error instanceof SinkError ? error : new SinkError('failed', (error as Error).message, error);
    await this.#close();
    const isNews = this.#failure === undefined;
    this.#failure = failure;
    this.#failures += 1;
    this.#state = 'failing';
    if (isNews) {
      const { name } = this.#options;
      this.#options.record({
        event_name: 'export.failed',
        level: 'warn',
        time: nowText(),
        msg: `The exporter ${name} waits: ${failure.message}`,
        export: { name, cause: failure.reason, backlog_bytes: this.status.backlog_bytes },
      });
    }
    this.#options.changed();
    // Whoever stops does not wait for a far side that does not answer.
    if (this.#stopAtMs !== undefined) this.#stopAtMs = 0;
    else await pause(this.#retryMs(), (wake) => this.#onlyStopWakes(wake));
  }

  /** Twice as long each time, and never the same for a thousand machines that lost one server. */
  #retryMs(): number {
    const first = this.#options.firstRetryMs ?? FIRST_RETRY_MS;
    const most = Math.min(MAX_RETRY_MS, first * 2 ** Math.min(this.#failures - 1, 16));
    return most * (0.5 + Math.random() / 2);
  }

  #onlyStopWakes(wake: () => void): void {
    this.#wake = () => {
      if (this.#stopAtMs !== undefined) wake();
    };
  }

  #mustStop(): boolean {
    return this.#stopAtMs !== undefined && performance.now() >= this.#stopAtMs;
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (this.#isBehind() || this.#stopAtMs !== undefined) resolve();
    });
  }

  async #within<T>(work: Promise<T>, what: string): Promise<T> {
    const ms = this.#options.sendTimeoutMs ?? SEND_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const text = `Cannot export: expected the far side to ${what} within ${ms} ms, got nothing`;
      timer = setTimeout(() => reject(new SinkError('timeout', text)), ms);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

const toOut = (record: FinishedRecord): OutRecord => ({
  record,
  line: escapeLine(JSON.stringify(record)),
});

const isSame = (a: Cursor, b: Cursor): boolean => a.segment === b.segment && a.offset === b.offset;

/** Waits; `hook` gets what ends the wait early. */
function pause(ms: number, hook: (wake: () => void) => void = () => {}): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    hook(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
