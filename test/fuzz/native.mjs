/** Builds the native fuzzers, and the program that describes inputs, from copies in `.cache/fuzz/`. */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hostTarget, root, targets } from '../../bin/native.mjs';
import { edit } from '../fault/build.mjs';

const cache = join(root, '.cache', 'fuzz');
const shim = join(root, 'native-shim');
/** What a reader of foreign bytes is made of; the connection's system is in `daemon_stream.cc`. */
const SOURCES = [
  'crc32c',
  'delivery',
  'endpoint',
  'frames',
  'frames_decode',
  'handshake',
  'platform_posix',
  'ring',
  'ring_scan',
  'ring_worker',
  'sha256',
  'slots',
  'utf8',
];
const FLAGS = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-Wall', '-Wextra', '-Wconversion'];
const SANITIZE = '-fsanitize=address,undefined';

export const CLANG_ADVICE = 'install clang with its runtime: sudo apt-get install clang';

export const hasClang = () => spawnSync('clang++', ['--version'], { stdio: 'ignore' }).status === 0;

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
      else reject(new Error(`Cannot build the fuzzers: ${command} ended with ${code}\n${text}`));
    });
  });
}

/**
 * @param {string} name of the variant
 * @param {object} options `main`: the file with main(); `edits`: what is replaced in `native-shim/src`;
 *   `base`: folder of a variant whose objects do where no edit was made
 * @returns {Promise<{path: string, folder: string}>}
 */
async function build(name, { main, compiler, flags, link, edits = [], base }) {
  const folder = join(cache, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of ['src', 'include', 'tests']) {
    cpSync(join(shim, part), join(folder, part), { recursive: true });
  }
  edit(join(folder, 'src'), edits);
  const edited = edits.map(({ file }) => file);
  const inHeader = edited.some((file) => file.endsWith('.h'));
  const objects = [];
  const jobs = [];
  const compile = (source) => {
    const object = `${source.replaceAll('/', '-')}.o`;
    if (base && !inHeader && !edited.some((file) => source.endsWith(`src/${file}`))) {
      objects.push(join(base, object));
      return;
    }
    objects.push(join(folder, object));
    const include = [`-I${folder}/include`, `-I${folder}/src`];
    const args = [...FLAGS, ...flags, ...include, '-c', join(folder, source), '-o'];
    jobs.push(() => run(compiler, [...args, join(folder, object)]));
  };
  for (const source of SOURCES) compile(`src/${source}.cc`);
  for (const source of ['targets', 'daemon_stream', main]) compile(`tests/fuzz/${source}.cc`);
  const work = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) await job();
  };
  await Promise.all([work(), work()]);
  const path = join(folder, main);
  await run(compiler, [...objects, ...link, '-pthread', '-o', path]);
  return { path, folder };
}

/** A fuzzer with all targets in it. */
export const buildFuzzer = (name, { edits = [], base } = {}) =>
  build(name, {
    main: 'libfuzzer',
    compiler: 'clang++',
    flags: [
      '-O2',
      '-g',
      '-fno-omit-frame-pointer',
      `${SANITIZE},fuzzer-no-link`,
      '-fno-sanitize-recover=all',
    ],
    link: [`${SANITIZE},fuzzer`],
    edits,
    base,
  });

/** The program that says what the shim makes of inputs; undefined where there is no compiler. */
export function buildDescriber(name, { edits = [], base } = {}) {
  const target = targets().find((one) => one.name === hostTarget);
  if (!target) return undefined;
  const flags = ['-O0'];
  return build(name, { main: 'describe', compiler: target.compiler, flags, link: [], edits, base });
}

/** Answers of a describer to any number of inputs, in order. */
export class Describer {
  #child;
  #waiting = [];
  #held = Buffer.alloc(0);
  #failed;

  constructor(path, target) {
    this.#child = spawn(path, [target], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout.on('data', (data) => this.#take(data));
    this.#child.stdin.on('error', () => {});
    this.#child.on('close', (code, signal) => {
      this.#failed = new Error(`describe ${target} ended with ${signal ?? code}`);
      for (const { reject } of this.#waiting) reject(this.#failed);
    });
  }

  /** @returns {Promise<string[]>} */
  ask(inputs) {
    if (this.#failed) return Promise.reject(this.#failed);
    const blocks = inputs.flatMap((input) => {
      const size = Buffer.alloc(4);
      size.writeUInt32LE(input.length);
      return [size, input];
    });
    this.#child.stdin.write(Buffer.concat(blocks));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, count: inputs.length, texts: [] });
    });
  }

  close() {
    this.#child.stdin.end();
  }

  #take(data) {
    this.#held = this.#held.length === 0 ? data : Buffer.concat([this.#held, data]);
    let at = 0;
    while (this.#waiting.length > 0 && at + 4 <= this.#held.length) {
      const end = at + 4 + this.#held.readUInt32LE(at);
      if (end > this.#held.length) break;
      const [first] = this.#waiting;
      first.texts.push(this.#held.toString('utf8', at + 4, end));
      at = end;
      if (first.texts.length < first.count) continue;
      this.#waiting.shift();
      first.resolve(first.texts);
    }
    this.#held = this.#held.subarray(at);
  }
}
