import type { Usual } from './history.ts';
import type { Rate } from './rate.ts';
import { longPerSecond, perSecond, RECENT_SECONDS } from './rate.ts';
import type { LastCall, SessionState } from './state.ts';

/** How long a sync still takes, as far as anybody can know. */

/**
 * Until the bar is full, and then for as long as the phases that usually follow usually take.
 *
 * @returns Seconds; `undefined` when unknown: without a maximum, in the first second of a count, after
 * `Done`, and where the index is at its maximum or above.
 */
export function secondsLeft(state: SessionState, at: LastCall): number | undefined {
  if (state.done !== null || at.call === 0) return undefined;
  const { usual } = state;
  const bar = barSeconds(state.rate, at);
  if (usual === null || usual.phases.length === 0) return bar;
  const { current, following } = usualRest(state, usual, at);
  const now = bar ?? (at.max !== 0 && at.index >= at.max ? 0 : current);
  if (now === undefined) return undefined;
  const left = now + following;
  return left > 0 ? left : undefined;
}

/**
 * What the last seconds were like holds for the next ones, what the whole count was like for those far
 * off: so a burst or a pause moves the end of a long count little, and the end of a short one at once.
 */
function barSeconds(rate: Rate, { index, max }: LastCall): number | undefined {
  const recent = perSecond(rate);
  const long = longPerSecond(rate);
  if (recent === undefined || long === undefined || max <= index || long <= 0) return undefined;
  const left = max - index;
  const far = left / long;
  const weight = RECENT_SECONDS / (RECENT_SECONDS + far);
  return left / (weight * recent + (1 - weight) * long);
}

/** Seconds that usually remain of the phase that runs, and of those that have not come yet. */
function usualRest(
  state: SessionState,
  usual: Usual,
  at: LastCall,
): { readonly current: number | undefined; readonly following: number } {
  const { closed, current } = state.phases;
  const tookUs = new Map<string | null, number>();
  for (const { text, durationUs } of closed) {
    tookUs.set(text, (tookUs.get(text) ?? 0) + durationUs);
  }
  const text = current?.text ?? null;
  let usuallyUs = 0;
  let actuallyUs = 0;
  let followingUs = 0;
  let currentUs: number | undefined;
  for (const phase of usual.phases) {
    const took = tookUs.get(phase.text);
    if (phase.text === text) currentUs = phase.durationUs;
    else if (took === undefined) followingUs += phase.durationUs;
    else {
      usuallyUs += phase.durationUs;
      actuallyUs += took;
    }
  }
  // A sync that has been slow stays slow, the more so the more of it is known.
  const restUs = followingUs + (currentUs ?? 0);
  const pace = usuallyUs + restUs === 0 ? 1 : (actuallyUs + restUs) / (usuallyUs + restUs);
  const ranUs = current === null ? 0 : Math.max(0, at.timeUs - current.begin.timeUs);
  return {
    current:
      currentUs === undefined ? undefined : Math.max(0, currentUs * pace - ranUs) / 1_000_000,
    following: (followingUs * pace) / 1_000_000,
  };
}
