// The sample host under valgrind: shim and provider write nowhere they may not, and lose no memory.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { Bench, runProgram, systems } from '../e2e/systems.ts';

const here = systems.find(({ name }) => name === 'linux');
const isThere = spawnSync('valgrind', ['--version'], { stdio: 'ignore' }).status === 0;
const why = 'valgrind is missing: sudo apt-get install valgrind';
/** As valgrind ends if it found something. */
const FOUND = 99;

test('a sync of two stores without a daemon is clean', { timeout: 60_000 }, async ({ skip }) => {
  if (!here) return skip('only on Linux');
  if (!isThere && process.env.MAPISYNC_REQUIRE === 'all') throw new Error(why);
  if (!isThere) return skip(why);
  const bench = new Bench(here);
  bench.makeState();
  const maildir = join(bench.scratch, 'Mailbox');
  makeMaildir({ dir: maildir, messages: 20, folders: 2, broken: 4 });
  const ran = await runProgram(
    here,
    'valgrind',
    [
      ...['-q', `--error-exitcode=${FOUND}`, '--leak-check=full'],
      // The worker lives as long as the process, and its stack's bookkeeping counts as possibly lost.
      ...['--show-leak-kinds=definite,indirect', '--errors-for-leak-kinds=definite,indirect'],
      ...[join(here.native, here.names.host), '--json', '--quiet', '--stores', '2'],
      ...['--maildir', maildir, '--store', join(bench.scratch, 'store')],
    ],
    { scratch: bench.scratch, env: { MAPISYNC_STATE_DIR: bench.state } },
  ).ended;
  await bench.close();
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  // It was recorded, so the shim was at work.
  const { shim, calls } = JSON.parse(ran.stdout);
  expect(shim).toMatchObject({ recording: 1, lost: 0 });
  expect(shim.recorded).toBeGreaterThan(calls.progress);
});
