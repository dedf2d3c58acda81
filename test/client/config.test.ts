// Settings: what beats what, what a config file may hold, and how a bad one is said.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Ajv2020 from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { configPaths } from '../../client/config/files.ts';
import { ALL_KEYS } from '../../client/config/keys.ts';
import { EXIT } from '../../client/exit.ts';
import type { DaemonOptions, Io } from '../../client/io.ts';
import { journalOf, startDaemon, tempDir } from '../daemon/support.ts';
import { keptIo } from './builders.ts';

type Json = Record<string, unknown>;

/** A user with a config file, on a machine with one. */
function scene(user?: Json | string, machine?: Json | string, env: Record<string, string> = {}) {
  const dir = tempDir();
  const base = { LANG: 'C.UTF-8', XDG_CONFIG_HOME: join(dir, 'user'), ...env };
  const machineConfig = join(dir, 'machine.json');
  const paths = configPaths({ env: base, platform: 'linux', machineConfig });
  const write = (path: string, content: Json | string): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  };
  if (user !== undefined) write(paths.user, user);
  if (machine !== undefined) write(paths.machine, machine);
  const mapisync = async (args: readonly string[], given: Partial<Io> = {}) => {
    const io = keptIo({
      env: { ...base, MAPISYNC_STATE_DIR: join(dir, 'state') },
      machineConfig,
      ...given,
    });
    const code = await run(args, io);
    return { code, out: io.stdout.text, err: io.stderr.text };
  };
  return { ...paths, mapisync };
}

describe('the flag before the environment before the user before the machine before the default', () => {
  const machine = { record: { keep: 1 } };
  const user = { record: { keep: 2 } };
  const env = { MAPISYNC_RECORD_KEEP: '3' };
  const flag = ['--record-keep', '4'];
  test.for<[number, string[], object?, (object | undefined)?, object?]>([
    [4, flag, env, user, machine],
    [3, [], env, user, machine],
    [2, [], {}, user, machine],
    [1, [], {}, undefined, machine],
    [0, []],
  ])('%i', async ([want, args, env = {}, user, machine]) => {
    const { mapisync } = scene(user as Json, machine as Json, env as Record<string, string>);
    let got: DaemonOptions | undefined;
    const runDaemon = async (options: DaemonOptions): Promise<number> => {
      got = options;
      return 0;
    };
    expect(await mapisync(['daemon', 'run', ...args], { runDaemon })).toMatchObject({ code: 0 });
    expect(got?.recordKeep).toBe(want);
  });

  test('the list with origins fits 80 columns, but for paths', async () => {
    const { out } = await scene().mapisync(['config', 'list', '--show-origin']);
    for (const line of out.split('\n')) expect(line.length).toBeLessThan(80);
  });

  test('what the machine enforces beats the environment and the user, and refuses a flag', async () => {
    const machine = {
      journal: { age: '7d' },
      record: { keep: 0 },
      enforced: ['journal.age', 'record.keep'],
    };
    const { mapisync, machine: path } = scene({ journal: { age: '90d' } }, machine, {
      MAPISYNC_JOURNAL_AGE: '365d',
    });
    const { out } = await mapisync(['config', 'list', '--json']);
    expect(JSON.parse(out)['journal.age']).toEqual({
      value: '7d',
      origin: 'enforced',
      from: `${path} (enforced)`,
    });
    expect(await mapisync(['daemon', 'run', '--record-keep', '8'])).toMatchObject({
      code: EXIT.usage,
      err: expect.stringContaining(`Cannot use --record-keep: ${path} enforces record.keep = 0`),
    });
  });

  test('every key reaches the daemon', async () => {
    const { mapisync } = scene({
      quiet_after: '45s',
      record: { keep: 5 },
      journal: { sync: '250ms', size: '32MiB', segment: '2MiB', age: '9d' },
    });
    let got: DaemonOptions | undefined;
    const runDaemon = async (options: DaemonOptions): Promise<number> => {
      got = options;
      return 0;
    };
    await mapisync(['daemon', 'run'], { runDaemon });
    expect(got).toMatchObject({
      quietMs: 45_000,
      recordKeep: 5,
      sync: 250,
      journalBytes: 32 * 1_048_576,
      segmentBytes: 2 * 1_048_576,
      journalDays: 9,
    });
    expect(
      Object.keys(JSON.parse((await mapisync(['config', 'list', '--json'])).out)),
    ).toHaveLength(ALL_KEYS.length);
  });

  test('a daemon says in its log what it goes by', async () => {
    const { stateDir, stop } = await startDaemon({ sync: 'disk' });
    await stop();
    const [started] = journalOf(stateDir).filter((one) => one.event_name === 'daemon.started');
    expect(started?.detail).toMatchObject({ journal_sync: 'disk' });
  });

  test('a journal that cannot hold two segments is refused, whoever said so', async () => {
    const { mapisync } = scene({ journal: { segment: '64MiB' } }, { journal: { size: '100MiB' } });
    const { code, err } = await mapisync(['daemon', 'run']);
    expect(code).toBe(EXIT.usage);
    expect(err).toMatch(
      /journal.size: expected at least twice .*64MiB \(user\), got 100MiB \(machine\)/,
    );
  });

  test('output from a config file, also for errors', async () => {
    const { mapisync } = scene({ output: 'json' });
    expect(JSON.parse((await mapisync(['version'])).out)).toMatchObject({ protocol: 1 });
    expect(JSON.parse((await mapisync(['nonsense'])).err)).toMatchObject({
      error: { exit_code: 2 },
    });
  });
});

