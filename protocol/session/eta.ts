import type { Usual } from './history.ts';
import type { Rate } from './rate.ts';
import { longPerSecond, perSecond, RECENT_SECONDS } from './rate.ts';
import type { LastCall, PhaseBook, SessionState } from './state.ts';

/** How long a sync still takes, as far as anybody can know. */

/**
 * Until the bar is full, and then for as long as the phases that usually follow usually take.
 *
 * @returns Seconds; `undefined` when unknown: without a maximum, in the first second of a count, after
 * `Done`, where the index is at its maximum or above, and in a second count of a store of which nothing
 * is usual yet, since nobody knows how many are to come.
 */
export function secondsLeft(state: SessionState, at: LastCall): number | undefined {
  if (state.done !== null || at.call === 0) return undefined;
  const { usual } = state;
  const bar = barSeconds(state.rate, at);
  if (usual === null || usual.phases.length === 0) {
    return hadOtherCount(state.phases, at) ? undefined : bar;
  }
  const { current, following, isAgain } = usualRest(state, usual, at);
  const now = (isAgain ? current : bar) ?? (at.max !== 0 && at.index >= at.max ? 0 : current);
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

/** Whether an earlier phase had a count that this bar does not go on with. */
function hadOtherCount({ closed, rest }: PhaseBook, { index, max }: LastCall): boolean {
  const earlier = rest === null ? closed : [...closed, rest];
  return earlier.some((phase) => phase.max !== 0 && (phase.max !== max || phase.index > index));
}

/**
 * Seconds that usually remain of what has the text of the bar, and of the phases that have not come yet.
 * `isAgain`: the text was there before, so that the bar is not all of it.
 */
function usualRest(
  state: SessionState,
  usual: Usual,
  at: LastCall,
): { readonly current: number | undefined; readonly following: number; readonly isAgain: boolean } {
  const { closed, current } = state.phases;
  const took = new Map<string | null, number>();
  for (const { text, durationUs } of closed) {
    took.set(text, (took.get(text) ?? 0) + durationUs);
  }
  const text = current?.text ?? null;
  let usuallyUs = 0;
  let actuallyUs = 0;
  let followingUs = 0;
  let currentUs: number | undefined;
  for (const phase of usual.phases) {
    const phaseUs = took.get(phase.text);
    if (phase.text === text) currentUs = phase.durationUs;
    else if (phaseUs === undefined) followingUs += phase.durationUs;
    else {
      usuallyUs += phase.durationUs;
      actuallyUs += phaseUs;
    }
  }
  // A sync that has been slow stays slow, the more so the more of it is known.
  const restUs = followingUs + (currentUs ?? 0);
  const pace = usuallyUs + restUs === 0 ? 1 : (actuallyUs + restUs) / (usuallyUs + restUs);
  const tookUs = took.get(text) ?? 0;
  const ranUs = tookUs + (current === null ? 0 : Math.max(0, at.timeUs - current.begin.timeUs));
  return {
    current:
      currentUs === undefined ? undefined : Math.max(0, currentUs * pace - ranUs) / 1_000_000,
    following: (followingUs * pace) / 1_000_000,
    isAgain: took.has(text) && currentUs !== undefined,
  };
}
