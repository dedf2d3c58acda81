// The story of a session, from frames through the reducer: a row for each verdict, and what it is made of.
import { describe, expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import { recordsOf } from '../../../protocol/session/recorded.ts';
import type { GoneFacts } from '../../../protocol/session/session.ts';
import { type Story, type StoryOptions, tellStory } from '../../../protocol/session/story.ts';
import { alignPhases } from '../../../protocol/session/story-diff.ts';
import { VERDICTS } from '../../../protocol/session/verdict.ts';
import type { Hello, Open, SequencedFrame } from '../../../protocol/wire/frames.ts';
import type { HowRecorded, Recording } from '../../../protocol/wire/recording.ts';
import {
  NETWORK,
  NOT_FOUND,
  OPEN_US,
  OPEN_WALL_US,
  ORIGIN,
  PARTIAL,
  RING,
  S_OK,
  Script,
  SECOND,
  USER_CANCEL,
} from './script.ts';

const hello: Hello = {
  kind: 'hello',
  protocol: 1,
  ring: RING,
  freed: 0,
  pid: ORIGIN.pid,
  bits: 64,
  executable: ORIGIN.executable,
  shimVersion: ORIGIN.shimVersion,
  timeUs: OPEN_US,
  wallUs: OPEN_WALL_US,
  clockResolutionUs: 1000,
  memory: 0,
};

interface Case {
  /** After `open`. */
  readonly frames: (s: Script) => SequencedFrame[];
  readonly how?: HowRecorded;
  readonly gone?: Partial<GoneFacts>;
  readonly options?: Partial<StoryOptions>;
  /** Seconds after `open`: what a running session is told up to. */
  readonly now?: number;
}

function storyOf({ frames, how = 'closed', gone = {}, options = {}, now = 0 }: Case): Story {
  const script = new Script();
  const open = script.open() as Open;
  const recording: Recording = { redacted: false, hello, frames: [open, ...frames(script)], how };
  const { records } = recordsOf(recording, gone);
  const nowUs = OPEN_WALL_US + now * SECOND;
  return tellStory(records, { nowUs, stopped: false, ...options });
}

const at = (seconds: number): number => OPEN_US + seconds * SECOND;
const GONE: Pick<Case, 'how'> = { how: 'gone' };
const half = (s: Script): SequencedFrame[] => [
  s.at(1).progress(0, 400, 'Inbox'),
  s.at(2).progress(30, 400),
];

/** How earlier syncs of the store ended. */
const earlier = (seconds: number, outcome: RecordDraft['outcome'] = 'ok'): RecordDraft => ({
  event_name: 'session.ended',
  level: 'info',
  time: '2025-06-15T15:00:00.000000Z',
  msg: '',
  session: { id: '0'.repeat(16), provider: 'contoso', store: 'Mailbox A', attach: 'tee' },
  outcome: outcome!,
  duration_us: seconds * SECOND,
  phases: [
    { text: 'Inbox', duration_us: (seconds - 1) * SECOND, calls: 9, errors: 0, index: 9, max: 9 },
  ],
});

const CASES: [string, Case, string][] = [
  [
    'stuck_in_outlook',
    { frames: (s) => [...half(s), s.at(4).blocked(1, 4711)], how: 'stopped', now: 74 },
    'Stuck in Outlook, not in the provider: thread 4711 is inside Outlook\'s Progress since 15:06:42 UTC (1:12); its last call was 30/400 "Inbox"',
  ],
  [
    'stuck_in_provider',
    {
      frames: (s) => [...half(s), s.at(40).clock(OPEN_WALL_US + 40 * SECOND)],
      how: 'stopped',
      now: 62,
    },
    'Stuck in the provider: no call since 15:06:42 UTC (1:00), and none is inside Outlook; its last call was 30/400 "Inbox"',
  ],
  [
    'not_released',
    { frames: (s) => [...half(s), s.at(3).done(S_OK)], how: 'stopped', now: 4 },
    'Done was called with S_OK (0x00000000); the callback is not released yet',
  ],
  [
    'no_call_yet',
    { frames: () => [], how: 'stopped', now: 4 },
    'Began 4 s ago, and the provider has made no call of Progress',
  ],
  [
    'running',
    { frames: half, how: 'stopped', now: 5 },
    'Runs since 5 s; its last call was 30/400 "Inbox", 3 s ago',
  ],
  [
    'unknown',
    { frames: half, how: 'stopped', now: 99, options: { stopped: true } },
    'How it went on is not known: the daemon stopped at 15:06:42 UTC while it ran; its last call was 30/400 "Inbox"',
  ],
  [
    'died_in_outlook',
    {
      ...GONE,
      frames: half,
      gone: { exitCode: 0xc0000005, crashed: true, inCallback: [{ method: 1, thread: 4711 }] },
    },
    'OUTLOOK.EXE crashed with exit code 0xC0000005 while thread 4711 was inside Outlook\'s Progress: look at Outlook first; its last call was 30/400 "Inbox"',
  ],
  [
    'died_stuck_in_outlook',
    { ...GONE, frames: (s) => [...half(s), s.at(4).blocked(1, 4711)], gone: { timeUs: at(62) } },
    'OUTLOOK.EXE ended after a call had been inside Outlook\'s Progress for 1:00: stuck in Outlook, not in the provider; its last call was 30/400 "Inbox"',
  ],
  [
    'died_stuck_in_provider',
    { ...GONE, frames: half, gone: { timeUs: at(92), exitCode: 1 } },
    'OUTLOOK.EXE ended with exit code 1 after the provider had made no call for 1:30, none of them inside Outlook: stuck in the provider; its last call was 30/400 "Inbox"',
  ],
  [
    'crashed',
    { ...GONE, frames: half, gone: { exitCode: 0xc0000005, crashed: true } },
    'OUTLOOK.EXE crashed with exit code 0xC0000005 while no call was inside Outlook\'s callback: the provider or another part of the process; its last call was 30/400 "Inbox"',
  ],
  [
    'abandoned',
    { ...GONE, frames: half, gone: { exitCode: 0 } },
    'OUTLOOK.EXE ended with exit code 0 before the sync was done; its last call was 30/400 "Inbox"',
  ],
  [
    'cancelled',
    { frames: (s) => [...half(s), s.at(12).done(USER_CANCEL), s.close()] },
    'Cancelled after 12 s, as Done with MAPI_E_USER_CANCEL (0x80040113) says; its last call was 30/400 "Inbox"',
  ],
  [
    'never_done',
    { frames: (s) => [...half(s), s.at(3).close()] },
    'The provider\'s fault: it let go of the callback without Done; its last call was 30/400 "Inbox"',
  ],
  [
    'failed',
    {
      frames: (s) => [
        ...half(s),
        s.at(3).error(NETWORK, 'no route'),
        s.at(4).done(NETWORK),
        s.close(),
      ],
    },
    'The provider gave up: Done with MAPI_E_NETWORK_ERROR (0x80040115), a matter of the network or the server; its last call was 30/400 "Inbox"',
  ],
  [
    'broke_contract',
    { frames: (s) => [...half(s), s.at(3).done(S_OK), s.done(S_OK), s.close()] },
    'Finished ok, but the provider broke the contract: MS002 Done was called more than once (',
  ],
  [
    'ok_with_errors',
    {
      frames: (s) => [
        ...half(s),
        s.at(3).error(NOT_FOUND, 'a'),
        s.error(NOT_FOUND, 'b'),
        s.error(NETWORK, 'c'),
        s.at(4).progress(400, 400),
        s.done(S_OK),
        s.close(),
      ],
    },
    'Finished in 4 s with 3 errors, mostly MAPI_E_NOT_FOUND (0x8004010F): what they name may be missing',
  ],
  [
    'warned',
    { frames: (s) => [...half(s), s.at(4).error(PARTIAL, 'some'), s.done(S_OK), s.close()] },
    'Finished in 4 s with 1 warning: Done was called with S_OK (0x00000000), after 1 warning',
  ],
  [
    'refused_by_outlook',
    {
      frames: (s) => [
        ...half(s),
        s.at(3).inner(1, 0x80004005, 10),
        s.inner(1, 0x80004002, 10),
        s.done(S_OK),
        s.close(),
      ],
    },
    "Finished ok in 3 s, but Outlook's callback failed 2 times, first with MAPI_E_CALL_FAILED (0x80004005)",
  ],
  [
    'slow_in_outlook',
    {
      frames: (s) => [
        ...half(s),
        s.at(10).done(S_OK),
        s.close(
          { innerUs: 7 * SECOND, innerMaxUs: SECOND },
          { progressUs: 2 * SECOND, progressMaxUs: SECOND, doneUs: 5 * SECOND },
        ),
      ],
    },
    "Finished ok in 10 s, and Outlook's callback took 70 % of it, 71 % of that in Done: slow because of Outlook",
  ],
  [
    'slow_phase',
    {
      frames: (s) => [...half(s), s.at(20).done(S_OK), s.close()],
      options: { earlier: [4, 5, 6].map((seconds) => earlier(seconds)) },
    },
    'Finished ok, but slowly: 20 s, usually 5 s, 19 s of it in "Inbox", usually 4 s',
  ],
  [
    'long_silence',
    { frames: (s) => [...half(s), s.at(42).progress(400, 400), s.done(S_OK), s.close()] },
    'Finished ok in 42 s, 40 s of it without a call of the provider from 15:06:42 UTC on',
  ],
  [
    'ok',
    { frames: (s) => [...half(s), s.at(3).progress(400, 400), s.done(S_OK), s.close()] },
    'Finished ok in 3 s: 3 calls, nothing to complain of',
  ],
];

describe('the verdict', () => {
  test.for(CASES)('%s', ([code, given, text]) => {
    const { verdict } = storyOf(given);
    expect(verdict.code).toBe(code);
    expect(verdict.text.startsWith(text) ? text : verdict.text).toBe(text);
  });

  test('every row of the table has a case, and each is one sentence', () => {
    expect(CASES.map(([code]) => code)).toEqual(VERDICTS.map(({ code }) => code));
    for (const [, given] of CASES) {
      expect(storyOf(given).verdict.text).not.toMatch(/[.!?] |[.!?]$|undefined|NaN|null/);
    }
  });

  test('a slow sync is not slow by what failed or is too little to go by', () => {
    const frames: Case['frames'] = (s) => [...half(s), s.at(20).done(S_OK), s.close()];
    const few = [earlier(4), earlier(5)];
    const failed = [4, 5, 6].map((seconds) => earlier(seconds, 'failed'));
    for (const history of [few, failed]) {
      expect(storyOf({ frames, options: { earlier: history } }).verdict.code).toBe('ok');
    }
  });
});

test('a slow sync is put down to what took longer than usual, not to what always takes long', () => {
  const frames: Case['frames'] = (s) => [
    s.at(1).progress(0, 9, 'Inbox'),
    s.at(12).progress(0, 2, 'Sent'),
    s.at(21).done(S_OK),
    s.close(),
  ];
  const { verdict } = storyOf({ frames, options: { earlier: [9, 10, 11].map((n) => earlier(n)) } });
  expect(verdict.text).toBe('Finished ok, but slowly: 21 s, usually 10 s, 9 s of it in "Sent"');
});

describe('the story tells', () => {
  test('where the time went', () => {
    const story = storyOf({
      frames: (s) => [
        s.at(1).progress(0, 9, 'Inbox'),
        s.at(2).progress(9, 9),
        s.at(3).progress(0, 2, 'Sent'),
        s.at(15).unblocked(1, 4711, 12 * SECOND),
        s.at(16).progress(2, 2),
        s.at(17).done(S_OK),
        s.close({ innerUs: 12 * SECOND, innerMaxUs: 12 * SECOND }),
      ],
      options: { earlier: [3, 4, 5].map((seconds) => earlier(seconds)) },
    });
    expect(story).toMatchObject({
      duration_us: 17 * SECOND,
      usual_us: 4 * SECOND,
      slowest_phase: { text: 'Sent', duration_us: 14 * SECOND },
      phases: [{ text: 'Inbox', usual_us: 3 * SECOND }, { text: 'Sent' }],
      stalls: [{ kind: 'blocked', thread: 4711, for_us: 12 * SECOND, ongoing: false }],
      silence: { for_us: 13 * SECOND, by: 'outlook', ongoing: false, after: { index: 0, max: 2 } },
      inner: { us: 12 * SECOND },
    });
    expect(story.inner.share).toBeCloseTo(12 / 17);
  });

  test('counts under one text, of which each has its part of what is usual', () => {
    const frames = (s: Script): SequencedFrame[] => [
      s.progress(0, 9, 'Inbox'),
      s.at(2).progress(9, 9),
      s.at(2.5).progress(0, 5),
      s.at(8.5).progress(5, 5),
    ];
    const phases = [
      { text: 'Inbox', duration_us: 2.5 * SECOND, usual_us: SECOND, max: 9 },
      { text: 'Inbox', duration_us: 7.5 * SECOND, usual_us: 3 * SECOND, max: 5 },
    ];
    const options = { earlier: [5, 5, 5].map((seconds) => earlier(seconds)) };
    const ended = storyOf({
      frames: (s) => [...frames(s), s.at(10).done(S_OK), s.close()],
      options,
    });
    expect(ended.phases).toMatchObject(phases);
    expect(storyOf({ frames, how: 'stopped', now: 10, options }).phases).toMatchObject(phases);
  });

  test.for<[string, Case['frames'], boolean | null, string]>([
    [
      'ended the sync',
      (s) => [s.error(NETWORK, 'x'), s.done(NETWORK), s.close()],
      true,
      'the sync ended with it',
    ],
    [
      'did not, since another one did',
      (s) => [s.error(NOT_FOUND, 'x'), s.done(NETWORK), s.close()],
      null,
      'the sync ended with MAPI_E_NETWORK_ERROR',
    ],
    [
      'was gone over',
      (s) => [s.error(NOT_FOUND, 'x'), s.at(9).progress(1, 2), s.done(S_OK), s.close()],
      false,
      'the sync went on and finished; what it names may be missing',
    ],
    ['was the last word', (s) => [s.error(NOT_FOUND, 'x')], null, 'no progress came after it'],
    [
      'was followed by progress',
      (s) => [s.error(NOT_FOUND, 'x'), s.at(9).progress(1, 2)],
      false,
      'the sync went on after it',
    ],
  ])('whether the first error mattered: it %s', ([, frames, mattered, why]) => {
    const { first_error: error } = storyOf({ frames, how: 'stopped' });
    expect(error).toMatchObject({ mattered, why, text: 'x' });
  });

  test('errors by code, the most frequent first, and checks, faults first', () => {
    const story = storyOf({
      frames: (s) => [
        s.progress(9, 3, 'Inbox'),
        s.error(NOT_FOUND),
        ...[1, 2, 3].map(() => s.error(NETWORK, 'again')),
        s.done(S_OK),
        s.close(),
      ],
    });
    expect(story.errors.map(({ name, times }) => [name, times])).toEqual([
      ['MAPI_E_NETWORK_ERROR', 3],
      ['MAPI_E_NOT_FOUND', 1],
    ]);
    expect(story.checks.map(({ code, severity }) => [code, severity])).toEqual([
      ['MS004', 'fault'],
      ['MS020', 'note'],
      ['MS022', 'note'],
    ]);
    expect(story.checks[0]).toMatchObject({ title: expect.any(String), mend: expect.any(String) });
  });

  test('what it can of a journal that has lost its beginning', () => {
    const script = new Script();
    const frames = [
      script.open() as Open,
      ...half(script),
      script.at(9).done(S_OK),
      script.close(),
    ];
    const recording: Recording = { redacted: false, hello, frames: frames as never, how: 'closed' };
    const { records } = recordsOf(recording);
    const story = tellStory(records.slice(2), { nowUs: 0, stopped: true });
    expect(story).toMatchObject({ state: 'ended', outcome: 'ok', duration_us: 9 * SECOND });
    expect(story.opened).toBeUndefined();
    expect(() => tellStory([], { nowUs: 0, stopped: true })).toThrow(RangeError);
  });

  test('frames that its ring lost', () => {
    const story = storyOf({
      frames: (s) => [
        ...half(s),
        {
          kind: 'lost',
          seq: 90,
          timeUs: at(3),
          thread: 0,
          session: 0,
          ...{ opens: 0, progress: 5, errors: 2, dones: 0, others: 0 },
        },
      ],
      how: 'stopped',
    });
    expect(story.totals.lost).toBe(7);
  });
});

describe('alignPhases()', () => {
  const phase = (text: string) => ({ text, duration_us: 1, calls: 1, errors: 0, index: 1, max: 1 });
  const phases = (texts: string) => [...texts].map(phase);
  test.for<[string, string, string]>([
    ['abc', 'abc', 'a b c'],
    ['', 'ab', '+a +b'],
    ['ab', '', '-a -b'],
    ['abc', 'ac', 'a -b c'],
    ['ac', 'abc', 'a +b c'],
    ['abcbd', 'acbd', 'a -b c b d'],
    ['ab', 'ba', '-a b +a'],
    ['xy', 'z', '-x -y +z'],
  ])('%s beside %s', ([a, b, want]) => {
    const pairs = alignPhases(phases(a), phases(b));
    const shown = pairs.map(({ text, a: one, b: two }) => `${one ? (two ? '' : '-') : '+'}${text}`);
    expect(shown.join(' ')).toBe(want);
  });
});
