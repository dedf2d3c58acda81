/**
 * What the author of a provider does, from an empty folder: installs the package, copies the SDK, builds
 * the guide's example, runs it against the installed daemon, and tests it. On Linux, and on Windows as
 * Wine plays it. Ends with `N passed, N failed`. Needs cmake, mingw-w64 for x64 and x86, wine.
 */
import { spawn, spawnSync } from 'node:child_process';
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
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { root } from '../../bin/places.mjs';

const MAX_PACKAGE_BYTES = 5 * 1000 * 1000;
const START_TIMEOUT_MS = 30_000;
const NO_COMPILER = '/nonexistent';

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-adopt-'));
const say = (text) => process.stderr.write(`${text}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let counter = 0;

class Failed extends Error {}
function expect(what, seen, wanted) {
  const [a, b] = [seen, wanted].map((value) => JSON.stringify(value));
  if (a !== b) throw new Failed(`${what}: expected ${b}, got ${a}`);
}

/** Runs a program to its end; output goes through files, since Node's under Wine has to. */
function run(command, args, { cwd = scratch, env = {}, codes = [0] } = {}) {
  const base = join(scratch, `out-${++counter}`);
  const [out, err] = [openSync(`${base}.out`, 'w'), openSync(`${base}.err`, 'w')];
  const { status, error } = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', out, err],
    env: { ...process.env, ...env },
    timeout: 300_000,
  });
  closeSync(out);
  closeSync(err);
  const [stdout, stderr] = [`${base}.out`, `${base}.err`].map((file) => readFileSync(file, 'utf8'));
  if (!codes.includes(status)) {
    const said = `${stdout.slice(-2000)}${stderr.slice(-4000)}`.trim();
    throw new Failed(`${command} ${args.join(' ')}: ${error?.message ?? status}\n${said}`);
  }
  return { stdout, stderr, status };
}

const wineEnv = {
  WINEPREFIX: join(root, '.cache', 'wine', 'prefix'),
  WINEDEBUG: '-all',
  NODE_SKIP_PLATFORM_CHECK: '1',
};
const mingw = (family) => [
  ...['-DCMAKE_SYSTEM_NAME=Windows', `-DCMAKE_C_COMPILER=${family}-w64-mingw32-gcc-posix`],
  ...[`-DCMAKE_CXX_COMPILER=${family}-w64-mingw32-g++-posix`],
  `-DCMAKE_RC_COMPILER=${family}-w64-mingw32-windres`,
];

/** The two systems: how programs are started there, and how a path is spelled. */
const linux = {
  name: 'linux-x64',
  install: ['--os=linux', '--cpu=x64'],
  cmake: [],
  path: (path) => path,
  native: (program) => [program, []],
  node: (script) => [process.execPath, [script]],
  env: {},
  exe: '',
  provider: 'minimal-provider.so',
};
const windows = {
  name: 'win-x64',
  install: ['--os=win32', '--cpu=x64'],
  cmake: mingw('x86_64'),
  path: (path) => `Z:${path.replaceAll('/', '\\')}`,
  native: (program) => ['wine', [program]],
  node: (script) => [
    'wine',
    [join(root, '.cache', 'wine', 'node', 'bin', 'node.exe'), windows.path(script)],
  ],
  env: wineEnv,
  exe: '.exe',
  provider: 'minimal-provider.dll',
};

let passed = 0;
let failed = 0;
/** Runs a step and says how it went. @returns what it gave; undefined if it failed. */
async function step(name, action) {
  const begin = performance.now();
  try {
    const value = await action();
    passed++;
    say(`ok      ${name} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
    return value ?? true;
  } catch (error) {
    failed++;
    say(`FAILED  ${name}: ${error instanceof Failed ? error.message : error.stack}`);
    return undefined;
  }
}

/** Packs as a release does, with the scripts that build; or takes `--tarball FILE`. */
function pack() {
  const at = process.argv.indexOf('--tarball');
  if (at > 0) return resolve(process.argv[at + 1]);
  run('npm', ['pack', '--pack-destination', scratch, '--loglevel=error'], { cwd: root });
  const tarball = join(
    scratch,
    readdirSync(scratch).find((name) => name.endsWith('.tgz')),
  );
  const size = statSync(tarball).size;
  if (size > MAX_PACKAGE_BYTES) throw new Failed(`the package has ${size} bytes`);
  say(`        ${size} bytes packed`);
  return tarball;
}

