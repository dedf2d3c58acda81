/** What an exporter is told: where to, and what of the texts; and what it says of itself. */
import type { TextPolicy } from './privacy.ts';
import type { ExportCause } from './record.ts';

interface Common {
  /** In records and in the status; also the name of the cursor. */
  readonly name: string;
  readonly text: TextPolicy;
}

/** JSON lines in files of a directory, for a shipper. */
export interface FileExport extends Common {
  readonly kind: 'file';
  readonly dir: string;
  /** A file begins anew above this. */
  readonly fileBytes?: number;
  /** All files together; the oldest go. */
  readonly totalBytes?: number;
}

/** A stream of NATS JetStream. */
export interface NatsExport extends Common {
  readonly kind: 'nats';
  readonly servers: readonly string[];
  readonly stream?: string;
  /** Files: a certificate authority, a client's certificate and its key, a credentials file. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly credentials?: string;
}

/** An OpenTelemetry receiver, by HTTP with protobuf. */
export interface OtlpExport extends Common {
  readonly kind: 'otlp';
  /** Without `/v1/logs`. */
  readonly url: string;
  /** A file with `name: value` lines, for what authorizes. */
  readonly headers?: string;
  readonly ca?: string;
}

export type ExportSettings = FileExport | NatsExport | OtlpExport;

export interface ExportStatus {
  readonly name: string;
  readonly kind: string;
  readonly state: 'starting' | 'running' | 'failing' | 'stopped';
  /** Of the journal, behind what the far side has answered for. */
  readonly backlog_bytes: number;
  /** Since the daemon started. */
  readonly sent: number;
  readonly cause?: ExportCause;
  readonly error?: string;
}
