/** Kills of busy hosts beside a daemon that lives: each ring must be adopted, soon and whole. */
import { mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hosts } from './hosts.mjs';
import { check } from './oracle.mjs';
import { mix, random } from './random.mjs';
import { Daemon, LIVENESS_MS, LOAD_MS, MOST_UNADOPTED, scratchFolder } from './round.mjs';
import { HOST_SCHEDULES } from './schedules.mjs';
import { readHeader } from './side-file.mjs';

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const START_MS = 20_000;

/**
 * @param {object} options `schedule`, `seed`, `hostKills`; `producer`: command and first arguments; `startDaemon`:
 *   (state, errors) => {ready(), stop()}; `path`: spells paths for the host; `env`; `atOnce`: hosts.
 */
export async function runHostRound(options) {
  const { seed, producer, startDaemon, path, env, atOnce = 2, onDisk = false } = options;
  const { livenessMs = LIVENESS_MS, schedule = 'hosts' } = options;
  const plan = HOST_SCHEDULES[schedule];
  const rand = random(mix(seed, schedule));
  const scratch = onDisk ? scratchFolder('hosts', tmpdir()) : scratchFolder('hosts');
  const state = join(scratch, 'state');
  mkdirSync(state, { mode: 0o700 });
  const errorsPath = join(scratch, 'stderr');
  const hosts = new Hosts({
    program: producer,
    state,
    scratch,
    path,
    env,
    oneByOne: options.oneByOne,
  });
  const problems = [];
  const started = performance.now();
  let begun = 0;

  const keepKilling = async () => {
    while (begun < options.hostKills) {
      begun += 1;
      // Of more dead rings than a few the oldest would be overwritten by the next host.
      const patience = performance.now() + livenessMs;
      while (hosts.unadopted >= MOST_UNADOPTED && performance.now() < patience) await delay(2);
      const shared = rand() < 0.3 ? 1 : 0;
      const host = hosts.start({
        threads: 4,
        shared,
        // Now and then the ring fills up within the host's short life.
        'busy-us': rand() < plan.busy ? 1 : Math.floor(20 + rand() * 200),
        tee: rand() < 0.5 ? 1 : 0,
        'pace-us': Math.floor(100 + rand() * 1000),
        calls: Math.floor(3 + rand() * 40),
        seed: Math.floor(rand() * 2 ** 31),
      });
      const lifeMs = plan.lifeMs(rand);
      const until = performance.now() + START_MS;
      while (!readHeader(host.side).attached && performance.now() < until) await delay(1);
      await delay(lifeMs);
      hosts.kill(host);
      await host.ended;
    }
  };

  const daemon = await startDaemon(state, openSync(errorsPath, 'w'));
  try {
    if (!(await daemon.ready())) throw new Error('The daemon is not ready');
    await Promise.all(Array.from({ length: atOnce }, keepKilling));
    const until = performance.now() + livenessMs;
    while (hosts.rings.length > 0 && performance.now() < until) await delay(10);
    if (hosts.rings.length > 0) problems.push(`liveness: ${hosts.leftRings}`);
    await delay(20);
    if (!(await daemon.stop())) problems.push('liveness: no clean stop');
  } finally {
    hosts.close();
    daemon.kill();
  }
  const found = check([join(state, 'journal')], hosts.sides);
  found.problems.push(...problems);
  const stderr = readFileSync(errorsPath, 'utf8');
  if (/\n\s+at |Error: /.test(stderr)) found.problems.push(`stderr: ${stderr.slice(0, 500)}`);
  const failed = found.problems.length > 0 || found.lost > 0;
  if (!failed || !options.keep) rmSync(scratch, { recursive: true, force: true });
  return {
    ...found,
    schedule,
    seed,
    failed,
    scratch,
    daemonKills: 0,
    hostKills: hosts.kills,
    adoptionMs: hosts.adoptionMs,
    resumeMs: [],
    wallMs: performance.now() - started,
  };
}

/** A daemon of this system, without faults. */
export const plainDaemon = (dist) => async (state, errors) => {
  const daemon = new Daemon(dist, errors);
  if (!(await daemon.hear('loaded', LOAD_MS))) throw new Error('A daemon did not load');
  daemon.tell(JSON.stringify({ stateDir: state, faults: {} }));
  return {
    ready: () => daemon.hear('ready', LIVENESS_MS),
    async stop() {
      daemon.tell('stop');
      return daemon.hear('stopped 0', LIVENESS_MS);
    },
    kill: () => daemon.kill(),
  };
};
