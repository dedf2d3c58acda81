// Completion, asked for in the shells themselves.
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { cleanUp, tempDir, until } from '../daemon/support.ts';
import { keptIo } from './builders.ts';

async function script(shell: string): Promise<string> {
  const io = keptIo();
  expect(await run(['completion', shell], io)).toBe(0);
  const file = join(tempDir(), `mapisync.${shell}`);
  writeFileSync(file, io.stdout.text);
  return file;
}

function has(shell: string, ...others: string[]): boolean {
  const missing = [shell, ...others].find((one) => spawnSync(one, ['-V']).error !== undefined);
  if (missing === undefined) return true;
  const text = `completion in ${shell} is not tried: sudo apt-get install ${missing}`;
  if (process.env.MAPISYNC_REQUIRE === 'all') throw new Error(`Cannot run all tests: ${text}`);
  process.stderr.write(`SKIPPED: ${text}\n`);
  return false;
}

/** What stands on the line, the words that must be offered, and some that must not. */
const LINES: readonly [string, readonly string[], readonly string[]][] = [
  ['mapisync da', ['daemon'], ['tail']],
  ['mapisync daemon st', ['start', 'stop', 'status'], ['run']],
  ['mapisync --output ', ['auto', 'tty', 'plain', 'json'], ['tail']],
  ['mapisync tail --ex', ['--exit-on-done'], ['--all']],
  ['mapisync service uninstall --p', ['--purge'], []],
  ['mapisync show ^', ['^0', '^1'], []],
  ['mapisync version --js', ['--json'], []],
  ['mapisync completion z', ['zsh'], ['bash']],
];

describe.skipIf(!has('bash'))('bash', () => {
  test.for(LINES)('%s', async ([line, wanted, unwanted]) => {
    const words = line.split(' ').map((word) => `'${word}'`);
    const ask = `source ${await script('bash')}; COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1};
      _mapisync; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const got = execFileSync('bash', ['--norc', '-u', '-c', ask], { encoding: 'utf8' }).split('\n');
    expect(got).toEqual(expect.arrayContaining([...wanted]));
    for (const word of unwanted) expect(got).not.toContain(word);
  });
});

describe.skipIf(!has('fish'))('fish', () => {
  test.for(LINES)('%s', async ([line, wanted, unwanted]) => {
    const ask = `source ${await script('fish')}; complete -C '${line}'`;
    // It makes the directory of its settings even so.
    const env = { ...process.env, XDG_CONFIG_HOME: tempDir(), XDG_DATA_HOME: tempDir() };
    const out = execFileSync('fish', ['--no-config', '-c', ask], { encoding: 'utf8', env });
    const got = out.split('\n').map((row) => row.split('\t')[0]);
    expect(got).toEqual(expect.arrayContaining([...wanted]));
    for (const word of unwanted) expect(got).not.toContain(word);
  });
});

describe.skipIf(!has('zsh', 'tmux'))('zsh', () => {
  test('completes as it is typed', { timeout: 60_000 }, async () => {
    const name = `mapisync-zsh-${process.pid}`;
    const tmux = (...args: string[]): string =>
      execFileSync('tmux', ['-L', name, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    tmux('-f', '/dev/null', 'new-session', '-d', '-x', '120', '-y', '40', 'zsh -f -i');
    cleanUp(() => tmux('kill-server'));
    const shows = (what: string | RegExp): Promise<unknown> =>
      until(`the screen shows ${what}`, () => tmux('capture-pane', '-p').match(what), 20_000);
    tmux(
      'send-keys',
      `PS1='$ '; autoload -Uz compinit && compinit -u -D && . ${await script('zsh')} && clear && print -n rea; print dy`,
      'Enter',
    );
    await shows(/^ready$/m);
    for (const [typed, completed] of [
      ['mapisync servi', 'mapisync service'],
      ['mapisync service uninstall --p', 'mapisync service uninstall --purge'],
      ['mapisync --output pl', 'mapisync --output plain'],
    ] as const) {
      tmux('send-keys', typed);
      tmux('send-keys', 'Tab');
      await shows(completed);
      tmux('send-keys', 'C-u');
    }
    tmux('send-keys', 'mapisync daemon st', 'Tab', 'Tab');
    await shows(/stop +-- +stop it when all is written/);
  });
});
