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

/** Codes of Node and OpenSSL for a certificate or a handshake that is wrong. */
export const isTlsCode = (code: string): boolean =>
  /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(code);

/** An error and what caused it, outermost first. */
export function causesOf(error: unknown): { name: string; message: string; code?: unknown }[] {
  const chain: { name: string; message: string; code?: unknown }[] = [];
  for (let at = error; at instanceof Error && chain.length < 5; at = at.cause) {
    chain.push(at as Error & { code?: unknown });
  }
  return chain;
}
