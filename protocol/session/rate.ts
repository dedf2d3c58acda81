/**
 * How fast the index grows, twice: lately, and over the whole count. Both are exponential averages over
 * time, corrected for their start. The first remembers some seconds. The memory of the second grows with
 * the count, so that bursts and pauses wear off while a change of pace still shows. A run ends where the
 * index goes back or its maximum changes.
 */
export interface Rate {
  /** Where the run, and where the current sample, began. `runUs` -1: no run. */
  runUs: number;
  sampleUs: number;
  sampleIndex: number;
  /** Weighted sum of the samples, and the weights' own sum (0 to 1). */
  sum: number;
  weight: number;
  longSum: number;
  longWeight: number;
}

/** For so long the first average remembers. */
export const RECENT_SECONDS = 10;
const RECENT_US = RECENT_SECONDS * 1_000_000;
/** The second remembers this part of the run. */
const LONG_PART = 1 / 3;
/** Shorter samples are noise, and cost two exponentials each. */
export const SAMPLE_US = 250_000;
/** What is known after less than this is a guess. */
const SETTLED_US = 1_000_000;
const US_PER_SECOND = 1_000_000;

export function newRate(): Rate {
  return {
    runUs: -1,
    sampleUs: 0,
    sampleIndex: 0,
    sum: 0,
    weight: 0,
    longSum: 0,
    longWeight: 0,
  };
}

/** Begins a new run. */
export function restartRate(rate: Rate, timeUs: number, index: number): void {
  rate.runUs = timeUs;
  rate.sampleUs = timeUs;
  rate.sampleIndex = index;
  rate.sum = 0;
  rate.weight = 0;
  rate.longSum = 0;
  rate.longWeight = 0;
}

/** Whether `sampleRate()` would do anything at this time. */
export function isSampleDue(rate: Rate, timeUs: number): boolean {
  return timeUs - rate.sampleUs >= SAMPLE_US;
}

/** Takes the index at a time. It must not have gone back within the run. */
export function sampleRate(rate: Rate, timeUs: number, index: number): void {
  if (!isSampleDue(rate, timeUs)) return;
  const elapsedUs = timeUs - rate.sampleUs;
  const perSecond = ((index - rate.sampleIndex) / elapsedUs) * US_PER_SECOND;
  const keep = Math.exp(-elapsedUs / RECENT_US);
  rate.sum = rate.sum * keep + perSecond * (1 - keep);
  rate.weight = rate.weight * keep + (1 - keep);
  const longUs = Math.max(RECENT_US, (timeUs - rate.runUs) * LONG_PART);
  const keepLong = Math.exp(-elapsedUs / longUs);
  rate.longSum = rate.longSum * keepLong + perSecond * (1 - keepLong);
  rate.longWeight = rate.longWeight * keepLong + (1 - keepLong);
  rate.sampleUs = timeUs;
  rate.sampleIndex = index;
}

/** @returns Units of index a second lately; `undefined` while nobody can know. */
export function perSecond(rate: Rate): number | undefined {
  return isSettled(rate) ? rate.sum / rate.weight : undefined;
}

/** @returns Units of index a second in the run as a whole; `undefined` while nobody can know. */
export function longPerSecond(rate: Rate): number | undefined {
  return isSettled(rate) ? rate.longSum / rate.longWeight : undefined;
}

function isSettled(rate: Rate): boolean {
  return rate.runUs >= 0 && rate.weight > 0 && rate.sampleUs - rate.runUs >= SETTLED_US;
}
