/**
 * One round in a process of its own, so that rounds side by side neither wait for each other's oracle
 * nor leave memory behind. `runJob()` starts it; a job is plain data.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { plainDaemon, runHostRound } from './host-round.mjs';
import { removeScratch, runRound } from './round.mjs';
import { wineHosts } from './wine.mjs';

const SELF = fileURLToPath(import.meta.url);

/**
 * @param {object} job `hosts`: kills of hosts, else of daemons; `wine`: they are those of Windows; the
 *   rest is options of `runHostRound()` or `runRound()`.
 * @returns {Promise<object>} what that round found; a round that could not be run has failed, with
 *   `error`
 */
export function runJob(job) {
  return new Promise((resolve, reject) => {
    const child = fork(SELF);
    let answer;
    child.on('message', (message) => {
      answer = message;
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (answer?.result) resolve(answer.result);
      else resolve(noResult(job, answer?.error ?? `A round ended with ${signal ?? code}`));
    });
    child.send(job);
  });
}

const noResult = ({ schedule, seed }, error) => ({
  schedule,
  seed,
  error,
  failed: true,
  problems: [error],
  frames_must: 0,
  wrong_totals: 0,
  invented: 0,
  lost: 0,
  daemonKills: 0,
  hostKills: 0,
  adoptionMs: [],
  resumeMs: [],
  wallMs: 0,
});

/** Runs `run` for each job, `most` at a time, and gives `take` each result as it comes. */
export async function runAll(jobs, most, run, take) {
  const left = jobs[Symbol.iterator]();
  const work = async () => {
    for (let next = left.next(); !next.done; next = left.next()) {
      await take(await run(next.value), next.value);
    }
  };
  await Promise.all(Array.from({ length: most }, work));
}

async function main({ hosts, wine, ...options }) {
  if (!hosts) return runRound(options);
  if (wine) return runHostRound({ ...options, ...(await wineHosts()) });
  return runHostRound({ ...options, startDaemon: plainDaemon(options.dist) });
}

if (process.argv[1] === SELF && process.send) {
  const end = (answer) => process.send(answer, () => process.exit(0));
  process.once('message', (job) => {
    main(job).then(
      (result) => end({ result }),
      (error) => end({ error: error.stack }),
    );
  });
  process.on('disconnect', () => {
    removeScratch();
    process.exit(1);
  });
}
