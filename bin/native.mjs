/**
 * Builds the native parts: shim, sample provider, sample host and native tests, for this system and,
 * where a mingw-w64 compiler is installed, for Windows x64. Objects are rebuilt when their source, a
 * header or the flags are newer. Plain Node, no shell, so that it runs on every system.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const shim = join(root, 'native-shim');

const WARNINGS = ['-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Werror'];
const COMMON = ['-std=c++17', '-fno-exceptions', '-fno-rtti', ...WARNINGS, `-I${shim}/include`];
const MINGW = ['x86_64-w64-mingw32-g++-posix', 'x86_64-w64-mingw32-g++'];

const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
const firstThatRuns = (commands) => commands.find((command) => command && runs(command));

/** `linux-x64`, `win-x64`, ...: the folder in `dist/native` for what runs on this system. */
export const hostTarget = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

export const COMPILER_ADVICE =
  process.platform === 'win32'
    ? 'install a C++ compiler that Node can find as g++ or clang++ (MSYS2: pacman -S mingw-w64-ucrt-x86_64-gcc), then open a new terminal'
    : process.platform === 'darwin'
      ? 'install a C++ compiler: xcode-select --install'
      : 'install a C++ compiler: sudo apt-get install g++ (Debian, Ubuntu) or sudo dnf install gcc-c++ (Fedora)';

/**
 * The builds that this machine can make.
 * @param {{sanitize?: boolean}} options `sanitize`: the sanitizer builds instead of the normal ones.
 */
export function targets({ sanitize = false } = {}) {
  const host = firstThatRuns([process.env.CXX, 'g++', 'clang++']);
  const windows = process.platform === 'win32' ? host : firstThatRuns(MINGW);
  const found = [];
  const posix = {
    name: hostTarget,
    compiler: host,
    flags: ['-O2', '-g', '-fPIC', '-pthread', '-fvisibility=hidden'],
    link: ['-pthread'],
    shared: ['-shared', '-fPIC', '-Wl,-z,nodelete,-z,relro,-z,now', '-Wl,--no-undefined'],
    system: ['-ldl'],
    names: { shim: 'libmapisync.so', provider: 'sample-provider.so', exe: '' },
  };
  if (process.platform === 'darwin') {
    posix.shared = ['-dynamiclib'];
    posix.system = [];
  }
  const hardening = ['-Wl,--dynamicbase,--nxcompat,--high-entropy-va'];
  const win = {
    name: 'win-x64',
    compiler: windows,
    flags: ['-O2', '-g', '-D_WIN32_WINNT=0x0601', '-DUNICODE', '-D_UNICODE'],
    link: ['-static', '-municode', ...hardening],
    shared: ['-shared', '-static', ...hardening, join(shim, 'mapisync.def')],
    system: ['-ladvapi32', '-lbcrypt', '-lshell32'],
    names: { shim: 'mapisync.dll', provider: 'sample-provider.dll', exe: '.exe' },
  };
  if (host && process.platform !== 'win32') {
    if (!sanitize) found.push(posix);
    else {
      for (const [name, kind] of [
        ['asan', 'address,undefined'],
        ['tsan', 'thread'],
      ]) {
        const on = [`-fsanitize=${kind}`, '-fno-omit-frame-pointer', '-fno-sanitize-recover=all'];
        found.push({
          ...posix,
          name: `${hostTarget}-${name}`,
          flags: [...posix.flags, '-O1', ...on],
          link: [...posix.link, ...on],
          shared: ['-shared', '-fPIC', ...on],
        });
      }
    }
  }
  if (windows && !sanitize) found.push(win);
  return found;
}

const filesIn = (folder, ending) =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith(ending))
        .sort()
        .map((name) => join(folder, name))
    : [];

function headers() {
  const all = [];
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (/\.(h|def)$/.test(entry.name)) all.push(path);
    }
  };
  walk(shim);
  return all;
}

