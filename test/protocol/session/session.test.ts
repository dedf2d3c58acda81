import { describe, expect, test } from 'vitest';
import { liveSession } from '../../../protocol/session/live.ts';
import type { SessionFrame, SessionState } from '../../../protocol/session/session.ts';
import {
  applyFrame,
  applySlot,
  excuse,
  openSession,
  processGone,
  tick,
} from '../../../protocol/session/session.ts';
import { restoreSession, snapshotSession } from '../../../protocol/session/snapshot.ts';
import type { Open, SequencedFrame } from '../../../protocol/wire/frames.ts';
import {
  Log,
  NETWORK,
  NOT_FOUND,
  OPEN_US,
  OPEN_WALL_US,
  ORIGIN,
  PARTIAL,
  S_OK,
  Script,
  SECOND,
  USER_CANCEL,
} from './script.ts';

interface Run {
  readonly log: Log;
  readonly state: SessionState;
  readonly script: Script;
}

function begin(over: object = {}): Run {
  const script = new Script();
  const log = new Log();
  return { log, script, state: openSession(script.open(over) as Open, ORIGIN, log.emit) };
}

function feed({ state, log }: Run, ...frames: SequencedFrame[]): void {
  for (const frame of frames) applyFrame(state, frame as SessionFrame, log.emit);
}

function ticks({ state, log }: Run, seconds: number, quietUs = 30 * SECOND): void {
  tick(state, OPEN_US + seconds * SECOND, log.emit, { quietUs });
}

test('session.opened says who, when and with which flags', () => {
  const { log, state } = begin();
  expect(log.records).toMatchObject([
    {
      event_name: 'session.opened',
      level: 'info',
      time: '2025-06-15T15:06:40.000000Z',
      seq: 1,
      mono_us: OPEN_US,
      ring: ORIGIN.ring,
      shim_version: '0.1.0',
      trace_id: state.traceId,
      span_id: state.id,
      process: { pid: 4242, arch: 'x64', executable: { name: 'OUTLOOK.EXE' } },
      session: {
        id: state.id,
        provider: 'contoso',
        store: 'Mailbox A',
        attach: 'tee',
        flags: ['SYNC_UPLOAD_HIERARCHY', 'SYNC_UPLOAD_CONTENTS', 'SYNC_ON_DEMAND'],
        flags_raw: '0x20000041',
        user_initiated: true,
      },
    },
  ]);
  const bare = begin({ flags: null, provider: null, store: '', callback: 0 }).log.records[0]!;
  expect(bare.session).toEqual({ id: state.id, attach: 'tee', store: '' });
  expect(bare.msg).toBe(`Session ${state.id}: sync began`);
  expect(bare.detail).toEqual({ callback: false });
});

