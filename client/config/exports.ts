/** Where the daemon takes its log: what the settings say, for each place that they name. */
import type { ExportSettings } from '../../protocol/records/exports.ts';
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
  return found;
}