const timeOf = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    child.stderr.on('data', (data) => (text += data));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0
        ? resolve()
        : reject(new Error(`Cannot build: ${command} ended with ${code}\n${text.trimEnd()}`)),
    );
  });
}

/** Runs jobs, as many at a time as there are processors; the first failure stops it. */
async function inParallel(jobs) {
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) await jobs[next++]();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/** Compiles and links one target. @returns the number of steps that were needed. */
export async function buildTarget(target, { tests = true } = {}) {
  const out = join(root, 'dist', 'native', target.name);
  const objects = join(out, 'obj');
  mkdirSync(objects, { recursive: true });
  // A change of compiler or flags rebuilds all, like a change of a header.
  const recipe = JSON.stringify([target.compiler, target.flags, target.link, target.shared]);
  const recipeFile = join(out, 'recipe.json');
  if (!existsSync(recipeFile) || readFileSync(recipeFile, 'utf8') !== recipe) {
    writeFileSync(recipeFile, recipe);
  }
  const newestHeader = Math.max(timeOf(recipeFile), ...headers().map(timeOf));

  let steps = 0;
  const compile = (source, tag, extra = []) => {
    const name = `${tag}-${relative(shim, source).replace(/[\\/]/g, '-')}.o`;
    const object = join(objects, name);
    if (timeOf(object) > Math.max(timeOf(source), newestHeader)) return { object };
    steps++;
    return {
      object,
      job: () =>
        run(target.compiler, [...COMMON, ...target.flags, ...extra, '-c', source, '-o', object]),
    };
  };

  const sources = {
    shim: filesIn(join(shim, 'src'), '.cc'),
    provider: filesIn(join(shim, 'samples', 'provider'), '.cc'),
    host: filesIn(join(shim, 'samples', 'host'), '.cc'),
    shared: filesIn(join(shim, 'samples', 'shared'), '.cc'),
    tests: tests ? filesIn(join(shim, 'tests'), '_test.cc') : [],
  };
  const compileAll = (list, tag, extra) => list.map((source) => compile(source, tag, extra));
  const dll = compileAll(sources.shim, 'dll', ['-DMAPISYNC_BUILD_SHARED']);
  const plain = tests ? compileAll(sources.shim, 'lib', ['-DMAPISYNC_TESTING']) : [];
  const shared = compileAll(sources.shared, 'sample');
  const provider = compileAll(sources.provider, 'sample');
  const host = compileAll(sources.host, 'sample');
  const test = compileAll(sources.tests, 'test', [`-I${shim}/src`, '-DMAPISYNC_TESTING']);
  const all = [...dll, ...plain, ...shared, ...provider, ...host, ...test];
  await inParallel(all.flatMap(({ job }) => (job ? [job] : [])));

  const links = [];
  const link = (name, parts, how) => {
    const path = join(out, name);
    const inputs = parts.map(({ object }) => object);
    if (inputs.length === 0 || timeOf(path) > Math.max(...inputs.map(timeOf), newestHeader)) return;
    steps++;
    mkdirSync(dirname(path), { recursive: true });
    links.push(() => run(target.compiler, [...inputs, ...how, ...target.system, '-o', path]));
  };
  const sampleShared = target.shared.filter((flag) => !flag.endsWith('mapisync.def'));
  link(target.names.shim, dll, target.shared);
  link(
    target.names.provider,
    [...provider, ...shared],
    [...sampleShared, ...target.link.filter((flag) => flag === '-pthread')],
  );
  link(`sample-host${target.names.exe}`, [...host, ...shared], target.link);
  // Tests have a plain main(), so -municode does not go with them.
  const testLink = target.link.filter((flag) => flag !== '-municode');
  for (const part of test) {
    const name = basename(part.object)
      .replace(/^test-tests-/, '')
      .replace(/\.cc\.o$/, '');
    link(`tests/${name}${target.names.exe}`, [part, ...plain], testLink);
  }
  await inParallel(links);
  return steps;
}
