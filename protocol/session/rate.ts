/**
 * How fast the index grows. An exponential average over time, corrected for its start: at first the plain
 * average since the run began, later what the last seconds were like. A run ends where the index goes back
 * or its maximum changes.
 */
export interface Rate {
  /** Where the run, and where the current sample, began. `runUs` -1: no run. */
  runUs: number;
  sampleUs: number;
  sampleIndex: number;
  /** Weighted sum of the samples, and the weights' own sum (0 to 1). */
  sum: number;
  weight: number;
}

const TIME_CONSTANT_US = 10_000_000;
/** Shorter samples are noise, and cost an exponential each. */
const SAMPLE_US = 250_000;
/** What is known after less than this is a guess. */
const SETTLED_US = 1_000_000;
const US_PER_SECOND = 1_000_000;

export function newRate(): Rate {
  return { runUs: -1, sampleUs: 0, sampleIndex: 0, sum: 0, weight: 0 };
}

/** Begins a new run. */
export function restartRate(rate: Rate, timeUs: number, index: number): void {
  rate.runUs = timeUs;
  rate.sampleUs = timeUs;
  rate.sampleIndex = index;
  rate.sum = 0;
  rate.weight = 0;
}

/** Takes the index at a time. It must not have gone back within the run. */
export function sampleRate(rate: Rate, timeUs: number, index: number): void {
  const elapsedUs = timeUs - rate.sampleUs;
  if (elapsedUs < SAMPLE_US) return;
  const perSecond = ((index - rate.sampleIndex) / elapsedUs) * US_PER_SECOND;
  const keep = Math.exp(-elapsedUs / TIME_CONSTANT_US);
  rate.sum = rate.sum * keep + perSecond * (1 - keep);
  rate.weight = rate.weight * keep + (1 - keep);
  rate.sampleUs = timeUs;
  rate.sampleIndex = index;
}

/** @returns Units of index a second; `undefined` while nobody can know. */
export function perSecond(rate: Rate): number | undefined {
  if (rate.runUs < 0 || rate.weight <= 0 || rate.sampleUs - rate.runUs < SETTLED_US)
    return undefined;
  return rate.sum / rate.weight;
}
