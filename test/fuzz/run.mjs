/**
 * `npm run fuzz -- [--target T] [--seconds N] [--count N] [--seed X] [--keep] [--quick]`: mutated input
 * for everything that reads foreign bytes. C++ under libFuzzer with sanitizers, TypeScript in a process
 * with little memory, then both on the same input. Each fuzzer has to find a bug that was planted for it
 * before it is believed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../../bin/native.mjs';
import { copyDaemon, edit } from '../fault/build.mjs';
import { optionsOf } from '../options.mjs';
import { keepInputs, unpackInputs } from './corpus.mjs';
import { compare, SHARED } from './differential.mjs';
import { buildDescriber, buildFuzzer, CLANG_ADVICE, hasClang } from './native.mjs';
import { TARGETS } from './targets.mjs';

/** Bugs for the native fuzzers, a bound each. */
const PLANTED = {
  frame: {
    file: 'frames_decode.cc',
    find: 'MsgpackReader r(body, size_bytes);\n  const std::uint32_t count = r.Array();\n  const char* type',
    put: 'MsgpackReader r(body, size_bytes + 1);\n  const std::uint32_t count = r.Array();\n  const char* type',
  },
  ring: {
    file: 'ring_scan.cc',
    find: 'units > units_ - at.unit() ||',
    put: 'units > units_ - at.unit() + 1 ||',
  },
  endpoint: {
    file: 'endpoint.cc',
    find: 'value.size != 2 * Endpoint::kSecretBytes',
    put: 'value.size + 1 < 2 * Endpoint::kSecretBytes',
  },
  handshake: {
    file: 'handshake.cc',
    find: 'size_bytes > kChallengeBytes - taken_bytes_',
    put: 'size_bytes > kChallengeBytes - taken_bytes_ + 1',
  },
  utf8: {
    file: 'utf8.h',
    find: 'return stop - kTextBlockBytes;',
    put: 'return stop - (kTextBlockBytes - 2);',
  },
  stream: {
    file: 'delivery.cc',
    find: 'if (left - kPrefixBytes < size) break;',
    put: 'if (left - kPrefixBytes + 1 < size) break;',
  },
};
/** A bug for the comparison: a text that the daemon takes for a number. */
const PLANTED_DIFFERENCE = { file: 'frames_decode.cc', find: '"uwwt"', put: '"uuwt"' };

const MAX_INPUT_BYTES = 4600;
const MEMORY_MB = 96;
const MAX_GROWTH_MB = 32;
/** A child that says nothing for so long hangs. */
const SILENT_MS = 60_000;
/** In which a planted bug must be found. */
const PLANTED_SECONDS = 120;

const all = [...new Set([...Object.keys(PLANTED), ...Object.keys(TARGETS)])];
const { values } = optionsOf('fuzz', {
  target: all,
  seconds: 'COUNT',
  count: 'COUNT',
  seed: 'N',
  keep: '',
  quick: '',
});
const number = (name, otherwise) => values[name] ?? otherwise;
const wanted = values.target ?? all;
const seed = number('seed', Math.floor(Math.random() * 2 ** 31));
const seconds = number('seconds', values.quick ? 3 : 60);
const count = number('count', values.quick ? 400_000 : 5_000_000);
const scratch = mkdtempSync(join(tmpdir(), 'mapisync-fuzz-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const say = (line) => process.stdout.write(`${line}\n`);
let passed = 0;
let failed = 0;
const pass = (line) => {
  passed += 1;
  say(line);
};
const fail = (line) => {
  failed += 1;
  say(`FAILED ${line}`);
};
const thousands = (value) => value.toLocaleString('en-US');

// --- C++ ---

/** @returns {Promise<{code: number, text: string}>} */
function libFuzzer(path, target, budget, { corpus, fresh }) {
  const artifacts = join(scratch, `${target}-`);
  const options = [
    `--target=${target}`,
    `-max_total_time=${budget}`,
    `-artifact_prefix=${artifacts}`,
    `-max_len=${MAX_INPUT_BYTES}`,
    '-timeout=60',
    '-rss_limit_mb=1024',
    '-use_value_profile=1',
    '-print_final_stats=1',
    `-seed=${(seed % (2 ** 31 - 1)) + 1}`,
  ];
  const child = spawn(path, [...options, fresh, corpus], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.on('data', (data) => {
    text = (text + data).slice(-200_000);
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, text })));
}

const figure = (text, pattern) => Number([...text.matchAll(pattern)].at(-1)?.[1] ?? Number.NaN);

async function fuzzNative() {
  const targets = Object.keys(PLANTED).filter((name) => wanted.includes(name));
  if (targets.length === 0) return;
  if (!hasClang()) {
    const text = `native fuzzers: ${CLANG_ADVICE}`;
    if (process.env.MAPISYNC_REQUIRE === 'all') fail(text);
    else say(`SKIPPED: ${text}`);
    return;
  }
  const real = await buildFuzzer('real');
  const bad = await buildFuzzer('bad', { edits: Object.values(PLANTED), base: real.folder });
  for (const target of targets) {
    const folders = (name) => {
      const fresh = join(scratch, `${name}-${target}`);
      mkdirSync(fresh);
      return { corpus: join(scratch, target), fresh };
    };
    unpackInputs(target, join(scratch, target));
    const planted = await libFuzzer(bad.path, target, PLANTED_SECONDS, folders('bad'));
    if (planted.code === 0) {
      fail(`C++ ${target}: the planted bug was not found in ${PLANTED_SECONDS} s`);
      continue;
    }
    const where = folders('real');
    const { code, text } = await libFuzzer(real.path, target, seconds, where);
    const executions = figure(text, /number_of_executed_units: (\d+)/g);
    if (code !== 0) {
      const [file] = readdirSync(scratch).filter((name) => /-(crash|timeout|oom|leak)-/.test(name));
      const input = file ? readFileSync(join(scratch, file)).toString('hex') : 'none';
      fail(`C++ ${target}: ended with ${code} on ${input}\n${text.slice(-4000)}`);
      continue;
    }
    const edges = figure(text, /cov: (\d+)/g);
    const rss = figure(text, /peak_rss_mb: +(\d+)/g);
    const first = figure(planted.text, /#(\d+)\s/g);
    const found = Number.isNaN(first)
      ? 'among its seeds'
      : `after about ${thousands(first)} inputs`;
    pass(
      `C++ ${target}: planted bug found ${found}; ${thousands(executions)} inputs, ${edges} edges, at most ${rss} MiB, nothing found`,
    );
    if (values.keep) keep(real.path, target, where);
  }
}

/** The fewest inputs that reach all that the corpus and this run reached. */
function keep(path, target, { corpus, fresh }) {
  const merged = join(scratch, `merged-${target}`);
  mkdirSync(merged);
  spawnSync(path, [`--target=${target}`, '-merge=1', merged, corpus, fresh], { stdio: 'ignore' });
  say(`C++ ${target}: ${keepInputs(target, merged)} inputs kept`);
}

// --- TypeScript ---

const childPath = fileURLToPath(new URL('child.mjs', import.meta.url));

/** @returns {Promise<object>} what the child said last, with what went wrong as `found` */
function runChild(task) {
  // The young generation small, so that it does not look like growth when V8 makes it larger.
  const limits = [`--max-old-space-size=${MEMORY_MB}`, '--max-semi-space-size=4'];
  const options = [...limits, childPath, JSON.stringify(task)];
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'pipe'] });
  const facts = {};
  let rest = '';
  let errors = '';
  let hung = false;
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      hung = true;
      child.kill('SIGKILL');
    }, SILENT_MS);
  };
  wait();
  child.stdout.on('data', (data) => {
    wait();
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) Object.assign(facts, JSON.parse(line));
  });
  child.stderr.on('data', (data) => {
    errors = (errors + data).slice(-4000);
  });
  return new Promise((resolve) =>
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const at = `after part ${facts.part ?? 'none'}`;
      if (hung) facts.found = `it hung ${at}`;
      else if (!facts.ended && !facts.found)
        facts.found = `it ended with ${signal ?? code} ${at}\n${errors}`;
      resolve(facts);
    }),
  );
}

