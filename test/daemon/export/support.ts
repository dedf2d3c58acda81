// A journal made by hand, so that a test knows what is in it, and exporters on it.
import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Exporter, type ExporterOptions } from '../../../daemon/export/exporter.ts';
import { type OutRecord, type Sink, SinkError } from '../../../daemon/export/sink.ts';
import { listSegments, segmentPath } from '../../../daemon/platform/journal-files.ts';
import type { FinishedRecord } from '../../../protocol/records/line.ts';
import type { ExportCause, RecordDraft } from '../../../protocol/records/record.ts';
import { checkValid } from '../../valid-record.mjs';
import { cleanUp, tempDir } from '../support.ts';

const kept = join(import.meta.dirname, '..', '..', 'protocol', 'records', 'journals', '0.1.0');
/** Real records, snapshots among them. */
export const REAL_LINES: readonly string[] = readdirSync(kept).flatMap((name) =>
  readFileSync(join(kept, name), 'utf8').split('\n').slice(0, -1),
);
const isSnapshot = (line: string): boolean => line.includes('"event_name":"snapshot.');

export class HandJournal {
  readonly root = tempDir();
  readonly dir = join(this.root, 'journal');
  readonly cursors = join(this.root, 'cursors');
  /** Ids of the records that an exporter has to bring, in order. */
  readonly ids: string[] = [];
  #segment = 1;
  #lines = 0;

  constructor() {
    for (const dir of [this.dir, this.cursors]) mkdirSync(dir, { mode: 0o700 });
  }

  /** @returns Up to where the journal is durable now. */
  grow(count: number): { segment: number; offset: number } {
    let lines = '';
    for (let at = 0; at < count; at++) {
      const line = REAL_LINES[this.#lines++ % REAL_LINES.length]!;
      const id = `0011223344556677-${this.ids.length + 1}`;
      lines += `${line.replace(/"event_id":"[^"]+"/, `"event_id":"${id}"`)}\n`;
      if (isSnapshot(line)) continue;
      this.ids.push(id);
    }
    const path = segmentPath(this.dir, this.#segment);
    appendFileSync(path, lines);
    return { segment: this.#segment, offset: statSync(path).size };
  }

  /** Grows to where no group and no snapshot goes on. */
  settle(): void {
    this.grow(REAL_LINES.length - (this.#lines % REAL_LINES.length));
  }

  rotate(): void {
    this.#segment += 1;
  }
}

/** The far side as a list, which fails when it is told to. */
export class ListSink {
  /** How often it was left to wait for more. */
  lingered = 0;
  readonly got: OutRecord[] = [];
  readonly batches: number[] = [];
  failure: ExportCause | undefined;
  /** Takes so many records of a batch before it fails. */
  takes = 0;
  opened = 0;
  knows = false;
  hangs = false;
  hanging = 0;
  readonly open = async (): Promise<Sink> => {
    this.opened += 1;
    const { send, close } = this;
    const ids = new Set(this.got.map(({ record }) => record.event_id));
    const linger = (): number => {
      this.lingered += 1;
      return 0;
    };
    return {
      get lingerMs() {
        return linger();
      },
      send,
      close,
      ...(this.knows ? { stored: async () => ids } : {}),
    };
  };
  readonly send = async (records: readonly OutRecord[]): Promise<void> => {
    if (this.hangs) {
      this.hanging += 1;
      return new Promise(() => {});
    }
    for (const { record } of records) checkValid(record);
    this.got.push(...(this.failure ? records.slice(0, this.takes) : records));
    if (this.failure) throw new SinkError(this.failure, `The far side fails: ${this.failure}`);
    this.batches.push(records.length);
  };
  readonly close = async (): Promise<void> => {
    if (this.hangs) return new Promise(() => {});
  };

  get ids(): string[] {
    return this.got.map(({ record }) => record.event_id);
  }
}

export interface Running {
  readonly exporter: Exporter;
  /** What went to the journal. */
  readonly said: RecordDraft[];
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export function start(
  journal: HandJournal,
  given: Partial<ExporterOptions> & Pick<ExporterOptions, 'open'>,
): Running {
  const said: RecordDraft[] = [];
  const exporter = new Exporter({
    name: 'siem',
    kind: 'file',
    journalDir: journal.dir,
    cursorDir: journal.cursors,
    privacy: (record) => record,
    record: (draft) => void said.push(draft),
    changed: () => {},
    firstRetryMs: 5,
    ...given,
  });
  const ended = exporter.run();
  const stop = async (): Promise<void> => {
    exporter.stop(1000);
    await ended;
  };
  cleanUp(() => exporter.stop(0));
  return { exporter, said, ended, stop };
}

/** Records in the files of a file export, each held to the schema, and in whole lines. */
export function exported(dir: string): FinishedRecord[] {
  return listSegments(dir).flatMap((segment) => {
    const lines = readFileSync(segmentPath(dir, segment), 'utf8').split('\n');
    if (lines.pop() !== '') throw new Error(`A torn line in segment ${segment}`);
    return lines.map((line) => {
      const record = JSON.parse(line);
      checkValid(record);
      return record;
    });
  });
}