describe('outcome', () => {
  type Steps = (script: Script) => SequencedFrame[];
  test.for<[string, Steps, string, string, string]>([
    [
      'ok',
      (s) => [s.progress(1, 2), s.done(S_OK)],
      'ok',
      'info',
      'Done was called with S_OK (0x00000000)',
    ],
    [
      'no Done',
      (s) => [s.progress(1, 2)],
      'failed',
      'error',
      'The callback was released without Done',
    ],
    [
      'no Done, after a failure at once',
      (s) => [s.returned(NETWORK)],
      'failed',
      'error',
      'The callback was released without Done; SynchronizeInBackground returned MAPI_E_NETWORK_ERROR (0x80040115)',
    ],
    [
      'cancelled by the user',
      (s) => [s.error(NETWORK), s.done(USER_CANCEL)],
      'cancelled',
      'info',
      'Done was called with MAPI_E_USER_CANCEL (0x80040113)',
    ],
    [
      'cancelled',
      (s) => [s.done(0x80040501)],
      'cancelled',
      'info',
      'Done was called with MAPI_E_CANCEL (0x80040501)',
    ],
    [
      'failed',
      (s) => [s.done(NETWORK)],
      'failed',
      'error',
      'Done was called with MAPI_E_NETWORK_ERROR (0x80040115)',
    ],
    [
      'ok with errors',
      (s) => [s.error(NETWORK), s.error(NOT_FOUND), s.done(S_OK)],
      'ok_with_errors',
      'warn',
      'Done was called with S_OK (0x00000000), after 2 errors, the last with MAPI_E_NOT_FOUND',
    ],
    [
      'errors before a warning',
      (s) => [s.error(NETWORK), s.done(PARTIAL)],
      'ok_with_errors',
      'warn',
      'Done was called with MAPI_W_PARTIAL_COMPLETION (0x00040680), after 1 error, the last with MAPI_E_NETWORK_ERROR',
    ],
    [
      'warned by Done',
      (s) => [s.done(PARTIAL)],
      'warned',
      'warn',
      'Done was called with MAPI_W_PARTIAL_COMPLETION (0x00040680)',
    ],
    [
      'warned by Error',
      (s) => [s.error(PARTIAL), s.done(S_OK)],
      'warned',
      'warn',
      'Done was called with S_OK (0x00000000), after 1 warning, the last with MAPI_W_PARTIAL_COMPLETION',
    ],
    [
      'Error(S_OK) is no warning',
      (s) => [s.error(S_OK), s.done(S_OK)],
      'ok',
      'info',
      'Done was called with S_OK (0x00000000)',
    ],
    [
      'the first Done counts',
      (s) => [s.done(S_OK), s.done(NETWORK)],
      'ok',
      'info',
      'Done was called with S_OK (0x00000000)',
    ],
  ])('%s', ([, steps, outcome, level, reason]) => {
    const run = begin();
    feed(run, ...steps(run.script), run.script.close());
    expect(run.log.named('session.ended')).toMatchObject([
      { outcome, level, outcome_reason: reason },
    ]);
  });

  test('an Error that was lost counts as an error', () => {
    const run = begin();
    feed(run, run.script.done(S_OK), run.script.close({ errors: 1, lost: 1 }));
    expect(run.log.last()).toMatchObject({
      outcome: 'ok_with_errors',
      totals: { errors: 1, lost: 1 },
    });
  });
});

