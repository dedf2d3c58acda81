import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: fileURLToPath(new URL('..', import.meta.url)),
    globalSetup: 'test/compiled.ts',
    include: ['test/**/*.test.ts'],
    // Many tests wait for other processes; by default one core would be left idle.
    maxWorkers: '100%',
    // What the user of this machine has set does not count here. Nothing is there, in no run.
    env: { XDG_CONFIG_HOME: join(tmpdir(), `mapisync-no-settings-${process.pid}`) },
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