/** Name, content, what is said of it; undefined: it is fine. Whether the schema alone finds it. */
const FILES: readonly [string, string, RegExp | undefined, 'schema' | 'range'][] = [
  ['nothing', '{}', undefined, 'schema'],
  ['its schema named', '{"$schema":"x","output":"plain"}', undefined, 'schema'],
  ['a mark of UTF-8', '\ufeff{}', undefined, 'range'],
  ['no JSON', '{output}', /: expected JSON, got "/, 'range'],
  ['a list', '[]', /: expected an object, got \[\]/, 'schema'],
  [
    'an unknown key',
    '{"outptu":"json"}',
    /outptu: expected a key such as output, got an un/,
    'schema',
  ],
  [
    'an unknown leaf',
    '{"journal":{"x":1}}',
    /journal.x: expected a key such as journal.age, got/,
    'schema',
  ],
  [
    'a word of its own',
    '{"everything":1}',
    /everything: expected one of output, .* got an unknown/,
    'schema',
  ],
  ['a branch that is a leaf', '{"journal":"disk"}', /journal: expected an object/, 'schema'],
  [
    'a leaf that is a branch',
    '{"output":{"a":1}}',
    /output: expected auto, .* got \{"a":1\}/,
    'schema',
  ],
  [
    'a text for a number',
    '{"record":{"keep":"8"}}',
    /record.keep: expected 0 to 32, got "8"/,
    'schema',
  ],
  [
    'a number for a text',
    '{"journal":{"age":30}}',
    /journal.age: expected 1d to 3650d, got 30/,
    'schema',
  ],
  ['record.keep at its limit', '{"record":{"keep":32}}', undefined, 'schema'],
  ['record.keep above', '{"record":{"keep":33}}', /got 33/, 'schema'],
  ['record.keep below', '{"record":{"keep":-1}}', /got -1/, 'schema'],
  ['journal.size at its limit', '{"journal":{"size":"16MiB"}}', undefined, 'schema'],
  ['journal.size below', '{"journal":{"size":"15MiB"}}', /got "15MiB"/, 'range'],
  ['journal.size at its other limit', '{"journal":{"size":"1024GiB"}}', undefined, 'schema'],
  ['journal.size above', '{"journal":{"size":"1025GiB"}}', /got "1025GiB"/, 'range'],
  ['journal.segment at its limit', '{"journal":{"segment":"1MiB"}}', undefined, 'schema'],
  ['journal.segment below', '{"journal":{"segment":"1023KiB"}}', /got "1023KiB"/, 'range'],
  ['journal.sync by time', '{"journal":{"sync":"1m"}}', undefined, 'schema'],
  ['journal.sync too seldom', '{"journal":{"sync":"61s"}}', /got "61s"/, 'range'],
  [
    'journal.sync misspelled',
    '{"journal":{"sync":"dsik"}}',
    /expected "system", "disk" or/,
    'schema',
  ],
  ['journal.age above', '{"journal":{"age":"3651d"}}', /got "3651d"/, 'range'],
  ['quiet_after below', '{"quiet_after":"999ms"}', /quiet_after: expected .* at least 1s/, 'range'],
  ['enforced', '{"record":{"keep":0},"enforced":["record.keep"]}', undefined, 'schema'],
  [
    'enforced, and not set',
    '{"enforced":["record.keep"]}',
    /enforced: expected keys of the/,
    'range',
  ],
  [
    'enforced, not of the daemon',
    '{"color":"never","enforced":["color"]}',
    /got "color"/,
    'schema',
  ],
  [
    'enforced, no list',
    '{"enforced":true}',
    /enforced: expected a list of keys, got true/,
    'schema',
  ],
];

describe('a config file with', () => {
  test.for(FILES)('%s', async ([, text, want]) => {
    const { mapisync, machine } = scene(undefined, text);
    const { code, out, err } = await mapisync(['version']);
    const validated = await mapisync(['config', 'validate']);
    if (want === undefined) {
      expect([code, validated.code, validated.out]).toEqual([0, 0, `${machine}: valid\n`]);
      return;
    }
    expect([code, out]).toEqual([EXIT.usage, '']);
    expect(err.startsWith(`mapisync: Cannot read ${machine}: `)).toBe(true);
    expect(err).toMatch(want);
    expect(err).toMatch(/config schema/);
    expect([validated.code, validated.out]).toEqual([EXIT.usage, expect.stringMatching(want)]);
  });

  test('the published schema says the same, but for ranges', async () => {
    const { out } = await scene().mapisync(['config', 'schema']);
    const valid = new Ajv2020.default({ strict: true }).compile(JSON.parse(out));
    for (const [name, text, want, how] of FILES) {
      if (how === 'schema')
        expect([name, valid(JSON.parse(text))]).toEqual([name, want === undefined]);
    }
  });

  test('every problem is named by validate, as JSON too', async () => {
    const { mapisync, user } = scene({ color: 'red', journal: { age: '0d' }, enforced: [] });
    const { code, out } = await mapisync(['config', 'validate', '--json']);
    expect(code).toBe(EXIT.usage);
    const [file] = JSON.parse(out).files;
    expect(file.file).toBe(user);
    expect(file.problems.map(({ key }: { key: string }) => key)).toEqual([
      'color',
      'journal.age',
      'enforced',
    ]);
  });

  test('a directory in its place is said', async () => {
    const { mapisync, user } = scene();
    mkdirSync(user, { recursive: true });
    const { code, err } = await mapisync(['version']);
    expect([code, err]).toEqual([
      EXIT.usage,
      expect.stringMatching(/expected a file of JSON, got/),
    ]);
  });
});

describe('config path', () => {
  test.for<[NodeJS.Platform, Record<string, string>, string, string]>([
    ['linux', { HOME: '/h' }, '/h/.config/mapisync/config.json', '/etc/mapisync/config.json'],
    [
      'linux',
      { HOME: '/h', XDG_CONFIG_HOME: '/x' },
      '/x/mapisync/config.json',
      '/etc/mapisync/config.json',
    ],
    [
      'linux',
      { HOME: '/h', XDG_CONFIG_HOME: 'x' },
      '/h/.config/mapisync/config.json',
      '/etc/mapisync/config.json',
    ],
    [
      'win32',
      { APPDATA: 'C:\\R', ProgramData: 'D:\\P' },
      'C:\\R\\mapisync\\config.json',
      'D:\\P\\mapisync\\config.json',
    ],
  ])('on %s with %j', ([platform, env, user, machine]) => {
    expect(configPaths({ platform, env })).toEqual({ user, machine });
  });

  test('is told, and whether they are there', async () => {
    const { mapisync, user, machine } = scene({});
    const { out } = await mapisync(['config', 'path', '--json']);
    expect(JSON.parse(out)).toMatchObject({
      user: { file: user, exists: true },
      machine: { file: machine, exists: false },
    });
  });
});
