/**
 * The daemon's side of its exporters: one thread for them all, so that nothing they do is done between two
 * frames. Costs the journal a message now and then while it grows.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ExportSettings, ExportStatus } from '../../protocol/records/exports.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { collectEarlyStill } from '../platform/garbage.ts';
import type { Cursor } from '../platform/journal-files.ts';
import type { StatePaths } from '../platform/paths.ts';
import { LAST_WORDS_MS } from './limits.ts';
import type { FromWorker, ToWorker, WorkerSetup } from './worker.ts';

/** A thread that died, by a bug or for want of memory, is started again after so long. */
const RESTART_MS = 5000;
/** Beyond `LAST_WORDS_MS`: then the thread is ended where it is. */
const GRACE_MS = 500;
/** The thread is told so often at most how far the journal is; the far sides wait longer for more. */
const TELL_MS = 200;
/** How old what `status` says may be, while an exporter is behind. */
const STATUS_MS = 1000;
/** A batch is half a MiB; this bounds what a library of the far side may keep. */
const MAX_HEAP_MB = 192;

export interface ExportsOptions {
  readonly exports: readonly ExportSettings[];
  readonly paths: StatePaths;
  /** Name of this machine. */
  readonly host: string;
  readonly record: (draft: RecordDraft) => void;
  readonly failed: (error: Error) => void;
}

export class Exports {
  readonly #options: ExportsOptions;
  readonly #setup: WorkerSetup;
  #worker: Worker | undefined;
  #status: readonly ExportStatus[];
  #until: Cursor | undefined;
  /** Set while the thread was told a moment ago; what comes meanwhile is told then. */
  #telling: NodeJS.Timeout | undefined;
  #isNews = false;
  #stopping = false;
  #timer: NodeJS.Timeout;

  constructor(options: ExportsOptions) {
    this.#options = options;
    const { root, journal } = options.paths;
    this.#setup = {
      root,
      host: options.host,
      journalDir: journal,
      cursorDir: join(root, 'cursors'),
      exports: options.exports,
    };
    this.#status = options.exports.map(({ name, kind }) => ({
      name,
      kind,
      state: 'starting',
      backlog_bytes: 0,
      sent: 0,
    }));
    this.#start();
    this.#timer = setInterval(() => this.#tell({ type: 'status' }), STATUS_MS);
    this.#timer.unref();
  }

  /** As of a second ago at most. */
  get status(): readonly ExportStatus[] {
    return this.#status;
  }

  /** The journal is durable up to here. Cheap: called for every batch. */
  grown(until: Cursor): void {
    this.#until = until;
    this.#isNews = true;
    if (!this.#telling) this.#pass();
  }

  /** Gives the exporters a moment to send the last records. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    clearTimeout(this.#telling);
    const worker = this.#worker;
    if (!worker) return;
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    if (this.#until) this.#tell({ type: 'grown', until: this.#until });
    this.#tell({ type: 'stop', withinMs: LAST_WORDS_MS });
    const late = setTimeout(() => void worker.terminate(), LAST_WORDS_MS + GRACE_MS);
    await ended;
    clearTimeout(late);
  }

  #start(): void {
    // The same extension as this file: `.ts` from source, `.js` once built.
    const file = `./worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`;
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: this.#setup,
      // Flags of the process are about its script, not this one.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    this.#worker = worker;
    worker.once('online', collectEarlyStill);
    worker.on('message', (message: FromWorker) => this.#hear(message));
    worker.on('error', (error) => this.#options.failed(error as Error));
    worker.once('exit', () => {
      this.#worker = undefined;
      if (!this.#stopping) setTimeout(() => this.#startAgain(), RESTART_MS).unref();
    });
    if (this.#until) this.#tell({ type: 'grown', until: this.#until });
  }

  #startAgain(): void {
    if (!this.#stopping) this.#start();
  }

  #hear(message: FromWorker): void {
    switch (message.type) {
      case 'record':
        this.#options.record(message.draft);
        return;
      case 'status':
        this.#status = message.exports;
    }
  }

  #pass(): void {
    this.#telling = undefined;
    if (!this.#isNews || !this.#until) return;
    this.#isNews = false;
    this.#tell({ type: 'grown', until: this.#until });
    this.#telling = setTimeout(() => this.#pass(), TELL_MS);
    this.#telling.unref();
  }

  #tell(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }
}
