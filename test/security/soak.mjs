/**
 * A daemon under all that its limits allow: 64 connections with 64 sessions each that send as fast as
 * they are acknowledged, and 100 tails that never read. Slices with and without the tails alternate, so
 * that what the tails cost is measured in the same run.
 *
 *   npm run security -- soak [--minutes 10]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { median, root, scratch, startDaemon, status, until } from './peers.mjs';

const CONNECTIONS = 64;
const SESSIONS = 64;
const TAILS = 100;
const PAIRS = 20;
const MAX_RESIDENT_MIB = 150;
const MIN_RATIO = 0.9;
/** How much more may be resident in the last third than in the second. */
const MAX_GROWTH = 1.05;
const POLL_MS = 250;
const WARM_FRAMES = 500_000;

let asked = 0;
const here = join(root, 'test', 'security');

function start(file, args) {
  const child = fork(join(here, file), args, { stdio: 'inherit' });
  return {
    child,
    ready: once(child, 'message'),
    tell: (question) => child.send({ question }),
    ask: (question) =>
      new Promise((resolve) => {
        const id = ++asked;
        const take = (answer) => {
          if (answer.id !== id) return;
          child.off('message', take);
          resolve(answer);
        };
        child.on('message', take);
        child.send({ question, id });
      }),
    stop: () => child.disconnect(),
  };
}

const residentMib = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

/**
 * @param {{minutes: number, pairs?: number, say?: (text: string) => void}} options
 * @returns what was measured, and `problems`: what was not as it must be.
 */
export async function soak({ minutes, pairs = PAIRS, say = () => {} }) {
  const place = scratch();
  const daemon = await startDaemon(join(place.dir, 'state'));
  const load = start('load.mjs', [daemon.endpoint, String(CONNECTIONS), String(SESSIONS)]);
  const tails = start('tails.mjs', [daemon.endpoint]);
  try {
    await Promise.all([load.ready, tails.ready]);
    const resident = [];
    let cutBefore = 0;
    let sessions = 0;
    const sliceMs = (minutes * 60_000) / pairs / 2;
    /** Frames acknowledged per second. */
    const slice = async (want) => {
      await tails.ask({ want, cut: 0 });
      const from = await load.ask('count');
      const end = performance.now() + sliceMs;
      while (performance.now() < end) {
        await sleep(Math.max(0, Math.min(POLL_MS, end - performance.now())));
        resident.push(residentMib(daemon.pid));
        if (want === 0) continue;
        const { counts } = await status(daemon.endpoint);
        sessions = Math.max(sessions, counts.sessions_running);
        tails.tell({ want, cut: counts.clients_cut - cutBefore });
        cutBefore = counts.clients_cut;
      }
      const to = await load.ask('count');
      return ((to.acked - from.acked) * 1000) / (to.atMs - from.atMs);
    };
    // The first frames of 4,096 sessions cost more than those that follow.
    await until('frames flow', async () => (await load.ask('count')).acked > WARM_FRAMES, 120_000);
    await slice(TAILS);
    const ratios = [];
    const rates = [];
    for (let pair = 0; pair < pairs; pair++) {
      const order = pair % 2 === 0 ? [TAILS, 0] : [0, TAILS];
      const measured = new Map();
      for (const want of order) measured.set(want, await slice(want));
      ratios.push(measured.get(TAILS) / measured.get(0));
      rates.push(measured.get(0));
      say(
        `pair ${pair + 1}/${pairs}: ${Math.round(measured.get(TAILS))} of ${Math.round(measured.get(0))} frames/s ` +
          `(${ratios.at(-1).toFixed(2)}), ${resident.at(-1).toFixed(0)} MiB`,
      );
    }
    const { counts } = await status(daemon.endpoint);
    const { id: _, ...told } = await tails.ask({ want: 0, cut: counts.clients_cut - cutBefore });
    const after = (await status(daemon.endpoint)).counts;
    load.stop();
    const third = Math.floor(resident.length / 3);
    const growth = median(resident.slice(-third)) / median(resident.slice(third, 2 * third));
    const result = {
      connections: CONNECTIONS,
      sessions,
      tails: TAILS,
      minutes,
      ratio: median(ratios),
      framesPerSecond: Math.round(median(rates)),
      residentMib: Math.round(Math.max(...resident)),
      growth,
      clientsCut: after.clients_cut,
      ...told,
      notSent: after.records_not_sent,
    };
    const problems = [];
    const must = (holds, text) => holds || problems.push(text);
    must(sessions === CONNECTIONS * SESSIONS, `${sessions} sessions ran`);
    must(result.residentMib < MAX_RESIDENT_MIB, `${result.residentMib} MiB resident`);
    must(
      result.ratio >= MIN_RATIO,
      `ingestion with tails is ${result.ratio.toFixed(2)} of without`,
    );
    must(told.gaps === 0, `${told.gaps} gaps in what tails got`);
    must(told.untold === 0, `${told.untold} tails were cut without a word`);
    must(
      told.dropped === after.records_not_sent,
      `tails were told of ${told.dropped} updates, the daemon counts ${after.records_not_sent}`,
    );
    // A short run is still warming up.
    must(minutes < 5 || growth < MAX_GROWTH, `memory grew by ${((growth - 1) * 100).toFixed(1)} %`);
    return { ...result, problems };
  } finally {
    for (const { child } of [load, tails]) if (child.connected) child.disconnect();
    await daemon.stop();
    place.remove();
  }
}
