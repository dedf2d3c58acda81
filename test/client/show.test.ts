// One session on one screen, and two side by side: what they look like, and that they fit.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { diffLines } from '../../client/render/diff-lines.ts';
import { dumpCommands, storyLines } from '../../client/render/story-lines.ts';
import { width, wrap } from '../../client/render/text.ts';
import { recordsOf } from '../../protocol/session/recorded.ts';
import { type Story, tellStory } from '../../protocol/session/story.ts';
import { diffStories } from '../../protocol/session/story-diff.ts';
import { readRecording } from '../../protocol/wire/recording.ts';
import { ascii, colored, unicode } from './builders.ts';

const kept = (name: string): Story => {
  const file = new URL(`../recordings/${name}.mapisync`, import.meta.url);
  const { records } = recordsOf(readRecording(readFileSync(file)));
  return tellStory(records, { nowUs: 0, stopped: true });
};

/** As it was while it hung. */
const stuck = (platform: string): Story => {
  const file = new URL('../recordings/stuck-in-callback.mapisync', import.meta.url);
  const recording = readRecording(readFileSync(file));
  const { records } = recordsOf({ ...recording, how: 'stopped' });
  const [opened] = records;
  const nowUs = Date.parse(opened!.time) * 1000 + 75_000_000;
  return tellStory(records, { nowUs, stopped: false, platform });
};

const NAMES = ['odd-errors', 'odd-counts', 'odd-texts', 'clean', 'killed', 'slow-callback'];
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

describe('show', () => {
  test.for([...NAMES, 'stuck'])('%s on 80 by 24', async (name) => {
    const story = name === 'stuck' ? stuck('win32') : kept(name);
    const lines = storyLines(story, { columns: 80, rows: 24, theme: unicode });
    expect(lines.length).toBeLessThanOrEqual(23);
    await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(`expected/show-${name}.expected`);
  });

  test.for([40, 60, 80, 120, 200])('fits %i columns, and hides nothing that acts', (columns) => {
    for (const story of [...NAMES.map(kept), stuck('win32'), stuck('linux')]) {
      for (const theme of [unicode, ascii]) {
        for (const line of storyLines(story, { columns, rows: undefined, theme })) {
          expect(width(line), line).toBeLessThan(columns);
          expect(line).not.toMatch(UNSAFE);
        }
      }
    }
  });

  test.for([30, 40, 80])('at %i columns colours change nothing else', (columns) => {
    for (const story of NAMES.map(kept)) {
      const plain = storyLines(story, { columns, rows: 24, theme: unicode });
      const painted = storyLines(story, { columns, rows: 24, theme: colored });
      expect(painted.map((line) => line.replace(/\x1b\[\d+m/g, ''))).toEqual(plain);
      expect(painted.join('')).toContain('\x1b[1m');
    }
  });

  test.for<[string, RegExp]>([
    ['win32', /^procdump -ma 4242$/],
    ['linux', /^gcore 4242$/],
  ])('names the command that dumps a stuck process on %s', ([platform, want]) => {
    expect(dumpCommands(stuck(platform))).toMatchObject([
      { command: expect.stringMatching(want), needs: expect.stringContaining('to be installed') },
    ]);
    expect(dumpCommands(kept('clean'))).toEqual([]);
  });
});

describe('diff', () => {
  const two = diffStories(kept('odd-errors'), kept('phase-marks'));
  test('on 80 columns', async () => {
    const lines = diffLines(two, 80, unicode);
    await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('expected/diff-80.expected');
  });

  test.for([40, 60, 80, 200])('fits %i columns', (columns) => {
    for (const line of diffLines(two, columns, unicode)) {
      expect(width(line), line).toBeLessThan(columns);
    }
  });
});

test.for<[string, number, string[]]>([
  ['', 9, ['']],
  ['one two', 7, ['one two']],
  ['one two', 6, ['one', 'two']],
  ['longer than it', 6, ['longer', 'than', 'it']],
  ['unbreakable', 5, ['unbr…']],
  ['受信 トレイ', 6, ['受信', 'トレイ']],
])('wrap(%j, %i)', ([text, columns, want]) => expect(wrap(text, columns)).toEqual(want));
