import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { crc32c } from '../../../protocol/wire/crc32c.ts';
import { encodeFrame } from '../../../protocol/wire/encode.ts';
import type { SequencedFrame } from '../../../protocol/wire/frames.ts';
import { KIND } from '../../../protocol/wire/frames.ts';
import { RING_DATA_OFFSET, RING_FILE_BYTES } from '../../../protocol/wire/limits.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import { readRing } from '../../../protocol/wire/ring-file.ts';
import { seeded, vectorFile } from '../vectors.ts';

test.for<[string, string, number]>([
  ['nothing', '', 0],
  ['the check value of the standard', '123456789', 0xe3069283],
  ['32 zero bytes', '\0'.repeat(32), 0x8a9136aa],
])('crc32c() of %s', ([, text, want]) => {
  const bytes = Buffer.from(text, 'latin1');
  expect(crc32c(bytes)).toBe(want);
  const half = bytes.length >> 1;
  expect(crc32c(bytes, half, bytes.length, crc32c(bytes, 0, half))).toBe(want);
});

const BOOT = 'b0'.repeat(16);
const FREE = 0;
const RESERVED = 1;
const COMMITTED = 2;
const PAD = 3;

/** Builds the image of a ring by hand, record by record. */
class Image {
  readonly bytes: Buffer;
  unit: number;
  seq: number;

  constructor({ seq = 1, unit = 0, dataBytes = 4096 } = {}) {
    this.bytes = Buffer.alloc(RING_DATA_OFFSET + dataBytes);
    this.seq = seq;
    this.unit = unit;
    this.bytes.write('MAPIRING', 0, 'latin1');
    this.bytes.writeUInt32LE(2, 8);
    this.bytes.writeUInt32LE(RING_DATA_OFFSET, 12);
    this.bytes.write('cd'.repeat(16), 16, 'hex');
    this.u64(32, dataBytes);
    this.bytes.writeUInt32LE(4242, 40);
    this.bytes.writeUInt32LE(64, 44);
    this.u64(48, 1_750_000_000_000_000);
    this.u64(56, 1000);
    this.bytes.write(BOOT, 64, 'hex');
    this.bytes.writeUInt32LE(1000, 80);
    this.bytes.writeUInt16LE(5, 96);
    this.bytes.write('a.exe', 98);
    this.bytes.writeUInt16LE(5, 352);
    this.bytes.write('0.1.0', 354);
    this.u64(704, 99_000);
    this.place(576, seq, unit);
    this.place(584, seq, unit);
  }

  u64(at: number, value: number | bigint): this {
    this.bytes.writeBigUInt64LE(BigInt(value), at);
    return this;
  }

  place(at: number, seq: number, unit: number): this {
    return this.u64(at, (BigInt(seq) << 19n) | BigInt(unit));
  }

  /** One record at the current unit. */
  put(state: number, body: Uint8Array, { crc = false, seq = this.seq } = {}): this {
    const at = RING_DATA_OFFSET + this.unit * 8;
    this.u64(at, (BigInt(seq) << 16n) | BigInt((body.length << 2) | state));
    this.bytes.set(body, at + 12);
    if (crc) {
      const head = crc32c(this.bytes, at, at + 8);
      this.bytes.writeUInt32LE(crc32c(this.bytes, at + 12, at + 12 + body.length, head), at + 8);
    }
    this.unit += Math.ceil((12 + body.length) / 8);
    this.seq += 1;
    return this;
  }

  commit(options = {}): this {
    return this.put(COMMITTED, clock(this.seq), options);
  }

  reserve(size = 35): this {
    return this.put(RESERVED, new Uint8Array(size));
  }

  pad(): this {
    this.u64(RING_DATA_OFFSET + this.unit * 8, (BigInt(this.seq) << 16n) | BigInt(PAD));
    this.unit = 0;
    return this;
  }

  /** The last record ended where the data does. */
  wrap(): this {
    expect(this.unit * 8).toBe(this.bytes.length - RING_DATA_OFFSET);
    this.unit = 0;
    return this;
  }

  /** `h` for a hole, else the kind's first letter, with the seq. */
  read(thisBoot: string = BOOT): string {
    return readRing(this.bytes, { thisBoot })
      .frames.map((frame) => `${frame.kind[0]}${frame.seq}`)
      .join(' ');
  }
}

