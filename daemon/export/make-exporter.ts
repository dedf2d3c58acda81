/** An exporter as its settings say. What each kind needs is loaded when it is used. */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ExportSettings } from '../../protocol/records/exports.ts';
import { privacyOf } from '../../protocol/records/privacy.ts';
import { lockFile } from '../platform/locks.ts';
import { Exporter, type ExporterOptions } from './exporter.ts';
import type { OtlpState } from './otlp-sink.ts';
import { type Sink, SinkError } from './sink.ts';

export interface ExportPlace {
  /** The state directory. */
  readonly root: string;
  /** Name of this machine. */
  readonly host: string;
  readonly journalDir: string;
  readonly cursorDir: string;
}

interface Hooks extends Pick<ExporterOptions, 'record' | 'changed'> {
  /** What stands for a text. */
  readonly token: (text: string) => string;
}

export function makeExporter(
  settings: ExportSettings,
  place: ExportPlace,
  { token, record, changed }: Hooks,
): Exporter {
  const { name, kind, text } = settings;
  const { journalDir, cursorDir } = place;
  mkdirSync(cursorDir, { recursive: true, mode: 0o700 });
  // Another directory has nothing yet. Its path is a text of the host, and the journal names cursors.
  const cursorName = kind === 'file' ? `${name}.${token(resolve(settings.dir)).slice(1)}` : name;
  return new Exporter({
    ...{ name, kind, journalDir, cursorDir, cursorName, record, changed },
    own: () => ownCursor(name, cursorName, place),
    privacy: privacyOf(text, token),
    open: opener(settings, text === 'plain' ? place.host : token(place.host)),
  });
}

function ownCursor(name: string, cursorName: string, { root, cursorDir }: ExportPlace): () => void {
  const lock = lockFile(join(cursorDir, `.${cursorName}.lock`));
  if (lock) return () => lock.release();
  const text = `Cannot export ${root}: its exporter ${name} runs already`;
  const where = `in its daemon or in another mapisync export ${name}`;
  throw new SinkError('failed', `${text}, ${where}. Stop that one first`);
}

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
