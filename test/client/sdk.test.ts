// What authors of providers use: the SDK's folder, and the tests of a provider against a real daemon.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { BEHAVIOURS, failures, judge, suiteOf } from '../../client/provider-tests.ts';
import { junitXml } from '../../client/render/junit.ts';
import { type Ran, root, systems } from '../e2e/systems.ts';

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-sdk-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const here = systems.find(({ name }) => name === process.platform);

describe.skipIf(!here)('mapisync test-provider', () => {
  const system = here!;
  const maildir = join(scratch, 'Mailbox');
  makeMaildir({ dir: maildir, messages: 40, folders: 2 });
  let counter = 0;

  /** Tests the sample provider in one of its scenarios. Whatever it makes lies in a folder of its own. */
  async function tested(scenario: string, ...args: string[]): Promise<Ran & { left: string[] }> {
    const own = join(scratch, `run-${++counter}`);
    mkdirSync(join(own, 'tmp'), { recursive: true });
    const config = join(own, 'config');
    writeFileSync(
      config,
      `maildir=${maildir}\nstore=${own}/store-{n}\nshim=none\nscenario=${scenario}\n`,
    );
    const ran = await system.mapisync(
      [
        ...['test-provider', '--dll', join(system.native, system.names.provider)],
        ...['--entry', 'MapisyncSampleCreate', '--config', config, ...args],
      ],
      { scratch: own, env: { TMPDIR: join(own, 'tmp') } },
    ).ended;
    return { ...ran, left: readdirSync(join(own, 'tmp')) };
  }

  test.concurrent('a provider that keeps the contract: 0, all behaviours, and nothing is left', async () => {
    const { code, stdout, stderr, left } = await tested('2');
    expect([code, stderr, left]).toEqual([0, '', []]);
    for (const { name } of BEHAVIOURS)
      expect(stdout).toMatch(new RegExp(`^${name} +\\d+ passed, `, 'm'));
    expect(stdout).toMatch(/\n\d{2,} passed, 0 failed\n$/);
  });

  test.concurrent('one that calls Done twice: 5, the check, how to mend it, and JUnit says so', async () => {
    const file = join(scratch, 'twice.xml');
    const { code, stdout } = await tested('9', '--junit', file);
    expect([code, stdout]).toEqual([
      5,
      expect.stringMatching(/failed: not MS002: Done was called more than once/),
    ]);
    const xml = readFileSync(file, 'utf8');
    expect(xml).toMatch(
      /<testcase classname="sample-provider\.so: a plain callback" name="not MS002: [^"]+" time="0\.000">\n {6}<failure type="failed" message="[^"]+">/,
    );
    expect(xml).toMatch(/name="not MS001: [^"]+" time="0\.000">/);
  });

  test.concurrent('one that never ends is killed in time, and the others are tried', async () => {
    const { code, stdout, left } = await tested('2', '--timeout', '1ms', '--json');
    expect([code, left]).toEqual([5, []]);
    const { suites } = JSON.parse(stdout);
    expect(suites).toHaveLength(BEHAVIOURS.length);
    expect(suites[0].results).toEqual([
      { name: 'the sync comes to an end', failure: 'it was still running after 0.001 s' },
    ]);
  });

  test.concurrent.for<[string, string[], number, RegExp]>([
    [
      'no such library',
      ['--dll', '/nowhere.so', '--entry', 'X'],
      2,
      /Cannot read --dll: .*\/nowhere\.so/,
    ],
    [
      'what is no library',
      ['--dll', join(root, 'package.json'), '--entry', 'X'],
      1,
      /Cannot load provider/,
    ],
    [
      'no such entry',
      ['--dll', join(system?.native ?? '', system?.names.provider ?? ''), '--entry', 'Nope'],
      1,
      /does not export Nope/,
    ],
    [
      'no such config',
      ['--dll', join(root, 'package.json'), '--entry', 'X', '--config', '/nowhere'],
      2,
      /Cannot read --config/,
    ],
    ['no entry', ['--dll', 'x'], 2, /required option '--entry <name>'/],
  ])('%s is said', async ([, args, wanted, text]) => {
    const own = mkdtempSync(join(scratch, 'bad-'));
    const { code, stderr } = await system.mapisync(['test-provider', ...args], {
      scratch: own,
      env: { TMPDIR: own },
    }).ended;
    expect([code, stderr]).toEqual([wanted, expect.stringMatching(text)]);
    expect(readdirSync(own).filter((name) => name.startsWith('mapisync-'))).toEqual([]);
  });
});

