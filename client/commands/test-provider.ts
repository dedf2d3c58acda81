/** `test-provider`: runs a provider's sync in the sample host against a daemon of its own, and judges it. */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { escapeLine } from '../../protocol/records/text.ts';
import { CliError, EXIT } from '../exit.ts';
import { findHistory, storyOf } from '../history.ts';
import type { Io } from '../io.ts';
import { writeReport } from '../junit.ts';
import { nativeFolder } from '../package-root.ts';
import {
  BEHAVIOURS,
  type Behaviour,
  failures,
  type HostReport,
  type Judged,
  judge,
  type Ran,
  suiteOf,
} from '../provider-tests.ts';
import { junitXml } from '../render/junit.ts';
import { printable } from '../render/text.ts';
import type { Settings } from '../settings.ts';
import { daemonStart, daemonStop } from './daemon.ts';

const SYNC_TIMEOUT_MS = 60_000;
const FLUSH_MS = 10_000;
/** Of the host: it could not load the provider, or was told nonsense. */
const HOST_USAGE = 2;
const PE_X86 = 0x014c;

interface Options {
  readonly dll: string;
  readonly entry: string;
  readonly config?: string;
  readonly junit?: string;
}

export async function testProvider(options: Options, settings: Settings, io: Io): Promise<number> {
  const dll = resolve(options.dll);
  const native = nativeFolder(targetOf(dll, io));
  const config = options.config === undefined ? '' : readConfig(options.config);
  const scratch = mkdtempSync(join(tmpdir(), 'mapisync-test-'));
  const own: Settings = {
    ...settings,
    stateDir: join(scratch, 'state'),
    verbosity: -1,
    output: 'plain',
  };
  const { timeoutMs: _, ...withoutTimeout } = own;
  const daemon = { ...withoutTimeout, timeoutMs: undefined };
  mkdirSync(join(scratch, 'state'), { mode: 0o700 });
  const suites: Judged[] = [];
  await daemonStart(daemon, io);
  try {
    const bench = { dll, entry: options.entry, config, native, scratch, settings: own, io };
    for (const behaviour of BEHAVIOURS) {
      if (behaviour.stores !== undefined && !config.includes('{n}')) continue;
      const suite = judge(behaviour, await runHost(behaviour, bench));
      suites.push(suite);
      if (settings.output !== 'json' && settings.verbosity >= 0) await tell(suite, settings, io);
    }
  } finally {
    await daemonStop(daemon, io);
    rmSync(scratch, { recursive: true, force: true });
  }

  if (options.junit !== undefined) {
    const all = suites.map((suite) => suiteOf(basename(dll), suite));
    writeReport(options.junit, junitXml(all, hostname()));
  }
  const failed = failures(suites);
  const tests = suites.flatMap(({ results }) => results).length;
  if (settings.output === 'json') {
    const told = { provider: basename(dll), passed: tests - failed, failed, suites };
    await io.stdout.write(`${escapeLine(JSON.stringify(told))}\n`);
  } else await io.stdout.write(`${tests - failed} passed, ${failed} failed\n`);
  return failed > 0 ? EXIT.syncFailed : EXIT.done;
}

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const why = (error as Error).message;
    throw new CliError(EXIT.usage, `Cannot read --config: ${why}`);
  }
}

/** For whom a library is: a host of its own bitness has to load it. */
function targetOf(dll: string, io: Io): string {
  if (!existsSync(dll)) {
    throw new CliError(EXIT.usage, `Cannot read --dll: expected a library, got no file at ${dll}`);
  }
  if (io.platform !== 'win32') return `${io.platform}-${process.arch}`;
  const head = Buffer.alloc(4096);
  const file = openSync(dll, 'r');
  const size = readSync(file, head, 0, head.length, 0);
  closeSync(file);
  const at = size >= 64 ? head.readUInt32LE(0x3c) : size;
  const isX86 = at + 6 <= size && head.readUInt16LE(at + 4) === PE_X86;
  return isX86 ? 'win-x86' : 'win-x64';
}