describe('a session ends once', () => {
  test('at close, with its totals', () => {
    const run = begin();
    const { script } = run;
    feed(
      run,
      script.at(1).progress(5, 10, 'Inbox'),
      script.at(2).error(PARTIAL),
      script.error(NETWORK),
    );
    feed(run, script.inner(1, 0, 150_000), script.at(3).done(S_OK));
    feed(
      run,
      script.at(4).close({ progress: 9, merged: 4, innerUs: 200_000, innerMaxUs: 150_000 }),
    );
    expect(run.log.last()).toMatchObject({
      event_name: 'session.ended',
      duration_us: 3 * SECOND,
      since_last_call_us: SECOND,
      error: { name: 'S_OK', severity: 'success' },
      progress: { text: 'Inbox', index: 5, max: 10, percent: 50, calls: 9, merged: 4 },
      totals: {
        progress: 9,
        errors: 1,
        warnings: 1,
        merged: 4,
        lost: 0,
        checks: 2,
        inner_us: 200_000,
        inner_max_us: 150_000,
        inner_share: 0.067,
        inner_slow: { Progress: { calls: 1, us: 150_000, max_us: 150_000 } },
      },
      longest_silence_us: SECOND,
      phases: [{ text: 'Inbox', duration_us: 2 * SECOND, calls: 9, errors: 1, index: 5, max: 10 }],
    });
    feed(run, script.close());
    ticks(run, 60);
    processGone(run.state, { wallUs: OPEN_WALL_US }, run.log.emit);
    expect(run.log.named('session.ended')).toHaveLength(1);
    expect(liveSession(run.state, OPEN_US + 9 * SECOND)).toMatchObject({
      state: 'ended',
      outcome: 'ok_with_errors',
      duration_us: 3 * SECOND,
    });
  });

  test('with the time in each method of Outlook, whatever told of it last', () => {
    const run = begin();
    const { script } = run;
    feed(run, script.at(1).inner(1, 0, 150_000), script.inner(2, 0x80004005, 7));
    // Slots and `merged` come late, or not at all, and only grow.
    const times = { progressUs: 400_000, progressMaxUs: 160_000, errorUs: 7, errorMaxUs: 7 };
    feed(run, script.merged({ innerUs: 400_007, innerMaxUs: 160_000 }, {}, times));
    const inner = (): unknown => run.state.innerTimes.map(({ us, maxUs }) => [us, maxUs]);
    const merged = [
      [400_000, 160_000],
      [7, 7],
      [0, 0],
    ];
    expect(inner()).toEqual(merged);
    feed(run, script.merged({}, {}, { progressUs: 300_000 }));
    expect(inner()).toEqual(merged);
    feed(run, script.at(2).inner(3, 0, 900_000), script.done(S_OK));
    const restored = restoreSession(JSON.parse(JSON.stringify(snapshotSession(run.state))));
    expect(restored?.innerTimes).toEqual(run.state.innerTimes);
    feed(
      run,
      script.close({ innerUs: 1_300_207 }, { ...times, doneUs: 900_200, doneMaxUs: 900_000 }),
    );
    expect(run.log.last().totals).toMatchObject({
      inner_us: 1_300_207,
      inner_max_us: 900_000,
      inner_share: 0.65,
      inner_by_method: {
        Progress: { us: 400_000, max_us: 160_000, share: 0.2 },
        Error: { us: 7, max_us: 7, share: 0 },
        Done: { us: 900_200, max_us: 900_000, share: 0.45 },
      },
    });
  });

  test('with the time in a method that only slow calls tell of, from a shim that counts none', () => {
    const run = begin();
    feed(run, run.script.at(1).inner(1, 0, 150_000), run.script.done(S_OK), run.script.close());
    expect(run.log.last().totals).toMatchObject({
      inner_us: 150_000,
      inner_by_method: { Progress: { us: 150_000, max_us: 150_000, share: 0.15 } },
    });
  });

  test('5 s after Done; later calls only fire checks', () => {
    const run = begin();
    const { script } = run;
    feed(run, script.at(1).progress(1, 2), script.at(10).done(S_OK));
    ticks(run, 14.999);
    expect(run.log.named('session.ended')).toEqual([]);
    feed(run, script.at(14.9).error(NOT_FOUND));
    ticks(run, 15);
    expect(run.log.last()).toMatchObject({ outcome: 'ok_with_errors', duration_us: 10 * SECOND });
    expect(run.log.last().unreleased).toBe(true);
    const before = run.log.records.length;
    feed(run, script.at(16).progress(2, 2), script.error(NETWORK, 'x'), script.done(USER_CANCEL));
    feed(run, script.returned(S_OK), script.at(17).close(), script.close());
    expect(run.log.records.slice(before)).toMatchObject([
      { event_name: 'session.check', call: 2, check: { code: 'MS001' }, error: { text: 'x' } },
      {
        event_name: 'session.check',
        call: 2,
        check: { code: 'MS002' },
        error: { class: 'cancelled' },
      },
      { event_name: 'session.returned' },
      {
        event_name: 'session.released',
        duration_us: 17 * SECOND,
        totals: { progress: 2, errors: 2 },
      },
    ]);
  });

  test.for<[string, number, number, number]>([
    ['a frame of 4.999 s after Done counts', 14.999, 14.5, 1],
    ['one of 5 s after it does not', 15, 14.5, 0],
    ['no end before all of its frames were taken', 14, 14.999, 1],
    ['an end needs no frame', 14, 15, 0],
  ])('by the clock of its frames: %s', ([, error, heard, errors]) => {
    const run = begin();
    const { state, script, log } = run;
    feed(run, script.at(10).done(S_OK));
    const heardUs = OPEN_US + heard * SECOND;
    tick(state, OPEN_US + 3600 * SECOND, log.emit, { quietUs: 30 * SECOND, heardUs });
    feed(run, script.at(error).error(NOT_FOUND));
    ticks(run, 3600);
    expect(log.named('session.error')).toHaveLength(errors);
    expect(log.named('session.ended')).toMatchObject([
      { duration_us: 10 * SECOND, totals: { errors } },
    ]);
  });

  test('with its process, and says who was inside', () => {
    const run = begin();
    feed(run, run.script.at(2).progress(1, 100, 'Inbox'), run.script.at(2.05).progress(2, 100));
    const facts = {
      wallUs: OPEN_WALL_US + 9 * SECOND,
      timeUs: OPEN_US + 9 * SECOND,
      exitCode: 3,
      crashed: true,
      inCallback: [{ method: 1, thread: 4711 }],
    };
    processGone(run.state, facts, run.log.emit);
    expect(run.log.names()).toEqual(['opened', 'progress', 'progress', 'ended']);
    expect(run.log.last()).toMatchObject({
      level: 'error',
      outcome: 'abandoned',
      time: '2025-06-15T15:06:49.000000Z',
      outcome_reason:
        "The process crashed with exit code 3, thread 4711 inside Outlook's Progress before Done",
      exit: { code: 3, crashed: true, in_callback: [{ method: 'Progress', thread: 4711 }] },
      duration_us: 2_050_000,
      since_last_call_us: 6_950_000,
      totals: { progress: 2 },
    });
  });

  test('with its process, as Done said', () => {
    const run = begin();
    feed(run, run.script.at(1).done(S_OK));
    processGone(run.state, { wallUs: OPEN_WALL_US }, run.log.emit);
    expect(run.log.last()).toMatchObject({ outcome: 'ok', duration_us: SECOND });
  });
});

