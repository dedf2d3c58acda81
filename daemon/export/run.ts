/**
 * `mapisync export NAME`: one exporter in the foreground. It reads the journal where it lies, so that a daemon
 * may write it or not, with the cursor of the daemon's exporter of that name.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExportSettings, ExportStatus } from '../../protocol/records/exports.ts';
import { isBefore } from '../platform/journal-files.ts';
import { prepareStateDir, type StatePaths } from '../platform/paths.ts';
import { PlatformError } from '../platform/platform-error.ts';
import { hostName } from '../platform/process.ts';
import { machineTokens } from '../platform/token-key.ts';
import { LAST_WORDS_MS } from './limits.ts';
import { makeExporter } from './make-exporter.ts';
import { settledEnd } from './reader.ts';

/** How often the journal is looked at. */
const POLL_MS = 100;

export interface RunExportOptions {
  readonly paths: StatePaths;
  readonly settings: ExportSettings;
  /** Ends when all that stands in the journal now is sent, or cannot be sent; else only `signal` ends it. */
  readonly exitOnDone: boolean;
  readonly signal: AbortSignal;
  /** The far side answers. */
  readonly begun: () => void;
  /** Hears, in a sentence, that the far side failed, and that it has it all again. */
  readonly say: (text: string, level: 'info' | 'warn') => void;
}

/**
 * @returns How it ended: with a `cause`, if the far side failed. Following, it waits for one that took something
 * before, as the daemon does.
 * @throws {PlatformError} if there is no state directory, or it is not this user's alone.
 */
export async function runExport(options: RunExportOptions): Promise<ExportStatus> {
  const { paths, settings, exitOnDone, signal, begun, say } = options;
  const { root, journal: journalDir } = paths;
  // Not made here: where there is one, shims record.
  if (!existsSync(root)) {
    const text = `Cannot export ${root}: expected the state directory of a daemon, got none`;
    const hint = 'Start one with: mapisync daemon start; or choose another --state-dir';
    throw new PlatformError('not-running', `${text}. ${hint}`);
  }
  prepareStateDir(paths);
  const place = { root, host: hostName(), journalDir, cursorDir: join(root, 'cursors') };
  let hasRun = false;
  const exporter = makeExporter(settings, place, {
    token: machineTokens(root),
    record: ({ msg, event_name }) => {
      if (hasRun && !exitOnDone) say(msg, event_name === 'export.failed' ? 'warn' : 'info');
      else exporter.stop(0);
    },
    changed: () => {
      if (hasRun || exporter.status.state !== 'running') return;
      hasRun = true;
      begun();
    },
  });
  const ended = new AbortController();
  const over = AbortSignal.any([signal, ended.signal]);
  const follow = async (): Promise<void> => {
    let end = settledEnd(journalDir, exporter.cursor);
    exporter.grown(end);
    if (exitOnDone) exporter.stop();
    while (!over.aborted) {
      await sleep(POLL_MS, undefined, { signal: over }).catch(() => {}); // The next look sees why.
      if (exitOnDone) continue;
      const grown = settledEnd(journalDir, end);
      if (isBefore(end, grown) || grown.segment < end.segment) exporter.grown(grown);
      end = grown;
    }
  };
  await Promise.all([
    follow().finally(() => exporter.stop(LAST_WORDS_MS)),
    exporter.run().finally(() => ended.abort()),
  ]);
  return exporter.status;
}
