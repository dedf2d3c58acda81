// The recipes, as they stand in docs/recipes.md, with the sample host for the host.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeMaildir } from '../bin/make-maildir.mjs';
import { cleanUp, root, tempDir } from './daemon/support.ts';

const native = join(root, 'dist', 'native', `${process.platform}-${process.arch}`);
const why = !existsSync(join(native, 'sample-host'))
  ? 'there is no C++ compiler'
  : spawnSync('jq', ['--version']).error
    ? 'jq is missing: sudo apt-get install jq'
    : undefined;
if (why) {
  const text = `the recipes are not run: ${why}`;
  if (process.env.MAPISYNC_REQUIRE === 'all') throw new Error(`Cannot run all tests: ${text}`);
  process.stderr.write(`SKIPPED: ${text}\n`);
}

const page = readFileSync(join(root, 'docs', 'recipes.md'), 'utf8');
const recipes = new Map(
  [...page.matchAll(/^## (.*)\n\n```sh\n([\s\S]*?)^```$/gm)].map(([, name, script]) => [
    name!,
    script!,
  ]),
);

/** Runs one as a user whose home is new. */
async function cook(name: string, scenario: string) {
  const home = tempDir();
  const bin = join(home, 'bin');
  mkdirSync(bin);
  makeMaildir({ dir: join(home, 'Mailbox'), broken: 9 });
  const program = (file: string, text: string): void =>
    writeFileSync(join(bin, file), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  program('mapisync', `exec "${process.execPath}" "${root}/dist/bin/mapisync.js" "$@"`);
  // As Outlook does, it says nothing of how the sync ended.
  program(
    'start-a-sync',
    `"${native}/sample-host" --maildir "$HOME/Mailbox" --store "$HOME/store" --quiet --scenario ${scenario} "$@" > /dev/null 2>&1 || true`,
  );
  // In place of a user manager of systemd.
  program('systemctl', 'case "$*" in *restart*) mapisync daemon start ;; esac');
  const env = {
    HOME: home,
    LANG: 'C.UTF-8',
    PATH: `${bin}:${process.env.PATH}`,
    XDG_CONFIG_HOME: join(home, 'config'),
  };
  // A file, since what stays in the background would hold a pipe open.
  const output = join(home, 'output');
  const fd = openSync(output, 'w');
  const script = recipes.get(name)!;
  const child = spawn('bash', ['--norc', '-eu', '-o', 'pipefail', '-c', script], {
    cwd: home,
    env,
    detached: true, // A group of its own, with all that it leaves in the background.
    stdio: ['ignore', fd, fd],
  });
  closeSync(fd);
  cleanUp(() => {
    spawnSync(join(bin, 'mapisync'), ['daemon', 'stop'], { env });
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // Nothing of it is left.
    }
  });
  const [code] = await once(child, 'exit');
  return { code, text: readFileSync(output, 'utf8') };
}

describe.skipIf(why)('the recipe', { timeout: 90_000 }, () => {
  /** Name, the sample's scenario, how it ends, what is seen. */
  const rows: readonly [string, string, number, RegExp][] = [
    ['Watch a sync', '1', 6, /"Mailbox" ended ok_with_errors/],
    ['Catch a hang', '1', 0, /Stuck in Outlook, not in the provider: thread \d+ is inside/],
    ['Fail a CI job', '2', 6, /ended ok_with_errors/],
    ['Fail a CI job', '9-no-done', 5, /ended failed/],
    ['Send a recording', '2', 0, /"kind":"hello"/],
    ['Read the journal with jq', '2', 0, /^\d+\tMAPI_E_CORRUPT_DATA$/m],
    ['Run at logon', '1', 0, /Installed {3}systemd, .*mapisync\.service\n/],
  ];

  test('of each heading is among the rows below', () => {
    const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, name]) => name);
    expect([...recipes.keys()]).toEqual(headings);
    expect([...new Set(rows.map(([name]) => name))]).toEqual(headings);
  });

  test.for(rows)('"%s", scenario %s', async ([name, scenario, code, shows]) => {
    const cooked = await cook(name, scenario);
    expect(cooked.text).toMatch(shows);
    expect(cooked.code).toBe(code);
  });
});
