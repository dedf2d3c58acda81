/** Where records go: what an exporter asks of the far side. */
import type { FinishedRecord } from '../../protocol/records/line.ts';
import type { ExportCause } from '../../protocol/records/record.ts';

export interface OutRecord {
  readonly record: FinishedRecord;
  /** As a line of JSON, without its newline. */
  readonly line: string;
}

export interface Sink {
  /** false: the connection ended while nothing was sent, and `open` is to be tried anew. */
  readonly isOpen?: boolean;
  /** How long records are gathered before they are sent. */
  readonly lingerMs: number;
  /**
   * Ids of the newest records that the far side has of this machine: all that a batch may have left there
   * without its acknowledgement. Absent: the far side removes duplicates itself.
   */
  stored?(): Promise<ReadonlySet<string>>;
  /**
   * Resolves when the far side answers for every record.
   *
   * @throws {SinkError} if it does not; some of them may have arrived.
   */
  send(records: readonly OutRecord[]): Promise<void>;
  close(): Promise<void>;
}

/** The far side cannot be reached, or will not have it. The message says how to mend it. */
export class SinkError extends Error {
  override readonly name = 'SinkError';
  readonly reason: ExportCause;

  constructor(reason: ExportCause, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}
