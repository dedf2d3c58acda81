// The systems that the end-to-end tests run on: this one, and Windows as Wine plays it. Both run the
// same built files; what differs is how a program is started and how a path is spelled.
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkValid } from '../valid-record.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const requireAll = process.env.MAPISYNC_REQUIRE === 'all';

export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A started program. Its output goes to files, since Node's stdout under Wine has to be one. */
export interface Program {
  readonly child: ChildProcess;
  /** What it wrote so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Ran>;
}

export interface System {
  readonly name: string;
  /** Folder of the native binaries. */
  readonly native: string;
  readonly names: { readonly shim: string; readonly provider: string; readonly host: string };
  /** Spells a path as programs on that system want it. */
  readonly path: (path: string) => string;
  /** Why the system can't be used here and what to install; undefined if it can. */
  readonly missing: string | undefined;
  readonly mapisync: (args: readonly string[], options?: StartOptions) => Program;
  readonly host: (args: readonly string[], options?: StartOptions) => Program;
}

export interface StartOptions {
  readonly env?: Record<string, string>;
  /** Folder for the files that output goes to. */
  readonly scratch: string;
  readonly uid?: number;
}

let counter = 0;

function start(
  command: string,
  args: readonly string[],
  { env, scratch, uid }: StartOptions,
): Program {
  const id = `${process.pid}-${++counter}`;
  const files = { stdout: join(scratch, `${id}.stdout`), stderr: join(scratch, `${id}.stderr`) };
  const [out, err] = [openSync(files.stdout, 'w'), openSync(files.stderr, 'w')];
  const options: SpawnOptions = {
    stdio: ['ignore', out, err],
    env: { ...process.env, ...env },
    cwd: scratch,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  };
  const child = spawn(command, args, options);
  closeSync(out);
  closeSync(err);
  const stdout = () => readFileSync(files.stdout, 'utf8');
  const stderr = () => readFileSync(files.stderr, 'utf8');
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      resolve({ code, signal, stdout: stdout(), stderr: stderr() }),
    );
  });
  ended.catch(() => {}); // Whoever waits for it sees it.
  return { child, stdout, stderr, ended };
}

const cli = join(root, 'dist', 'bin', 'mapisync.js');

const linux: System = {
  name: process.platform,
  native: join(root, 'dist', 'native', `${process.platform}-${process.arch}`),
  names: { shim: 'libmapisync.so', provider: 'sample-provider.so', host: 'sample-host' },
  path: (path) => path,
  missing: existsSync(join(root, 'dist', 'native', `${process.platform}-${process.arch}`))
    ? undefined
    : 'there is no C++ compiler',
  mapisync: (args, options) => start(process.execPath, [cli, ...args], options!),
  host: (args, options) => start(join(linux.native, linux.names.host), args, options!),
};

const wineEnv = {
  WINEPREFIX: join(root, '.cache', 'wine', 'prefix'),
  WINEDEBUG: '-all',
  NODE_SKIP_PLATFORM_CHECK: '1',
};

export function whyNoWine(): string | undefined {
  if (spawnSync('wine', ['--version'], { stdio: 'ignore' }).status !== 0) {
    return 'Wine is missing: sudo apt-get install wine wine64';
  }
  if (!existsSync(join(root, 'dist', 'native', 'win-x64', 'mapisync.dll'))) {
    return 'mingw-w64 is missing: sudo apt-get install g++-mingw-w64-x86-64-posix';
  }
  return undefined;
}

const windowsPath = (path: string): string => `Z:${path.replaceAll('/', '\\')}`;

const wine: System = {
  name: 'wine',
  native: join(root, 'dist', 'native', 'win-x64'),
  names: { shim: 'mapisync.dll', provider: 'sample-provider.dll', host: 'sample-host.exe' },
  path: windowsPath,
  missing: whyNoWine(),
  mapisync: (args, options) =>
    start(
      'wine',
      [join(root, '.cache', 'wine', 'node', 'bin', 'node.exe'), windowsPath(cli), ...args],
      { ...options!, env: { ...wineEnv, ...options!.env } },
    ),
  host: (args, options) =>
    start('wine', [join(wine.native, wine.names.host), ...args], {
      ...options!,
      env: { ...wineEnv, ...options!.env },
    }),
};

/** Starts a native program of a system. */
export function runProgram(
  system: System,
  program: string,
  args: readonly string[],
  options: StartOptions,
): Program {
  if (system !== wine) return start(program, args, options);
  return start('wine', [program, ...args], { ...options, env: { ...wineEnv, ...options.env } });
}

