/** One round: a state directory, hosts and daemons, faults, then peace, then the oracle. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Hosts } from './hosts.mjs';
import { Liar } from './liar.mjs';
import { check } from './oracle.mjs';
import { mix, random } from './random.mjs';
import { SCHEDULES } from './schedules.mjs';

const DAEMON = fileURLToPath(new URL('daemon.mjs', import.meta.url));
/** A daemon without faults must be ready, and rings drained, within this. */
export const LIVENESS_MS = 10_000;
/** For Node to load the daemon's code, on a machine with much else to do. */
export const LOAD_MS = 60_000;
export const MOST_UNADOPTED = 5;
/** Of a daemon, whatever its peers send. */
const MOST_MEMORY_MB = 400;
/** What a daemon ends with that finds another one. */
const ALREADY_RUNNING = 1;
/** Nothing may have to be acknowledged: then the kill comes all the same. */
const FIRST_ACK_MS = 1500;

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Where files can be written fast; what the disk does is played by faults. */
const fastPlace = () => (existsSync('/dev/shm') ? '/dev/shm' : tmpdir());

const scratches = new Set();

export function scratchFolder(name, place = fastPlace()) {
  const path = mkdtempSync(join(place, `mapisync-fault-${name}-`));
  scratches.add(path);
  return path;
}

/** For a run that is cut short. */
export function removeScratch() {
  for (const path of scratches) rmSync(path, { recursive: true, force: true });
}

/** A daemon process that has loaded everything and waits for its plan. */
export class Daemon {
  words = new Set();
  #child;
  #heard = new Set();

  constructor(dist, errors) {
    this.#child = spawn(process.execPath, [DAEMON, join(dist, 'daemon', 'run.js')], {
      stdio: ['pipe', 'pipe', errors],
    });
    this.#child.stdin.on('error', () => {});
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.words.add(line);
      if (line === 'ready') this.readyMs = performance.now();
      if (line === 'ack') this.ackMs = performance.now();
      for (const wake of this.#heard) wake();
    });
    this.ended = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        this.gone = true;
        this.code = code;
        this.signal = signal;
        for (const wake of this.#heard) wake();
        resolve();
      });
    });
  }

  /** @returns whether the word came within the time. */
  hear(word, ms) {
    return new Promise((resolve) => {
      const done = (heard) => {
        clearTimeout(timer);
        this.#heard.delete(look);
        resolve(heard);
      };
      const look = () => {
        if (this.words.has(word)) done(true);
        else if (this.gone) done(false);
      };
      const timer = setTimeout(() => done(false), ms);
      this.#heard.add(look);
      look();
    });
  }

  /** The most memory that it had so far, in MiB; 0 where the system does not tell. */
  get peakMb() {
    try {
      const text = readFileSync(`/proc/${this.#child.pid}/status`, 'latin1');
      return Math.round(Number(/VmHWM:\s+([0-9]+) kB/.exec(text)?.[1] ?? 0) / 1024);
    } catch {
      return 0;
    }
  }

  tell(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  kill() {
    this.#child.kill('SIGKILL');
  }
}

/**
 * @param {object} options `schedule`: name. `seed`, `daemonKills`, `hostKills`, `dist`, `producer`,
 *   `keep`: leave the files of a failed round.
 * @returns what the oracle found, with kills and times.
 */
