/** Rounds that failed once. They run first. */
export const NAMED_CASES = [
  { schedule: 'disk', seed: 11, daemonKills: 50 },
  { schedule: 'clock', seed: 11, daemonKills: 50 },
];

/** Seeds of crash states that failed once. */
export const NAMED_CRASH_STATES = [20261];
