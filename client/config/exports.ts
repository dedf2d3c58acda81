/** Where the log is taken besides: what the settings say, for each place that they name. */
import { resolve } from 'node:path';
import type {
  ExportSettings,
  FileExport,
  NatsExport,
  OtlpExport,
} from '../../protocol/records/exports.ts';
import { KEYS, type Key } from './keys.ts';
import { find, type Sources } from './sources.ts';

/** As a command line gives them. */
export interface ExportFlags {
  readonly dir?: string;
  readonly size?: string;
  readonly text?: string;
}

/** All that the daemon takes its log to. @throws {CliError} exit 2 */
export const exportSettings = (sources: Sources): ExportSettings[] =>
  Object.values(EXPORTS)
    .map((settings) => settings(sources, {}))
    .filter((found) => found !== undefined);

/** Of one kind each; undefined if nothing says where to. They throw {CliError} exit 2. */
export const EXPORTS = { file: fileSettings, nats: natsSettings, otlp: otlpSettings } as const;

function fileSettings(sources: Sources, flags: ExportFlags): FileExport | undefined {
  const dir = find(KEYS.exportFileDir, flags.dir && resolve(flags.dir), sources).value;
  if (dir === undefined) return undefined;
  const totalBytes = find(KEYS.exportFileSize, flags.size, sources).value;
  return {
    name: 'file',
    kind: 'file',
    text: find(KEYS.exportFileText, flags.text, sources).value ?? 'token',
    dir,
    ...(totalBytes === undefined ? {} : { totalBytes }),
  };
}

function otlpSettings(sources: Sources, flags: ExportFlags): OtlpExport | undefined {
  const value = <T>(key: Key<T>): T | undefined => find(key, undefined, sources).value;
  const url = value(KEYS.exportOtlpUrl);
  if (url === undefined) return undefined;
  const headers = value(KEYS.exportOtlpHeaders);
  const ca = value(KEYS.exportOtlpCa);
  return {
    name: 'otlp',
    kind: 'otlp',
    text: find(KEYS.exportOtlpText, flags.text, sources).value ?? 'token',
    url,
    ...(headers === undefined ? {} : { headers }),
    ...(ca === undefined ? {} : { ca }),
  };
}

/** Also for whoever reads a fleet. @throws {CliError} exit 2 */
export function natsSettings(sources: Sources, flags: ExportFlags = {}): NatsExport | undefined {
  const value = <T>(key: Key<T>): T | undefined => find(key, undefined, sources).value;
  const servers = value(KEYS.exportNatsServers);
  if (servers === undefined) return undefined;
  const given = {
    stream: value(KEYS.exportNatsStream),
    ca: value(KEYS.exportNatsCa),
    cert: value(KEYS.exportNatsCert),
    key: value(KEYS.exportNatsKey),
    credentials: value(KEYS.exportNatsCredentials),
  };
  const known = Object.entries(given).filter(([, text]) => text !== undefined);
  return {
    name: 'nats',
    kind: 'nats',
    text: find(KEYS.exportNatsText, flags.text, sources).value ?? 'token',
    servers,
    ...(Object.fromEntries(known) as Partial<typeof given> as object),
  };
}
