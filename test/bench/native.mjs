/** Compiles the native parts of the bench, and runs them. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostTarget, root, targets } from '../../bin/native.mjs';

export const shimOf = (name) => {
  const target = targets().find((one) => one.name === name);
  return target && join(root, 'dist', 'native', name, target.names.shim);
};

const built = new Map();
let scratch;

/** @returns the path of the program; compiled once a run. `quickly`: where no figure is asked for. */
export function compile(name, options = {}) {
  const key = `${name} ${options.target ?? hostTarget}`;
  if (!built.has(key)) built.set(key, compileAnew(name, options));
  return built.get(key);
}

function compileAnew(name, { target: wanted = hostTarget, flags = [], libraries = [], quickly }) {
  const target = targets().find((one) => one.name === wanted);
  if (!target) throw new Error(`Cannot compile ${name}.cc for ${wanted}: no compiler`);
  if (!scratch) {
    scratch = mkdtempSync(join(tmpdir(), 'mapisync-bench-built-'));
    process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
  }
  const windows = wanted.startsWith('win');
  const binary = join(scratch, windows ? `${name}.exe` : name);
  const source = join(root, 'test', 'bench', `${name}.cc`);
  const include = `-I${join(root, 'native-shim', 'include')}`;
  const common = ['-std=c++17', quickly ? '-O0' : '-O2', '-Wall', '-Wextra', include];
  const link = windows ? ['-static'] : ['-pthread', '-rdynamic'];
  const args = [...common, ...flags, source, ...libraries, ...target.system, ...link, '-o', binary];
  const { status, stderr } = spawnSync(target.compiler, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Cannot compile ${source}:\n${stderr}`);
  return binary;
}

/**
 * Starts a program that records into a state directory. Asynchronous, so that this process keeps watching
 * the daemon.
 * @returns the child; `line()` waits for its next line, `ended` for its end, which must be a good one
 */
export function start(command, state, env = {}) {
  const [program, ...args] = command;
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, MAPISYNC_STATE_DIR: state, MAPISYNC_DISABLE: '', ...env },
  });
  let text = '';
  let ended = false;
  let wake = () => {};
  child.stdout.setEncoding('utf8').on('data', (part) => {
    text += part;
    wake();
  });
  const end = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      ended = true;
      wake();
      if (code === 0) resolve();
      else reject(new Error(`${program} ended with ${code}`));
    });
  });
  end.catch(() => {});
  return {
    child,
    ended: end,
    async line() {
      while (!text.includes('\n')) {
        if (ended) {
          await end;
          throw new Error(`${program} said nothing`);
        }
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
      const at = text.indexOf('\n');
      const first = text.slice(0, at);
      text = text.slice(at + 1);
      return first.trim();
    },
  };
}