describe('session.progress', () => {
  /** Seconds, index, max, text of each call; and the calls that have a record. */
  type Call = [seconds: number, index: number, max: number, text?: string | null];
  test.for<[string, Call[], number[]]>([
    ['first', [[0, 1, 1000]], [1]],
    [
      'not each',
      [
        [0, 1, 1000],
        [1, 2, 1000],
        [2, 3, 1000],
      ],
      [1],
    ],
    [
      'every percent',
      [
        [0, 0, 100],
        [1, 1, 100],
        [2, 1, 100],
        [3, 2, 100],
      ],
      [1, 2, 4],
    ],
    [
      'backwards too',
      [
        [0, 50, 100],
        [1, 10, 100],
      ],
      [1, 2],
    ],
    [
      'every 5 s',
      [
        [0, 1, 1000],
        [4.9, 2, 1000],
        [5, 3, 1000],
        [9, 4, 1000],
        [10, 5, 1000],
      ],
      [1, 3, 5],
    ],
    [
      'new text',
      [
        [0, 1, 1000, 'a'],
        [1, 1, 1000, 'b'],
        [2, 1, 1000, 'b'],
        [3, 1, 1000, null],
      ],
      [1, 2],
    ],
    [
      'an empty text is a text',
      [
        [0, 1, 1000, 'a'],
        [1, 1, 1000, ''],
      ],
      [1, 2],
    ],
    [
      'at most 10 a second',
      [
        [0, 0, 10],
        [0.05, 1, 10],
        [0.099, 2, 10],
        [0.1, 3, 10],
      ],
      [1, 4],
    ],
    [
      'no maximum, new text or 5 s',
      [
        [0, 0, 0],
        [1, 9, 0],
        [5, 10, 0],
        [6, 10, 0, 'x'],
      ],
      [1, 3, 4],
    ],
    [
      'a maximum that appears',
      [
        [0, 0, 0],
        [1, 0, 100],
      ],
      [1, 2],
    ],
  ])('%s', ([, calls, want]) => {
    const run = begin();
    for (const [seconds, index, max, text] of calls) {
      feed(run, run.script.at(seconds).progress(index, max, text ?? null));
    }
    expect(run.log.named('session.progress').map(({ call }) => call)).toEqual(want);
  });

  test('what was held back comes with a tick, and before Done, once', () => {
    const run = begin();
    const { script } = run;
    feed(run, script.at(0).progress(0, 10, 'a'), script.at(0.05).progress(1, 10, 'b'));
    ticks(run, 0.06);
    expect(run.log.named('session.progress')).toHaveLength(1);
    ticks(run, 0.5);
    ticks(run, 1);
    expect(run.log.named('session.progress')).toHaveLength(2);
    expect(run.log.last()).toMatchObject({ since_last_call_us: 450_000, progress: { text: 'b' } });
    expect(run.log.last().seq).toBeUndefined();
    feed(run, script.at(1.01).progress(2, 10), script.at(1.02).done(S_OK), script.close());
    expect(run.log.names().slice(3)).toEqual(['progress', 'done', 'ended']);
  });

  test.for<[number, number, number | null]>([
    [0, 0, null],
    [5, 0, null],
    [0, 3, 0],
    [1, 3, 33.3],
    [2999, 3000, 99.9],
    [3, 3, 100],
    [9, 3, 100],
    [0xffffffff, 0xffffffff, 100],
    [0xfffffffe, 0xffffffff, 99.9],
  ])('%d of %d is %o percent', ([index, max, percent]) => {
    const run = begin();
    feed(run, run.script.progress(index, max));
    expect(run.log.last().progress).toEqual({ index, max, percent, calls: 1 });
  });

  test('a NULL text keeps the last one; none at all is absent', () => {
    const run = begin();
    feed(run, run.script.progress(1, 10));
    expect(run.log.last().progress).not.toHaveProperty('text');
    feed(run, run.script.at(1).progress(2, 10, 'Inbox'), run.script.at(2).progress(3, 10));
    expect(run.log.last().progress).toMatchObject({ text: 'Inbox', index: 3 });
  });

  test('a call that was overtaken does not move the bar back', () => {
    const run = begin();
    const { script } = run;
    feed(run, script.at(1).progress(7, 10, null, { call: 2 }));
    feed(run, script.at(1.2).progress(6, 10, 'Inbox', { call: 1 }));
    expect(liveSession(run.state, script.nowUs).progress).toMatchObject({
      index: 7,
      text: 'Inbox',
      calls: 2,
    });
  });

  test('rate and time left: known after a second, gone after a restart', () => {
    const run = begin();
    const { script, log } = run;
    for (let n = 0; n <= 40; n += 1) feed(run, script.at(n / 4).progress(n * 25, 2000));
    expect(log.last().progress).toMatchObject({ index: 1000, rate_per_s: 100, eta_s: 10 });
    expect(log.named('session.progress')[1]?.progress).not.toHaveProperty('rate_per_s');
    feed(run, script.at(11).progress(0, 2000));
    expect(log.last().progress).not.toHaveProperty('rate_per_s');
    expect(log.last().progress).not.toHaveProperty('eta_s');
  });

  test('the rate follows a change of speed', () => {
    const run = begin();
    const { script } = run;
    let index = 0;
    for (let n = 0; n <= 400; n += 1) {
      index += n < 200 ? 100 : 10;
      feed(run, script.at(n / 4).progress(index, 100_000));
    }
    const { rate_per_s } = liveSession(run.state, script.nowUs).progress;
    expect(rate_per_s).toBeGreaterThan(40);
    expect(rate_per_s).toBeLessThan(45);
  });
});

