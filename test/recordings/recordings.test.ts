// Kept recordings of the sample host, made by make.mjs: what fires, how each ended, and the verdict.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import schema from '../../protocol/records/schema.json' with { type: 'json' };
import { CHECKS, type CheckCode } from '../../protocol/session/checks.ts';
import { recordsOf } from '../../protocol/session/recorded.ts';
import { newRing, takeFrame } from '../../protocol/session/ring.ts';
import type { GoneFacts } from '../../protocol/session/session.ts';
import { tellStory } from '../../protocol/session/story.ts';
import { VERDICTS } from '../../protocol/session/verdict.ts';
import { encodeFrame } from '../../protocol/wire/encode.ts';
import type { Open, SequencedFrame } from '../../protocol/wire/frames.ts';
import { RecordingWriter, readRecording } from '../../protocol/wire/recording.ts';
import { checkRecord, Log, ORIGIN, Script, SECOND } from '../protocol/session/script.ts';

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
  ['cancelled', 'cancelled', [], 'cancelled', 'as Done with MAPI_E_USER_CANCEL'],
  [
    'silent-failure',
    'failed',
    ['MS007', 'MS008'],
    'failed',
    'The provider gave up: Done with MAPI',
  ],
  ['other-handle', 'failed', ['MS007', 'MS030'], 'failed', 'The provider gave up: Done with MAPI'],
  ['odd-questions', 'ok', ['MS021', 'MS031'], 'ok', '1 note on the contract'],
  ['store-in-the-way', 'failed', [], 'failed', 'The provider gave up: Done with'],
  ['paused', 'ok', [], 'long_silence', 'of it without a call of the provider'],
  ...['a-1', 'a-2', 'a-3', 'a-4', 'a-5', 'b-1', 'b-2', 'b-3', 'b-4', 'c-1', 'c-2', 'c-3'].map(
    (name): (typeof KEPT)[number] => [`uneven-${name}`, 'ok', [], 'ok', 'nothing to complain of'],
  ),
];

interface Before {
  /** How many frames of it were there; below 0: all but so many. */
  readonly frames?: number;
  readonly gone?: Partial<GoneFacts>;
  /** Seconds after the last of these frames. */
  readonly later?: number;
  readonly stopped?: boolean;
  /** Recordings of the same store. */
  readonly earlier?: readonly string[];
}

/** The same recordings as they were before their end, or with what only the system or the journal knows. */
const BEFORE: [verdict: string, recording: string, Before][] = [
  ['stuck_in_outlook', 'stuck-in-callback', { frames: Number.POSITIVE_INFINITY, later: 60 }],
  ['stuck_in_provider', 'killed', { frames: 6, later: 60 }],
  ['not_released', 'clean', { frames: -1 }],
  ['no_call_yet', 'clean', { frames: 1 }],
  ['running', 'clean', { frames: 6 }],
  ['unknown', 'clean', { frames: 6, stopped: true }],
  [
    'died_in_outlook',
    'crash-in-callback',
    { gone: { crashed: true, inCallback: [{ method: 1, thread: 4712 }] } },
  ],
  ['died_stuck_in_provider', 'killed', { gone: { timeUs: 1_090_000_000 } }],
  ['crashed', 'killed', { gone: { crashed: true, exitCode: 0xc0000005 } }],
  ['slow_phase', 'uneven-b-4', { earlier: ['uneven-b-1', 'uneven-b-2', 'uneven-b-3'] }],
];

/** What no recording of one session can show, from frames. */
const BEYOND: [CheckCode, string, (script: Script) => SequencedFrame[]][] = [
  ['MS009', 'two sessions', () => [new Script(2).open()]],
  ['MS010', 'after its close', (s) => [s.done(0), s.close(), s.progress(1, 2)]],
  [
    'MS023',
    'too many frames to keep',
    (s) => Array.from({ length: 60_500 }, (_, at) => s.at(at / 12_000).progress(at, 60_500)),
  ],
];

describe('every check, outcome and verdict is reached', () => {
  const of = (at: 1 | 2 | 3): unknown[] => KEPT.flatMap((row) => row[at]);

  test('as the tables say', () => {
    const checks = new Set([...of(2), ...BEYOND.map(([code]) => code)]);
    expect([...checks].sort()).toEqual(CHECKS.map(({ code }) => code));
    const outcomes = schema.properties.outcome.enum;
    expect([...new Set(of(1))].sort()).toEqual([...outcomes].sort());
    const verdicts = new Set([...of(3), ...BEFORE.map(([code]) => code)]);
    expect([...verdicts].sort()).toEqual(VERDICTS.map(({ code }) => code).sort());
  });

  test.for(BEFORE)('%s: %s', ([verdict, name, before]) => {
    const recording = readRecording(bytesOf(name));
    const { frames = recording.frames.length, gone, later = 0, stopped = false } = before;
    const [open, ...rest] = recording.frames;
    const kept = rest.slice(0, frames < 0 ? frames : frames - 1);
    const last = kept.at(-1) ?? open;
    const timeUs = last.timeUs + later * SECOND;
    const offsetUs = open.wallUs - open.timeUs;
    const clock: SequencedFrame = {
      kind: 'clock',
      ...{ seq: last.seq + 1, thread: 0, session: 0, timeUs, wallUs: timeUs + offsetUs },
    };
    const how = before.frames === undefined ? recording.how : 'stopped';
    const { records } = recordsOf(
      { ...recording, frames: [open, ...kept, ...(later > 0 ? [clock] : [])], how },
      gone,
    );
    const earlier = (before.earlier ?? []).flatMap((other) => {
      return recordsOf(readRecording(bytesOf(other))).records.slice(-1);
    });
    const nowUs = timeUs + offsetUs;
    const story = tellStory(records, { nowUs, stopped, earlier: earlier.toReversed() });
    expect(story.verdict.code).toBe(verdict);
  });

  test.for(BEYOND)('%s: %s', ([code, , make]) => {
    const script = new Script();
    const open = script.open() as Open;
    const ring = newRing(ORIGIN);
    const log = new Log();
    for (const frame of [open, ...make(script)]) takeFrame(ring, frame, log.emit);
    expect(log.named('session.check').map(({ check }) => check?.code)).toEqual([code]);
  });
});

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
