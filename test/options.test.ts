// How the long runs read their options.
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

const program = `import { optionsOf } from ${JSON.stringify(new URL('options.mjs', import.meta.url).href)};
const wants = { seed: 'N', pairs: 'COUNT', minutes: 'MINUTES', only: ['one', 'two'], file: 'FILE', quick: '' };
const words = process.env.WORDS?.split(',');
process.stdout.write(JSON.stringify(optionsOf('try', wants, words)));`;

const read = (args: readonly string[], words?: string) => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', program, '--', ...args],
    { encoding: 'utf8', env: { ...process.env, ...(words === undefined ? {} : { WORDS: words }) } },
  );
  return { status, stdout, stderr };
};

test('gives numbers, lists, texts and switches', () => {
  const args = '--seed 0 --pairs 10 --minutes 0.5 --only two,one --file x.json --quick'.split(' ');
  const { stdout } = read(args);
  expect(JSON.parse(stdout)).toEqual({
    values: { seed: 0, pairs: 10, minutes: 0.5, only: ['two', 'one'], file: 'x.json', quick: true },
  });
  expect(JSON.parse(read(['soak', '--seed', '1'], 'soak,hunt').stdout)).toEqual({
    values: { seed: 1 },
    word: 'soak',
  });
});

test.for([
  ['--seed', '1.5', '--seed wants a whole number, got "1.5"'],
  ['--pairs', '0', '--pairs wants a whole number above 0, got "0"'],
  ['--minutes', 'long', '--minutes wants a number above 0, got "long"'],
  ['--minutes', '0.0', '--minutes wants a number above 0, got "0.0"'],
  ['--only', 'one,three', '--only got "three", expected some of one, two'],
  ['--sed', '7', "Unknown option '--sed'"],
  ['hunt', 'it', 'got "it" too much'],
])('refuses %s %s', ([option, value, why]) => {
  const { status, stdout, stderr } = read([option!, value!]);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toBe(
    `Cannot run try: ${why}\nUsage: npm run try -- [--seed N] [--pairs COUNT] [--minutes MINUTES] [--only NAME,...] [--file FILE] [--quick]\n`,
  );
});

test('wants one of the words, where there are some', () => {
  expect(read([], 'soak,hunt')).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^Cannot run try: got "", expected one of soak, hunt\nUsage: /),
  });
  expect(read(['--help'])).toMatchObject({ status: 0, stdout: expect.stringMatching(/^Usage: /) });
});
