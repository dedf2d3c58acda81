import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeDaemonFrame,
  decodeShimFrame,
  ProgressView,
  peekKind,
  readProgress,
} from '../../../protocol/wire/decode.ts';
import { encodeFrame } from '../../../protocol/wire/encode.ts';
import type { Progress, ShimFrame, Unknown } from '../../../protocol/wire/frames.ts';
import { KIND } from '../../../protocol/wire/frames.ts';
import {
  MAX_FRAME_ELEMENTS,
  MAX_NAME_BYTES,
  MAX_SLOT_TEXT_BYTES,
  MAX_TEXT_BYTES,
} from '../../../protocol/wire/limits.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';

const reasonOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason;
    throw error;
  }
  return 'none';
};
const counters = {
  progress: 0,
  errors: 0,
  dones: 0,
  merged: 0,
  lost: 0,
  innerUs: 0,
  innerMaxUs: 0,
};
const newest = { call: 1, timeUs: 2, index: 3, max: 4, marks: 0, text: 'a' };
const header = { seq: 9, timeUs: 10, thread: 11, session: 8 };
const progress: Progress = {
  kind: 'progress',
  ...header,
  call: 1,
  index: 2,
  max: 3,
  marks: 0,
  text: 'Inbox',
};
const note = { kind: 'note', ...header, key: 'k', value: 'v' } as const;
const open = {
  kind: 'open',
  ...header,
  attach: 1,
  flags: null,
  provider: null,
  store: null,
  wallUs: 0,
  callback: 1,
} as const;
const hello = {
  kind: 'hello',
  protocol: 1,
  ring: 'ab'.repeat(16),
  freed: 0,
  pid: 1,
  bits: 64,
  executable: '',
  shimVersion: '',
  timeUs: 0,
  wallUs: 0,
  clockResolutionUs: 0,
  memory: 0,
} as const;
const text = (bytes: number): string => 'x'.repeat(bytes);

describe('decodeShimFrame() holds each field to its range', () => {
  test.for<[string, Exclude<ShimFrame, Unknown>, string]>([
    ['the longest text', { ...progress, text: text(MAX_TEXT_BYTES) }, 'none'],
    ['a text too long', { ...progress, text: text(MAX_TEXT_BYTES + 1) }, 'bad-field'],
    ['the longest name', { ...note, value: text(MAX_NAME_BYTES) }, 'none'],
    ['a name too long', { ...note, value: text(MAX_NAME_BYTES + 1) }, 'bad-field'],
    ['the longest text in a slot', slot(text(MAX_SLOT_TEXT_BYTES)), 'none'],
    ['a text in a slot too long', slot(text(MAX_SLOT_TEXT_BYTES + 1)), 'bad-field'],
    ['the largest index', { ...progress, index: 0xffffffff }, 'none'],
    ['an index too large', { ...progress, index: 2 ** 32 }, 'bad-field'],
    ['seq 0', { ...progress, seq: 0 }, 'bad-field'],
    ['the largest seq', { ...progress, seq: 2 ** 45 - 1 }, 'none'],
    ['a seq too large', { ...progress, seq: 2 ** 45 }, 'bad-field'],
    ['a session too large', { ...progress, session: 2 ** 45 }, 'bad-field'],
    ['attach 0', { ...open, attach: 0 }, 'bad-field'],
    ['attach 4', { ...open, attach: 4 }, 'bad-field'],
    ['16 bits', { ...hello, bits: 16 }, 'bad-field'],
    ['a ring id too short', { ...hello, ring: 'ab' }, 'bad-field'],
    ['memory 2', { ...hello, memory: 2 }, 'bad-field'],
    ['method 4', { kind: 'blocked', ...header, method: 4, call: 1, sinceUs: 1 }, 'bad-field'],
  ])('%s', ([, value, reason]) => {
    expect(reasonOf(() => decodeShimFrame(encodeFrame(value)))).toBe(reason);
  });
});

