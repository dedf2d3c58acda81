// The docs that come from the program say what the program says.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

test('docs/cli.md and docs/config.schema.json are what the program says', () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(root, 'bin', 'docs.mjs'), '--check'],
    {
      encoding: 'utf8',
    },
  );
  expect([status, stderr]).toEqual([0, '']);
});
