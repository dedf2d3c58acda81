import { describe, expect, test } from 'vitest';
import { makeGlob, nearest, parseDuration, parseTime } from '../../client/values.ts';

describe('parseDuration()', () => {
  test.for<[string, number | undefined]>([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5s', 1500],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['0s', 0],
    ['24d', 2_073_600_000],
    ['25d', undefined], // More than a timer can wait.
    ['30', undefined],
    ['s', undefined],
    ['-5s', undefined],
    ['1h30m', undefined],
    ['', undefined],
  ])('%j', ([text, want]) => expect(parseDuration(text)).toBe(want));
});

describe('parseTime()', () => {
  const now = new Date(2026, 1, 3, 10, 30);
  test.for<[string, number | undefined]>([
    ['now', now.getTime()],
    ['today', new Date(2026, 1, 3).getTime()],
    ['-10m', now.getTime() - 600_000],
    ['10m', now.getTime() - 600_000],
    ['2026-02-03T10:00:00Z', Date.UTC(2026, 1, 3, 10)],
    ['2026-02-03t10:00:00.25+02:00', Date.UTC(2026, 1, 3, 8, 0, 0, 250)],
    ['2026-02-03', new Date(2026, 1, 3).getTime()],
    ['2026-02-03 10:00', new Date(2026, 1, 3, 10).getTime()],
    ['2026-02-30T99:00:00Z', undefined],
    ['yesterday', undefined],
    ['1', undefined],
    ['', undefined],
  ])('%j', ([text, want]) => expect(parseTime(text, now)).toBe(want));
});

describe('makeGlob()', () => {
  test.for<[string, string, boolean]>([
    ['Mailbox*', 'Mailbox A', true],
    ['mailbox a', 'Mailbox A', true],
    ['*A', 'Mailbox A', true],
    ['M?ilbox *', 'Mailbox A', true],
    ['*a*b*c*', 'xxaxxbxxcxx', true],
    ['*a*b*c*', 'xxaxxcxxb', false],
    ['Mailbox', 'Mailbox A', false],
    ['', '', true],
    ['', 'a', false],
    ['*', '', true],
    ['?', '😀', true],
    ['.*', 'abc', false],
    ['[ab]', 'a', false],
  ])('%j on %j', ([pattern, text, want]) => expect(makeGlob(pattern)(text)).toBe(want));

  test('takes no longer for a hostile pattern', () => {
    const began = performance.now();
    expect(makeGlob(`${'*a'.repeat(200)}b`)('a'.repeat(5000))).toBe(false);
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

test.for<[string, string | undefined]>([
  ['tial', 'tail'],
  ['stauts', 'status'],
  ['hresul', 'hresult'],
  ['frobnicate', undefined],
])('nearest(%j)', ([word, want]) =>
  expect(nearest(word, ['tail', 'status', 'hresult', 'daemon', 'version'])).toBe(want),
);
