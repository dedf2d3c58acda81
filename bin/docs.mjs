/**
 * Writes the docs that come from the program: `docs/cli.md` and `docs/config.schema.json`. With
 * `--check` it writes nothing, and ends with 1 if one of them says something else than the program.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../dist/client/cli.js';
import { ALL_KEYS, flagName } from '../dist/client/config/keys.js';
import { configSchema } from '../dist/client/config/schema.js';
import { EXIT, exitCodesHelp } from '../dist/client/exit.js';
import { root } from './native.mjs';

const COLUMNS = 100;

/** What a command line prints. */
async function printed(args) {
  let text = '';
  const write = async (part) => {
    text += part;
  };
  const output = { isTTY: false, columns: COLUMNS, rows: 0, write, onResize: () => () => {} };
  const io = { env: {}, platform: 'linux', stdout: output, stderr: output };
  const code = await run(args, io);
  if (code !== 0) throw new Error(`mapisync ${args.join(' ')} ended with ${code}: ${text}`);
  return text.trimEnd();
}

/** Names in a help's list of commands. */
const commandsOf = (help) =>
  [...(/\nCommands:\n((?: {2}.*\n)*)/.exec(`${help}\n`)?.[1] ?? '').matchAll(/^ {2}([a-z-]+)/gm)]
    .map(([, name]) => name)
    .filter((name) => name !== 'help');

/** Every command and its help, without what all of them share. */
async function* helps(words = []) {
  const help = await printed([...words, '--help']);
  if (words.length > 0) yield [words, help.replace(/\nGlobal Options:\n(?: {2}.*\n)*/, '')];
  for (const name of commandsOf(help)) yield* helps([...words, name]);
}

const indented = (text) =>
  text
    .split('\n')
    .map((line) => (line === '' ? '' : `    ${line}`))
    .join('\n');

const cell = (text) => text.replaceAll('|', '\\|');

function settings() {
  const rows = ALL_KEYS.map((key) => {
    const flag = flagName(key);
    const cells = [
      `\`${key.name}\``,
      flag === undefined ? '' : `\`${flag}\``,
      `\`${key.variable}\``,
      `${key.what}; ${key.expected === key.what ? '' : `${key.expected}; `}`.replace(/; $/, ''),
      key.fallback,
    ];
    return `| ${cells.map(cell).join(' | ')} |`;
  });
  return ['| key | flag | variable | what | default |', '| --- | --- | --- | --- | --- |', ...rows];
}

function exitCodes() {
  const lines = exitCodesHelp(Object.values(EXIT)).matchAll(/^ +(\d+) {2}(.*)$/gm);
  const rows = [...lines].map(([, code, meaning]) => `| ${code} | ${cell(meaning)} |`);
  return ['| code | meaning |', '| --- | --- |', ...rows];
}

async function commandLine() {
  const parts = [
    '# The command line',
    '<!-- From the program: node bin/make.mjs docs -->',
    `Data on stdout, everything else on stderr. A pipe that is closed on us ends a command quietly with 0.
With \`--json\` an error is one line of JSON on stderr: \`{"error":{"message","hint","exit_code"}}\`.
Durations are \`500ms\`, \`30s\`, \`10m\`, \`2h\`; times are RFC 3339, a duration ago, or \`today\`.`,
    indented(await printed(['--help'])),
    '## Settings',
    `A flag beats a variable beats the user's config file beats the machine's beats the default. Where the
files lie: [operating.md](operating.md#settings).`,
    settings().join('\n'),
    '## Exit codes',
    exitCodes().join('\n'),
    'Several sessions: the first that applies of 5, 7, 11, 6, 0. A number never changes its meaning.',
  ];
  for await (const [words, help] of helps()) parts.push(`## ${words.join(' ')}`, indented(help));
  return `${parts.join('\n\n')}\n`;
}

const files = {
  'docs/cli.md': await commandLine(),
  'docs/config.schema.json': `${JSON.stringify(configSchema(), null, 2)}\n`,
};
for (const [name, text] of Object.entries(files)) {
  const path = join(root, name);
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (readFileSync(path, 'utf8') !== text) {
    process.stderr.write(`${name} says something else than the program: node bin/make.mjs docs\n`);
    process.exitCode = 1;
  }
}