describe('session.error', () => {
  test.for<[string, number, string | null, object]>([
    [
      'a transient one is a warning',
      NETWORK,
      'x',
      { level: 'warn', error: { class: 'transient', severity: 'error', text: 'x' } },
    ],
    [
      'another is an error',
      NOT_FOUND,
      null,
      {
        level: 'error',
        error: { hresult: '0x8004010F', name: 'MAPI_E_NOT_FOUND', class: 'not_found' },
      },
    ],
    [
      'a success code is a warning',
      PARTIAL,
      '',
      { level: 'warn', error: { severity: 'success', text: '' } },
    ],
    ['S_OK too', S_OK, null, { level: 'warn', error: { name: 'S_OK', severity: 'success' } }],
    [
      'an unknown code has its hex as name',
      0xc0de1234,
      null,
      { level: 'error', error: { name: '0xC0DE1234', class: 'other' } },
    ],
  ])('%s', ([, hresult, text, want]) => {
    const run = begin();
    feed(run, run.script.error(hresult, text));
    const [record] = run.log.named('session.error');
    expect(record).toMatchObject({ call: 1, ...want });
    if (text === null) expect(record!.error).not.toHaveProperty('text');
  });

  test('each has a record, and says how often it came', () => {
    const run = begin();
    const { script } = run;
    feed(run, script.error(NETWORK, 'a'), script.error(NETWORK, 'b'), script.error(NETWORK, 'a'));
    feed(run, script.error(NETWORK, null), script.error(NETWORK, ''), script.error(NETWORK, 'a'));
    const repeats = run.log.named('session.error').map(({ error }) => error?.repeat);
    expect(repeats).toEqual([1, 1, 2, 1, 1, 3]);
  });

  test('of more different ones than are told apart, the new ones have no count', () => {
    const run = begin();
    for (let n = 0; n < 65; n += 1) feed(run, run.script.error(NETWORK, `message ${n}`));
    feed(run, run.script.error(NETWORK, 'message 0'));
    const repeats = run.log.named('session.error').map(({ error }) => error?.repeat);
    expect(repeats.slice(62)).toEqual([1, 1, undefined, 2]);
  });
});

