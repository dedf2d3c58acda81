#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { run } from '../client/cli.ts';
import { processIo } from '../client/io.ts';

const io = processIo({
  entry: import.meta.filename,
  runDaemon: async (options) => {
    // Keeps the heap's nursery small: a busy daemon would fill 48 MiB more with garbage.
    setFlagsFromString('--semi-space-growth-factor=1');
    return (await import('../daemon/run.ts')).runDaemon(options);
  },
});
process.exitCode = await run(process.argv.slice(2), io);
