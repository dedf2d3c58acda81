/**
 * Part `start`: until a client can come, with an empty journal, 100 MB and 1 GB of it, beside Node that
 * only loads pino; and a whole `mapisync status --json`, with and without a daemon, beside Node that does
 * nothing.
 */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/native.mjs';
import { feedOurs } from './feed.mjs';
import { asOurs, chunks, session } from './frames.mjs';
import {
  cli,
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
  // As after a while: the system would be writing all that while the daemon starts.
  spawnSync('sync');
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

/** A program of Node from spawn to its end, which it comes to with `code`. */
const program =
  (args, code = 0) =>
  () =>
    new Promise((resolve, reject) => {
      const begin = performance.now();
      const child = spawn(process.execPath, args, { cwd: root, stdio: 'ignore' });
      child.on('error', reject);
      child.on('exit', (found) => {
        if (found === code) resolve(performance.now() - begin);
        else reject(new Error(`${args.join(' ')} ended with ${found}`));
      });
    });

const status = (state) => [cli, 'status', '--json', '--state-dir', state];
const NO_DAEMON = 3;
/** They are short, so that noise is a larger part of each. */
const STATUS_ROUNDS = 25;

async function commandLine(folder, { isSmoke, say }) {
  const state = join(folder, 'asked');
  const contenders = {
    node_ms: program(['-e', '0']),
    status_ms: program(status(state)),
    status_alone_ms: program(status(join(folder, 'nowhere')), NO_DAEMON),
  };
  const rounds = isSmoke ? 1 : STATUS_ROUNDS;
  const found = await withDaemon(state, () => interleave(contenders, { rounds, warmUp: !isSmoke }));
  report(say, '`status --json`, with and without a daemon, beside `node -e 0`', found, {
    base: 'node_ms',
    unit: 'ms',
  });
  const times = (name) => median(found[name].map((ms, i) => ms / found.node_ms[i]));
  const [here, alone] = [times('status_ms'), times('status_alone_ms')];
  say(`  That is ${round(here, 2)} and ${round(alone, 2)} times \`node -e 0\``);
  return {
    status_ms: round(median(found.status_ms)),
    status_times_node: round(here, 2),
    status_alone_times_node: round(alone, 2),
  };
}

export async function run({ size, say }) {
  return withFolder(async (folder) => {
    const contenders = {
      empty_ms: ready(join(folder, 'empty')),
      pino_ms: program(['-e', "require('pino')"]),
    };
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
    const asked = await commandLine(folder, { isSmoke: size === 'smoke', say });
    return { metrics: { start: { ...Object.fromEntries(metrics), ...asked } } };
  });
}
