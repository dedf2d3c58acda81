/**
 * Part `cost`: how fast a daemon takes frames while it exports, beside one that does not: slices in turns,
 * in one run. By the clock, and by the processor time of the thread that takes frames: with two cores the
 * exporter's own thread takes time from whoever feeds the daemon.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { feedOurs } from '../bench/feed.mjs';
import { asOurs, chunks, session } from '../bench/frames.mjs';
import { cpuSeconds, median, round, withDaemon } from '../bench/support.mjs';
import { scratch } from './machine.mjs';

const PAIRS = 20;
const FRAMES = 2_000_000;
/** A daemon that takes less than this in that time has nothing to do. */
const IDLE_SECONDS = 0.01;
const SETTLE_MS = 500;

/** Processor time of the thread that began the process, in seconds. */
const mainSeconds = (pid) =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9;

/** Until what a slice left to do is done: an exporter may be behind, and would take from the next slice. */
async function settle(pid) {
  for (let before = -1, now = cpuSeconds(pid); now - before > IDLE_SECONDS; ) {
    before = now;
    await sleep(SETTLE_MS);
    now = cpuSeconds(pid);
  }
}

export async function run({ say }) {
  const { dir, remove } = scratch();
  const made = chunks(session('progress', FRAMES), asOurs);
  const slice = async ({ state, pid }) => {
    const before = { clock: performance.now(), main: mainSeconds(pid) };
    await feedOurs(state, made);
    const took = {
      clock: (performance.now() - before.clock) / 1000,
      main: mainSeconds(pid) - before.main,
    };
    await settle(pid);
    return took;
  };
  const env = { MAPISYNC_EXPORT_FILE_DIR: join(dir, 'out') };
  try {
    return await withDaemon(join(dir, 'without'), (without) =>
      withDaemon(
        join(dir, 'with'),
        async (exporting) => {
          const ratios = { clock: [], main: [] };
          for (const daemon of [without, exporting]) await slice(daemon);
          const before = [exporting, without].map(({ pid }) => cpuSeconds(pid));
          for (let pair = 0; pair < PAIRS; pair++) {
            const order = pair % 2 === 0 ? [without, exporting] : [exporting, without];
            const took = new Map();
            for (const daemon of order) took.set(daemon, await slice(daemon));
            for (const [name, all] of Object.entries(ratios)) {
              all.push(took.get(without)[name] / took.get(exporting)[name]);
            }
            say(`pair ${pair + 1}/${PAIRS}: ${ratios.main.at(-1).toFixed(2)}`);
          }
          const [all, base] = [exporting, without].map(
            ({ pid }, at) => cpuSeconds(pid) - before[at],
          );
          return {
            ratio: round(median(ratios.main), 3),
            ratio_by_the_clock: round(median(ratios.clock), 3),
            processor_of_all_threads: round(all / base, 2),
          };
        },
        { env },
      ),
    );
  } finally {
    remove();
  }
}