describe('judge()', () => {
  const report = {
    result: '0x00000000',
    sessions: [],
    heard: { dones: 1 },
    references: { callback: 0, provider: 0 },
  };
  const plain = BEHAVIOURS[0]!;
  const failing = (ran: Partial<Parameters<typeof judge>[1]>, behaviour = plain): string[] =>
    judge(behaviour, {
      began: '2026-01-31T10:00:00.000Z',
      seconds: 1,
      report,
      end: '',
      stories: [],
      ...ran,
    })
      .results.filter(({ failure }) => failure !== undefined)
      .map(({ name, failure }) => `${name}: ${failure}`);

  test.for<[string, Parameters<typeof failing>[0], string[]]>([
    ['all is well', {}, []],
    [
      'the host died',
      { report: undefined, end: 'the host died: SIGSEGV' },
      ['the sync comes to an end: the host died: SIGSEGV'],
    ],
    [
      'no Done',
      { report: { ...report, heard: { dones: 0 } } },
      ['Done is called: expected 1 calls of Done, got 0'],
    ],
    [
      'a failure',
      { report: { ...report, result: '0x80040115' }, end: 'why' },
      ['the sync succeeds: the result was 0x80040115 MAPI_E_NETWORK_ERROR; why'],
    ],
    [
      'a reference too many',
      { report: { ...report, references: { callback: 1, provider: 0 } } },
      [
        "every reference is given back: 1 of the callback and 0 of the provider's own object are left",
      ],
    ],
    [
      'one too few',
      { report: { ...report, references: { callback: -1, provider: 0 } } },
      [
        "every reference is given back: -1 of the callback and 0 of the provider's own object are left",
      ],
    ],
  ])('%s', ([, ran, wanted]) => expect(failing(ran)).toEqual(wanted));

  test('a failure is forgiven where the callback failed, and Done where there is none', () => {
    const sad = { ...report, result: '0x80004005', heard: { dones: 0 } };
    const named = (name: string) => BEHAVIOURS.find((one) => one.name === name)!;
    expect(
      failing({ report: { ...sad, heard: { dones: 1 } } }, named('a callback that fails')),
    ).toEqual([]);
    expect(failing({ report: sad }, named('no callback'))).toEqual([]);
  });
});

test('the report of tests: counts, names that stay, and what fits no attribute', () => {
  const judged = {
    name: 'a plain callback',
    began: '2026-01-31T10:00:00.000Z',
    seconds: 1.5,
    results: [{ name: 'x' }, { name: 'y', failure: '<"&\u0001' }],
    notes: ['MS020 said'],
  };
  expect(failures([judged, judged])).toBe(2);
  const xml = junitXml([suiteOf('p.dll', judged)], 'host');
  expect(xml).toMatch(
    /<testsuite id="0" package="mapisync" name="p\.dll: a plain callback" tests="2" failures="1" .*time="1\.500" timestamp="2026-01-31T10:00:00"/,
  );
  expect(xml).toMatch(/<testcase [^>]*name="x" time="0\.000"\/>/);
  expect(xml).toMatch(/<failure type="failed" message="&lt;&quot;&amp;[^"\u0001]+">/);
  expect(xml).toMatch(/<system-out>MS020 said<\/system-out>/);
});

describe.skipIf(!here)('mapisync sdk', () => {
  const system = here!;
  test('says what to do where there is no SDK, and where it lies else', async () => {
    const ran = await system.mapisync(['sdk', 'path'], { scratch }).ended;
    const sdk = join(root, 'dist', 'sdk');
    if (existsSync(join(sdk, 'include')))
      expect(ran).toMatchObject({ code: 0, stdout: `${sdk}\n` });
    else expect(ran).toMatchObject({ code: 1, stderr: expect.stringMatching(/npm run sdk/) });
  });

  test.skipIf(!existsSync(join(root, 'dist', 'sdk', 'include')))(
    'copies into a new folder alone',
    async () => {
      const to = join(scratch, 'copy');
      expect((await system.mapisync(['sdk', 'copy', to], { scratch }).ended).code).toBe(0);
      expect(readdirSync(to)).toEqual(
        expect.arrayContaining(['include', 'src', 'lib', 'bin', 'samples']),
      );
      const again = await system.mapisync(['sdk', 'copy', to], { scratch }).ended;
      expect(again).toMatchObject({ code: 2, stderr: expect.stringMatching(/new or empty/) });
    },
  );
});