function install(system, tarball) {
  const folder = join(scratch, system.name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const how = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', ['install', tarball, ...how, ...system.install], { cwd: folder });
  const manifest = join(folder, 'node_modules', 'mapisync', 'package.json');
  const { scripts } = JSON.parse(readFileSync(manifest, 'utf8'));
  const atInstall = Object.keys(scripts).filter((name) => /install$|^prepare$/.test(name));
  expect('scripts at installation', atInstall, []);
  return folder;
}

/** A copied SDK with its example built, and the installed program. */
class Adopted {
  constructor(system, folder) {
    this.system = system;
    this.folder = folder;
    this.cli = join(folder, 'node_modules', 'mapisync', 'dist', 'bin', 'mapisync.js');
    this.sdk = join(folder, 'third_party', 'mapisync');
    this.build = join(folder, 'build');
    this.state = join(folder, 'state');
  }

  mapisync(args, options) {
    const [command, first] = this.system.node(this.cli);
    const env = { ...this.system.env, ...options?.env };
    return run(command, [...first, ...args], { cwd: this.folder, ...options, env });
  }

  configureAndBuild(build = this.build, cmake = this.system.cmake) {
    const source = join(this.sdk, 'samples', 'minimal');
    run('cmake', ['-S', source, '-B', build, `-DCMAKE_PREFIX_PATH=${this.sdk}`, ...cmake]);
    run('cmake', ['--build', build]);
  }

  /** Runs `action` while the installed daemon runs. @returns the journal's records. */
  async withDaemon(action) {
    const { system } = this;
    const [command, first] = system.node(this.cli);
    const log = openSync(join(this.folder, 'daemon.log'), 'w');
    const args = ['daemon', 'run', '--state-dir', system.path(this.state)];
    const daemon = spawn(command, [...first, ...args], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...system.env },
    });
    closeSync(log);
    const ended = new Promise((resolve) => daemon.once('close', resolve));
    try {
      const until = Date.now() + START_TIMEOUT_MS;
      while (!existsSync(join(this.state, 'endpoint'))) {
        if (daemon.exitCode !== null || Date.now() > until) {
          throw new Failed(readFileSync(join(this.folder, 'daemon.log'), 'utf8'));
        }
        await sleep(20);
      }
      await action();
      this.mapisync(['daemon', 'stop', '--state-dir', system.path(this.state)]);
      await ended;
    } finally {
      daemon.kill('SIGKILL');
      await ended;
    }
    const journal = join(this.state, 'journal');
    return readdirSync(journal)
      .filter((name) => name.endsWith('.jsonl'))
      .flatMap((name) => readFileSync(join(journal, name), 'utf8').trim().split('\n'))
      .map((line) => JSON.parse(line));
  }

  /** The example's two programs, each in a way of its own: the source compiled in, and the DLL. */
  runExample() {
    const { system } = this;
    const env = { ...system.env, MAPISYNC_STATE_DIR: system.path(this.state) };
    const start = (program, args = []) => {
      const [command, first] = system.native(program);
      return run(command, [...first, ...args], { env });
    };
    start(join(this.build, `minimal-report${system.exe}`));
    const bin = join(this.sdk, 'bin', system.name);
    const config = join(this.folder, 'config');
    writeFileSync(config, '');
    const provider = system.path(join(this.build, system.provider));
    const args = ['--provider', provider, '--entry', 'MinimalCreate', '--shim', 'none', '--quiet'];
    start(join(bin, `sample-host${system.exe}`), [...args, '--config', system.path(config)]);
  }
}

/** What the two programs of the example say, in the journal. */
function checkJournal(records) {
  const ended = records.filter(({ event_name: name }) => name === 'session.ended');
  const told = ended.map(({ session, outcome, totals }) => [
    ...[session.provider, session.store, session.attach, outcome],
    ...[totals.progress, totals.errors + totals.warnings],
  ]);
  told.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  expect('sessions in the journal', told, [
    ['Minimal', 'Twenty messages', 'tee', 'ok_with_errors', 21, 1],
    ['Report in C', 'Five messages', 'sink', 'ok', 6, 0],
  ]);
}

