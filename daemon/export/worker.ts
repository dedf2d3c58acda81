/** The thread in which all exporters of a daemon run. */
import { setPriority } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { ExportSettings, ExportStatus } from '../../protocol/records/exports.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import type { Cursor } from '../platform/journal-files.ts';
import { machineTokens } from '../platform/token-key.ts';
import type { Exporter } from './exporter.ts';
import { type ExportPlace, makeExporter } from './make-exporter.ts';

export interface WorkerSetup extends ExportPlace {
  readonly exports: readonly ExportSettings[];
}

export type ToWorker =
  | { readonly type: 'grown'; readonly until: Cursor }
  | { readonly type: 'status' }
  | { readonly type: 'stop'; readonly withinMs: number };

export type FromWorker =
  | { readonly type: 'record'; readonly draft: RecordDraft }
  | { readonly type: 'status'; readonly exports: readonly ExportStatus[] };

/** Of this thread: where processors are scarce, whoever takes frames goes first. */
const NICE = 15;

async function serve(setup: WorkerSetup, port: MessagePort): Promise<void> {
  // Elsewhere it would be the whole process's.
  if (process.platform === 'linux') setPriority(0, NICE);
  const tell = (message: FromWorker): void => port.postMessage(message);
  const token = machineTokens(setup.root);
  const exporters: Exporter[] = [];
  const tellStatus = (): void =>
    tell({ type: 'status', exports: exporters.map(({ status }) => status) });
  for (const settings of setup.exports) {
    const record = (draft: RecordDraft): void => tell({ type: 'record', draft });
    exporters.push(makeExporter(settings, setup, { token, record, changed: tellStatus }));
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
