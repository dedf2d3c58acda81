/**
 * What the harness runs, built from copies in `.cache/fault/`: the producer with the shim inside, and
 * variants of shim and daemon with a few lines replaced.
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { COMPILER_ADVICE, hostTarget, root, targets } from '../../bin/native.mjs';

const cache = join(root, '.cache', 'fault');
const shim = join(root, 'native-shim');
const FLAGS = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-Wall', '-Wextra', '-Werror', '-O2'];

/**
 * A shim that comes back within 2 to 20 ms instead of 50 to 5000: daemons that live for a fraction of a
 * second would hardly ever meet the real one.
 */
export const EAGER = [
  { file: 'delivery.h', find: 'kRetryMinMs = 50', put: 'kRetryMinMs = 2' },
  { file: 'delivery.h', find: 'kRetryMaxMs = 5000', put: 'kRetryMaxMs = 20' },
];

/** A shim whose calls now and then wait between reserving their record and filling it. */
export const HESITANT = [
  {
    file: 'ring_append.h',
    find: '  std::atomic<std::uint64_t>* const to =',
    put: '  if (attempt.at.seq() % 64 == 7) usleep(20000);\n  std::atomic<std::uint64_t>* const to =',
  },
  {
    file: 'ring_append.h',
    find: '#include <cstring>',
    put: '#include <unistd.h>\n\n#include <cstring>',
  },
];

/** Replaces text that must stand there exactly once. */
export function edit(folder, edits) {
  for (const { file, find, put } of edits) {
    const path = join(folder, file);
    const parts = readFileSync(path, 'utf8').split(find);
    if (parts.length !== 2) {
      throw new Error(
        `Cannot edit ${file}: expected "${find}" once, found it ${parts.length - 1} times`,
      );
    }
    writeFileSync(path, parts.join(put));
  }
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (data) => {
      text += data;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`Cannot build: ${command} ended with ${code}\n${text}`));
    });
  });
}

const newestIn = (folder) =>
  Math.max(...readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs));

/**
 * @param {string} name of the variant
 * @param {object} options `edits`: what is replaced in `native-shim/src`; `windows`: for Wine; `base`:
 *   folder of a variant whose objects do where no edit was made, if the edits touch no header
 * @returns {Promise<{path: string, folder: string}>}
 */
export async function buildProducer(name, { edits = [], windows = false, base } = {}) {
  const wanted = windows ? 'win-x64' : hostTarget;
  const target = targets().find((one) => one.name === wanted);
  if (!target) throw new Error(`Cannot build the fault harness's producer: ${COMPILER_ADVICE}`);
  const folder = join(cache, `${name}-${wanted}`);
  const path = join(folder, `producer${windows ? '.exe' : ''}`);
  const own = new URL('producer.cc', import.meta.url).pathname;
  const recipe = JSON.stringify(edits);
  const recipePath = join(folder, 'recipe.json');
  const same = existsSync(recipePath) && readFileSync(recipePath, 'utf8') === recipe;
  const newest = Math.max(newestIn(join(shim, 'src')), statSync(own).mtimeMs);
  if (same && existsSync(path) && statSync(path).mtimeMs > newest) return { path, folder };

  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(join(shim, 'src'), join(folder, 'src'), { recursive: true });
  edit(join(folder, 'src'), edits);
  const edited = new Set(edits.map(({ file }) => file));
  const sources = readdirSync(join(folder, 'src')).filter((file) => file.endsWith('.cc'));
  const jobs = [];
  const objects = [];
  const compile = (source, object) => {
    objects.push(object);
    const flags = [...FLAGS, ...target.flags.filter((flag) => !/^-O|^-fvis/.test(flag))];
    jobs.push(() =>
      run(target.compiler, [...flags, `-I${shim}/include`, '-c', source, '-o', object]),
    );
  };
  for (const file of [...sources, 'producer.cc']) {
    const ready = base && !edited.has(file) && join(base, `${file}.o`);
    if (ready && existsSync(ready)) objects.push(ready);
    else {
      const source = file === 'producer.cc' ? own : join(folder, 'src', file);
      compile(source, join(folder, `${file}.o`));
    }
  }
  const work = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) await job();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  const link = target.link.filter((flag) => flag !== '-municode');
  await run(target.compiler, [...objects, ...link, ...target.system, '-o', path]);
  writeFileSync(recipePath, recipe);
  return { path, folder };
}

const TREE = ['protocol', 'daemon', 'client', 'bin', 'package.json', 'tsconfig.json'];

/**
 * A copy of the project's sources with edits. Within the project, so that it finds its packages.
 *
 * @param {string[]} more what it needs besides the sources of the product
 * @returns its folder
 */
export function copyTree(name, edits, more = []) {
  const folder = join(cache, `${name}-tree`);
  rmSync(folder, { recursive: true, force: true });
  for (const part of [...TREE, ...more]) {
    cpSync(join(root, part), join(folder, part), { recursive: true, preserveTimestamps: true });
  }
  edit(folder, edits);
  return folder;
}

/** Compiles a daemon with edits in its sources. @returns the folder that stands for `dist`. */
export async function buildDaemon(name, edits) {
  const folder = copyTree(name, edits);
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  // An edit may leave a name without a use.
  await run(process.execPath, [tsc, '-p', join(folder, 'bin', 'tsconfig.build.json'), '--noCheck']);
  return join(folder, 'dist');
}

/** A copy of the built daemon, so that a build beside does not change what is tested. */
export function copyDaemon(name) {
  const folder = join(cache, `${name}-dist`);
  rmSync(folder, { recursive: true, force: true });
  for (const part of ['daemon', 'protocol']) {
    cpSync(join(root, 'dist', part), join(folder, part), { recursive: true });
  }
  return folder;
}
