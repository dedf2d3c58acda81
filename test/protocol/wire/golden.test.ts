// The golden frames: both ways, and by another msgpack implementation.
import { decode } from '@msgpack/msgpack';
import { describe, expect, test } from 'vitest';
import {
  CLIENT_KIND,
  decodeClientFrame,
  decodeFeedFrame,
  encodeClientFrame,
  encodeFeedFrame,
  FEED_KIND,
} from '../../../protocol/wire/clients.ts';
import { decodeDaemonFrame, decodeShimFrame } from '../../../protocol/wire/decode.ts';
import { encodeFrame, frame } from '../../../protocol/wire/encode.ts';
import { FrameReader } from '../../../protocol/wire/frame-reader.ts';
import { KIND } from '../../../protocol/wire/frames.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import { readVectors, seeded } from '../vectors.ts';

const TO_SHIM = ['welcome', 'ack', 'refused', 'daemonBye'];

interface Codec {
  readonly name: string;
  readonly decode: (body: Uint8Array) => unknown;
  readonly encode: (value: never) => Uint8Array;
}

const shims: Codec = { name: 'shim', decode: (body) => decodeShimFrame(body), encode: encodeFrame };
const daemons: Codec = { name: 'daemon', decode: decodeDaemonFrame, encode: encodeFrame };
const clients: Codec = {
  name: 'client',
  decode: (body) => decodeClientFrame(body),
  encode: encodeClientFrame,
};
const feeds: Codec = { name: 'feed', decode: decodeFeedFrame, encode: encodeFeedFrame };

const cases = [
  ...readVectors('v1.txt').map((vector) => ({
    ...vector,
    codec: TO_SHIM.includes(String(vector.value.kind)) ? daemons : shims,
  })),
  ...readVectors('clients-v1.txt').map((vector) => ({
    ...vector,
    codec: vector.name.startsWith('client-') ? clients : feeds,
  })),
];
const body = (bytes: Uint8Array): Uint8Array => bytes.subarray(4);

/** Decoding must end in a value or a ProtocolError, whatever the bytes are. */
function tryDecode(codec: Codec, bytes: Uint8Array): unknown {
  try {
    return codec.decode(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return error;
  }
}

describe.for(cases)('$name', ({ value, bytes, codec }) => {
  test('decodes', () => {
    expect(codec.decode(body(bytes))).toEqual(value);
  });

  test('encodes', () => {
    expect(Buffer.from(frame(codec.encode(value as never))).toString('hex')).toBe(
      Buffer.from(bytes).toString('hex'),
    );
  });

  test('is msgpack for others', () => {
    const elements = decode(body(bytes), { useBigInt64: false }) as unknown[];
    const strings = Object.values(value).filter((one) => typeof one === 'string');
    for (const text of strings.slice(1)) {
      if (!/^[0-9a-f]{32}$/.test(text)) expect(elements).toContain(text);
    }
    for (const one of Object.values(value)) {
      if (typeof one === 'number' || one === null) expect(elements).toContain(one);
    }
  });

  test('is refused when cut short, at every byte', () => {
    for (let size = 0; size < bytes.length - 4; size += 1) {
      expect(tryDecode(codec, body(bytes).subarray(0, size))).toBeInstanceOf(ProtocolError);
    }
  });

  test('ends in a frame or a reason with any bit flipped', () => {
    const whole = body(bytes);
    const random = seeded(bytes.length);
    const bits = whole.length * 8;
    const tries = Math.min(bits, 2048);
    for (let n = 0; n < tries; n += 1) {
      const bit = tries === bits ? n : Math.floor(random() * bits);
      const flipped = Uint8Array.from(whole);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      tryDecode(codec, flipped);
    }
  });

  test('ignores elements of a newer peer, of a newer shim or client only flat ones', () => {
    const whole = body(bytes);
    const isLong = whole[0] === 0xdc;
    const count = isLong ? whole[2]! : whole[0]! & 0x0f;
    const rest = whole.subarray(isLong ? 3 : 1);
    const longer = (...more: number[]): Uint8Array =>
      Uint8Array.from([0xdc, 0, count + 1, ...rest, ...more]);
    for (const more of [[7], [0xc0], [0xa1, 0x41], [0xc4, 1, 9], [0xcf, 0, 0, 0, 0, 0, 0, 0, 1]]) {
      expect(codec.decode(longer(...more))).toEqual(value);
    }
    if (codec === feeds) return;
    for (const more of [[0x90], [0x80], [0xff], [0xc3], [0xca, 0, 0, 0, 0], [0xd4, 0, 0]]) {
      // A shim does not look at what the daemon may say one day.
      if (codec === daemons) expect(codec.decode(longer(...more))).toEqual(value);
      else expect(tryDecode(codec, longer(...more))).toBeInstanceOf(ProtocolError);
    }
  });
});

test('every kind has a golden frame', () => {
  const kinds = (codec: Codec[]): string[] => [
    ...new Set(
      cases.filter((one) => codec.includes(one.codec)).map((one) => String(one.value.kind)),
    ),
  ];
  expect(kinds([shims, daemons]).sort()).toEqual(Object.keys(KIND).sort());
  expect(kinds([clients]).sort()).toEqual(Object.keys(CLIENT_KIND).sort());
  expect(kinds([feeds]).sort()).toEqual(Object.keys(FEED_KIND).sort());
});

test('a stream of all golden frames, cut at every offset, gives the same bodies', () => {
  const shimCases = cases.filter((one) => one.codec === shims && one.bytes.length < 200);
  const stream = Buffer.concat(shimCases.map((one) => one.bytes));
  const want = shimCases.map((one) => one.value);
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const reader = new FrameReader();
    const bodies = [...reader.push(stream.subarray(0, cut)), ...reader.push(stream.subarray(cut))];
    expect(reader.pending).toBe(0);
    expect(bodies.length).toBe(want.length);
    if (cut % 97 === 0) expect(bodies.map((one) => decodeShimFrame(one))).toEqual(want);
  }
});