describe('stalls', () => {
  test('quiet: said once, over with the next call', () => {
    const run = begin();
    const { script } = run;
    feed(run, script.at(10).progress(1, 1000, 'Inbox'));
    ticks(run, 39.9);
    expect(run.log.named('session.stalled')).toEqual([]);
    ticks(run, 40);
    ticks(run, 50);
    expect(run.log.named('session.stalled')).toMatchObject([
      { level: 'warn', stall: { kind: 'quiet', for_us: 30 * SECOND, threshold_us: 30 * SECOND } },
    ]);
    expect(liveSession(run.state, OPEN_US + 50 * SECOND)).toMatchObject({
      state: 'stalled',
      stall: { kind: 'quiet', for_us: 40 * SECOND },
    });
    feed(run, script.at(60).progress(2, 1000));
    expect(run.log.named('session.resumed')).toMatchObject([
      { level: 'info', stall: { kind: 'quiet', for_us: 50 * SECOND } },
    ]);
    expect(liveSession(run.state, script.nowUs).state).toBe('running');
  });

  test('quiet counts from the open on, and not after Done', () => {
    const run = begin();
    ticks(run, 30);
    expect(run.log.last()).toMatchObject({ event_name: 'session.stalled' });
    feed(run, run.script.at(31).done(S_OK));
    expect(run.log.names().slice(1)).toEqual(['stalled', 'resumed', 'done']);
    ticks(run, 35);
    expect(run.log.named('session.stalled')).toHaveLength(1);
  });

  test('time in which the machine slept does not count', () => {
    const run = begin();
    excuse(run.state, 3600 * SECOND);
    ticks(run, 3629);
    expect(run.log.names()).toEqual(['opened']);
    ticks(run, 3630);
    expect(run.log.last()).toMatchObject({ stall: { for_us: 30 * SECOND } });
  });

  test.for<[string, number, boolean]>([
    ['while nothing was heard', 0, false],
    ['while older frames are still to come', 39.9, false],
    ['once that much of the ring was taken', 40, true],
  ])('by the clock of its frames: %s', ([, heard, isSaid]) => {
    const run = begin();
    const { state, script, log } = run;
    feed(run, script.at(10).progress(1, 1000));
    const heardUs = OPEN_US + heard * SECOND;
    tick(state, OPEN_US + 3600 * SECOND, log.emit, { quietUs: 30 * SECOND, heardUs });
    expect(log.named('session.stalled')).toHaveLength(isSaid ? 1 : 0);
    feed(run, script.at(41).progress(2, 1000));
    expect(log.named('session.resumed')).toHaveLength(isSaid ? 1 : 0);
  });

  test('blocked: by thread; quiet is not said beside it', () => {
    const run = begin();
    const { script, log } = run;
    feed(run, script.at(3).blocked(1, 4711), script.at(4).blocked(2, 4712));
    ticks(run, 60);
    expect(log.named('session.stalled')).toMatchObject([
      { stall: { kind: 'blocked', method: 'Progress', thread: 4711, for_us: 2 * SECOND } },
      { stall: { kind: 'blocked', method: 'Error', thread: 4712, for_us: 2 * SECOND } },
    ]);
    expect(liveSession(run.state, OPEN_US + 60 * SECOND).stall).toMatchObject({
      kind: 'blocked',
      thread: 4711,
      for_us: 59 * SECOND,
    });
    feed(
      run,
      script.at(61).unblocked(1, 4711, 60 * SECOND),
      script.unblocked(2, 4712, 59 * SECOND),
    );
    expect(log.named('session.resumed')).toMatchObject([
      { stall: { kind: 'blocked', method: 'Progress', thread: 4711, for_us: 60 * SECOND } },
      { stall: { kind: 'blocked', thread: 4712 } },
    ]);
    expect(liveSession(run.state, script.nowUs).state).toBe('running');
    ticks(run, 90);
    expect(log.named('session.stalled')).toHaveLength(2);
    ticks(run, 91);
    expect(log.named('session.stalled')).toHaveLength(3);
  });

  test('a call that only a slot tells of ends a quiet time', () => {
    const run = begin();
    ticks(run, 30);
    applySlot(run.state, slot(9, 31, 'Inbox'));
    ticks(run, 32);
    expect(run.log.last()).toMatchObject({
      event_name: 'session.resumed',
      stall: { for_us: 31 * SECOND },
    });
  });
});

