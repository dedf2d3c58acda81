import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  escapeLine,
  finishRecord,
  type LineContext,
  MAX_LINE_BYTES,
  MAX_LINE_TEXT_BYTES,
  toLine,
} from '../../../protocol/records/line.ts';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import { cutText, lineBytes } from '../../../protocol/records/text.ts';
import { parseRfc3339, rfc3339 } from '../../../protocol/records/time.ts';

const CONTEXT: LineContext = {
  service: { name: 'mapisync', version: '0.1.0', instance_id: 'a1b2' },
  host: 'bench',
  counter: 7,
};
const draft = (over: Partial<RecordDraft> = {}): RecordDraft => ({
  event_name: 'daemon.started',
  level: 'info',
  time: '2025-06-15T15:06:40.000000Z',
  msg: 'Started',
  ...over,
});

describe('finishRecord()', () => {
  test('adds what every record has, in the order of the docs', () => {
    const record = finishRecord(draft({ trace_flags: 1, detail: { pid: 1 } }), CONTEXT);
    expect(JSON.stringify(record)).toBe(
      '{"v":1,"time":"2025-06-15T15:06:40.000000Z","level":"info","severity_number":9,' +
        '"event_name":"daemon.started","event_id":"a1b2-7","msg":"Started","trace_flags":1,' +
        '"service":{"name":"mapisync","version":"0.1.0","instance_id":"a1b2"},' +
        '"host":{"name":"bench"},"detail":{"pid":1}}',
    );
  });

  test('keeps the id that a frame gave', () => {
    expect(finishRecord(draft({ event_id: 'ring-1-1' }), CONTEXT).event_id).toBe('ring-1-1');
  });

  test.for<[string, string, number, boolean]>([
    ['short', 'x', 1, false],
    ['as long as may be', 'x'.repeat(MAX_LINE_TEXT_BYTES), MAX_LINE_TEXT_BYTES, false],
    ['one byte longer', 'x'.repeat(MAX_LINE_TEXT_BYTES + 1), MAX_LINE_TEXT_BYTES, true],
    ['as long in UTF-8', 'ж'.repeat(MAX_LINE_TEXT_BYTES / 2), MAX_LINE_TEXT_BYTES / 2, false],
    ['longer in UTF-8', 'ж'.repeat(MAX_LINE_TEXT_BYTES / 2 + 1), MAX_LINE_TEXT_BYTES / 2, true],
  ])('a text that is %s', ([, text, length, truncated]) => {
    const note = { key: 'k', value: text };
    const record = finishRecord(draft({ note }), CONTEXT);
    expect(record.note?.value).toHaveLength(length);
    expect(record.truncated).toBe(truncated ? true : undefined);
  });

  test('no line is longer than the limit, whatever the texts are', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 4096 }),
      fc
        .constantFrom('\u0001', '\u2028', '"', '\ud800', '😀', 'x')
        .map((one) => one.repeat(12_288)),
    );
    fc.assert(
      fc.property(text, text, text, fc.array(text, { maxLength: 32 }), (a, b, c, texts) => {
        const record = finishRecord(
          draft({
            msg: a,
            note: { key: b, value: c },
            session: { id: '0123456789abcdef', attach: 'tee', provider: a, store: b },
            error: {
              hresult: '0x00000000',
              name: 'S_OK',
              severity: 'success',
              class: 'other',
              text: c,
            },
            progress: { index: 1, max: 2, percent: 50, calls: 1, text: a },
            outcome_reason: b,
            phases: texts.map((one) => ({
              text: one,
              duration_us: Number.MAX_SAFE_INTEGER,
              calls: 0xffffffff,
              errors: 0,
              index: 0xffffffff,
              max: 0xffffffff,
            })),
            detail: { path: c },
          }),
          CONTEXT,
        );
        const line = toLine(record);
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_LINE_BYTES);
        expect(JSON.parse(line).phases).toHaveLength(texts.length);
      }),
      { numRuns: 40 },
    );
  });
});

test('escapeLine() leaves nothing that ends a line or turns it around', () => {
  const raw = '\x7f\x85\x9f\u2028\u2029\u061c\u200e\u200f\u202a\u202e\u2066\u2069';
  const line = escapeLine(JSON.stringify(`a${raw}ж\u2027\u202f\u2065`));
  expect(line).toMatch(/^[^\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$/);
  expect(line).toContain('\\u007f\\u0085\\u009f\\u2028\\u2029\\u061c');
  expect(line).toContain('ж\u2027\u202f\u2065');
  expect(JSON.parse(line)).toBe(`a${raw}ж\u2027\u202f\u2065`);
});

test('cutText() measures as a line does, and never splits a pair', () => {
  const texts = fc.string({ unit: 'binary', maxLength: 200 });
  fc.assert(
    fc.property(texts, fc.nat(400), (text, maxBytes) => {
      const cut = cutText(text, maxBytes);
      expect(text.startsWith(cut)).toBe(true);
      expect(lineBytes(cut)).toBeLessThanOrEqual(maxBytes);
      if (cut === text) return;
      const next = String.fromCodePoint(text.codePointAt(cut.length)!);
      expect(lineBytes(cut + next)).toBeGreaterThan(maxBytes);
    }),
    { numRuns: 2000 },
  );
  // Every unit there is.
  for (let unit = 0; unit <= 0xffff; unit += 1) {
    const text = String.fromCharCode(unit);
    const bytes = lineBytes(text);
    if (cutText(text, bytes) !== text || cutText(text, bytes - 1) !== '') {
      throw new Error(`Cannot measure unit ${unit.toString(16)}: expected ${bytes} bytes`);
    }
  }
});

describe('rfc3339()', () => {
  test.for<[number, string]>([
    [0, '1970-01-01T00:00:00.000000Z'],
    [1, '1970-01-01T00:00:00.000001Z'],
    [1_750_000_000_123_456, '2025-06-15T15:06:40.123456Z'],
    [1_750_000_000_999_999, '2025-06-15T15:06:40.999999Z'],
    [1_750_000_001_000_000, '2025-06-15T15:06:41.000000Z'],
    [-5, '1970-01-01T00:00:00.000000Z'],
    [Number.MAX_SAFE_INTEGER, '2255-06-05T23:47:34.740991Z'],
    [Number.MAX_SAFE_INTEGER * 2, '2255-06-05T23:47:34.740991Z'],
    [Number.NaN, '1970-01-01T00:00:00.000000Z'],
  ])('%d', ([wallUs, want]) => {
    expect(rfc3339(wallUs)).toBe(want);
  });

  test('parseRfc3339() reads it back, in any order of seconds', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (wallUs) => {
        expect(parseRfc3339(rfc3339(wallUs))).toBe(wallUs);
      }),
    );
  });

  test.for<[string, number | undefined]>([
    ['1970-01-01T00:00:01Z', 1_000_000],
    ['1970-01-01T00:00:01.5Z', 1_500_000],
    ['1970-01-01T01:00:01.000000123+01:00', 1_000_000],
    ['1970-01-01', undefined],
    ['1970-13-01T00:00:01Z', undefined],
    ['now', undefined],
  ])('parseRfc3339(%j)', ([text, want]) => {
    expect(parseRfc3339(text)).toBe(want);
  });
});
