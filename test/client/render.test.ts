import { describe, expect, test } from 'vitest';
import { layOut, MIN_COLUMNS, renderRow } from '../../client/render/columns.ts';
import { bytes, clock, count, grouped, rate } from '../../client/render/numbers.ts';
import { endedLines, endedRow, liveRow } from '../../client/render/session-row.ts';
import { liveLines } from '../../client/render/status-lines.ts';
import { foot, overall, renderTable } from '../../client/render/table.ts';
import { cut, left, printable, quoted, right, spread, width } from '../../client/render/text.ts';
import { knowsTaskbar, speaksUtf8, wantsColor } from '../../client/render/theme.ts';
import { View, type Watched } from '../../client/view.ts';
import { ascii, at, colored, live, networkError, record, totals, unicode } from './builders.ts';

describe('printable()', () => {
  test.for<[string, string, string]>([
    ['an escape sequence', 'a\x1b[31mred', 'a\\u{1b}[31mred'],
    ['an 8-bit control sequence', 'a\x9b31m', 'a\\u{9b}31m'],
    ['line ends', 'a\r\nb', 'a\\u{d}\\u{a}b'],
    ['NUL and DEL', '\0\x7f', '\\u{0}\\u{7f}'],
    ['an override of direction', 'exe\u202egpj', 'exe\\u{202e}gpj'],
    ['isolates', '\u2066x\u2069', '\\u{2066}x\\u{2069}'],
    ['separators of lines and paragraphs', '\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['what has no width', 'a\u200bb\ufeff', 'a\\u{200b}b\\u{feff}'],
    ['a lone surrogate', 'a\ud800b', 'a\\u{d800}b'],
    ['nothing of a joined emoji', '👩‍💻', '👩‍💻'],
    ['nothing of other scripts', '受信トレイ Grüße שלום', '受信トレイ Grüße שלום'],
  ])('makes harmless: %s', ([, given, want]) => expect(printable(given)).toBe(want));

  test('escapes all beyond ASCII for a terminal of another charset', () =>
    expect(printable('Grüße 😀', false)).toBe('Gr\\u{fc}\\u{df}e \\u{1f600}'));

  test('quoted() says where a text ends', () => expect(quoted('a"b')).toBe('"a\\"b"'));
});

describe('widths', () => {
  test.for<[string, number]>([
    ['abc', 3],
    ['受信', 4],
    ['é', 1],
    ['👩‍💻', 2],
    ['', 0],
  ])('width(%j)', ([text, want]) => expect(width(text)).toBe(want));

  test.for<[string, number, string]>([
    ['abcdef', 6, 'abcdef'],
    ['abcdef', 5, 'abcd…'],
    ['受信トレイ', 10, '受信トレイ'],
    ['受信トレイ', 9, '受信トレ…'],
    ['受信トレイ', 8, '受信ト…'],
    ['abc', 1, '…'],
    ['abc', 0, ''],
  ])('cut(%j, %i)', ([text, columns, want]) => expect(cut(text, columns)).toBe(want));

  test.for([1, 2, 3, 5, 8, 13])(
    'left(), right() and spread() give exactly %i columns',
    (columns) => {
      for (const text of ['', 'a', '受信トレイ', 'a longer text than fits']) {
        expect(width(left(text, columns))).toBe(columns);
        expect(width(right(text, columns))).toBe(columns);
        expect(width(spread(text, '1:12', columns))).toBe(columns);
      }
    },
  );
});

describe('numbers', () => {
  test.for<[number, string]>([
    [0, '0:00'],
    [999_999, '0:00'],
    [4_000_000, '0:04'],
    [72_000_000, '1:12'],
    [3_600_000_000, '1:00:00'],
    [90_061_000_000, '1d 1:01:01'],
  ])('clock(%i)', ([us, want]) => expect(clock(us)).toBe(want));

  test('groups, rates, counts and sizes', () => {
    expect([0, 999, 1000, 25_310, 4_294_967_295].map(grouped)).toEqual([
      '0',
      '999',
      '1 000',
      '25 310',
      '4 294 967 295',
    ]);
    expect([0, 0.42, 9.96, 310.4].map(rate)).toEqual(['0/s', '0.4/s', '10.0/s', '310/s']);
    expect([0, 1, 2].map((n) => count(n, 'error'))).toEqual(['0 errors', '1 error', '2 errors']);
    expect([1023, 1024, 8_388_608].map(bytes)).toEqual(['1023 B', '1.0 KiB', '8.0 MiB']);
  });
});

describe('what the terminal can show', () => {
  test.for<[string, 'auto' | 'always' | 'never', Record<string, string>, boolean, boolean]>([
    ['a terminal', 'auto', {}, true, true],
    ['a pipe', 'auto', {}, false, false],
    ['a dumb terminal', 'auto', { TERM: 'dumb' }, true, false],
    ['NO_COLOR', 'auto', { NO_COLOR: '1' }, true, false],
    ['an empty NO_COLOR', 'auto', { NO_COLOR: '' }, true, true],
    ['FORCE_COLOR in a pipe', 'auto', { FORCE_COLOR: '1' }, false, true],
    ['FORCE_COLOR=0', 'auto', { FORCE_COLOR: '0' }, true, false],
    ['the flag over NO_COLOR', 'always', { NO_COLOR: '1' }, false, true],
    ['the flag over FORCE_COLOR', 'never', { FORCE_COLOR: '1' }, true, false],
  ])('colour for %s', ([, mode, env, isTTY, want]) =>
    expect(wantsColor(mode, env, isTTY)).toBe(want),
  );

  test.for<[Record<string, string>, NodeJS.Platform, boolean]>([
    [{ LANG: 'de_DE.UTF-8' }, 'linux', true],
    [{ LANG: 'de_DE.UTF-8', LC_ALL: 'C' }, 'linux', false],
    [{ LC_CTYPE: 'en_US.utf8' }, 'darwin', true],
    [{}, 'linux', false],
    [{}, 'win32', true],
  ])('Unicode for %j on %s', ([env, platform, want]) =>
    expect(speaksUtf8(env, platform)).toBe(want),
  );

  test.for<[Record<string, string>, boolean]>([
    [{ WT_SESSION: 'x' }, true],
    [{ ConEmuANSI: 'ON' }, true],
    [{ TERM_PROGRAM: 'ghostty' }, true],
    [{ TERM_PROGRAM: 'iTerm.app' }, false],
    [{ WT_SESSION: 'x', TMUX: '/tmp/x' }, false],
  ])('the task bar for %j', ([env, want]) => expect(knowsTaskbar(env)).toBe(want));
});

/** The scene of the documentation, and what makes layouts hard. */
function scene(hard = true): { view: View; ending: Watched[] } {
  const view = new View({ replays: false });
  const calendar = live(1, { provider: 'contoso', store: 'Calendar', progress: at(812, 812) });
  view.live(calendar, 0);
  const mailboxA = live(2, {
    provider: 'contoso',
    store: 'Mailbox A',
    progress: at(10_377, 25_310, { text: 'Inbox', rate_per_s: 310, eta_s: 48 }),
  });
  view.live(mailboxA, 0);
  for (let repeat = 1; repeat <= 3; repeat++) {
    const text = 'cannot reach mail.example\x1b[2J';
    view.record(record('session.error', mailboxA, { error: networkError(repeat, text) }), 0);
  }
  view.live(
    live(3, {
      provider: 'contoso',
      store: 'Mailbox B',
      progress: at(120, 1004, { text: '受信トレイ', rate_per_s: 22, eta_s: 40 }),
    }),
    0,
  );
  view.live(
    live(4, {
      provider: 'fabrikam',
      store: 'Archive',
      progress: at(5120, 0, { text: 'Downloading', rate_per_s: 88 }),
    }),
    0,
  );
  view.live(
    live(5, {
      provider: 'fabrikam',
      store: 'Tasks',
      state: 'stalled',
      stall: { kind: 'blocked', method: 'Progress', thread: 4711, for_us: 60_000_000 },
      progress: at(30, 400, { text: 'Uploading' }),
    }),
    0,
  );
  if (hard) view.live(live(6, { progress: at(0, 0, { calls: 0 }) }), 0);
  const giant = live(7, {
    provider: 'A provider with a rather long name',
    store: '\u202eelpmaxe@nosrep',
    progress: at(4_294_967_295, 4_294_967_295, {
      text: 'A text that goes on for longer than any terminal has room for it, 👩‍💻 and on',
      rate_per_s: 1_234_567,
      eta_s: 0,
    }),
  });
  if (hard) view.live(giant, 0);
  const ok = view.record(
    record('session.ended', calendar, { outcome: 'ok', duration_us: 4e6, totals: totals(813) }),
    0,
  );
  const failed = live(8, { provider: 'contoso', store: 'Mailbox C', progress: at(7, 90) });
  view.live(failed, 0);
  view.record(record('session.error', failed, { error: networkError(1) }), 0);
  const end = view.record(
    record('session.ended', failed, {
      outcome: 'failed',
      outcome_reason: 'Done with MAPI_E_NETWORK_ERROR 0x80040115',
      duration_us: 81e6,
      totals: totals(8, 1),
    }),
    0,
  );
  return { view, ending: [ok!, end!] };
}

describe('the table', () => {
  const draw = (columns: number, theme = unicode, hard = true): string[] => {
    const { view, ending } = scene(hard);
    const table = renderTable({
      view,
      ending,
      size: { columns, rows: 40 },
      nowMs: 12_000, // 12 s after the pictures came.
      theme,
      daemon: 'daemon 4242',
    });
    return [...ending.flatMap((one) => endedLines(one, table.layout, theme)), ...table.lines];
  };

  test.for([40, 80, 120, 200])('at %i columns', async (columns) => {
    for (const [name, hard] of [
      ['table', false],
      ['hard', true],
    ] as const) {
      await expect(`${draw(columns, unicode, hard).join('\n')}\n`).toMatchFileSnapshot(
        `expected/${name}-${columns}.expected`,
      );
    }
  });

  test('in ASCII', async () => {
    const text = `${draw(80, ascii).join('\n')}\n`;
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
    await expect(text).toMatchFileSnapshot('expected/hard-80-ascii.expected');
  });

  test('no line is wider than the terminal, at any width from the least', () => {
    for (let columns = MIN_COLUMNS; columns <= 220; columns++) {
      for (const line of draw(columns)) expect(width(line)).toBeLessThan(columns);
    }
  });

  test('colours change no width and add no text', () => {
    const bare = draw(100, colored).map((line) => line.replace(/\x1b\[\d+m/g, '').trimEnd());
    expect(bare).toEqual(draw(100).map((line) => line.trimEnd()));
  });

  test('text of the host can not act on the terminal', () => {
    for (const line of draw(200)) expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202a-\u202e]/);
  });

  test.for([3, 4, 5, 6, 8, 10, 20])(
    'fits %i rows, the stalled one and the foot among them',
    (rows) => {
      const { view } = scene();
      const options = { view, ending: [], nowMs: 0, theme: unicode, daemon: 'daemon 1' };
      const { lines } = renderTable({ ...options, size: { columns: 100, rows } });
      expect(lines.length).toBeLessThan(rows);
      expect(lines.at(-1)).toMatch(/^5 running, 1 stalled, 2 ended.* +daemon 1$/);
      expect(lines.join('\n')).toMatch(/stalled 1:00/);
      const shown = lines.slice(0, -1).filter((line) => !/^ +!/.test(line)).length;
      const hidden = Number(/(\d+) not shown/.exec(lines.join('\n'))?.[1] ?? 0);
      expect(shown + hidden).toBe(6);
    },
  );

  test.for([1, 2])('of %i rows the foot is the last', (rows) => {
    const { view } = scene();
    const options = { view, ending: [], nowMs: 0, theme: unicode, daemon: 'daemon 1' };
    const { lines } = renderTable({ ...options, size: { columns: 100, rows } });
    expect(lines).toHaveLength(rows);
    expect(lines.at(-1)).toMatch(/^5 running/);
  });

  test('a number that shrinks does not move its neighbours', () => {
    const one = (index: number): Watched => ({
      live: live(1, { provider: 'p', store: 's', progress: at(index, 10_000) }),
      atMs: 0,
      errors: new Map(),
      otherErrors: 0,
    });
    const before = layOut([liveRow(one(9999), 0, unicode)], 100);
    const after = layOut([liveRow(one(1), 0, unicode)], 100, before);
    expect(after).toEqual(before);
  });

  test.for<[string, string]>([
    ['ok', 'ok'],
    ['ok_with_errors', '!'],
    ['warned', '!'],
    ['failed', 'x'],
    ['abandoned', 'x'],
    ['cancelled', '-'],
  ])('an end of %s has the mark %s', ([outcome, mark]) => {
    const session = live(1, { provider: 'p', store: 's', progress: at(1, 2) });
    const row = endedRow(
      {
        live: { ...session, state: 'ended', outcome: outcome as 'ok' },
        atMs: 0,
        errors: new Map(),
        otherErrors: 0,
      },
      unicode,
    );
    expect(renderRow(row, layOut([row], 80), unicode).split(' ')[0]).toBe(mark);
  });

  test.for<[number, string]>([
    [30, 'abando…'],
    [40, 'abandoned: '],
    [60, 'abandoned: '],
  ])('at %i columns a long name leaves room for how it ended', ([columns, want]) => {
    const session = live(1, { provider: 'a provider', store: 'x'.repeat(40), progress: at(1, 2) });
    const ended = { ...session, state: 'ended', outcome: 'abandoned' } as const;
    const row = endedRow({ live: ended, atMs: 0, errors: new Map(), otherErrors: 0 }, unicode);
    expect(renderRow(row, layOut([row], columns), unicode)).toContain(want);
  });

  test('in 30 columns there is still how far it is', () => {
    const row = liveRow(
      {
        live: live(1, { provider: 'p', store: 'x'.repeat(40), progress: at(41, 100) }),
        atMs: 0,
        errors: new Map(),
        otherErrors: 0,
      },
      0,
      unicode,
    );
    expect(renderRow(row, layOut([row], 30), unicode)).toContain('41%');
  });

  test('the foot counts, and the task bar sums up what has a total', () => {
    const { view } = scene();
    expect(foot(view)).toBe('5 running, 1 stalled, 2 ended');
    expect(overall(view).stalled).toBe(true);
    expect(overall(new View({ replays: false }))).toEqual({ percent: undefined, stalled: false });
    const two = new View({ replays: false });
    two.live(live(1, { progress: at(10, 100) }), 0);
    two.live(live(2, { progress: at(300, 100) }), 0); // Beyond its total: no more than all.
    two.live(live(3, { progress: at(5, 0) }), 0);
    expect(overall(two)).toEqual({ percent: 55, stalled: false });
  });
});

test('`status` shows all that run, and of what has ended the newest', () => {
  const lines = (ended: number): string[] => {
    const sessions = Array.from({ length: ended + 2 }, (_, id) =>
      live(id, { provider: `p${id}`, state: id === 0 || id === 5 ? 'running' : 'ended' }),
    );
    return liveLines(sessions, ascii, 0, 120);
  };
  // Those with the numbers 0 and 5 run.
  expect(lines(4)).toHaveLength(6);
  const more = lines(20);
  expect(more).toHaveLength(7);
  expect(more.at(-1)).toBe('and 16 more that ended: see mapisync sessions');
  expect(more.slice(0, -1).map((line) => /\bp(\d+)\b/.exec(line)?.[1])).toEqual(
    [0, 5, 18, 19, 20, 21].map(String),
  );
});
