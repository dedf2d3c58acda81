// The sample provider under the sample host: what it copies, what it reports, and how it fails.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MadeMaildir, makeMaildir } from '../../bin/make-maildir.mjs';
import { systems } from '../e2e/systems.ts';

const windows = process.platform === 'win32';
const native = (target: string) =>
  fileURLToPath(new URL(`../../dist/native/${target}/`, import.meta.url));
const here = native(`${windows ? 'win' : process.platform}-${process.arch}`);
const host = join(here, windows ? 'sample-host.exe' : 'sample-host');
const provider = join(here, windows ? 'sample-provider.dll' : 'sample-provider.so');
const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-samples-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Report {
  result: string;
  sessions: string[];
  messages: number;
  copied: number;
  skipped: number;
  calls: { progress: number; errors: number; dones: number };
  errors: Record<string, number>;
  counted_by: string;
  heard: { progress: number; errors: number; dones: number };
  references: { callback: number; provider: number };
  flushed: boolean | null;
  shim: { recording: number; recorded: number; lost: number } | null;
}
interface Call {
  call: number;
  store: number;
  thread: number;
  method: string;
  text?: string | null;
  index?: number;
  max?: number;
  hresult?: string;
  handle?: string;
  returned: string;
}

let folders = 0;
const fresh = (what: string) => join(scratch, `${what}-${++folders}`);

let maildir: string;
let made: MadeMaildir;
beforeAll(() => {
  chmodSync(scratch, 0o755); // Some tests run as nobody.
  maildir = fresh('Größe 受信');
  made = makeMaildir({ dir: maildir, messages: 20, folders: 3, broken: 5 });
});

