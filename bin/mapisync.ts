#!/usr/bin/env node
import { run } from '../client/cli.ts';
import { EXIT } from '../client/exit.ts';
import { processIo } from '../client/io.ts';

const io = processIo({
  entry: import.meta.filename,
  runDaemon: async (options) =>
    (await import('../daemon/run.ts')).runDaemon({ ...options, ownsProcess: true }),
  runExport: async (options) => (await import('../daemon/export/run.ts')).runExport(options),
});
// Not awaited here, since a script of CommonJS can't. It has failed until it says how it ended.
process.exitCode = EXIT.failed;
void run(process.argv.slice(2), io).then((code) => {
  process.exitCode = code;
});
