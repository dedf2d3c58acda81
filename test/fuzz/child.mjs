/**
 * One target in a process of its own, so that a crash, a hang or memory without end is its own:
 * `child.mjs <json>`. Says how far it is, a line of JSON at a time.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { Session } from 'node:inspector';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from './modules.mjs';
import { mutate, prepare } from './mutate.mjs';
import { Random } from './random.mjs';
import { TARGETS } from './targets.mjs';

const { target: name, dist, seed, from, count, seconds, coverage } = JSON.parse(process.argv[2]);
/** A part is what one stream of random numbers makes: its number and the seed repeat it. */
const PART = name === 'journal' ? 64 : name === 'frame' ? 65_536 : 4096;
/** So many are run with the counters of the profiler on, which slow everything down. */
const COVERED_PARTS = name === 'frame' ? 2 : 8;
const say = (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`);

Error.stackTraceLimit = 4;
const target = TARGETS[name];
const modules = await load(dist);
// In memory where the system has that: files are made and synced for each input.
const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const folder = mkdtempSync(join(base, 'mapisync-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const inputs = target.inputs(modules);
const seeds = prepare(inputs);
const out = new Uint8Array(Math.max(...inputs.map(({ length }) => length)) + 1024);
const take = target.make(modules, folder);
const started = performance.now();

/** @returns how many blocks of the target's files ran, of how many. */
function coveredBlocks(session) {
  let blocks = 0;
  let ran = 0;
  session.post('Profiler.takePreciseCoverage', (error, { result }) => {
    if (error) throw error;
    for (const { url, functions } of result) {
      if (!url.startsWith('file:') || !target.files.includes(relative(dist, fileURLToPath(url))))
        continue;
      for (const { ranges } of functions) {
        blocks += ranges.length;
        ran += ranges.filter((range) => range.count > 0).length;
      }
    }
  });
  session.post('Profiler.stopPreciseCoverage');
  session.disconnect();
  return { ran, blocks };
}

let session;
if (coverage) {
  session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
}
let done = 0;
let startRss = 0;
let part = from;
for (; done < count && performance.now() - started < seconds * 1000; part += 1) {
  const random = new Random(seed, part);
  for (let n = 0; n < PART && done < count; n += 1, done += 1) {
    const size = mutate(random, seeds, out);
    try {
      take(out, size);
    } catch (error) {
      const input = Buffer.from(out.subarray(0, size)).toString('hex');
      say({ found: error.stack ?? String(error), input, part, done });
      process.exit(1);
    }
  }
  if (part - from === COVERED_PARTS && session) {
    say(coveredBlocks(session));
    session = undefined;
  }
  // What the first parts leave behind is the engine's: code, and room to work in.
  if (part - from === COVERED_PARTS + 8) startRss = process.memoryUsage().rss;
  say({ part, done });
}
if (session) say(coveredBlocks(session));
const endRss = process.memoryUsage().rss;
say({
  ended: true,
  part,
  done,
  startRss: startRss || endRss,
  endRss,
  ms: performance.now() - started,
});
