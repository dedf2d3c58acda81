import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frame } from '../../../protocol/wire/encode.ts';
import { FrameReader, PREFIX_BYTES } from '../../../protocol/wire/frame-reader.ts';
import { MAX_FRAME_BYTES } from '../../../protocol/wire/limits.ts';

const sized = (size: number): Uint8Array => frame(new Uint8Array(size).fill(size & 0xff));
const prefix = (size: number): Uint8Array => {
  const bytes = new Uint8Array(PREFIX_BYTES);
  new DataView(bytes.buffer).setUint32(0, size);
  return bytes;
};

describe('FrameReader', () => {
  test.for<[string, number, boolean]>([
    ['refuses an empty body', 0, false],
    ['takes the smallest body', 1, true],
    ['takes the largest body', MAX_FRAME_BYTES, true],
    ['refuses one byte more', MAX_FRAME_BYTES + 1, false],
    ['refuses the largest size', 0xffffffff, false],
  ])('%s', ([, size, isTaken]) => {
    const reader = new FrameReader();
    const bodies = reader.push(isTaken ? sized(size) : prefix(size));
    expect(bodies.map((body) => body.length)).toEqual(isTaken ? [size] : []);
    expect(reader.error?.reason).toBe(isTaken ? undefined : 'oversize');
    expect(reader.frames).toBe(isTaken ? 1 : 0);
  });

  test('refuses a size that comes in single bytes', () => {
    const reader = new FrameReader();
    for (const byte of prefix(MAX_FRAME_BYTES + 1)) reader.push(Uint8Array.of(byte));
    expect(reader.error?.reason).toBe('oversize');
  });

  test('gives the frames before the bad one, then nothing more', () => {
    const reader = new FrameReader();
    const bodies = reader.push(Buffer.concat([sized(3), sized(4), prefix(0), sized(5)]));
    expect(bodies.map((body) => body.length)).toEqual([3, 4]);
    const error = reader.error;
    expect(error?.message).toBe('Cannot read frame: expected a body of 1 to 65536 bytes, got 0');
    expect(reader.push(sized(5))).toEqual([]);
    expect(reader.error).toBe(error);
  });

  test('does not copy what is whole in a chunk', () => {
    const chunk = sized(100);
    const [body] = new FrameReader().push(chunk);
    expect(body?.buffer).toBe(chunk.buffer);
  });

  test('keeps nothing of a chunk that it returned from', () => {
    const whole = sized(50);
    const reader = new FrameReader();
    const chunk = Uint8Array.from(whole.subarray(0, 20));
    reader.push(chunk);
    chunk.fill(0xee);
    expect(reader.push(whole.subarray(20))).toEqual([whole.subarray(PREFIX_BYTES)]);
  });

  test('says how much of a frame is pending, and whether frames move on', () => {
    const reader = new FrameReader();
    const seen: number[][] = [];
    for (const byte of [...sized(2), ...sized(1)]) {
      reader.push(Uint8Array.of(byte));
      seen.push([reader.pending, reader.frames]);
    }
    expect(seen).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
      [4, 0],
      [5, 0],
      [0, 1],
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 1],
      [0, 2],
    ]);
  });

  test('holds less than one frame, however it is fed', () => {
    const reader = new FrameReader();
    reader.push(prefix(MAX_FRAME_BYTES));
    for (let n = 0; n < 100; n += 1) {
      reader.push(new Uint8Array(10_000));
      expect(reader.pending).toBeLessThan(PREFIX_BYTES + MAX_FRAME_BYTES);
    }
  });

  test('gives the same bodies for every way to cut a stream', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 12 });
    const cuts = fc.array(fc.nat(400), { maxLength: 20 });
    fc.assert(
      fc.property(sizes, cuts, (bodies, parts) => {
        const stream = Buffer.concat(bodies.map((size, at) => frame(Buffer.alloc(size, at + 1))));
        const reader = new FrameReader();
        const got: Uint8Array[] = [];
        let at = 0;
        for (const part of [...parts, stream.length]) {
          // A body is only good until the next push: it is copied here as a caller would.
          const chunk = Buffer.from(stream.subarray(at, at + part));
          got.push(...reader.push(chunk).map((body) => Uint8Array.from(body)));
          at += part;
        }
        expect(got.map((body) => [body.length, body[0]])).toEqual(
          bodies.map((size, index) => [size, index + 1]),
        );
        expect(reader.error).toBeUndefined();
      }),
    );
  });
});
