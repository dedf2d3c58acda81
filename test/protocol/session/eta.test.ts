// How good the time left is: uneven syncs, made from a seed and recorded, asked at half time.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import {
  foldIntoHistory,
  type History,
  median,
  usualOf,
} from '../../../protocol/session/history.ts';
import { liveSession } from '../../../protocol/session/live.ts';
import { recordsOf } from '../../../protocol/session/recorded.ts';
import type { SessionFrame } from '../../../protocol/session/session.ts';
import { applyFrame, openSession } from '../../../protocol/session/session.ts';
import type { SessionState } from '../../../protocol/session/state.ts';
import type { Open } from '../../../protocol/wire/frames.ts';
import { readRecording } from '../../../protocol/wire/recording.ts';
import { Log, ORIGIN, S_OK, Script } from './script.ts';

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Seconds that each item of a folder takes. */
type Costs = readonly number[];
interface Folder {
  readonly text: string;
  readonly costs: Costs;
}

/** As message sizes are: most are small, a few take ten times as long. */
const uneven = (next: () => number): number => 0.02 * Math.exp(1.2 * normal(next));
const normal = (next: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

/** A kind of sync: what one run of it does. */
const KINDS: Record<string, (next: () => number) => Folder[]> = {
  'uneven messages': (next) => [{ text: 'Inbox', costs: items(2000, () => uneven(next)) }],
  'bursts of 100 with pauses': (next) => [
    { text: 'Inbox', costs: items(3000, (n) => (n % 100 === 99 ? 1 + 2 * next() : 0.002)) },
  ],
  'a server that gets slower': (next) => [
    { text: 'Inbox', costs: items(2000, (n) => (0.01 + n * 1e-5) * (0.5 + next())) },
  ],
  'a server that gets faster': (next) => [
    { text: 'Inbox', costs: items(2000, (n) => (0.03 - n * 1e-5) * (0.5 + next())) },
  ],
  'ten folders, each with its own count': (next) =>
    Array.from({ length: 10 }, (_, n) => ({
      text: `Folder ${n}`,
      costs: items(Math.round((20 + 60 * (n % 4)) * (0.8 + 0.4 * next())), () => uneven(next)),
    })),
  'ten folders, twice as slow as usual today': (next) => {
    const slow = next() < 0.5 ? 2 : 1;
    return Array.from({ length: 10 }, (_, n) => ({
      text: `Folder ${n}`,
      costs: items(20 + 60 * (n % 4), () => slow * uneven(next)),
    }));
  },
};

const items = (n: number, cost: (n: number) => number): Costs =>
  Array.from({ length: n }, (_, at) => cost(at));

/** Plays one sync. At half time `look` sees it. @returns its last record. */
function play(
  folders: readonly Folder[],
  history: History,
  look: (state: SessionState) => void,
): RecordDraft {
  const script = new Script();
  let last: RecordDraft | undefined;
  const emit = (draft: RecordDraft): void => {
    last = draft;
  };
  const total = folders.flatMap(({ costs }) => costs).reduce((sum, cost) => sum + cost, 0);
  const state = openSession(script.open() as Open, ORIGIN, emit);
  state.usual = usualOf(history, state) ?? null;
  let at = 0;
  let looked = false;
  const feed = (frame: unknown): void => applyFrame(state, frame as SessionFrame, emit);
  for (const { text, costs } of folders) {
    feed(script.at(at).progress(0, costs.length, text));
    costs.forEach((cost, n) => {
      at += cost;
      if (!looked && at >= total / 2) {
        looked = true;
        look(state);
      }
      feed(script.at(at).progress(n + 1, costs.length));
    });
  }
  feed(script.at(at).done(S_OK));
  feed(script.close());
  return last!;
}

const SYNCS = 12;
const KNOWN = 4;

/** How far off the time left was at half time, as a part of what was left; after `KNOWN` syncs. */
function errorsOf(kind: (next: () => number) => Folder[], firstSeed: number): number[] {
  const history: History = new Map();
  const errors: number[] = [];
  for (let n = 0; n < SYNCS; n += 1) {
    const folders = kind(random(firstSeed + n));
    const left = folders.flatMap(({ costs }) => costs).reduce((sum, cost) => sum + cost, 0) / 2;
    const ended = play(folders, history, (state) => {
      if (n < KNOWN) return;
      const { eta_s } = liveSession(state, state.lastCallUs).progress;
      errors.push(eta_s === undefined ? 1 : Math.abs(eta_s - left) / left);
    });
    foldIntoHistory(history, ended);
  }
  return errors;
}

const percent = (part: number): string => `${Math.round(part * 100)} %`;

test('at half time the time left is off by at most 20 % of it, in the median', () => {
  const all = Object.entries(KINDS).map(([name, kind], at) => {
    const errors = errorsOf(kind, 1000 * (at + 1));
    expect(errors).toHaveLength(SYNCS - KNOWN);
    const worst = Math.max(...errors);
    console.log(`time left, ${name}: off by ${percent(median(errors))}, worst ${percent(worst)}`);
    return errors;
  });
  const off = median(all.flat());
  console.log(`time left, all ${all.flat().length} syncs: off by ${percent(off)}`);
  expect(off).toBeLessThanOrEqual(0.2);
  // A change of pace that still goes on cannot be foreseen.
  for (const errors of all) expect(median(errors)).toBeLessThanOrEqual(0.6);
}, 60_000);

test('at half time of recorded uneven syncs, too', () => {
  const kept = new URL('../../recordings/', import.meta.url);
  const names = readdirSync(kept).filter((name) => name.startsWith('uneven-'));
  expect(names.length).toBeGreaterThanOrEqual(8);
  const history: History = new Map();
  let unknown = 0;
  const errors = names.sort().flatMap((name) => {
    const recording = readRecording(readFileSync(new URL(name, kept)));
    const [open, ...frames] = recording.frames;
    const doneUs = frames.findLast(({ kind }) => kind === 'done')!.timeUs;
    const halfUs = (open.timeUs + doneUs) / 2;
    const state = openSession(open, ORIGIN, () => {});
    state.usual = usualOf(history, state) ?? null;
    for (const frame of frames) {
      if (frame.timeUs > halfUs) break;
      applyFrame(state, frame as SessionFrame, () => {});
    }
    const left = (doneUs - halfUs) / 1e6;
    const { eta_s } = liveSession(state, halfUs).progress;
    const error = eta_s === undefined ? Number.NaN : Math.abs(eta_s - left) / left;
    const usual = state.usual === null ? 'not known' : 'known';
    console.log(
      `time left, ${name} (usual ${usual}): ${left.toFixed(1)} s, told ${eta_s === undefined ? 'unknown' : `${eta_s.toFixed(1)} s, off by ${percent(error)}`}`,
    );
    foldIntoHistory(history, recordsOf(recording).records.at(-1)!);
    if (eta_s !== undefined) return [error];
    // Of a store with a history, and of one count alone, it is known.
    expect([state.usual, state.phases.closed.length]).not.toEqual([null, 0]);
    expect(state.usual).toBeNull();
    unknown += 1;
    return [];
  });
  console.log(
    `time left, ${errors.length} recordings: off by ${percent(median(errors))}; unknown in ${unknown}`,
  );
  expect(errors.length).toBeGreaterThanOrEqual(6);
  expect(median(errors)).toBeLessThanOrEqual(0.2);
});

describe('the time left', () => {
  const run = (calls: [seconds: number, index: number, max: number, text?: string][]) => {
    const script = new Script();
    const log = new Log();
    const state = openSession(script.open() as Open, ORIGIN, log.emit);
    for (const [seconds, index, max, text] of calls) {
      applyFrame(
        state,
        script.at(seconds).progress(index, max, text ?? null) as SessionFrame,
        log.emit,
      );
    }
    return { state, script, eta: () => liveSession(state, script.nowUs).progress.eta_s };
  };
  const steady = (max: number): [number, number, number][] =>
    Array.from({ length: 41 }, (_, n) => [n / 4, n * 25, max]);
  const later = (max: number, ...text: [string?]): [number, number, number, string?][] =>
    steady(max).map(([at, index]) => [at + 1, index, max, ...text]);

  test.for<[string, [number, number, number, string?][], number | undefined]>([
    ['no call', [], undefined],
    ['one call', [[0, 0, 10]], undefined],
    [
      'less than a second',
      [
        [0, 0, 10],
        [0.9, 5, 10],
      ],
      undefined,
    ],
    [
      'no maximum',
      [
        [0, 0, 0],
        [5, 50, 0],
      ],
      undefined,
    ],
    [
      'nothing moves',
      [
        [0, 5, 10],
        [5, 5, 10],
      ],
      undefined,
    ],
    ['steady', steady(2000), 10],
    ['the bar is full', steady(1000), undefined],
    ['beyond the end', steady(900), undefined],
    ['a second count under a new text', [[0, 9, 10, 'a'], ...later(2000, 'b')], undefined],
    ['a second count without one', [[0, 9, 10], ...later(2000)], undefined],
    ['a new text in one count', steady(2000).map((call, n) => [...call, n < 20 ? 'a' : 'b']), 10],
    ['a count after a mark', [[0, 0, 0, ''], ...later(2000, 'a')], 10],
  ])('without a history: %s', ([, calls, want]) => {
    expect(run(calls).eta()).toBe(want);
  });

  const usual = {
    durationUs: 60e6,
    quietUs: 30e6,
    phases: [
      { text: 'a', durationUs: 10e6 },
      { text: 'b', durationUs: 20e6 },
      { text: 'c', durationUs: 30e6 },
    ],
  };
  test.for<[string, [number, number, number, string?][], number | undefined]>([
    ['the first phase is known, and the others', [[0, 0, 0, 'a']], 60],
    [
      'the bar of a phase counts more than its history',
      [
        [0, 0, 10, 'a'],
        [5, 5, 10],
      ],
      55,
    ],
    [
      'a full bar: the phases that follow',
      [
        [0, 0, 10, 'a'],
        [10, 10, 10],
      ],
      50,
    ],
    ['a strange phase without a bar', [[0, 0, 0, 'x']], undefined],
    [
      'the last phase',
      [
        [0, 0, 0, 'a'],
        [10, 0, 0, 'b'],
        [30, 0, 0, 'c'],
        [40, 1, 0],
      ],
      20,
    ],
    [
      'phases that were skipped still may come',
      [
        [0, 0, 0, 'c'],
        [30, 0, 0, 'b'],
      ],
      30,
    ],
    [
      'one text for several counts: the bar is not all of it',
      [
        [0, 0, 10, 'a'],
        [4, 10, 10],
        [4, 0, 10],
        [6, 8, 10],
      ],
      54,
    ],
    [
      'slower than usual',
      [
        [0, 0, 0, 'a'],
        [40, 0, 0, 'b'],
      ],
      75,
    ],
  ])('with one: %s', ([, calls, want]) => {
    const { state, eta } = run(calls);
    state.usual = usual;
    const got = eta();
    if (want === undefined) expect(got).toBeUndefined();
    else expect(got).toBeCloseTo(want, 0);
    expect(liveSession(state, state.lastCallUs).usual_us).toBe(60e6);
  });

  test('is not known after Done, nor while the session is stalled', () => {
    const { state, script, eta } = run(steady(2000));
    expect(eta()).toBe(10);
    state.quietSinceUs = state.lastCallUs;
    expect(eta()).toBeUndefined();
    state.quietSinceUs = null;
    applyFrame(state, script.done(S_OK) as SessionFrame, () => {});
    expect(eta()).toBeUndefined();
  });
});
