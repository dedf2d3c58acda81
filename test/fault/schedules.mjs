/** How hard a round is. `daemon`: what befalls each daemon; `hosts`: what runs meanwhile. */
import { HESITANT } from './build.mjs';
import { POINTS } from './inject.mjs';

const between = (rand, low, high) => low + rand() * (high - low);
const pick = (rand, list) => list[Math.floor(rand() * list.length)];
const atPoint = (rand, points, most) => ({
  point: pick(rand, points),
  nth: 1 + Math.floor(rand() ** 2 * most),
});

const of = (...prefixes) => POINTS.filter((point) => prefixes.some((p) => point.startsWith(p)));

/**
 * A life: `killMs` after it is ready, after its first acknowledgement (`after: 'ack'`), or after it was
 * told to start (`early`); `faults` as
 * `inject.mjs` takes them, `sync` and other options of the daemon. `rivals`: `guests`, so many second
 * daemons are started beside it; `heirs`, so many were started at once when the one before was killed,
 * a moment before that if `hasty`. `liars`: producers that break the protocol run beside the hosts.
 */
export const SCHEDULES = {
  random: {
    life: (rand) => ({
      killMs: between(rand, 0, 400),
      after: pick(rand, ['ready', 'ack']),
      faults: {},
    }),
  },
  storm: {
    life: (rand) => ({ killMs: between(rand, 0, 120), early: true, faults: {} }),
  },
  points: {
    life: (rand) => ({ killMs: 700, faults: { kill: atPoint(rand, POINTS, 12) } }),
    hosts: { lifeMs: [100, 900] },
  },
  disk: {
    life: (rand) => ({
      killMs: between(rand, 0, 400),
      after: pick(rand, ['ready', 'ack', 'ack']),
      sync: pick(rand, ['disk', 'disk', 15]),
      faults: {
        short: pick(rand, [0, 0.3]),
        slow: pick(rand, [0, 0.3]),
        slowMs: 40,
        eio: pick(rand, [0, 0.02, 0.1]),
        kill: rand() < 0.5 ? atPoint(rand, of('sync', 'write'), 20) : undefined,
      },
    }),
    hosts: { lifeMs: [50, 600] },
  },
  full: {
    life: (rand) => ({
      killMs: between(rand, 100, 1500),
      faults: { full: 0.03, fullMs: 300, short: 0.1 },
    }),
  },
  rotation: {
    life: (rand) => ({
      killMs: 500,
      journalBytes: 1_000_000,
      faults: { short: 0.1, kill: atPoint(rand, of('rotate', 'trim', 'recover'), 4) },
    }),
    hosts: { paceUs: 12_000 },
  },
  network: {
    life: (rand) => ({
      killMs: 600,
      faults: {
        drop: pick(rand, [0.02, 0.2]),
        kill: atPoint(rand, of('ack', 'endpoint', 'sync'), 40),
      },
    }),
  },
  adoption: {
    life: (rand) => ({
      killMs: between(rand, 100, 700),
      faults: { slow: 0.1, slowMs: 20, kill: atPoint(rand, of('adopt', 'write'), 3) },
    }),
    hosts: { lifeMs: [10, 200] },
  },
  clock: {
    life: (rand) => ({
      killMs: between(rand, 0, 500),
      after: pick(rand, ['ready', 'ack']),
      sync: pick(rand, ['system', 15]),
      faults: { clock: 0.05, drop: 0.01 },
    }),
  },
  rivals: {
    life: (rand) => ({
      killMs: between(rand, 0, 300),
      after: pick(rand, ['ready', 'ack']),
      rivals: {
        guests: pick(rand, [0, 0, 0, 1, 2]),
        heirs: pick(rand, [0, 0, 2, 3]),
        hasty: rand() < 0.5,
      },
      faults: {},
    }),
    hosts: { lifeMs: [200, 2500] },
  },
  liars: {
    life: (rand) => ({
      killMs: between(rand, 100, 1500),
      after: 'ack',
      faults: { drop: pick(rand, [0, 0.02]) },
    }),
    hosts: { lifeMs: [100, 3000] },
    liars: 3,
  },
};

/**
 * Kills of hosts beside a daemon that lives. `busy`: which share of them calls as fast as it can, so that
 * the ring fills up; `lifeMs`: of one; `shim`: edits of `native-shim/src`.
 */
export const HOST_SCHEDULES = {
  hosts: { busy: 0.03, lifeMs: (rand) => rand() ** 2 * 40 },
  // Calls wait with their place in the ring reserved, while others pass by.
  holes: { busy: 0, lifeMs: (rand) => rand() * 60, shim: HESITANT },
  pressure: { busy: 1, lifeMs: (rand) => between(rand, 20, 150) },
};