function slot(slotText: string): Exclude<ShimFrame, Unknown> {
  return { kind: 'slot', session: 1, timeUs: 1, counters, newest: { ...newest, text: slotText } };
}

describe('decodeShimFrame() refuses what is not flat msgpack', () => {
  const nested = Buffer.from('dd00000001'.repeat(40), 'hex');
  test.for<[string, Uint8Array | readonly number[]]>([
    ['nothing', []],
    ['no array', [0x01]],
    ['an empty array', [0x90]],
    ['an array that is longer than its bytes', [0x92, 0x11]],
    ['bytes behind the array', [0x92, 0x11, 0x00, 0x00]],
    ['nested headers of arrays', nested],
    ['a map', [0x81, 0x11, 0x00]],
    ['a negative reason', [0x92, 0x11, 0xff]],
    ['a float', encode([17, 1.5])],
    ['a boolean', encode([17, true])],
    ['an extension', [0x92, 0x11, 0xd4, 0, 0]],
    ['a kind that is a string', encode(['hello'])],
    ['more elements than the limit', encode([200, ...new Array(MAX_FRAME_ELEMENTS).fill(0)])],
    ['a header whose seq is not fixed', encode([KIND.clock, 1, 2, 3, 0, 4])],
    ['a string longer than its bytes', [0x92, 0x11, 0xdb, 0xff, 0xff, 0xff, 0xff, 0x41]],
  ])('%s', ([, bytes]) => {
    expect(reasonOf(() => decodeShimFrame(Uint8Array.from(bytes)))).toBe('malformed');
  });

  test('as many elements as the limit', () => {
    const body = encode([200, ...new Array(MAX_FRAME_ELEMENTS - 1).fill(0)]);
    expect(decodeShimFrame(body)).toEqual({ kind: 'unknown', wireKind: 200, seq: 0 });
  });

  test('an integer of 2^53', () => {
    const body = encode([17, 2n ** 53n], { useBigInt64: true });
    expect(reasonOf(() => decodeShimFrame(body))).toBe('bad-field');
  });
});

test('decodeShimFrame() skips unknown kinds, and reads their seq if they have a header', () => {
  const clock = encodeFrame({ kind: 'clock', ...header, wallUs: 5 });
  const novel = Uint8Array.from(clock);
  novel[1] = 99;
  expect(decodeShimFrame(novel)).toEqual({ kind: 'unknown', wireKind: 99, seq: 9 });
  expect(decodeShimFrame(encode([99, 'x']))).toEqual({ kind: 'unknown', wireKind: 99, seq: 0 });
  novel[25] = 0xa0; // No session: not a header after all.
  expect(decodeShimFrame(novel)).toEqual({ kind: 'unknown', wireKind: 99, seq: 0 });
  expect(decodeShimFrame(encodeFrame({ kind: 'ack', durable: 1 })).kind).toBe('unknown');
  expect(decodeDaemonFrame(clock).kind).toBe('unknown');
});

test('decodeShimFrame() replaces invalid UTF-8, and keeps a byte order mark', () => {
  const body = Buffer.from(encodeFrame({ ...progress, text: 'ab' }));
  body[body.length - 1] = 0xff;
  expect(decodeShimFrame(body)).toMatchObject({ text: 'a\ufffd' });
  expect(decodeShimFrame(encodeFrame({ ...progress, text: '\ufeffx' }))).toMatchObject({
    text: '\ufeffx',
  });
  expect(decodeShimFrame(encodeFrame({ ...progress, text: '\ud800' }))).toMatchObject({
    text: '\ufffd',
  });
});