/** Of what costs more than a frame, fewer are made. */
const SHARE = {
  frame: 1,
  stream: 0.1,
  feed: 0.1,
  ring: 0.02,
  endpoint: 0.2,
  recording: 0.02,
  journal: 0.0005,
};

async function fuzzScript() {
  for (const name of Object.keys(TARGETS).filter((target) => wanted.includes(target))) {
    const task = { target: name, dist: join(root, 'dist'), seed, from: 0, coverage: true };
    const inputs = Math.ceil(count * SHARE[name]);
    const bad = copyDaemon(`fuzz-${process.pid}`);
    edit(bad, [TARGETS[name].planted]);
    const limits = { count: Number.MAX_SAFE_INTEGER, seconds: PLANTED_SECONDS };
    const planted = await runChild({ ...task, ...limits, dist: bad, coverage: false });
    rmSync(bad, { recursive: true, force: true });
    if (planted.input === undefined) {
      fail(`TypeScript ${name}: the planted bug was not found: ${planted.found ?? 'nothing was'}`);
      continue;
    }
    const { found, input, part, done, ran, blocks, startRss, endRss, ms } = await runChild({
      ...task,
      count: inputs,
      seconds: 86_400,
    });
    if (found) {
      fail(
        `TypeScript ${name}: seed ${seed}, part ${part}: ${found}\n  input ${input ?? 'unknown'}`,
      );
      continue;
    }
    const mib = (bytes) => Math.round(bytes / 1_048_576);
    const line = `planted bug found after ${thousands(planted.done)} inputs; ${thousands(done)} inputs (${thousands(Math.round((done / ms) * 1000))} a second), ${ran} of ${blocks} blocks, ${mib(startRss)} to ${mib(endRss)} MiB`;
    if (mib(endRss - startRss) > MAX_GROWTH_MB) fail(`TypeScript ${name}: memory grows: ${line}`);
    else pass(`TypeScript ${name}: ${line}, nothing found`);
  }
}

// --- Both ---

async function compareBoth() {
  const targets = SHARED.filter((name) => wanted.includes(name));
  const real = await buildDescriber('describe');
  if (real === undefined || targets.length === 0) return;
  const edits = [PLANTED_DIFFERENCE];
  const bad = await buildDescriber('describe-bad', { edits, base: real.folder });
  const dist = join(root, 'dist');
  const inputs = Math.ceil(count / 20);
  if (targets.includes('frame')) {
    const { differ } = await compare({ target: 'frame', program: bad.path, dist, count, seed });
    if (differ) pass('Both: a planted difference is found');
    else fail('Both: the planted difference was not found');
  }
  for (const target of targets) {
    const share = target === 'ring' ? inputs / 10 : inputs;
    const made = await compare({ target, program: real.path, dist, count: share, seed });
    if (made.differ) {
      const { input, native, script } = made.differ;
      fail(
        `Both ${target}: on ${input.toString('hex')}\n  C++        ${native}\n  TypeScript ${script}`,
      );
    } else pass(`Both ${target}: ${thousands(made.inputs)} inputs, the same answers`);
  }
}

say(`seed ${seed}`);
await fuzzScript();
await compareBoth();
await fuzzNative();
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
