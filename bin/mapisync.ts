#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { run } from '../client/cli.ts';
import { processIo } from '../client/io.ts';

const io = processIo({
  entry: import.meta.filename,
  runDaemon: async (options) => {
    // Collects early: a busy daemon would fill a hundred MiB more with garbage.
    setFlagsFromString('--semi-space-growth-factor=1');
    setFlagsFromString('--heap-growing-percent=40');
    return (await import('../daemon/run.ts')).runDaemon(options);
  },
});
process.exitCode = await run(process.argv.slice(2), io);
