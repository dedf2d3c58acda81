/** How programs are run: here, on Windows as Wine plays it, and in the Debian of wine32.mjs. */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../bin/places.mjs';
import { enter } from './wine32.mjs';

const RUN_TIMEOUT_MS = 300_000;
const STAY_MS = 3_600_000;

export const scratch = mkdtempSync(join(tmpdir(), 'mapisync-adopt-'));

/** What was tried did not come out as it should. */
export class Failed extends Error {}

/** @throws {Failed} unless `seen` is `wanted`. */
export function expect(what, seen, wanted) {
  const [a, b] = [seen, wanted].map((value) => JSON.stringify(value));
  if (a !== b) throw new Failed(`${what}: expected ${b}, got ${a}`);
}

let counter = 0;

/**
 * Runs a program to its end; output goes through files, since Node's under Wine has to.
 *
 * @throws {Failed} if its exit code is none of `codes`.
 */
export async function run(command, args, { cwd = scratch, env = {}, codes = [0] } = {}) {
  const base = join(scratch, `out-${++counter}`);
  const [out, err] = [openSync(`${base}.out`, 'w'), openSync(`${base}.err`, 'w')];
  const child = spawn(command, args, {
    cwd,
    stdio: ['ignore', out, err],
    env: { ...process.env, ...env },
    timeout: RUN_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  closeSync(out);
  closeSync(err);
  const end = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  const [stdout, stderr] = [`${base}.out`, `${base}.err`].map((file) => readFileSync(file, 'utf8'));
  if (!codes.includes(end)) {
    const said = `${stdout.slice(-2000)}${stderr.slice(-4000)}`.trim();
    throw new Failed(`${command} ${args.join(' ')} ended with ${end}\n${said}`);
  }
  return { stdout, stderr };
}

const windowsPath = (path) => `Z:${path.replaceAll('/', '\\')}`;
const cached = (...names) => join(root, '.cache', ...names);
const wineEnv = (prefix) => ({
  WINEPREFIX: prefix,
  WINEDEBUG: '-all',
  NODE_SKIP_PLATFORM_CHECK: '1',
});
const mingw = (family) => [
  ...['-DCMAKE_SYSTEM_NAME=Windows', `-DCMAKE_C_COMPILER=${family}-w64-mingw32-gcc-posix`],
  ...[`-DCMAKE_CXX_COMPILER=${family}-w64-mingw32-g++-posix`],
  `-DCMAKE_RC_COMPILER=${family}-w64-mingw32-windres`,
];

/** @param start What begins a command line that runs a Windows program. */
function windowsSystem({ name, cpu, family, node, prefix, start }) {
  return {
    name,
    install: ['--os=win32', `--cpu=${cpu}`],
    cmake: mingw(family),
    path: windowsPath,
    native: (program) => start([program]),
    node: (script) => start([join(node, 'bin', 'node.exe'), windowsPath(script)]),
    env: wineEnv(prefix),
    exe: '.exe',
    shim: 'mapisync.dll',
    provider: 'minimal-provider.dll',
  };
}

export const linux = {
  name: 'linux-x64',
  install: ['--os=linux', '--cpu=x64'],
  cmake: [],
  path: (path) => path,
  native: (program) => [program, []],
  node: (script) => [process.execPath, [script]],
  env: {},
  exe: '',
  shim: 'libmapisync.so',
  provider: 'minimal-provider.so',
};

const x64 = {
  name: 'win-x64',
  cpu: 'x64',
  family: 'x86_64',
  node: cached('wine', 'node'),
};
export const windows = windowsSystem({
  ...x64,
  prefix: cached('wine', 'prefix'),
  start: (words) => ['wine', words],
});

const inDebian = {
  prefix: cached('wine32', 'prefix'),
  start: (words) => enter([root, scratch], ['wine', ...words]),
};
/** As 64-bit Windows has both: 32-bit programs and 64-bit ones see one another. */
export const windowsBoth = windowsSystem({ ...x64, ...inDebian });
export const windows32 = windowsSystem({
  name: 'win-x86',
  cpu: 'ia32',
  family: 'i686',
  node: cached('wine32', 'node'),
  ...inDebian,
});

/** Keeps a program running until this process ends. bin/make.mjs does so for the other Wine, and says why. */
export function stay({ node, env }) {
  const script = join(scratch, 'stay.mjs');
  writeFileSync(script, `setTimeout(() => {}, ${STAY_MS});`);
  const [command, args] = node(script);
  const child = spawn(command, args, { stdio: 'ignore', env: { ...process.env, ...env } });
  child.unref();
  process.on('exit', () => child.kill('SIGKILL'));
}