function slot(call: number, seconds: number, text: string | null) {
  const counters = {
    progress: call,
    errors: 0,
    dones: 0,
    merged: 2,
    lost: 0,
    innerUs: 0,
    innerMaxUs: 0,
  };
  const newest = { call, timeUs: OPEN_US + seconds * SECOND, index: 40, max: 100, marks: 0, text };
  return { kind: 'slot', session: 1, timeUs: OPEN_US, counters, newest } as const;
}

describe('slots', () => {
  test('are ahead of the frames that still come, and change no phase', () => {
    const run = begin();
    const { script, state } = run;
    feed(run, script.at(1).progress(1, 100, 'a'));
    applySlot(state, slot(4, 4, 'c'));
    expect(liveSession(state, script.nowUs).progress).toMatchObject({
      index: 40,
      text: 'c',
      calls: 4,
    });
    feed(run, script.at(2).progress(2, 100, 'b'), script.at(3).progress(3, 100));
    feed(run, script.at(4).progress(40, 100, 'c'), script.at(5).done(S_OK), script.close());
    expect(run.log.last().phases).toMatchObject([
      { text: 'a', calls: 1 },
      { text: 'b', calls: 2 },
      { text: 'c', calls: 1 },
    ]);
    expect(run.log.last().totals).toMatchObject({ progress: 4, merged: 2 });
  });

  test('are all there is when no frame comes any more', () => {
    const run = begin();
    applySlot(run.state, slot(50, 7, 'Inbox'));
    processGone(run.state, { wallUs: OPEN_WALL_US }, run.log.emit);
    expect(run.log.names()).toEqual(['opened', 'progress', 'ended']);
    expect(run.log.last()).toMatchObject({
      totals: { progress: 50, merged: 2 },
      progress: { index: 40, text: 'Inbox' },
      duration_us: 7 * SECOND,
    });
  });
});