interface Bench {
  readonly dll: string;
  readonly entry: string;
  readonly config: string;
  readonly native: string;
  readonly scratch: string;
  readonly settings: Settings;
  readonly io: Io;
}

/** @throws {CliError} if the host cannot begin: that is no matter of one sync. */
async function runHost(behaviour: Behaviour, bench: Bench): Promise<Ran> {
  const { scratch, settings, io } = bench;
  const windows = io.platform === 'win32';
  const config = join(scratch, 'config');
  writeFileSync(config, bench.config);
  const files = { out: join(scratch, 'out'), err: join(scratch, 'err') };
  const [out, err] = [openSync(files.out, 'w'), openSync(files.err, 'w')];
  const timeoutMs = settings.timeoutMs ?? SYNC_TIMEOUT_MS;
  const begin = io.nowMs();
  const began = new Date().toISOString();
  const child = spawn(
    join(bench.native, windows ? 'sample-host.exe' : 'sample-host'),
    [
      ...['--provider', bench.dll, '--entry', bench.entry, '--config', config],
      ...['--shim', join(bench.native, windows ? 'mapisync.dll' : 'libmapisync.so')],
      ...['--json', '--quiet', '--flush', String(FLUSH_MS), ...behaviour.host],
    ],
    {
      stdio: ['ignore', out, err],
      env: { ...io.env, MAPISYNC_STATE_DIR: settings.stateDir } as NodeJS.ProcessEnv,
      windowsHide: true,
    },
  );
  closeSync(out);
  closeSync(err);
  const interrupted = io.interrupted();
  let late = false;
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, timeoutMs);
  interrupted.addEventListener('abort', kill);
  const ended = await new Promise<{ code: number | null; signal: string | null }>(
    (resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal }));
    },
  );
  clearTimeout(timer);
  interrupted.removeEventListener('abort', kill);
  if (interrupted.aborted) throw new CliError(EXIT.interrupted, 'Interrupted');

  const said = readFileSync(files.err, 'utf8')
    .trim()
    .replace(/^sample-host: /, '');
  const report = parse(readFileSync(files.out, 'utf8'));
  const cannotBegin = ended.code === HOST_USAGE || /^Cannot load /.test(said);
  if (report === undefined && cannotBegin) throw new CliError(EXIT.failed, said);
  const how = late
    ? `it was still running after ${timeoutMs / 1000} s`
    : ended.signal !== null || (ended.code ?? 0) > 2 || (ended.code ?? 0) < 0
      ? `the host died: ${ended.signal ?? `exit code ${hex(ended.code!)}`}`
      : '';
  const history = findHistory(undefined, settings, io);
  return {
    began,
    seconds: (io.nowMs() - begin) / 1000,
    report,
    end: [how, said].filter((text) => text !== '').join('; '),
    stories: (report?.sessions ?? []).map((id) => storyOf(history, id)),
  };
}

const hex = (code: number): string =>
  code > 255 || code < 0 ? `0x${(code >>> 0).toString(16).toUpperCase()}` : String(code);

function parse(text: string): HostReport | undefined {
  if (!text.trimEnd().endsWith('}')) return undefined; // It died before the end, or while writing.
  return JSON.parse(text) as HostReport;
}

async function tell(suite: Judged, { theme, verbosity }: Settings, io: Io): Promise<void> {
  const failed = failures([suite]);
  const passed = suite.results.length - failed;
  const sum = failed > 0 ? `${passed} passed, ${failed} failed` : `${passed} passed`;
  const lines = [`${suite.name.padEnd(22)} ${sum}, ${suite.seconds.toFixed(1)} s`];
  for (const { name, failure } of suite.results) {
    if (failure === undefined) continue;
    lines.push(theme.paint('red', `  failed: ${printable(name, theme.unicode)}`));
    lines.push(`    ${printable(failure, theme.unicode)}`);
  }
  if (verbosity > 0)
    lines.push(...suite.notes.map((note) => `  ${printable(note, theme.unicode)}`));
  await io.stdout.write(`${lines.join('\n')}\n`);
}
