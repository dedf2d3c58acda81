// Lines for pipes, the live screen's bytes, and what is told apart in a feed.
import { describe, expect, test } from 'vitest';
import { withCursor } from '../../client/journal.ts';
import { Dashboard } from '../../client/render/dashboard.ts';
import { PlainLines } from '../../client/render/plain.ts';
import { Screen, taskbar } from '../../client/render/screen.ts';
import { exitCodeOf, makeSelector, resolveSession } from '../../client/selection.ts';
import type { Settings } from '../../client/settings.ts';
import { type FeedRecord, View } from '../../client/view.ts';
import { at, Kept, keptIo, live, networkError, record, totals, unicode } from './builders.ts';

const session = live(0x3f2a, { provider: 'contoso', store: 'Mailbox A' });
const progress = (second: number, index: number, max: number, text = 'Inbox'): FeedRecord =>
  record('session.progress', session, { second, progress: at(index, max, { text }) });

const TRANSCRIPT: FeedRecord[] = [
  record('session.opened', session),
  progress(1, 0, 100),
  progress(1, 1, 100), // Neither 5 % nor 5 s nor a new text: no line.
  progress(2, 5, 100),
  progress(3, 6, 100),
  progress(7, 7, 100), // 5 s later.
  progress(7, 7, 100, 'Sent "Items"\n\x1b[31m'),
  progress(8, 3, 0, 'Waiting'),
  record('session.error', session, { level: 'warn', second: 9, error: networkError(1) }),
  record('session.error', session, {
    level: 'warn',
    second: 9,
    error: networkError(2, 'no route\u202e'),
  }),
  record('session.stalled', session, {
    level: 'warn',
    second: 40,
    stall: { kind: 'blocked', method: 'Progress', thread: 4711, for_us: 31e6 },
  }),
  record('session.resumed', session, { second: 50, stall: { kind: 'blocked', for_us: 41e6 } }),
  record('session.stalled', session, {
    level: 'warn',
    second: 90,
    stall: { kind: 'quiet', for_us: 30e6 },
  }),
  record('session.done', session, { level: 'debug', second: 91 }),
  record('session.ended', session, {
    level: 'warn',
    second: 92,
    outcome: 'ok_with_errors',
    outcome_reason: '2 errors',
    duration_us: 92e6,
    totals: { ...totals(12, 2), merged: 3 },
  }),
];

const transcript = (options: { unicode: boolean; verbosity: number }): string => {
  const lines = new PlainLines(options);
  const shown = TRANSCRIPT.map((one) => lines.record(one)).filter((line) => line !== undefined);
  return `${shown.join('\n')}\n`;
};

