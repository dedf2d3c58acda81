#!/usr/bin/env node
import { run } from '../client/cli.ts';
import { processIo } from '../client/io.ts';

const io = processIo({
  entry: import.meta.filename,
  runDaemon: async (options) => (await import('../daemon/run.ts')).runDaemon(options),
});
process.exitCode = await run(process.argv.slice(2), io);