export async function runRound(options) {
  const { schedule, seed, dist, producer, livenessMs = LIVENESS_MS } = options;
  const plan = SCHEDULES[schedule];
  const rand = random(mix(seed, schedule));
  const scratch = scratchFolder(schedule);
  const state = join(scratch, 'state');
  const archive = join(scratch, 'archive');
  mkdirSync(state, { mode: 0o700 });
  mkdirSync(archive);
  const errorsPath = join(scratch, 'stderr');
  const errors = openSync(errorsPath, 'w');
  const hosts = new Hosts({ program: [producer], state, scratch });
  const started = performance.now();
  const resumeMs = [];
  const problems = [];
  let daemonKills = 0;
  let peakMb = 0;
  let next = new Daemon(dist, errors);

  const tell = (daemon, { faults, killMs: _, early: __, after: ___, rivals: ____, ...rest }) => {
    daemon.tell(
      JSON.stringify({
        stateDir: state,
        segmentBytes: 65_536,
        // A rotation looks at all of them, and these are a hundred times smaller than usual.
        journalBytes: 2_000_000,
        sync: 'system',
        ...rest,
        faults: { seed: Math.floor(rand() * 2 ** 32), archive, ...faults },
      }),
    );
  };

  const begin = async (life) => {
    const daemon = next;
    if (!(await daemon.hear('loaded', LOAD_MS))) throw new Error('A daemon did not load');
    tell(daemon, life);
    next = new Daemon(dist, errors);
    return daemon;
  };

  const end = async (daemon, life) => {
    peakMb = Math.max(peakMb, daemon.peakMb);
    daemon.kill();
    await daemon.ended;
    // A disk that fails before there is anything to serve ends it, with a word on stderr.
    const excused = life.faults.eio > 0 && daemon.code === 1;
    if (daemon.signal !== 'SIGKILL' && !excused) {
      problems.push(`liveness: a daemon ended with ${daemon.code}`);
    }
    daemonKills += 1;
    if (daemon.ackMs) resumeMs.push(daemon.ackMs - daemon.readyMs);
  };

  /** Ends a life and begins the next one. @returns the daemon that has the lock now. */
  const succeed = async (daemon, life, following) => {
    const { heirs, hasty } = following.rivals ?? {};
    if (!heirs) {
      await end(daemon, life);
      return begin(following);
    }
    const claimants = Array.from({ length: heirs }, () => new Daemon(dist, errors));
    for (const one of claimants) await one.hear('loaded', LOAD_MS);
    const tellAll = () => {
      for (const one of claimants) tell(one, following);
    };
    if (hasty) {
      tellAll();
      await delay(rand() * 15);
    }
    await end(daemon, life);
    if (!hasty) tellAll();
    await Promise.all(claimants.map((one) => one.hear('ready', livenessMs)));
    const [winner, ...more] = claimants.filter((one) => one.words.has('ready'));
    for (const one of claimants) if (one !== winner) refuses(one);
    if (more.length > 0) problems.push(`liveness: ${more.length + 1} daemons got one lock`);
    if (winner) return winner;
    // All of them may have come while the old one still had it.
    if (!hasty) problems.push(`liveness: none of ${heirs} daemons got the free lock`);
    return begin(following);
  };

  const refuses = (daemon) => {
    if (!daemon.words.has(`stopped ${ALREADY_RUNNING}`)) {
      const how = daemon.gone ? `it ended with ${daemon.signal ?? daemon.code}` : 'it lives';
      problems.push(`liveness: a second daemon does not refuse: ${how}`);
    }
    daemon.kill();
  };

  /** Second daemons beside one that lives: each must refuse and touch nothing. */
  const receiveGuests = async (guests) => {
    const endpoint = readFileSync(join(state, 'endpoint'), 'utf8');
    const all = Array.from({ length: guests }, () => new Daemon(dist, errors));
    for (const one of all) await one.hear('loaded', LOAD_MS);
    for (const one of all) tell(one, { faults: {} });
    await Promise.all(all.map((one) => one.hear(`stopped ${ALREADY_RUNNING}`, livenessMs)));
    for (const one of all) refuses(one);
    if (readFileSync(join(state, 'endpoint'), 'utf8') !== endpoint) {
      problems.push('liveness: a second daemon changed the endpoint of the first');
    }
  };

  let busy = true;
  const keepHosts = async (index) => {
    const hostRand = random(mix(seed, schedule, 'host', index));
    const { lifeMs, paceUs } = plan.hosts ?? {};
    const pace = (least, more) => Math.floor(least + hostRand() ** 2 * more);
    while (busy) {
      // Of more dead rings than a few the oldest would be overwritten by the next host.
      while (busy && hosts.unadopted >= MOST_UNADOPTED) await delay(2);
      const host = hosts.start({
        threads: 2 + Math.floor(hostRand() * 3),
        shared: hostRand() < 0.3 ? 1 : 0,
        tee: hostRand() < 0.5 ? 1 : 0,
        'pace-us': paceUs ?? (hostRand() < 0.25 ? pace(2000, 20_000) : pace(15_000, 100_000)),
        calls: Math.floor(5 + hostRand() * 60),
        seed: Math.floor(hostRand() * 2 ** 31),
      });
      if (!lifeMs) break;
      await Promise.race([host.ended, delay(lifeMs[0] + hostRand() * (lifeMs[1] - lifeMs[0]))]);
      if (busy) hosts.kill(host);
      await host.ended;
    }
  };
  const keepers = [keepHosts(0), keepHosts(1)];

  const liars = Array.from({ length: plan.liars ?? 0 }, (_, index) => {
    return new Liar({ dist, state, rand: random(mix(seed, schedule, 'liar', index)) });
  });
  const calm = { faults: {} };

  try {
    let life = plan.life(rand);
    let daemon = await begin(life);
    while (daemonKills < options.daemonKills) {
      if (!life.early && !(await daemon.hear('ready', livenessMs)) && !daemon.gone) {
        // Faults may keep it from that; a daemon that is told that they are over must come up.
        daemon.tell('calm');
        if (!(await daemon.hear('ready', livenessMs)) && !daemon.gone) {
          problems.push(`liveness: a daemon is not ready after ${livenessMs} ms without faults`);
        }
      }
      if (daemon.readyMs) hosts.daemonIsReady();
      if (life.after === 'ack') await daemon.hear('ack', FIRST_ACK_MS);
      if (life.rivals?.guests && daemon.readyMs) await receiveGuests(life.rivals.guests);
      await Promise.race([daemon.ended, delay(life.killMs)]);
      busy = daemonKills + 1 < options.daemonKills;
      const following = busy ? plan.life(rand) : calm;
      daemon = await succeed(daemon, life, following);
      life = following;
    }
    const last = daemon;
    if (!(await last.hear('ready', livenessMs))) problems.push('liveness: no daemon at the end');
    hosts.daemonIsReady();
    for (const liar of liars) await liar.stop();
    const { late, unflushed } = await hosts.stopAll(2 * livenessMs);
    await Promise.all(keepers);
    if (late > 0) problems.push(`liveness: ${late} hosts did not end`);
    if (unflushed > 0) problems.push(`liveness: ${unflushed} hosts could not flush`);
    const until = performance.now() + livenessMs;
    while (hosts.rings.length > 0 && performance.now() < until) await delay(10);
    if (hosts.rings.length > 0) problems.push(`liveness: ${hosts.leftRings}`);
    await delay(20);
    peakMb = Math.max(peakMb, last.peakMb);
    last.tell('stop');
    if (!(await last.hear('stopped 0', livenessMs))) problems.push('liveness: no clean stop');
    last.kill();
    await last.ended;
  } finally {
    busy = false;
    for (const liar of liars) await liar.stop();
    hosts.close();
    await next.hear('loaded', LOAD_MS);
    next.kill();
  }

  const found = check([archive, join(state, 'journal')], hosts.sides, {
    strangers: new Set(liars.flatMap(({ rings }) => rings)),
  });
  found.problems.push(...problems);
  if (peakMb > MOST_MEMORY_MB) found.problems.push(`memory: a daemon took ${peakMb} MiB`);
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
    daemonKills,
    hostKills: hosts.kills,
    adoptionMs: hosts.adoptionMs,
    resumeMs,
    peakMb,
    lies: liars.reduce((sum, { lies }) => sum + lies, 0),
    wallMs: performance.now() - started,
  };
}
