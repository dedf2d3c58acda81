// The lines of running sessions do not come from pino: they are the records all the same.
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { finishRecord, toLine } from '../../protocol/records/line.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import table from '../../protocol/session/hresult-table.json' with { type: 'json' };
import { recordsOf } from '../../protocol/session/recorded.ts';
import { applyFrame, openSession, type SessionFrame } from '../../protocol/session/session.ts';
import type { Open } from '../../protocol/wire/frames.ts';
import { readRecording } from '../../protocol/wire/recording.ts';
import { ORIGIN, Script } from '../protocol/session/script.ts';

const service = { name: 'mapisync', version: '0.1.0', instance_id: 'test' };

/** @returns the names that stand in the lines, and how many lines were said to be plain. */
function hold(
  drafts: readonly RecordDraft[],
  host = 'bench',
): { names: Set<string>; plain: number } {
  const maker = new LineMaker({ service, host });
  const names = new Set<string>();
  let plain = 0;
  for (const [at, draft] of drafts.entries()) {
    const before = structuredClone(draft);
    const line = maker.line(draft);
    const whole = toLine(finishRecord(before, { service, host, counter: at + 1 }));
    expect(JSON.parse(line)).toEqual(JSON.parse(whole));
    expect(line).toMatch(/^\{"level":"[a-z]+","v":1,"time":"[^"]+",[^\n]*\}\n$/);
    // Nothing raw that a terminal or an editor acts on.
    expect(line.slice(0, -1)).not.toMatch(
      /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/,
    );
    // Nothing that becomes something else in the file.
    expect(Buffer.from(line).toString()).toBe(line);
    if (maker.isPlain) {
      expect(line).toMatch(/^[ -~]+\n$/);
      plain += 1;
    }
    for (const name of Object.keys(JSON.parse(line))) names.add(name);
  }
  return { names, plain };
}

test('of every kept recording, as one stream', () => {
  const kept = new URL('../recordings/', import.meta.url);
  const drafts = readdirSync(kept)
    .filter((name) => name.endsWith('.mapisync'))
    .flatMap((name) => recordsOf(readRecording(readFileSync(new URL(name, kept)))).records);
  const late = drafts.map((draft, at): RecordDraft => {
    if (at % 3 !== 0) return draft;
    return { ...draft, observed_time: '2026-01-31T12:34:56.000001Z', group: { n: 2, of: 3 } };
  });
  const { names, plain } = hold(late);
  expect(plain).toBeGreaterThan(9);
  for (const name of ['error', 'progress', 'check', 'group', 'observed_time', 'phases', 'inner']) {
    expect(names).toContain(name);
  }
});

test('of any text', () => {
  const text = fc.string({ unit: 'binary', maxLength: 300 });
  fc.assert(
    fc.property(text, text, (one, other) => {
      const script = new Script();
      const drafts: RecordDraft[] = [];
      const open = { ...script.open(), provider: one, store: other } as Open;
      const state = openSession(open, ORIGIN, (draft) => drafts.push(draft));
      const frames = [script.progress(1, 9, one), script.error(0x80040115, other)];
      for (const frame of [...frames, script.note('key', one)]) {
        applyFrame(state, frame as SessionFrame, (draft) => drafts.push(draft));
      }
      hold(drafts);
    }),
    { numRuns: 300 },
  );
});

test('plain lines are told from others', () => {
  // What is taken for plain without a look.
  expect(JSON.stringify(table)).toMatch(/^[ -~]+$/);
  const script = new Script();
  const open = script.open() as Open;
  const frame = script.error(0x80040115, 'Cannot copy message 1') as SessionFrame;
  const draftOf = (text: string): RecordDraft => {
    const drafts: RecordDraft[] = [];
    const state = openSession(open, ORIGIN, () => {});
    applyFrame(state, { ...frame, text } as SessionFrame, (draft) => drafts.push(draft));
    return drafts[0] as RecordDraft;
  };
  const plain = draftOf('Cannot copy message 1, ~!');
  expect(hold([plain, plain]).plain).toBe(2);
  for (const text of ['"', '\\', '\n', '\x7f', 'ö', '\u202e', '\ud800', '語', '😀']) {
    expect(hold([draftOf(`Cannot copy ${text} 1`)]).plain, text).toBe(0);
    // In what all lines of a session share, in a field, and in a line that is of no session.
    if (/^[ -~]*$/.test(JSON.stringify(text))) continue;
    expect(hold([plain], text).plain, text).toBe(0);
    expect(hold([{ ...plain, note: { key: 'k', value: text } }]).plain, text).toBe(0);
    const { level, time } = plain;
    const other: RecordDraft = { event_name: 'journal.failed', level, time, msg: text };
    expect(hold([plain, other]).plain, text).toBe(1);
  }
});

test('of many codes, known and not, with text and without', () => {
  const script = new Script();
  const drafts: RecordDraft[] = [];
  const state = openSession(script.open() as Open, ORIGIN, (draft) => drafts.push(draft));
  const codes = Array.from({ length: 700 }, (_, at) => (at % 2 ? 0x80040100 : 0x8abc0000) + at);
  for (const code of [0, 0x80070005, ...codes, 0x80070005, ...codes]) {
    const text = [null, `"${code}" \\ \n`, `\ud800 ${code}`][code % 3] as string | null;
    const frame = script.error(code, text) as SessionFrame;
    applyFrame(state, frame, (draft) => drafts.push(draft));
  }
  hold(drafts);
  expect(drafts.filter(({ error }) => error?.aliases !== undefined).length).toBeGreaterThan(9);
  expect(drafts.filter(({ error }) => error?.repeat === 2).length).toBeGreaterThan(9);
});