/** Runs the host to its end. Without a shim, unless `extra` names one. */
function run(
  extra: string[],
  options: { maildir?: string; store?: string; nobody?: boolean } = {},
) {
  const trace = fresh('trace');
  const store = options.store ?? fresh('store');
  if (options.nobody) {
    writeFileSync(trace, '');
    chmodSync(trace, 0o666);
  }
  const args = ['--maildir', options.maildir ?? maildir, '--store', store, '--trace', trace];
  const all = [
    ...args,
    '--json',
    ...(extra.includes('--shim') ? [] : ['--shim', 'none']),
    ...extra,
  ];
  const child = spawnSync(host, all, {
    encoding: 'utf8',
    env: { ...process.env, MAPISYNC_STATE_DIR: join(scratch, 'state') },
    ...(options.nobody && isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  return {
    code: child.status,
    signal: child.signal,
    stderr: child.stderr,
    store,
    report: (child.stdout ? JSON.parse(child.stdout) : undefined) as Report,
    calls: readTrace(trace),
  };
}

function readTrace(path: string): Call[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Call);
}

/** A call in short: `INBOX 0/7`, `- 1/7` (NULL text), `! 0x8004010F`, `done 0x00000000 same`. */
function short({ method, text, index, max, hresult, handle }: Call): string {
  if (method === 'Progress') return `${text === null ? '-' : JSON.stringify(text)} ${index}/${max}`;
  return method === 'Error' ? `! ${hresult}` : `done ${hresult} ${handle}`;
}
const shorts = (calls: Call[]) => calls.map(short);

/** The store as `folder/message` names. */
const stored = (store: string) =>
  readdirSync(store, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(store, name)).isFile(),
  );

/** What every run must satisfy that came to its end, whatever the provider did. */
function expectBalance({ report, calls }: ReturnType<typeof run>) {
  const heard = (method: string) => calls.filter((call) => call.method === method).length;
  expect(report.calls).toEqual(report.heard);
  expect(report.calls).toEqual({
    progress: heard('Progress'),
    errors: heard('Error'),
    dones: heard('Done'),
  });
  expect(report.references).toEqual({ callback: 0, provider: 0 });
  expect(calls.map(({ call }) => call)).toEqual(calls.map((_, at) => at + 1));
}

describe('a sync', () => {
  test('copies each good message once, and reports each broken one with its code', () => {
    const first = run([]);
    expect(first.code).toBe(0);
    expect(first.report).toMatchObject({
      result: '0x00000000',
      messages: made.messages,
      copied: made.good,
      skipped: 0,
      errors: made.errors,
      counted_by: 'provider',
      sessions: [],
      shim: null,
    });
    expectBalance(first);
    // One per folder at its start, one per message.
    expect(first.report.calls.progress).toBe(made.folders.length + made.messages);
    expect(stored(first.store)).toHaveLength(made.good);
    for (const { text } of first.calls.filter(({ method }) => method === 'Error')) {
      expect(text).toMatch(/^Cannot copy message 17\d+\.M\d+P1Q\d+\.example of folder \w+: .+; .+/);
    }
  });

  test('copies the bytes unchanged, under the name without its flags', () => {
    const { store } = run([]);
    for (const name of stored(store)) {
      expect(name).not.toMatch(/[:;]2,/);
      const [folder, identity] = name.split(/[\\/]/) as [string, string];
      const from =
        folder === 'INBOX' ? '' : existsSync(join(maildir, folder)) ? folder : `.${folder}`;
      const source = ['cur', 'new']
        .flatMap((part) =>
          readdirSync(join(maildir, from, part)).map((file) => join(from, part, file)),
        )
        .find((file) => file.includes(identity));
      expect(readFileSync(join(store, name))).toEqual(readFileSync(join(maildir, source!)));
    }
  });

  test('copies only what is new the second time, whatever happened to the flags', () => {
    const dir = fresh('again');
    makeMaildir({ dir, messages: 4, folders: 1 });
    const { store } = run([], { maildir: dir });
    for (const part of ['cur', 'new']) {
      for (const name of readdirSync(join(dir, part))) {
        const bytes = readFileSync(join(dir, part, name));
        unlinkSync(join(dir, part, name));
        writeFileSync(
          join(dir, 'cur', `${name.split(/[:;]/)[0]}${windows ? ';' : ':'}2,RS`),
          bytes,
        );
      }
    }
    writeFileSync(join(dir, 'new', 'one-more'), 'Subject: new\n\n');
    const second = run([], { maildir: dir, store });
    expect(second.report).toMatchObject({ messages: 5, copied: 1, skipped: 4, errors: {} });
    expect(second.report.calls.progress).toBe(1 + 5);
    expect(stored(store)).toHaveLength(5);
  });

  test.for([
    ['an empty file', '', 'it is empty'],
    ['no field before the body', '\nbody', 'it has no header'],
    ['a line that is no field', 'Subject: a\nnonsense\n\n', 'it has no header'],
    ['an endless header', `Subject: ${'x'.repeat(1_200_000)}`, 'its header does not end'],
  ] as const)('calls a message with %s corrupt', ([, text, why]) => {
    const dir = fresh('corrupt');
    mkdirSync(join(dir, 'new'), { recursive: true });
    writeFileSync(join(dir, 'new', 'm1'), text);
    const { report, calls, store } = run([], { maildir: dir });
    expect(report.errors).toEqual({ '0x8004011B': 1 });
    expect(calls.find(({ method }) => method === 'Error')?.text).toContain(why);
    expect(stored(store)).toEqual([]);
  });

  test.for([
    ['LF', 'Subject: a\n\nbody \0 \xff'],
    ['CRLF', 'Subject: a\r\n\tfolded\r\nTo: b\r\n\r\nbody'],
    ['no body', 'Subject: a'],
    ['a header that is longer than one read', `X: ${'y'.repeat(200_000)}\n\nbody`],
  ] as const)('takes a message with %s', ([, text]) => {
    const dir = fresh('good');
    mkdirSync(join(dir, 'cur'), { recursive: true });
    writeFileSync(join(dir, 'cur', 'm1'), text, 'latin1');
    const { report, store } = run([], { maildir: dir });
    expect(report).toMatchObject({ copied: 1, errors: {} });
    expect(readFileSync(join(store, 'INBOX', 'm1'), 'latin1')).toBe(text);
  });

  test.skipIf(windows)('follows no link to a folder, and opens no pipe', () => {
    const dir = fresh('odd');
    makeMaildir({ dir, messages: 1, folders: 1 });
    symlinkSync('..', join(dir, '.Loop'));
    expect(spawnSync('mkfifo', [join(dir, 'cur', 'pipe')]).status).toBe(0);
    const { report } = run([], { maildir: dir });
    expect(report).toMatchObject({ messages: 2, copied: 1, errors: { '0x80070005': 1 } });
  });

  test('keeps its pace without drift', () => {
    const dir = fresh('paced');
    makeMaildir({ dir, messages: 26, folders: 1 });
    const before = performance.now();
    // Were the callback's time added to the pause, it would take 25 x 38 ms = 950 ms.
    const { code } = run(['--calls-per-second', '50', '--callback', 'slow=18'], { maildir: dir });
    const tookMs = performance.now() - before;
    expect(code).toBe(0);
    expect(tookMs).toBeGreaterThan(25 * 20);
    expect(tookMs).toBeLessThan(850);
  });
});

describe('a scenario', () => {
  /** Two folders: INBOX with 2 messages, Archive with 1. */
  let small: string;
  beforeAll(() => {
    small = fresh('small');
    makeMaildir({ dir: small, messages: 3, folders: 2 });
  });
  const done = 'done 0x00000000 same';
  const perFolder = ['"INBOX" 0/2', '- 1/2', '- 2/2', '"Archive" 0/1', '- 1/1'];

  test.for([
    ['1', ['LABEL', '- 1/3', '- 2/3', '- 3/3', done]],
    ['2', [...perFolder, done]],
    ['3', ['"INBOX" 0/2', '- 1/2', '- 2/2', '"" 0/0', '"Archive" 0/1', '- 1/1', done]],
    [
      '6',
      [
        ...perFolder,
        ...['- 5/3', '- 3/10', '- 2/10', '- 4/20', '- 4294967295/4294967295'],
        ...['- 0/4294967295', '- 4294967295/1', '- 7/0', done],
      ],
    ],
    [
      '7',
      [
        ...perFolder,
        ...['! 0x00040380', '! 0x8004010F', ...Array<string>(10).fill('! 0x80040115'), done],
      ],
    ],
    ['8', [...perFolder, done]],
    ['9', [...perFolder, done, '"After Done" 1/1', 'done 0x00000000 null']],
    ['12', [...perFolder, done]],
    ['13', ['LABEL', '- 1/3', '- 2/3', '- 3/3', done]],
    ['14', [...perFolder, done]],
    ['14-one-count', ['LABEL', '- 1/3', '- 2/3', '- 3/3', done]],
    ['17', [...perFolder, '! 0x00000000', done]],
    ['18', [...perFolder, done]],
  ] as const)('%s calls in its order', ([scenario, want]) => {
    const result = run(['--scenario', scenario], { maildir: small });
    expect(result.code).toBe(0);
    const label = `"${small.split(/[\\/]/).at(-1)}" 0/3`;
    expect(shorts(result.calls)).toEqual(want.map((row) => (row === 'LABEL' ? label : row)));
    expect(new Set(result.calls.map(({ thread }) => thread)).size).toBe(1);
    expectBalance(result);
  });

  test.for([
    ['15', 'done 0x80040113 same'],
    ['16', 'done 0x80040115 other'],
  ] as const)('%s does not succeed', ([scenario, end]) => {
    const result = run(['--scenario', scenario], { maildir: small });
    expect(result.code).toBe(1);
    expect(shorts(result.calls)).toEqual([...perFolder, end]);
    expectBalance(result);
  });

  test('4 makes a burst per message', () => {
    const result = run(['--scenario', '4'], { maildir: small });
    const calls = shorts(result.calls);
    expect(calls).toHaveLength(2 + 3 * 2000 + 1);
    expect(calls.slice(0, 2)).toEqual(['"INBOX" 0/4000', '- 1/4000']);
    expect(calls[4000]).toBe('- 4000/4000');
    expectBalance(result);
  });

  test('5 passes odd texts', () => {
    const result = run(['--scenario', '5'], { maildir: small });
    const texts = result.calls.slice(perFolder.length, -1).map(({ text }) => text ?? 'NULL');
    expect(texts).toHaveLength(16);
    expect(texts.slice(0, 8)).toEqual(texts.slice(8));
    expect(texts[0]).toBe('x'.repeat(5000));
    expect(texts[1]).toBe(`${'y'.repeat(4999)}\u{1F600}`);
    expect(texts[2]).toBe('lone high \uD83D.');
    expect(texts[3]).toBe('lone low \uDE00.');
    expect(texts[4]).toContain('\u202E');
    expect(texts[6]).toBe('bell \x07 escape \x1b[31m line\r\nend \x85 \u2028 \u2029 \x7f');
    expect(texts[7]).toBe('');
    // The dialog shows them, and lets none of them reach the terminal as it is.
    expect(result.stderr).toContain('bell \\u{7} escape \\u{1b}[31m line\\u{d}\\u{a}end');
    expectBalance(result);
  });

  test('7 passes a NULL text with an error', () => {
    const { calls } = run(['--scenario', '7'], { maildir: small });
    expect(
      calls.filter(({ hresult, text }) => hresult === '0x8004010F' && text === null),
    ).toHaveLength(1);
  });

  test('9-no-done ends without Done, and the host says so', () => {
    const result = run(['--scenario', '9-no-done'], { maildir: small });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('without Done');
    expect(shorts(result.calls)).toEqual(perFolder);
    expectBalance(result);
  });

  test('10 runs two stores at once', () => {
    const result = run(['--scenario', '10', '--calls-per-second', '50'], { maildir: small });
    expect(result.code).toBe(0);
    for (const number of [1, 2]) {
      const own = result.calls.filter(({ store }) => store === number);
      expect(shorts(own)).toEqual([...perFolder, done]);
      expect(stored(join(result.store, String(number)))).toHaveLength(3);
    }
    const first = (number: number) => result.calls.findIndex(({ store }) => store === number);
    const end = (number: number) =>
      result.calls.findIndex(({ store, method }) => store === number && method === 'Done');
    expect(first(2)).toBeLessThan(end(1));
    expect(first(1)).toBeLessThan(end(2));
    expectBalance(result);
  });

  test('11 releases beside the calls of a second thread', () => {
    const result = run(['--scenario', '11'], { maildir: small });
    expect(result.code).toBe(0);
    const [main, beside] = [1, 2].map((n) => result.calls.filter(({ thread }) => thread === n));
    expect(shorts(main!)).toEqual([...perFolder, done]);
    expect(beside).toHaveLength(200);
    expectBalance(result);
  });
});

describe("the host's callback", () => {
  test('absent: nothing is called, all is copied', () => {
    const result = run(['--callback', 'absent']);
    expect(result.code).toBe(0);
    expect(result.calls).toEqual([]);
    expect(result.report).toMatchObject({ copied: made.good, references: { callback: 0 } });
  });

  test('fails: the sync goes on', () => {
    const result = run(['--callback', 'fail=0x80004005']);
    expect(result.code).toBe(0);
    expect(new Set(result.calls.map(({ returned }) => returned))).toEqual(new Set(['0x80004005']));
    expect(result.report.copied).toBe(made.good);
    expectBalance(result);
  });

  test('crashes: the trace has the call that did not return', () => {
    const { code, signal, calls, report } = run(['--callback', 'crash']);
    if (windows) expect(code! >>> 0).toBe(0xc0000005);
    else expect(signal).toBe('SIGSEGV');
    expect(report).toBeUndefined();
    expect(calls.filter(({ method }) => method === 'Progress')).toHaveLength(5);
  });

  test('hangs: the host waits as Outlook would', async () => {
    const trace = fresh('trace');
    const args = ['--maildir', maildir, '--store', fresh('store'), '--shim', 'none', '--quiet'];
    const child = spawn(host, [...args, '--trace', trace, '--callback', 'hang'], {
      stdio: 'ignore',
    });
    const progress = () => readTrace(trace).filter(({ method }) => method === 'Progress').length;
    await expect.poll(progress, { timeout: 10_000 }).toBe(5);
    expect(child.exitCode).toBeNull();
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('close', resolve));
    expect(progress()).toBe(5);
  });
});