const clock = (seq: number): Uint8Array => {
  const frame: SequencedFrame = {
    kind: 'clock',
    seq,
    timeUs: seq,
    thread: 7,
    session: 0,
    wallUs: 5,
  };
  return encodeFrame(frame);
};

/** 6 units with its record. */
const note = (seq: number): Uint8Array =>
  encodeFrame({ kind: 'note', seq, timeUs: 1, thread: 7, session: 1, key: 'k', value: 'value' });

function ofKind(kind: number, body: Uint8Array): Uint8Array {
  const novel = Uint8Array.from(body);
  novel[1] = kind;
  return novel;
}

describe('readRing() finds', () => {
  test.for<[string, Image, string, number]>([
    ['nothing in an empty ring', new Image(), '', 0],
    ['what was committed', new Image().commit().commit().commit(), 'c1 c2 c3', 0],
    ['what stands behind head', new Image({ seq: 70, unit: 9 }).commit().commit(), 'c70 c71', 0],
    ['a hole in the middle', new Image().commit().reserve().commit(), 'c1 h2 c3', 0],
    [
      'several holes in a row',
      new Image().commit().reserve().reserve(9).commit(),
      'c1 h2 h3 c4',
      0,
    ],
    ['no hole at the end', new Image().commit().reserve().reserve(), 'c1', 2],
    ['a hole at the start', new Image().reserve().commit(), 'h1 c2', 0],
    ['what wrapped', new Image({ unit: 505 }).commit().pad().commit().commit(), 'c1 c2 c3', 0],
    [
      'what wrapped without a pad',
      new Image({ unit: 506 }).put(COMMITTED, note(1)).wrap().commit(),
      'n1 c2',
      0,
    ],
    ['no record with another seq', new Image().commit().commit({ seq: 9 }).commit(), 'c1', 0],
    [
      'a hole where a body does not parse',
      new Image().commit().put(COMMITTED, new Uint8Array(20)).commit(),
      'c1 h2 c3',
      0,
    ],
    [
      'a hole where the body is another seq',
      new Image().put(COMMITTED, clock(8)).commit(),
      'h1 c2',
      0,
    ],
    [
      'a hole where a control frame stands',
      new Image().put(COMMITTED, Uint8Array.of(0x92, KIND.bye, 0)).commit(),
      'h1 c2',
      0,
    ],
    ['an unknown kind', new Image().put(COMMITTED, ofKind(99, clock(1))).commit(), 'u1 c2', 0],
    [
      'a hole where an unknown kind has no header',
      new Image().put(COMMITTED, Uint8Array.of(0x91, 99)).commit(),
      'h1 c2',
      0,
    ],
    [
      'a hole where an unknown kind has another seq',
      new Image().put(COMMITTED, ofKind(99, clock(8))).commit(),
      'h1 c2',
      0,
    ],
    ['no second pad', new Image().pad().pad(), '', 0],
  ])('%s', ([, image, want, torn]) => {
    expect(image.read()).toBe(want);
    expect(readRing(image.bytes).torn).toBe(torn);
  });

  test('the place in `retired` where the worker died while it zeroed', () => {
    const image = new Image().commit().commit().commit();
    image.bytes.fill(0, RING_DATA_OFFSET, RING_DATA_OFFSET + 40);
    expect(image.read()).toBe('');
    image.place(584, 2, 5);
    expect(image.read()).toBe('c2 c3');
    expect(readRing(image.bytes).freed).toBe(1);
  });

  test('in a ring of an earlier boot only what has its checksum', () => {
    const image = new Image().commit({ crc: true }).commit().commit({ crc: true });
    expect(image.read(BOOT)).toBe('c1 c2 c3');
    expect(image.read(`${'00'.repeat(15)}01`)).toBe('c1 h2 c3');
    image.bytes[RING_DATA_OFFSET + 20]! ^= 1;
    expect(image.read(`${'00'.repeat(15)}01`)).toBe('h1 h2 c3');
    image.bytes.fill(0, 64, 80);
    expect(readRing(image.bytes, { thisBoot: '11'.repeat(16) }).header.bootId).toBe('');
  });

  test('who the owner was, what was lost', () => {
    const image = new Image({ seq: 5 });
    for (const [n, at] of [640, 648, 656, 664, 672].entries()) image.u64(at, n + 1);
    const { header, freed, lost } = readRing(image.bytes);
    expect(header).toEqual({
      ring: 'cd'.repeat(16),
      pid: 4242,
      bits: 64,
      executable: 'a.exe',
      shimVersion: '0.1.0',
      timeUs: 1000,
      wallUs: 1_750_000_000_000_000,
      bootId: BOOT,
      clockResolutionUs: 1000,
      lastSeenUs: 99_000,
      dataBytes: 4096,
    });
    expect(freed).toBe(4);
    expect(lost).toEqual({ opens: 1, progress: 2, errors: 3, dones: 4, others: 5 });
  });

  test('open and closing sessions, and the calls that were inside', () => {
    const image = new Image();
    const slot = (
      n: number,
      state: number,
      session: number,
      whole: number,
      text: string | null,
    ) => {
      const at = 4096 + n * 768;
      image.bytes.writeUInt32LE(state, at);
      image.u64(at + 8, session).u64(at + 16, 77);
      for (let counter = 0; counter < 11; counter += 1)
        image.u64(at + 24 + counter * 8, counter + 1);
      image.u64(at + 120, 20);
      image.bytes.writeUInt32LE(whole, at + 116);
      const copy = at + (whole === 2 ? 448 : 128);
      image.u64(copy, 9).u64(copy + 8, 88);
      image.bytes.writeUInt32LE(3, copy + 16);
      image.bytes.writeUInt32LE(4, copy + 20);
      image.bytes.writeUInt32LE(text === null ? 0xffffffff : Buffer.byteLength(text), copy + 28);
      image.bytes.write(text ?? '', copy + 32);
    };
    slot(0, 2, 1, 1, 'Zoë');
    slot(1, 3, 2, 2, null);
    slot(2, 1, 0, 0, null); // Claimed, without its `open`.
    slot(3, 7, 3, 1, ''); // No state that we know.
    slot(255, 2, 4, 0, '');
    slot(4, 2, 5, 0, '');
    image.u64(4096 + 4 * 768 + 120, 2 ** 53 - 1); // Too many merged, with the others.
    image
      .u64(1024, (4711n << 32n) | (1n << 8n) | 3n)
      .u64(1032, 55)
      .u64(1040, 1)
      .u64(1048, 6);
    image.u64(1056, (4712n << 32n) | (3n << 8n) | 1n); // Being filled.
    image.u64(1088, (4713n << 32n) | (9n << 8n) | 2n); // No such method.
    const read = readRing(image.bytes);
    const counters = {
      progress: 1,
      errors: 2,
      dones: 3,
      merged: 4 + 20,
      lost: 5,
      innerUs: 6 + 8 + 10,
      innerMaxUs: 11,
    };
    const innerTimes = {
      progressUs: 6,
      progressMaxUs: 7,
      errorUs: 8,
      errorMaxUs: 9,
      doneUs: 10,
      doneMaxUs: 11,
    };
    const newest = { call: 9, timeUs: 88, index: 3, max: 4, marks: 0 };
    const none = { call: 0, timeUs: 0, index: 0, max: 0, marks: 0, text: null };
    const common = { kind: 'slot', timeUs: 77, counters, innerTimes };
    expect(read.slots).toEqual([
      { ...common, session: 1, closing: false, newest: { ...newest, text: 'Zoë' } },
      { ...common, session: 2, closing: true, newest: { ...newest, text: null } },
      { ...common, session: 4, closing: false, newest: none },
    ]);
    expect(read.inCalls).toEqual([
      { thread: 4711, method: 1, sinceUs: 55, session: 1, call: 6, blocked: true },
    ]);
    expect(read.ignored).toBe(3);
  });
});

