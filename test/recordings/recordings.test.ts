// Kept recordings of the sample host, made by make.mjs: what fires, how each ended, and the verdict.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { CheckCode } from '../../protocol/session/checks.ts';
import { recordsOf } from '../../protocol/session/recorded.ts';
import { tellStory } from '../../protocol/session/story.ts';
import { encodeFrame } from '../../protocol/wire/encode.ts';
import { RecordingWriter, readRecording } from '../../protocol/wire/recording.ts';
import { checkRecord } from '../protocol/session/script.ts';

const here = new URL('.', import.meta.url);
const bytesOf = (name: string): Buffer => readFileSync(new URL(`${name}.mapisync`, here));

/** Name, outcome, checks, code of the verdict, and what its text must say. */
const KEPT: [string, string, CheckCode[], string, string][] = [
  ['clean', 'ok', [], 'ok', 'nothing to complain of'],
  ['one-count', 'ok', [], 'ok', 'nothing to complain of'],
  ['phase-marks', 'ok', [], 'ok', 'nothing to complain of'],
  ['broken-items', 'ok_with_errors', ['MS020'], 'ok_with_errors', 'with 6 errors, mostly MAPI_E'],
  ['odd-texts', 'warned', [], 'warned', 'with 8 warnings'],
  ['odd-counts', 'ok', ['MS004', 'MS005', 'MS006'], 'broke_contract', 'MS004 The index was above'],
  ['odd-errors', 'ok_with_errors', ['MS020', 'MS022'], 'ok_with_errors', 'mostly MAPI_E_NETWORK'],
  ['done-then-more', 'ok', ['MS001', 'MS002'], 'broke_contract', 'MS001 Progress or Error was'],
  ['no-done', 'failed', ['MS003'], 'never_done', "The provider's fault"],
  ['slow-callback', 'ok', [], 'slow_in_outlook', 'slow because of Outlook'],
  ['failing-callback', 'ok', [], 'refused_by_outlook', 'first with MAPI_E_CALL_FAILED'],
  ['crash-in-callback', 'abandoned', [], 'abandoned', 'its last call was 4/8 "INBOX"'],
  [
    'stuck-in-callback',
    'abandoned',
    [],
    'died_stuck_in_outlook',
    'stuck in Outlook, not in the pr',
  ],
  ['killed', 'abandoned', [], 'abandoned', 'its last call was'],
];

test('every recording has a row', () => {
  const files = readdirSync(here).filter((name) => name.endsWith('.mapisync'));
  expect(files.sort()).toEqual(KEPT.map(([name]) => `${name}.mapisync`).sort());
});

describe.for(KEPT)('%s', ([name, outcome, checks, code, text]) => {
  const recording = readRecording(bytesOf(name));
  const { records } = recordsOf(recording);

  test('fires, ends and is judged as it should', () => {
    const story = tellStory(records, { nowUs: 0, stopped: true });
    expect(story.outcome).toBe(outcome);
    expect(story.checks.map((check) => check.code).sort()).toEqual(checks);
    expect(story.verdict).toEqual({ code, text: expect.stringContaining(text) });
  });

  test('makes valid records, and the same bytes when it is written again', () => {
    for (const record of records) checkRecord(record);
    const writer = new RecordingWriter();
    const parts = [writer.head(recording.redacted)];
    for (const frame of [recording.hello, ...recording.frames]) {
      parts.push(writer.frame(encodeFrame(frame)));
    }
    parts.push(writer.end(recording.how));
    expect(Buffer.concat(parts).equals(bytesOf(name))).toBe(true);
  });
});
