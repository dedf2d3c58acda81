/**
 * Part `start`: until a client can come, with an empty journal, 100 MB and 1 GB of it, beside Node that
 * only loads pino.
 */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/native.mjs';
import { feedOurs } from './feed.mjs';
import { asOurs, chunks, session } from './frames.mjs';
import {
  interleave,
  median,
  ROUNDS,
  report,
  round,
  startDaemon,
  withDaemon,
  withFolder,
} from './support.mjs';

const SEGMENT_BYTES = 8_388_608;
const JOURNALS = {
  smoke: {},
  quick: { with_100mb_ms: 100e6 },
  full: { with_100mb_ms: 100e6, with_1gb_ms: 1e9 },
};
/** Fill a segment and begin another. */
const ERRORS = 20_000;

/** A whole segment as a daemon wrote it, full of records of a session that runs. */
async function makeSegment(folder) {
  const state = join(folder, 'made');
  const made = chunks([...session('errors', ERRORS)].slice(0, -1), asOurs);
  await withDaemon(state, () => feedOurs(state, made));
  const journal = join(state, 'journal');
  const segments = readdirSync(journal)
    .filter((name) => name.endsWith('.jsonl'))
    .sort();
  if (segments.length < 2) throw new Error('A segment was not filled');
  return join(journal, segments[0]);
}

function lay(state, segment, bytes) {
  rmSync(state, { recursive: true, force: true });
  const journal = join(state, 'journal');
  mkdirSync(journal, { recursive: true, mode: 0o700 });
  for (let i = 1; i <= Math.ceil(bytes / SEGMENT_BYTES); i++) {
    copyFileSync(segment, join(journal, `mapisync.${String(i).padStart(6, '0')}.jsonl`));
  }
}

const ready = (state, prepare) => async () => {
  prepare?.();
  rmSync(join(state, 'endpoint'), { force: true });
  const begin = performance.now();
  const daemon = await startDaemon(state);
  const passed = performance.now() - begin;
  await daemon.stop();
  if (existsSync(join(state, 'endpoint'))) throw new Error('The daemon left its endpoint');
  return passed;
};

const pinoAlone = () =>
  new Promise((resolve, reject) => {
    const begin = performance.now();
    const child = spawn(process.execPath, ['-e', "require('pino')"], { cwd: root });
    child.on('error', reject);
    child.on('exit', () => resolve(performance.now() - begin));
  });

export async function run({ size, say }) {
  return withFolder(async (folder) => {
    const contenders = { empty_ms: ready(join(folder, 'empty')), pino_ms: pinoAlone };
    const journals = Object.entries(JOURNALS[size]);
    const segment = journals.length > 0 ? await makeSegment(folder) : undefined;
    for (const [name, bytes] of journals) {
      const state = join(folder, name);
      contenders[name] = ready(state, () => lay(state, segment, bytes));
    }
    const found = await interleave(contenders, {
      rounds: size === 'smoke' ? 1 : ROUNDS,
      warmUp: size !== 'smoke',
    });
    report(say, 'From spawn to ready', found, { base: 'empty_ms', unit: 'ms' });
    const metrics = Object.keys(contenders).map((name) => [name, round(median(found[name]))]);
    return { metrics: { start: Object.fromEntries(metrics) } };
  });
}
