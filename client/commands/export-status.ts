/** `export status`: how far each exporter of the daemon is. */
import type { ExportStatus } from '../../protocol/records/exports.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { grouped } from '../render/numbers.ts';
import { printable } from '../render/text.ts';
import type { Theme } from '../render/theme.ts';
import type { Settings } from '../settings.ts';
import { askStatus } from './status.ts';

export async function exportStatus(settings: Settings, io: Io): Promise<number> {
  const { facts } = await askStatus(settings, io);
  const exports = (facts.exports ?? []) as readonly ExportStatus[];
  const lines =
    settings.output === 'json'
      ? exports.map((one) => JSON.stringify(one))
      : exports.flatMap((one) => exportLines(one, settings.theme));
  if (lines.length === 0 && settings.output !== 'json') lines.push('Nothing is exported');
  await io.stdout.write(lines.map((line) => `${line}\n`).join(''));
  return exports.some(({ state }) => state === 'failing') ? EXIT.failed : EXIT.done;
}

export function exportLines(one: ExportStatus, theme: Theme): string[] {
  const { name, state, sent, backlog_bytes: backlog, cause, error } = one;
  const facts = `${state}, ${grouped(sent)} records sent, ${grouped(backlog)} bytes behind`;
  const line = `${name}  ${facts}`;
  if (error === undefined) return [line];
  return [line, `  ${theme.paint('yellow', printable(`${cause}: ${error}`, theme.unicode))}`];
}
