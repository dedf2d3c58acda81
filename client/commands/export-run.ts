/** `export file`, `nats`, `otlp`: one exporter in the foreground. Needs no daemon. */
import { statePaths } from '../../daemon/platform/paths.ts';
import type { ExportSettings } from '../../protocol/records/exports.ts';
import { EXPORTS, type ExportFlags } from '../config/exports.ts';
import { KEYS } from '../config/keys.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { say } from '../messages.ts';
import { patience } from '../patience.ts';
import { count } from '../render/numbers.ts';
import type { Settings } from '../settings.ts';

export interface ExportRunFlags extends ExportFlags {
  readonly exitOnDone: boolean;
}

/** What says where to. */
const PLACES = {
  file: KEYS.exportFileDir,
  nats: KEYS.exportNatsServers,
  otlp: KEYS.exportOtlpUrl,
} as const;

export async function exportRun(
  kind: ExportSettings['kind'],
  { exitOnDone, ...flags }: ExportRunFlags,
  settings: Settings,
  io: Io,
): Promise<number> {
  const found = EXPORTS[kind](settings.sources, flags);
  if (found === undefined) {
    const { name, variable, expected } = PLACES[kind];
    const text = `Cannot export: expected where to (${expected}), got nothing`;
    const hint = `${kind === 'file' ? 'Give --dir, or set' : 'Set'} ${name} or ${variable}`;
    throw new CliError(EXIT.usage, text, hint);
  }
  const paths = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
  const where = placeOf(found);
  const note = (text: string): void => {
    if (settings.verbosity >= 0) say(io, text);
  };
  const { stopped, signal } = patience(settings, io);
  const end = await io.runExport({
    ...{ paths, settings: found, exitOnDone, signal },
    begun: () => exitOnDone || note(`Exporting ${paths.journal} to ${where} until Ctrl-C`),
    say: (text, level) => say(io, text, level),
  });
  if (end.error !== undefined && !signal.aborted) {
    throw new CliError(end.cause === 'denied' ? EXIT.permission : EXIT.failed, end.error);
  }
  note(`Exported ${count(end.sent, 'record')} to ${where}`);
  if (settings.output === 'json') await io.stdout.write(`${JSON.stringify(end)}\n`);
  if (!signal.aborted) return EXIT.done;
  return stopped.aborted ? EXIT.interrupted : EXIT.timeout;
}

function placeOf(settings: ExportSettings): string {
  switch (settings.kind) {
    case 'file':
      return settings.dir;
    case 'nats':
      return settings.servers.join(',');
    case 'otlp':
      return settings.url;
  }
}