async function adopt(system, tarball) {
  const on = (text) => `${system.name}: ${text}`;
  const folder = await step(on('npm install, scripts blocked'), () => install(system, tarball));
  if (folder === undefined) return;
  const adopted = new Adopted(system, folder);
  const { path } = system;
  await step(on('sdk path'), () => {
    const told = JSON.parse(adopted.mapisync(['sdk', 'path', '--json']).stdout);
    expect('path', told.path.endsWith('sdk'), true);
  });
  const copied = await step(on('sdk copy'), () => {
    adopted.mapisync(['sdk', 'copy', path(adopted.sdk)]);
    const again = adopted.mapisync(['sdk', 'copy', path(adopted.sdk)], { codes: [2] });
    expect('a second copy', /new or empty/.test(again.stderr), true);
  });
  if (copied === undefined) return;
  await step(on('demo, without a compiler'), () => {
    const report = join(folder, 'demo.json');
    const { stdout } = adopted.mapisync(['demo', '--json', '--remove', '--calls-per-second', '0'], {
      env: { CXX: NO_COMPILER },
    });
    writeFileSync(report, stdout);
    const { consistent, sessions } = JSON.parse(stdout);
    expect('consistent, sessions', [consistent, sessions], [true, 1]);
  });
  const built = await step(on('CMake builds the example'), () => adopted.configureAndBuild());
  if (built === undefined) return;
  await step(on('the example against the installed daemon: sessions in the journal'), async () => {
    checkJournal(await adopted.withDaemon(() => adopted.runExample()));
  });
  await step(on('test-provider'), () => {
    const junit = join(folder, 'junit.xml');
    const { stdout } = adopted.mapisync([
      ...['test-provider', '--dll', path(join(adopted.build, system.provider))],
      ...['--entry', 'MinimalCreate', '--junit', path(junit)],
    ]);
    expect('the last line', /^\d{2,} passed, 0 failed$/m.test(stdout), true);
    expect(
      'JUnit',
      /<testsuites [^>]*tests="\d{2,}" failures="0"/.test(readFileSync(junit, 'utf8')),
      true,
    );
  });
  return adopted;
}

/** The shim in one file, as a compiler for another system sees it. */
function compileSource(compiler, flags) {
  const source = join(scratch, 'mapisync.cc');
  run(process.execPath, [join(root, 'bin', 'amalgamate.mjs'), source]);
  const warnings = ['-Wall', '-Wextra', '-Werror', '-fno-exceptions', '-fno-rtti'];
  const include = `-I${join(root, 'native-shim', 'include')}`;
  run(compiler, ['-std=c++17', '-fsyntax-only', ...warnings, include, ...flags, source]);
}

/**
 * The calling conventions, sizes and names of MSVC. Its headers cannot be had here; mingw's stand in for
 * them, and these flags tell them who compiles.
 */
function msvc(machine) {
  const library = '/usr/lib/gcc/x86_64-w64-mingw32/12-posix/include/c++';
  const sizes = [
    'BOOL',
    'CHAR',
    'CHAR16_T',
    'CHAR32_T',
    'WCHAR_T',
    'SHORT',
    'INT',
    'LONG',
    'LLONG',
  ];
  const atomics = [...sizes, 'POINTER'].map((name) => `-D__GCC_ATOMIC_${name}_LOCK_FREE=2`);
  return [
    ...[`--target=${machine}-pc-windows-msvc`, '-pedantic', '-Wgnu', '-Wno-#warnings'],
    ...['-fgnuc-version=12.2', '-U_MSC_VER', '-D__MINGW32__=1', '-nostdinc++'],
    machine === 'x86_64' ? '-D__MINGW64__=1' : '-D_X86_=1',
    ...['-D__GCC_ATOMIC_TEST_AND_SET_TRUEVAL=1', ...atomics],
    ...['-isystem', library, '-isystem', `${library}/x86_64-w64-mingw32`],
    ...['-isystem', '/usr/share/mingw-w64/include'],
  ];
}

const begin = performance.now();
try {
  for (const machine of ['x86_64', 'i686']) {
    await step(`clang for ${machine}-pc-windows-msvc takes the source`, () =>
      compileSource('clang++', msvc(machine)),
    );
  }
  await step('mingw for x86 takes the source', () =>
    compileSource('i686-w64-mingw32-g++-posix', ['-Wconversion', '-Wshadow']),
  );
  const tarball = await step('npm pack builds it', pack);
  if (tarball !== undefined) {
    await step('publint', () => {
      run('npx', ['--no-install', 'publint', 'run', tarball, '--strict'], { cwd: root });
    });
    const onLinux = await adopt(linux, tarball);
    await adopt(windows, tarball);
    if (onLinux) {
      await step('win-x86: CMake builds the example, linked to the import library', () =>
        onLinux.configureAndBuild(join(scratch, 'build-x86'), mingw('i686')),
      );
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
say(`${((performance.now() - begin) / 1000).toFixed(0)} s in all`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
