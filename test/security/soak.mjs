/**
 * A daemon under all that its limits allow: 64 connections with 64 sessions each that send as fast as
 * they are acknowledged, and 100 tails that never read. Slices with and without the tails alternate, so
 * that what the tails cost, from their handshakes on, is measured in the same run: in frames for a second
 * of the daemon's processor time, and beside it by the clock. Both want an idle machine: what the daemon does once a second weighs
 * more when others take its time.
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
/** Of /proc/PID/stat; the same on every Linux. */
const TICKS_PER_SECOND = 100;
const WARM_FRAMES = 500_000;

let asked = 0;
const here = join(root, 'test', 'security');

function start(file, args) {
  const child = fork(join(here, file), args, { stdio: 'inherit' });
  const died = new Promise((_, reject) => {
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}`)));
  });
  died.catch(() => {}); // Whoever asks next is told.
  return {
    child,
    ready: Promise.race([once(child, 'message'), died]),
    ask(question) {
      const answer = new Promise((resolve) => {
        const id = ++asked;
        const take = (message) => {
          if (message.id !== id) return;
          child.off('message', take);
          resolve(message);
        };
        child.on('message', take);
        child.send({ question, id });
      });
      return Promise.race([answer, died]);
    },
    stop: () => child.disconnect(),
  };
}

/** Processor time of all threads, user and system. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
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
    let sessions = 0;
    const sliceMs = (minutes * 60_000) / pairs / 2;
    /** @returns frames acknowledged, in how many seconds, for how much of the daemon's processor time. */
    const slice = async (want) => {
      const from = { ...(await load.ask('count')), cpu: cpuSeconds(daemon.pid) };
      const end = performance.now() + sliceMs;
      if (want > 0) await tails.ask({ want });
      while (performance.now() < end) {
        await sleep(Math.max(0, Math.min(POLL_MS, end - performance.now())));
        resident.push(residentMib(daemon.pid));
        const { counts } = await status(daemon.endpoint);
        sessions = Math.max(sessions, counts.sessions_running);
      }
      const to = { ...(await load.ask('count')), cpu: cpuSeconds(daemon.pid) };
      if (want > 0) await tails.ask({ want: 0 });
      const frames = to.acked - from.acked;
      return {
        perSecond: (frames * 1000) / (to.atMs - from.atMs),
        perCpuSecond: frames / (to.cpu - from.cpu),
      };
    };
    // The first frames of 4,096 sessions cost more than those that follow.
    await until('frames flow', async () => (await load.ask('count')).acked > WARM_FRAMES, 120_000);
    await slice(TAILS);
    const ratios = { perCpuSecond: [], perSecond: [] };
    const rates = [];
    for (let pair = 0; pair < pairs; pair++) {
      const order = pair % 2 === 0 ? [TAILS, 0] : [0, TAILS];
      const measured = new Map();
      for (const want of order) measured.set(want, await slice(want));
      const [with_, without] = [measured.get(TAILS), measured.get(0)];
      for (const [name, all] of Object.entries(ratios)) all.push(with_[name] / without[name]);
      rates.push(without.perSecond);
      const thousands = (count) => Math.round(count / 1000);
      say(
        `pair ${pair + 1}/${pairs}: ${thousands(with_.perCpuSecond)} of ` +
          `${thousands(without.perCpuSecond)} thousand frames for a second of processor ` +
          `(${ratios.perCpuSecond.at(-1).toFixed(2)}), ${thousands(with_.perSecond)} of ` +
          `${thousands(without.perSecond)} thousand in a second (${ratios.perSecond.at(-1).toFixed(2)}), ` +
          `${resident.at(-1).toFixed(0)} MiB`,
      );
    }
    const { id: _, tails: none, ...told } = await tails.ask({ want: 0 });
    const after = (await status(daemon.endpoint)).counts;
    load.stop();
    const third = Math.floor(resident.length / 3);
    const growth = median(resident.slice(-third)) / median(resident.slice(third, 2 * third));
    const result = {
      connections: CONNECTIONS,
      sessions,
      tails: TAILS,
      minutes,
      ratio: median(ratios.perCpuSecond),
      ratioByTheClock: median(ratios.perSecond),
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
