/** Where the daemon takes its log: what the settings say, for each place that they name. */
import type { ExportSettings, NatsExport } from '../../protocol/records/exports.ts';
import { KEYS, type Key } from './keys.ts';
import { find, type Sources } from './sources.ts';

/** @throws {CliError} exit 2 */
export function exportSettings(sources: Sources): ExportSettings[] {
  const value = <T>(key: Key<T>): T | undefined => find(key, undefined, sources).value;
  const found: ExportSettings[] = [];
  const dir = value(KEYS.exportFileDir);
  if (dir !== undefined) {
    const totalBytes = value(KEYS.exportFileSize);
    found.push({
      name: 'file',
      kind: 'file',
      text: value(KEYS.exportFileText) ?? 'token',
      dir,
      ...(totalBytes === undefined ? {} : { totalBytes }),
    });
  }
  const nats = natsSettings(sources);
  if (nats) found.push(nats);
  const url = value(KEYS.exportOtlpUrl);
  if (url !== undefined) {
    const headers = value(KEYS.exportOtlpHeaders);
    const ca = value(KEYS.exportOtlpCa);
    found.push({
      name: 'otlp',
      kind: 'otlp',
      text: value(KEYS.exportOtlpText) ?? 'token',
      url,
      ...(headers === undefined ? {} : { headers }),
      ...(ca === undefined ? {} : { ca }),
    });
  }
  return found;
}

/** Also for whoever reads a fleet. @throws {CliError} exit 2 */
export function natsSettings(sources: Sources): NatsExport | undefined {
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
    text: value(KEYS.exportNatsText) ?? 'token',
    servers,
    ...(Object.fromEntries(known) as Partial<typeof given> as object),
  };
}