test('readProgress() sees what decodeShimFrame() sees, anywhere in a chunk', () => {
  const view = new ProgressView();
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const frames = fc.record({
    seq: fc.integer({ min: 1, max: 2 ** 45 - 1 }),
    timeUs: fc.maxSafeNat(),
    thread: u32,
    session: fc.integer({ min: 1, max: 2 ** 45 - 1 }),
    call: fc.maxSafeNat(),
    index: u32,
    max: u32,
    marks: fc.nat(3),
    text: fc.option(fc.string({ unit: 'grapheme', maxLength: 60 })),
  });
  fc.assert(
    fc.property(frames, fc.nat(20), (fields, before) => {
      const body = encodeFrame({ kind: 'progress', ...fields });
      const chunk = new Uint8Array(before + body.length + 3).fill(0xc1);
      chunk.set(body, before);
      const [start, end] = [before, before + body.length];
      expect(peekKind(chunk, start, end)).toBe(KIND.progress);
      readProgress(chunk, start, end, view);
      const { seq, timeUs, thread, session, call, index, max, marks, text: read } = view;
      expect({
        kind: 'progress',
        seq,
        timeUs,
        thread,
        session,
        call,
        index,
        max,
        marks,
        text: read,
      }).toEqual(decodeShimFrame(chunk, start, end));
    }),
  );
  expect(reasonOf(() => view.fill(encodeFrame(note), 0, encodeFrame(note).length))).toBe(
    'bad-field',
  );
});

test('readProgress() refuses what decodeShimFrame() refuses', () => {
  const view = new ProgressView();
  for (const text of [null, '', 'Inbox', 'x'.repeat(40), 'x'.repeat(300)]) {
    const body = encodeFrame({ ...progress, text, session: 70_000, call: 300, index: 0xffffffff });
    // The next frame of the chunk lies behind, so a reader that runs on finds bytes there.
    const chunk = Uint8Array.from([...body, ...body]);
    for (let bit = 0; bit < body.length * 8; bit += 1) {
      chunk[bit >> 3]! ^= 1 << (bit & 7);
      for (const end of [body.length - 1, body.length, body.length + 1]) {
        let want: unknown;
        reasonOf(() => {
          want = decodeShimFrame(chunk, 0, end);
        });
        const isProgress = (want as ShimFrame | undefined)?.kind === 'progress';
        const read = reasonOf(() => readProgress(chunk, 0, end, view));
        expect(read === 'none').toBe(isProgress);
        if (read !== 'none') continue;
        const { seq, timeUs, thread, session, call, index, max, marks, text: shown } = view;
        const got = { kind: 'progress', seq, timeUs, thread, session, call, index, max, marks };
        expect({ ...got, text: shown }).toEqual(want);
      }
      chunk[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
});

test('peekKind() never looks past the end', () => {
  expect(peekKind(Uint8Array.of(0x91, 4), 0, 1)).toBe(-1);
  expect(peekKind(Uint8Array.of(0xdc, 0, 18, 13), 0, 4)).toBe(13);
  expect(peekKind(Uint8Array.of(0xdc, 0, 18, 13), 0, 3)).toBe(-1);
});

test('any bytes end in a frame or a ProtocolError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      reasonOf(() => decodeShimFrame(bytes));
      reasonOf(() => decodeDaemonFrame(bytes));
    }),
    { numRuns: 3000 },
  );
});

test('ProgressView reads each text, however much it is like the one before', () => {
  const texts = ['Inbox 1', 'Inbox 1', 'Inbox 2', 'Jnbox 2', 'Inbox', '', null, '', 'Inbox 1'];
  const long = 'x'.repeat(256);
  const all = [
    ...texts,
    long,
    long,
    `${long}x`,
    `${long}y`,
    `y${long.slice(1)}`,
    'ü',
    'û',
    '\ufffd',
  ];
  const view = new ProgressView();
  const read = all.map((text) => {
    view.fill(...whole(encodeFrame({ ...progress, text })));
    return [view.text, view.text];
  });
  expect(read).toEqual(all.map((text) => [text, text]));
});

const whole = (body: Uint8Array): [Uint8Array, number, number] => [body, 0, body.length];