describe('trouble', () => {
  /** A library's first bytes, for another bitness. */
  function foreign(bits: 32 | 64): string {
    const path = fresh('foreign');
    const bytes = Buffer.alloc(128);
    if (windows) {
      bytes.write('MZ');
      bytes[0x3c] = 64;
      bytes.write('PE\0\0', 64, 'latin1');
      bytes.writeUInt16LE(bits === 32 ? 0x14c : 0x8664, 68);
    } else {
      bytes.write('\x7fELF', 'latin1');
      bytes[4] = bits / 32;
    }
    writeFileSync(path, bytes);
    return path;
  }

  test.for<[string, () => string[], number, RegExp]>([
    ['a missing provider', () => ['--provider', '/no/such'], 1, /No such file .*check --provider/],
    ['a folder as provider', () => ['--provider', scratch], 1, /it is a folder/],
    [
      'a provider that is no library',
      () => ['--provider', fileURLToPath(import.meta.url)],
      1,
      /Cannot load provider/,
    ],
    [
      'a 32-bit provider',
      () => ['--provider', foreign(32)],
      1,
      /it is 32-bit and this host is 64-bit/,
    ],
    ['an unknown entry', () => ['--entry', 'Nope'], 1, /does not export Nope; check --entry/],
    [
      'a missing shim',
      () => ['--shim', '/no/such.so'],
      2,
      /Cannot load the mapisync library .*--shim none/,
    ],
    ['a shim that is none', () => ['--shim', provider], 2, /not a mapisync library/],
    ['an unknown scenario', () => ['--scenario', '99'], 2, /no scenario "99"; there are:\n {2}1: /],
    [
      'a bad pace',
      () => ['--calls-per-second', 'fast'],
      2,
      /must be a number from 0 to 1000000, not "fast"/,
    ],
    ['an endless pace', () => ['--calls-per-second', 'nan'], 2, /must be a number/],
    ['a line break in a value', () => ['--store', 'a\nshim=x'], 2, /--store must be one line/],
    ['no stores', () => ['--stores', '0'], 2, /whole number from 1 to 64, not "0"/],
    ['65 stores', () => ['--stores', '65'], 2, /whole number from 1 to 64, not "65"/],
    ['an unknown behaviour', () => ['--callback', 'lazy'], 2, /not "lazy"/],
    ['a behaviour with a bad number', () => ['--callback', 'slow=-1'], 2, /not "slow=-1"/],
    ['an HRESULT beyond 32 bits', () => ['--callback', 'fail=0x100000000'], 2, /not "fail=/],
    ['an unknown option', () => ['--verbose', '1'], 2, /Unknown option --verbose; see/],
    ['an option without its value', () => ['--hold'], 2, /--hold is unknown or lacks its value/],
    ['a stray argument', () => ['stray'], 2, /Unexpected argument "stray"/],
    [
      'a sink without library',
      () => ['--attach', 'sink', '--shim', 'none'],
      2,
      /--attach sink needs the mapisync library/,
    ],
    [
      'a trace that cannot be written',
      () => ['--trace', '/no/such/file'],
      2,
      /Cannot write the trace/,
    ],
  ])('%s is said clearly', ([, extra, code, message]) => {
    const result = run(extra());
    expect(result.stderr).toMatch(message);
    expect(result.code).toBe(code);
    expect(existsSync(result.store)).toBe(false);
  });

  test('--maildir and --store are required', () => {
    const bare = spawnSync(host, [], { encoding: 'utf8' });
    expect([bare.status, bare.stderr]).toEqual([
      2,
      expect.stringContaining('--maildir is missing'),
    ]);
    const half = spawnSync(host, ['--maildir', 'x'], { encoding: 'utf8' });
    expect([half.status, half.stderr]).toEqual([2, expect.stringContaining('--store is missing')]);
  });

  test.for([
    ['is missing', () => fresh('nowhere'), '0x8004010F'],
    [
      'is no Maildir',
      () => {
        const dir = fresh('plain');
        mkdirSync(dir);
        return dir;
      },
      '0x8004010F',
    ],
  ] as const)('a Maildir that %s ends the sync', ([, make, code]) => {
    const result = run([], { maildir: make() });
    expect(result.code).toBe(1);
    expect(shorts(result.calls)).toEqual([`! ${code}`, `done ${code} same`]);
    expect(result.calls[0]?.text).toMatch(/^Cannot read Maildir .+: .+; /);
    expect(result.report.result).toBe(code);
    expectBalance(result);
  });

  test.skipIf(windows)('what this user may not read is reported, and the rest is copied', () => {
    const dir = fresh('guarded');
    makeMaildir({ dir, messages: 6, folders: 2 });
    const [name] = readdirSync(join(dir, 'cur')) as [string];
    chmodSync(join(dir, 'cur', name), 0);
    mkdirSync(join(dir, 'Closed', 'cur'), { recursive: true });
    chmodSync(join(dir, 'Closed', 'cur'), 0);
    const store = fresh('store');
    mkdirSync(store);
    chmodSync(store, 0o777);
    const result = run([], { maildir: dir, store, nobody: true });
    chmodSync(join(dir, 'Closed', 'cur'), 0o700);
    expect(result.report).toMatchObject({ messages: 6, copied: 5, errors: { '0x80070005': 2 } });
    expect(result.code).toBe(0);
  });

  test.skipIf(windows)('a Maildir that this user may not read ends the sync', () => {
    const dir = fresh('closed');
    mkdirSync(dir, { mode: 0 });
    const result = run([], { maildir: dir, nobody: true });
    expect(shorts(result.calls)).toEqual(['! 0x80070005', 'done 0x80070005 same']);
  });

  test.skipIf(windows)('a store that this user may not write ends the sync', () => {
    const store = fresh('store');
    mkdirSync(store, { mode: 0o555 });
    const result = run([], { store, nobody: true });
    expect(result.code).toBe(1);
    expect(shorts(result.calls).slice(-2)).toEqual(['! 0x80070005', 'done 0x80070005 same']);
    expect(result.calls.at(-2)?.text).toContain('Cannot make folder');
  });

  // A disk of 64 KiB, in a mount namespace of its own.
  const mayMount =
    spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', scratch])
      .status === 0;
  test.skipIf(!mayMount)('a full disk ends the sync, and leaves no half message', () => {
    const dir = fresh('big');
    mkdirSync(join(dir, 'new'), { recursive: true });
    for (const n of [1, 2, 3])
      writeFileSync(join(dir, 'new', `m${n}`), `Subject: ${n}\n\n${'x'.repeat(30_000)}`);
    const store = fresh('store');
    mkdirSync(store);
    const script =
      'mount -t tmpfs -o size=64k none "$1" && { "$0" --maildir "$2" --store "$1" --shim none --json; ls -A "$1/INBOX"; }';
    const child = spawnSync('unshare', ['-m', 'sh', '-c', script, host, store, dir], {
      encoding: 'utf8',
    });
    const [json, ...names] = child.stdout.trim().split('\n') as [string];
    expect(JSON.parse(json)).toMatchObject({
      result: '0x8004010D',
      copied: names.length,
      errors: { '0x8004010D': 1 },
    });
    expect(names).not.toContain('.incoming');
    expect(names.length).toBeLessThan(3);
  });
});

// The Windows build, where Wine can run it.
const wine = systems.find(({ name }) => name === 'wine');

describe.skipIf(!wine)('under Wine', () => {
  test.for(['2', '8', '10', '11'])('scenario %s gives the same as here', async (scenario) => {
    const dir = fresh('Größe 受信');
    const windowsMade = makeMaildir({
      dir,
      messages: 20,
      folders: 3,
      broken: 4,
      windowsNames: true,
    });
    const stores = scenario === '10' ? 2 : 1;
    const trace = fresh('trace');
    const state = fresh('state');
    mkdirSync(state, { mode: 0o700 });
    const args = ['--maildir', dir, '--store', fresh('store'), '--trace', trace, '--json'];
    // With the shim that lies beside the provider.
    const ran = await wine!.host([...args, '--quiet', '--scenario', scenario], {
      scratch,
      env: { MAPISYNC_STATE_DIR: wine!.path(state) },
    }).ended;
    expect(ran.code, ran.signal ?? ran.stderr).toBe(0);
    const report = JSON.parse(ran.stdout) as Report;
    expect(report).toMatchObject({ messages: windowsMade.messages * stores, copied: 20 * stores });
    expect(report.errors).toEqual(
      Object.fromEntries(Object.entries(windowsMade.errors).map(([code, n]) => [code, n * stores])),
    );
    const calls = readTrace(trace);
    expect(calls.filter(({ handle }) => handle === 'same')).toHaveLength(stores);
    expect(report.sessions).toHaveLength(stores);
    // Of each session its open, each call, and its close.
    expect(report.shim).toMatchObject({ recorded: calls.length + 2 * stores, lost: 0 });
    expect(report.references).toEqual({ callback: 0, provider: 0 });
    expect(report.calls).toEqual(report.heard);
  });
});