describe('readRing() refuses', () => {
  const changed = (change: (image: Image) => unknown): Uint8Array => {
    const image = new Image().commit();
    change(image);
    return image.bytes;
  };
  test.for<[string, Uint8Array, string]>([
    ['a file without data', new Image().bytes.subarray(0, RING_DATA_OFFSET), 'malformed'],
    ['a file that is too large', Buffer.alloc(RING_FILE_BYTES + 1), 'malformed'],
    ['another magic', changed(({ bytes }) => bytes.write('x', 0)), 'malformed'],
    ['another layout', changed(({ bytes }) => bytes.writeUInt32LE(1, 8)), 'version'],
    ['another offset', changed(({ bytes }) => bytes.writeUInt32LE(4096, 12)), 'malformed'],
    ['more data than there is', changed((image) => image.u64(32, 4104)), 'malformed'],
    ['odd data', changed((image) => image.u64(32, 4095)), 'malformed'],
    ['no data', changed((image) => image.u64(32, 0)), 'malformed'],
    ['huge data', changed((image) => image.u64(32, 2n ** 63n)), 'malformed'],
    ['a place outside', changed((image) => image.place(584, 1, 512)), 'malformed'],
    ['a place without a seq', changed((image) => image.place(584, 0, 0)), 'malformed'],
    ['a count above 2^53', changed((image) => image.u64(640, 2n ** 53n)), 'bad-field'],
  ])('%s', ([, bytes, reason]) => {
    expect(() => readRing(bytes)).toThrow(ProtocolError);
    expect(reasonOf(bytes)).toBe(reason);
  });
});

