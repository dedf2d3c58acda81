/** The thread in which all exporters of a daemon run. What each needs is loaded when it is used. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { ExportSettings, ExportStatus } from '../../protocol/records/exports.ts';
import { privacyOf } from '../../protocol/records/privacy.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import type { Cursor } from '../platform/journal-files.ts';
import { machineTokens } from '../platform/token-key.ts';
import { Exporter } from './exporter.ts';
import type { OtlpState } from './otlp-sink.ts';
import type { Sink } from './sink.ts';

export interface WorkerSetup {
  readonly root: string;
  /** Name of this machine. */
  readonly host: string;
  readonly journalDir: string;
  readonly cursorDir: string;
  readonly exports: readonly ExportSettings[];
}

export type ToWorker =
  | { readonly type: 'grown'; readonly until: Cursor }
  | { readonly type: 'status' }
  | { readonly type: 'stop'; readonly withinMs: number };

export type FromWorker =
  | { readonly type: 'record'; readonly draft: RecordDraft }
  | { readonly type: 'status'; readonly exports: readonly ExportStatus[] };

/** @param host As it leaves. @returns What opens it, again and again. */
function opener(settings: ExportSettings, host: string): () => Promise<Sink> {
  switch (settings.kind) {
    case 'file':
      return async () => (await import('./file-sink.ts')).openFileSink(settings);
    case 'nats':
      return async () => (await import('./nats-sink.ts')).openNatsSink(settings, host);
    case 'otlp': {
      let state: OtlpState | undefined;
      return async () => {
        const { OtlpState, openOtlpSink } = await import('./otlp-sink.ts');
        state ??= new OtlpState();
        return openOtlpSink(settings, state);
      };
    }
  }
}

async function serve(setup: WorkerSetup, port: MessagePort): Promise<void> {
  const tell = (message: FromWorker): void => port.postMessage(message);
  const token = machineTokens(setup.root);
  const exporters: Exporter[] = [];
  const tellStatus = (): void =>
    tell({ type: 'status', exports: exporters.map(({ status }) => status) });
  for (const settings of setup.exports) {
    exporters.push(
      new Exporter({
        name: settings.name,
        kind: settings.kind,
        journalDir: setup.journalDir,
        cursorDir: setup.cursorDir,
        privacy: privacyOf(settings.text, token),
        open: opener(settings, settings.text === 'plain' ? setup.host : token(setup.host)),
        record: (draft) => tell({ type: 'record', draft }),
        changed: tellStatus,
      }),
    );
  }
  port.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'grown':
        for (const exporter of exporters) exporter.grown(message.until);
        return;
      case 'status':
        tellStatus();
        return;
      case 'stop':
        for (const exporter of exporters) exporter.stop(message.withinMs);
    }
  });
  await Promise.all(exporters.map((exporter) => exporter.run()));
  port.close();
}

if (parentPort) await serve(workerData as WorkerSetup, parentPort);