test('frames.merged says only what grew', () => {
  const run = begin();
  const { script, log } = run;
  feed(run, script.at(1).progress(1, 100, 'a'));
  feed(run, script.at(2).merged({ progress: 30, merged: 29 }, { call: 30, index: 30, max: 100 }));
  feed(run, script.at(3).merged({ progress: 30, merged: 29 }, { call: 30, index: 30, max: 100 }));
  expect(log.names().slice(2)).toEqual(['progress', 'frames.merged']);
  expect(log.last()).toMatchObject({
    level: 'debug',
    progress: { index: 30, text: 'a', calls: 30, merged: 29 },
  });
});

test('what else the provider and Outlook do has its record', () => {
  const run = begin();
  const { script, log } = run;
  feed(run, script.note('account', 'a@b'), script.returned(S_OK), script.inner(2, NETWORK, 70));
  feed(run, script.at(2).done(PARTIAL, 2));
  expect(log.records.slice(1)).toMatchObject([
    { event_name: 'session.note', level: 'info', note: { key: 'account', value: 'a@b' } },
    {
      event_name: 'session.returned',
      level: 'debug',
      duration_us: 1234,
      returned: { hresult: '0x00000000', name: 'S_OK', event: true },
    },
    {
      event_name: 'session.inner_slow',
      level: 'warn',
      inner: { method: 'Error', hresult: '0x80040115', duration_us: 70 },
    },
    {
      event_name: 'session.done',
      level: 'debug',
      error: { hresult: '0x00040680' },
      done: { handle: 'same' },
      duration_us: 2 * SECOND,
    },
  ]);
});

test('phases: at most 32, the rest summed in the last', () => {
  const run = begin();
  const { script } = run;
  for (let n = 0; n < 40; n += 1) {
    feed(run, script.at(n).progress(n, 100, `folder ${n}`), script.at(n + 0.5).progress(n, 100));
    if (n === 35) feed(run, script.error(NETWORK));
  }
  feed(run, script.at(40).done(S_OK), script.close());
  const phases = run.log.last().phases ?? [];
  expect(phases).toHaveLength(32);
  expect(phases[0]).toEqual({
    text: 'folder 0',
    duration_us: SECOND,
    calls: 2,
    errors: 0,
    index: 0,
    max: 100,
  });
  expect(phases[31]).toEqual({
    duration_us: 9 * SECOND,
    calls: 18,
    errors: 1,
    index: 39,
    max: 100,
  });
  expect(phases.reduce((sum, { calls }) => sum + calls, 0)).toBe(80);
});

test('phases: a count that begins again begins one, with or without a text', () => {
  for (const text of ['Inbox', null]) {
    const run = begin();
    const { script } = run;
    feed(run, script.progress(0, 4, text), script.at(1).progress(4, 4));
    feed(run, script.at(1).progress(1, 9), script.at(4).progress(9, 9));
    // No new count: the index goes back, but not to the start; and it goes on from 0.
    feed(
      run,
      script.at(5).progress(3, 9),
      script.at(6).progress(0, 0),
      script.at(7).progress(1, 0),
    );
    feed(run, script.at(8).done(S_OK), script.close());
    const name = text === null ? {} : { text };
    expect(run.log.last().phases).toEqual([
      { ...name, duration_us: SECOND, calls: 2, errors: 0, index: 4, max: 4 },
      { ...name, duration_us: 5 * SECOND, calls: 3, errors: 0, index: 3, max: 9 },
      { ...name, duration_us: 2 * SECOND, calls: 2, errors: 0, index: 1, max: 0 },
    ]);
  }
});

test('32 phases keep all their texts', () => {
  const run = begin();
  for (let n = 0; n < 32; n += 1) feed(run, run.script.at(n).progress(n, 100, `folder ${n}`));
  feed(run, run.script.done(S_OK), run.script.close());
  expect(run.log.last().phases?.map(({ text }) => text)).toEqual(
    Array.from({ length: 32 }, (_, n) => `folder ${n}`),
  );
});