/** Every system that can be tested here. Says once what is left out, or fails if all are required. */
export const systems: readonly System[] = [linux, wine].filter((system) => {
  if (system.missing === undefined) return true;
  const text = `the end-to-end tests on ${system.name} are left out: ${system.missing}`;
  if (requireAll) throw new Error(`Cannot run all tests: ${text}`);
  process.stderr.write(`SKIPPED: ${text}\n`);
  return false;
});

/** A scratch folder of its own for a test. */
export function scratchFolder(): string {
  return mkdtempSync(join(tmpdir(), 'mapisync-e2e-'));
}

/** Polls until `ready` gives something, at most `ms` milliseconds. @throws naming `what`. */
export async function until<T>(
  what: string,
  ready: () => T | undefined | false | null,
  ms = 15_000,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const value = ready();
    if (value) return value;
    if (Date.now() > end) throw new Error(`Waited ${ms} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export interface JournalLine {
  readonly event_name: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into records of all kinds.
  readonly [field: string]: any;
}

/** Reads a journal while it grows: each line once, in order, and held to the schema. */
class Journal {
  readonly #folder: string;
  /** By file: how many bytes were read, and what stood there. */
  readonly #read = new Map<string, { bytes: number; readonly records: JournalLine[] }>();

  constructor(state: string) {
    this.#folder = join(state, 'journal');
  }

  /** @throws if a line is no JSON, or no record. */
  records(): JournalLine[] {
    if (!existsSync(this.#folder)) return [];
    const names = readdirSync(this.#folder).filter((name) => name.endsWith('.jsonl'));
    return names.sort().flatMap((name) => this.#recordsOf(name));
  }

  #recordsOf(name: string): JournalLine[] {
    const path = join(this.#folder, name);
    const before = this.#read.get(name) ?? { bytes: 0, records: [] };
    this.#read.set(name, before);
    if (statSync(path).size === before.bytes) return before.records;
    const grown = readFileSync(path).subarray(before.bytes);
    const whole = grown.subarray(0, grown.lastIndexOf(0x0a) + 1);
    for (const line of whole.toString('utf8').split('\n').slice(0, -1)) {
      const record = JSON.parse(line) as JournalLine;
      checkValid(record);
      before.records.push(record);
    }
    before.bytes += whole.length;
    return before.records;
  }
}

/** A daemon in a scratch state directory, and hosts that report to it. */
export class Bench {
  readonly scratch = scratchFolder();
  readonly state = join(this.scratch, 'state');
  readonly #journal = new Journal(this.state);
  readonly #programs: Program[] = [];
  readonly system: System;

  constructor(system: System) {
    this.system = system;
  }

  mapisync(...args: string[]): Program {
    return this.#keep(
      this.system.mapisync([...args, '--state-dir', this.system.path(this.state)], {
        scratch: this.scratch,
      }),
    );
  }

  /** Starts a daemon and waits until it is ready. */
  async daemon(): Promise<Program> {
    const program = this.mapisync('daemon', 'run');
    await until('the daemon', () => {
      if (program.child.exitCode !== null) throw new Error(`It ended: ${program.stderr()}`);
      return existsSync(join(this.state, 'endpoint'));
    });
    return program;
  }

  /** Asks the daemon to stop, and waits for it. */
  async stop(daemon: Program): Promise<Ran> {
    const stop = await this.mapisync('daemon', 'stop').ended;
    if (stop.code !== 0) throw new Error(`Cannot stop the daemon: ${stop.stderr}`);
    return daemon.ended;
  }

  host(args: readonly string[], env: Record<string, string> = {}): Program {
    const { system } = this;
    return this.#keep(
      system.host(
        ['--provider', system.path(join(system.native, system.names.provider)), ...args],
        {
          scratch: this.scratch,
          env: { MAPISYNC_STATE_DIR: system.path(this.state), ...env },
        },
      ),
    );
  }

  /** Makes the state directory without a daemon, so that the shim records. */
  makeState(): void {
    mkdirSync(this.state, { recursive: true, mode: 0o700 });
  }

  records(): JournalLine[] {
    return this.#journal.records();
  }

  #keep(program: Program): Program {
    this.#programs.push(program);
    return program;
  }

  /** Ends what still runs, and removes the folder. */
  async close(): Promise<void> {
    for (const { child, ended } of this.#programs) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended.catch(() => {});
    }
    rmSync(this.scratch, { recursive: true, force: true });
  }
}
