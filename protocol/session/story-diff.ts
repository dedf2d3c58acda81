import type { Story, StoryPhase } from './story.ts';

/** A phase of one session beside the same phase of another. */
export interface PhasePair {
  readonly text?: string;
  readonly a?: StoryPhase;
  readonly b?: StoryPhase;
}

/**
 * Aligns the phases of two sessions: the longest common subsequence of their texts, so that one that was
 * skipped or repeated moves no other.
 */
export function alignPhases(
  a: readonly StoryPhase[],
  b: readonly StoryPhase[],
): readonly PhasePair[] {
  const same = (i: number, j: number): boolean => a[i]?.text === b[j]?.text;
  // lengths[i][j]: of the common subsequence of what comes from i and from j on.
  const lengths = Array.from({ length: a.length + 1 }, () =>
    new Array<number>(b.length + 1).fill(0),
  );
  const at = (i: number, j: number): number => lengths[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const row = lengths[i] as number[];
      row[j] = same(i, j) ? 1 + at(i + 1, j + 1) : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const pairs: PhasePair[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && same(i, j)) pairs.push(pair(a[i++], b[j++]));
    else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) {
      pairs.push(pair(a[i++], undefined));
    } else pairs.push(pair(undefined, b[j++]));
  }
  return pairs;
}

function pair(a: StoryPhase | undefined, b: StoryPhase | undefined): PhasePair {
  const text = a?.text ?? b?.text;
  return {
    ...(text === undefined ? {} : { text }),
    ...(a === undefined ? {} : { a }),
    ...(b === undefined ? {} : { b }),
  };
}

/** Two sessions side by side. */
export interface StoryDiff {
  readonly a: Story;
  readonly b: Story;
  readonly phases: readonly PhasePair[];
}

export function diffStories(a: Story, b: Story): StoryDiff {
  return { a, b, phases: alignPhases(a.phases, b.phases) };
}
