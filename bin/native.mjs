/**
 * Builds the native parts: shim, sample provider, sample host and native tests, for this system and,
 * where a mingw-w64 compiler is installed, for Windows x64; for x86 when a release asks for it. Objects are rebuilt when their source, a
 * header or the flags are newer. Plain Node, no shell, so that it runs on every system.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { hostTarget, root } from './places.mjs';

export { hostTarget, root };

const shim = join(root, 'native-shim');

const WARNINGS = ['-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Werror'];
const COMMON = ['-std=c++17', '-fno-exceptions', '-fno-rtti', ...WARNINGS, `-I${shim}/include`];
const MINGW = ['x86_64-w64-mingw32-g++-posix', 'x86_64-w64-mingw32-g++'];
const MINGW_X86 = ['i686-w64-mingw32-g++-posix', 'i686-w64-mingw32-g++'];

/** The shim's sources that run when a provider calls: for speed. On Windows the others are for size. */
const HOT = /[\\/](callback|frames|platform_win32|ring|session|slots|utf8)\.cc$/;

const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
const firstThatRuns = (commands) => commands.find((command) => command && runs(command));

export const COMPILER_ADVICE =
  process.platform === 'win32'
    ? 'install a C++ compiler that Node can find as g++ or clang++ (MSYS2: pacman -S mingw-w64-ucrt-x86_64-gcc), then open a new terminal'
    : process.platform === 'darwin'
      ? 'install a C++ compiler: xcode-select --install'
      : 'install a C++ compiler: sudo apt-get install g++ (Debian, Ubuntu) or sudo dnf install gcc-c++ (Fedora)';

/**
 * The builds that this machine can make.
 * @param {{sanitize?: boolean, release?: boolean}} options `sanitize`: the sanitizer builds instead
 * of the normal ones. `release`: Windows x86 too.
 */
export function targets({ sanitize = false, release = false } = {}) {
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
  const found86 = release ? firstThatRuns(MINGW_X86) : undefined;
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
  if (windows && !sanitize) found.push(windowsTarget('win-x64', windows));
  if (found86 && !sanitize) found.push(windowsTarget('win-x86', found86));
  return found;
}

function windowsTarget(name, compiler) {
  const x86 = name === 'win-x86';
  // Sections without use are dropped, and two builds of the same sources are the same.
  const linker = ['--dynamicbase', '--nxcompat', '--gc-sections', '--no-insert-timestamp'];
  linker.push(x86 ? '--enable-stdcall-fixup' : '--high-entropy-va');
  const how = [`-Wl,${linker.join(',')}`];
  const flags = ['-O2', '-g', '-ffunction-sections', '-D_WIN32_WINNT=0x0601'];
  return {
    name,
    compiler,
    flags: [...flags, '-DUNICODE', '-D_UNICODE'],
    link: ['-static', '-municode', ...how],
    shared: ['-shared', '-static', ...how, join(shim, 'mapisync.def')],
    system: ['-ladvapi32', '-lbcrypt', '-lshell32'],
    names: { shim: 'mapisync.dll', provider: 'sample-provider.dll', exe: '.exe' },
    cold: ['-Os'],
    resource: join(shim, 'mapisync.rc'),
  };
}

/** A tool of a compiler's family, such as `x86_64-w64-mingw32-objcopy`; undefined if there is none. */
export function toolOf(compiler, name) {
  return firstThatRuns([compiler.replace(/(g\+\+|clang\+\+)(-posix)?$/, name)]);
}

/** Moves a library's debug information into a file of its own beside it, which debuggers find. */
async function splitDebug(target, file) {
  const objcopy = toolOf(target.compiler, 'objcopy');
  if (objcopy === undefined) return; // It stays inside.
  await run(objcopy, ['--only-keep-debug', '--compress-debug-sections', file, `${file}.debug`]);
  await run(objcopy, ['--strip-all', `--add-gnu-debuglink=${file}.debug`, file]);
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
      else if (/\.(h|def|rc)$/.test(entry.name)) all.push(path);
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
  const dll = sources.shim.map((source) =>
    compile(source, 'dll', [
      '-DMAPISYNC_BUILD_SHARED',
      ...(target.cold && !HOT.test(source) ? target.cold : []),
    ]),
  );
  const windres = target.resource && toolOf(target.compiler, 'windres');
  if (windres) {
    const object = join(objects, 'resource.o');
    const job = () => run(windres, ['-I', join(shim, 'include'), target.resource, object]);
    if (timeOf(object) > newestHeader) dll.push({ object });
    else {
      steps++;
      dll.push({ object, job });
    }
  }
  const plain = tests ? compileAll(sources.shim, 'lib', ['-DMAPISYNC_TESTING']) : [];
  const shared = compileAll(sources.shared, 'sample', target.cold);
  const provider = compileAll(sources.provider, 'sample', target.cold);
  const host = compileAll(sources.host, 'sample', target.cold);
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
    links.push(async () => {
      await run(target.compiler, [...inputs, ...how, ...target.system, '-o', path]);
      if (path.endsWith('.dll')) await splitDebug(target, path);
    });
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