describe('plain lines', () => {
  test.for<[string, number, boolean]>([
    ['plain', 0, true],
    ['plain-quiet', -1, true],
    ['plain-verbose', 1, true],
    ['plain-ascii', 0, false],
  ])('%s', async ([name, verbosity, unicode]) => {
    const text = transcript({ unicode, verbosity });
    expect(text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
    await expect(text).toMatchFileSnapshot(`expected/${name}.expected`);
  });

  test('a session that was there before has a line of its own, and no second one for the same', () => {
    const lines = new PlainLines({ unicode: true, verbosity: 0 });
    const running = live(0x3f2a, { provider: 'contoso', progress: at(50, 100, { text: 'Inbox' }) });
    expect(lines.running(running)).toBe(
      '2026-02-03T10:00:00Z 0000000000003f2a "contoso" - running 50% 50/100 "Inbox"',
    );
    expect(lines.record(progress(61, 51, 100))).toBeUndefined();
    expect(lines.record(progress(61, 55, 100))).toMatch(/55% 55\/100/);
  });
});

test('what scrolls up from the live table keeps its order, whatever kind it is of', () => {
  const io = keptIo({ stdout: new Kept({ isTTY: true, columns: 80, rows: 24 }) });
  const dashboard = new Dashboard({ theme: unicode, verbosity: 0 } as Settings, io);
  const view = new View({ replays: false });
  const { session: _, ...gone } = record('process.gone', session, { level: 'warn' });
  dashboard.message('first');
  dashboard.record(record('session.ended', session, { outcome: 'ok' }), undefined, view);
  dashboard.record(gone, undefined, view);
  dashboard.end(view);
  expect(io.stdout.text).toMatch(/first.*ok {2}contoso.*process\.gone/s);
});

describe('Screen', () => {
  const screenOf = (
    columns = 20,
  ): { screen: Screen; text: () => string; size: { columns: number; rows: number } } => {
    let written = '';
    const size = { columns, rows: 5 };
    const screen = new Screen({
      get columns() {
        return size.columns;
      },
      get rows() {
        return size.rows;
      },
      write: (text) => {
        written += text;
      },
    });
    const text = (): string => {
      const all = written;
      written = '';
      return all;
    };
    return { screen, text, size };
  };

  test('draws in place, and what is above scrolls up', () => {
    const { screen, text } = screenOf();
    screen.draw([], ['a', 'b']);
    expect(text()).toBe('\x1b[?25l\x1b[?7l\ra\x1b[K\r\nb\x1b[K\x1b[J');
    screen.draw(['done'], ['a']);
    expect(text()).toBe('\r\x1b[1Adone\x1b[K\r\na\x1b[K\x1b[J');
  });

  test('writes nothing where nothing changed, until it is told to', () => {
    const { screen, text } = screenOf();
    screen.draw([], ['a']);
    text();
    screen.draw([], ['a']);
    expect(text()).toBe('');
    screen.invalidate();
    screen.draw([], ['a']);
    expect(text()).not.toBe('');
  });

  test('knows that a narrower terminal has broken its lines', () => {
    const { screen, text, size } = screenOf(20);
    screen.draw([], ['x'.repeat(19), 'y'.repeat(19)]);
    text();
    size.columns = 10; // Each line takes two now: four, and the cursor is in the last.
    screen.draw([], ['x']);
    expect(text()).toMatch(/^\r\x1b\[3A/);
  });

  test('knows that a terminal too narrow from the start has cut them, not broken them', () => {
    const { screen, text, size } = screenOf(10);
    screen.draw([], ['x'.repeat(19), 'y'.repeat(19)]);
    text();
    screen.draw([], ['x'.repeat(19), 'z'.repeat(19)]);
    expect(text()).toMatch(/^\r\x1b\[1A/);
    size.columns = 5;
    screen.draw([], ['x']);
    expect(text()).toMatch(/^\r\x1b\[3A/);
  });

  test.for<['end' | 'clear']>([['end'], ['clear']])(
    '%s() gives cursor and wrapping back, once',
    ([how]) => {
      const { screen, text } = screenOf();
      screen[how]();
      expect(text()).toBe('');
      screen.draw([], ['a']);
      text();
      screen[how]();
      expect(text()).toContain('\x1b[?7h\x1b[?25h');
      screen[how]();
      expect(text()).toBe('');
    },
  );

  test('OSC 9;4', () => {
    expect(taskbar({ kind: 'part', percent: 41, warn: false })).toBe('\x1b]9;4;1;41\x07');
    expect(taskbar({ kind: 'part', percent: 41, warn: true })).toBe('\x1b]9;4;4;41\x07');
    expect(taskbar({ kind: 'busy' })).toBe('\x1b]9;4;3;0\x07');
    expect(taskbar({ kind: 'none' })).toBe('\x1b]9;4;0;0\x07');
  });
});

describe('View', () => {
  test('counts each code once, and what it saw only the last of', () => {
    const view = new View({ replays: false });
    view.live(live(1, { errors: 5, last_error: networkError(2) }), 0);
    const [watched] = view.sessions.values();
    expect([...watched!.errors.values()]).toMatchObject([{ times: 2 }]);
    expect(watched!.otherErrors).toBe(3);
  });

  test('with a replay the records bring the errors, and none counts twice', () => {
    const view = new View({ replays: true });
    const one = live(1, { errors: 2, last_error: networkError(2) });
    view.live(one, 0);
    for (const repeat of [1, 2]) {
      view.record(record('session.error', one, { error: networkError(repeat) }), 0);
    }
    expect([...[...view.sessions.values()][0]!.errors.values()]).toMatchObject([{ times: 2 }]);
  });

  test('is bounded: different codes beyond a limit are counted as others', () => {
    const view = new View({ replays: false });
    const one = live(1, {});
    for (let code = 0; code < 100; code++) {
      const error = { ...networkError(1), hresult: `0x${code.toString(16)}` };
      view.record(record('session.error', one, { error }), 0);
    }
    const [watched] = view.sessions.values();
    expect(watched!.errors.size + watched!.otherErrors).toBe(100);
    expect(watched!.errors.size).toBeLessThanOrEqual(16);
  });

  test('after a restart forgets whom neither snapshot nor records know', () => {
    const view = new View({ replays: false });
    const facts = { version: '1', pid: 1, instance: 'i', stateDir: '/' };
    view.connected(facts);
    view.live(live(1, {}), 0);
    view.live(live(2, {}), 0);
    view.current();
    view.lost();
    expect(view.sessions.size).toBe(2); // Still shown, as they were.
    view.connected(facts);
    view.live(live(2, {}), 0);
    view.current();
    expect([...view.sessions.keys()]).toEqual([live(2, {}).id]);
  });

  test('takes ends from records alone', () => {
    const view = new View({ replays: false });
    view.live(live(1, {}), 0);
    view.live(live(1, { state: 'ended', outcome: 'ok' }), 0);
    expect(view.sessions.size).toBe(1);
    const end = record('session.ended', live(1, {}), { outcome: 'failed', duration_us: 5 });
    expect(view.record(end, 0)?.live).toMatchObject({ state: 'ended', outcome: 'failed' });
    expect([view.sessions.size, view.endedCount]).toEqual([0, 1]);
  });
});

describe('selection', () => {
  const sessions = [
    { id: 'aa00000000000001', opened: '2026-01-01T00:00:01Z' },
    { id: 'aa00000000000002', opened: '2026-01-01T00:00:03Z' },
    { id: 'bb00000000000003', opened: '2026-01-01T00:00:02Z' },
  ];

  test.for<[string, string | RegExp]>([
    ['^0', 'aa00000000000002'],
    ['^2', 'aa00000000000001'],
    ['^3', /expected at most \^2, got \^3/],
    ['b', 'bb00000000000003'],
    ['BB', 'bb00000000000003'],
    ['aa00000000000001', 'aa00000000000001'],
    ['aa', /2 begin with it/],
    ['c', /none of the 3 known/],
    ['Mailbox', /expected an id/],
  ])('SESSION %s', ([text, want]) => {
    if (typeof want === 'string') expect(resolveSession(text, sessions)).toBe(want);
    else expect(() => resolveSession(text, sessions)).toThrow(want);
  });

  test.for<[string[], number]>([
    [[], 0],
    [['ok'], 0],
    [['ok', 'warned'], 6],
    [['ok_with_errors', 'cancelled'], 11],
    [['cancelled', 'abandoned'], 7],
    [['abandoned', 'failed', 'ok'], 5],
    [['an outcome of a newer daemon'], 5],
  ])('exit code of %j', ([outcomes, want]) => expect(exitCodeOf(outcomes)).toBe(want));

  const a = live(1, { provider: 'contoso', store: 'Mailbox A' });
  const gone: FeedRecord = { ...record('process.gone', a, { level: 'warn' }) };
  const bare = (name: FeedRecord['event_name'], level: FeedRecord['level']): FeedRecord => {
    const { session: _, ...rest } = record(name, a, { level });
    return rest;
  };
  test.for<[string, Parameters<typeof makeSelector>[0], FeedRecord, boolean]>([
    ['a session', { all: false }, record('session.opened', a), true],
    ['its store', { all: false, store: 'mail*' }, record('session.opened', a), true],
    ['another store', { all: false, store: 'cal*' }, record('session.opened', a), false],
    ['its provider', { all: false, provider: 'contoso' }, gone, true],
    ['another id', { all: false, id: 'x' }, record('session.opened', a), false],
    ['a loss', { all: false }, bare('frames.lost', 'error'), true],
    ['a loss when narrowed', { all: false, id: a.id }, bare('frames.lost', 'error'), false],
    ['a process', { all: false }, bare('process.connected', 'info'), false],
    ['a process with --all', { all: true }, bare('process.connected', 'info'), true],
    [
      'a process with --all, narrowed',
      { all: true, store: '*' },
      bare('process.connected', 'info'),
      false,
    ],
  ])('%s', ([, selection, one, want]) => expect(makeSelector(selection).record(one)).toBe(want));
});

test('withCursor() leaves the bytes of the record alone', () => {
  const line = '{"a":12345678901234567890,"b":"}\\u0000"}';
  expect(withCursor(line, '3:17')).toBe(
    '{"a":12345678901234567890,"b":"}\\u0000","cursor":"3:17"}',
  );
});
