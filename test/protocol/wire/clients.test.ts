import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeClientFrame,
  decodeFeedFrame,
  encodeFeedFrame,
} from '../../../protocol/wire/clients.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import { checkShape } from '../../../protocol/wire/shape.ts';

const reasonOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason;
    throw error;
  }
  return 'none';
};
const nest = (depth: number): unknown => (depth === 0 ? 1 : [nest(depth - 1)]);

describe('checkShape()', () => {
  test.for<[string, Uint8Array, string]>([
    ['takes as many levels as it may', encode(nest(8)), 'none'],
    ['refuses a level more', encode(nest(9)), 'malformed'],
    [
      'refuses counts that the bytes cannot hold',
      Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff),
      'malformed',
    ],
    ['refuses a map of half the bytes', Uint8Array.of(0x82, 1, 1), 'malformed'],
    ['refuses a cut string', Uint8Array.of(0xd9, 5, 65), 'malformed'],
    ['refuses a cut float', Uint8Array.of(0xcb, 5, 65), 'malformed'],
    ['refuses extensions', Uint8Array.of(0xd4, 0, 0), 'malformed'],
    ['refuses the byte that is never used', Uint8Array.of(0xc1), 'malformed'],
    ['refuses a second value', Uint8Array.of(1, 1), 'malformed'],
    ['refuses nothing', Uint8Array.of(), 'malformed'],
  ])('%s', ([, bytes, reason]) => {
    expect(reasonOf(() => checkShape(bytes, 8))).toBe(reason);
  });

  test('takes all plain data', () => {
    const plain = fc.anything({ maxDepth: 3, withDate: false, withBigInt: false });
    fc.assert(
      fc.property(plain, (value) => {
        checkShape(encode(JSON.parse(JSON.stringify(value) ?? 'null')), 16);
      }),
    );
  });
});

describe('decodeFeedFrame() refuses', () => {
  test.for<[string, unknown, string]>([
    ['a map', { kind: 1 }, 'bad-field'],
    ['a kind that is text', ['record'], 'bad-field'],
    ['a record without its line', [100, '1:0'], 'bad-field'],
    ['a negative count', [101, 'slow', -1], 'bad-field'],
    ['a session without progress', [98, { id: '1', state: 'running' }], 'bad-field'],
    ['a welcome without a daemon', [96, 1, {}], 'bad-field'],
    ['an array for a map', [97, []], 'bad-field'],
    ['a kind that nests too deep', [99, nest(9)], 'malformed'],
  ])('%s', ([, value, reason]) => {
    expect(reasonOf(() => decodeFeedFrame(encode(value)))).toBe(reason);
  });
});

test('unknown kinds are values on both sides', () => {
  const novel = encode([120, 'x']);
  expect(decodeFeedFrame(novel)).toEqual({ kind: 'unknown', wireKind: 120, seq: 0 });
  expect(decodeClientFrame(novel)).toEqual({ kind: 'unknown', wireKind: 120, seq: 0 });
});

test('a line of any length up to the limit of lines is carried', () => {
  const line = 'ж'.repeat(8192);
  expect(decodeFeedFrame(encodeFeedFrame({ kind: 'record', cursor: '1:2', line }))).toEqual({
    kind: 'record',
    cursor: '1:2',
    line,
  });
  expect(() => encodeFeedFrame({ kind: 'record', cursor: '1:2', line: line.repeat(5) })).toThrow(
    RangeError,
  );
});

test('any bytes end in a frame or a ProtocolError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      reasonOf(() => decodeFeedFrame(bytes));
      reasonOf(() => decodeClientFrame(bytes));
    }),
    { numRuns: 3000 },
  );
});