function reasonOf(bytes: Uint8Array): string {
  try {
    readRing(bytes);
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason;
    throw error;
  }
  return 'none';
}

test('readRing() survives any bit flipped, and random data', () => {
  const image = new Image({ unit: 480 }).commit().reserve().pad().commit({ crc: true }).commit();
  const seed = 20_250_615;
  const random = seeded(seed);
  const interesting = [
    [0, 768],
    [1024, 1100],
    [4096, 5000],
    [RING_DATA_OFFSET, image.bytes.length],
  ];
  for (let n = 0; n < 3000; n += 1) {
    const [from, to] = interesting[n % interesting.length] as [number, number];
    const at = from + Math.floor(random() * (to - from));
    const was = image.bytes[at]!;
    image.bytes[at] = was ^ (1 << Math.floor(random() * 8));
    reasonOf(image.bytes);
    image.bytes[at] = was;
  }
  for (let n = 0; n < 50; n += 1) {
    for (let at = RING_DATA_OFFSET; at < image.bytes.length; at += 1) {
      image.bytes[at] = Math.floor(random() * 256);
    }
    reasonOf(image.bytes);
  }
});

test('readRing() does bounded work on a full ring of the smallest records', () => {
  const dataBytes = RING_FILE_BYTES - RING_DATA_OFFSET;
  const image = new Image({ dataBytes });
  // Two units each; all reserved but for the last one.
  while (image.unit + 8 < dataBytes / 8) image.put(RESERVED, new Uint8Array(1));
  image.commit();
  const before = performance.now();
  const { frames } = readRing(image.bytes);
  expect(frames.length).toBe(image.seq - 1);
  expect(frames.length).toBeGreaterThan(200_000);
  expect(performance.now() - before).toBeLessThan(5000);
});

// What the C++ side made: sparse lines of offset and bytes, all else zero.
describe('the golden ring', () => {
  test('gives what is expected', () => {
    let image = Buffer.alloc(0);
    for (const line of readFileSync(vectorFile('ring-v1.txt'), 'utf8').split('\n')) {
      if (line === '' || line.startsWith('#')) continue;
      const [first, second] = line.trim().split(/\s+/) as [string, string];
      if (first === 'size') image = Buffer.alloc(Number(second));
      else image.write(second, Number.parseInt(first, 16), 'hex');
    }
    const want = readFileSync(vectorFile('ring-v1.expected.txt'), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    const { frames, slots, inCalls, torn, ignored } = readRing(image);
    expect(slots.map(({ counters }) => counters.merged)).toEqual([0, 2]);
    expect([inCalls.length, torn, ignored]).toEqual([1, 0, 0]);
    const got = frames.map(({ seq, kind }) => `${seq} ${kind}`);
    expect(got.length).toBeGreaterThan(3);
    expect(got).toEqual(want.map((line) => line.trim().split(/\s+/).slice(0, 2).join(' ')));
  });
});

test('a free word ends the walk', () => {
  const image = new Image().commit();
  image.put(FREE, new Uint8Array(3)).commit();
  expect(image.read()).toBe('c1');
});
