// Reports made of kept recordings, held to the schema by a validator that is not ours.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { junit } from '../../client/junit.ts';
import { recordsOf } from '../../protocol/session/recorded.ts';
import { type Story, tellStory } from '../../protocol/session/story.ts';
import { readRecording } from '../../protocol/wire/recording.ts';

const recordings = new URL('../recordings/', import.meta.url);
const schema = new URL('junit.xsd', import.meta.url).pathname;
const isThere = spawnSync('xmllint', ['--version'], { stdio: 'ignore' }).status === 0;
const why = 'xmllint is missing: sudo apt-get install libxml2-utils';
if (!isThere && process.env.MAPISYNC_REQUIRE === 'all') throw new Error(why);
const skip = !isThere;

const storyOf = (name: string): Story => {
  const { records } = recordsOf(readRecording(readFileSync(new URL(name, recordings))));
  return tellStory(records, { nowUs: 0, stopped: true });
};

/** What xmllint says of a report: how it fails the schema, or the value of an expression. */
function xmllint(report: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync('xmllint', [...args, '-'], { input: report });
  return status === 0 ? String(stdout).trimEnd() : `${status}: ${stderr}`;
}
const isValid = (report: string): string => xmllint(report, '--noout', '--schema', schema);
const found = (report: string, path: string): string => xmllint(report, '--xpath', path);

test.skipIf(skip)('all kept recordings make a valid report, with a case for each check', () => {
  const names = readdirSync(recordings).filter((name) => name.endsWith('.mapisync'));
  const stories = names.map(storyOf);
  const report = junit(stories, 'host');
  expect(isValid(report)).toBe('');
  const cases = stories.reduce((sum, { checks }) => sum + 1 + checks.length, 0);
  expect(found(report, 'count(//testsuite)')).toBe(String(names.length));
  expect(found(report, 'count(//testcase)')).toBe(String(cases));
  expect(found(report, 'string(/testsuites/@tests)')).toBe(String(cases));
  for (const [counted, told] of [
    ['count(//failure)', 'string(/testsuites/@failures)'],
    ['count(//failure)', 'sum(//testsuite/@failures)'],
    ['count(//testcase)', 'sum(//testsuite/@tests)'],
  ] as const) {
    expect(found(report, counted)).toBe(found(report, told));
  }
});

describe.skipIf(skip)('what fails', () => {
  // Recording, then what fails in it: the sync by its outcome, a check by its code.
  test.for<[string, string[]]>([
    ['clean', []],
    ['odd-questions', []], // Notes do not fail.
    ['broken-items', ['ok_with_errors']],
    ['odd-texts', ['warned']],
    ['odd-counts', ['MS004', 'MS005', 'MS006']],
    ['no-done', ['failed', 'MS003']],
    ['killed', ['abandoned']],
    ['cancelled', ['cancelled']],
  ])('%s', ([name, wanted]) => {
    const report = junit([storyOf(`${name}.mapisync`)], 'host');
    const failed = [...report.matchAll(/<failure type="(\w+)"/g)].map(([, type]) => type);
    expect(failed).toEqual(wanted);
    expect(isValid(report)).toBe('');
  });
});

test.skipIf(skip)('text of the host cannot break out of the report', () => {
  const evil = `]]><&"'\u0000\u001b[2J\u202e\u2028\ud800\uffff</failure>`;
  const clean = storyOf('no-done.mapisync');
  const report = junit(
    [
      {
        ...clean,
        session: { ...clean.session, provider: evil, store: evil },
        outcome_reason: evil,
      },
    ],
    'host',
  );
  expect(isValid(report)).toBe('');
  expect(found(report, 'string(//testsuite/@name)')).toContain(`]]><&"'\\u{0}\\u{1b}[2J\\u{202e}`);
  expect(found(report, 'count(//testcase)')).toBe('2');
});

test.skipIf(skip)('no session: an empty report, which is valid too', () => {
  expect(isValid(junit([], 'host'))).toBe('');
});
