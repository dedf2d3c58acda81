/** Makes the image of a ring file as PROTOCOL.md lays it out, by other code than what reads it. */
import { RING_DATA_OFFSET } from '../../protocol/wire/limits.ts';

export const RING_MAGIC = Buffer.from('MAPIRING');
const DATA_BYTES = 1_048_576;
const COMMITTED = 2n;

export interface RingParts {
  readonly ring: string;
  /** Bodies; the first has seq 1. */
  readonly frames: readonly Uint8Array[];
  readonly pid?: number;
  readonly inCalls?: readonly {
    readonly thread: number;
    readonly method: number;
    readonly sinceUs: number;
    readonly session: number;
    readonly call: number;
  }[];
  readonly slots?: readonly {
    readonly session: number;
    readonly counters: readonly number[];
    readonly closing: boolean;
  }[];
}

export function ringImage(parts: RingParts): Buffer {
  const image = Buffer.alloc(RING_DATA_OFFSET + DATA_BYTES);
  RING_MAGIC.copy(image);
  image.writeUInt32LE(2, 8);
  image.writeUInt32LE(RING_DATA_OFFSET, 12);
  image.write(parts.ring, 16, 'hex');
  image.writeBigUInt64LE(BigInt(DATA_BYTES), 32);
  image.writeUInt32LE(parts.pid ?? 0x7ffffff0, 40);
  image.writeUInt32LE(64, 44);
  image.writeBigUInt64LE(BigInt(Date.now()) * 1000n, 48);
  image.writeBigUInt64LE(process.hrtime.bigint() / 1000n, 56);
  text(image, 96, 'HOST.EXE');
  text(image, 352, '0.0.1');
  let at = 0;
  let seq = 1;
  for (const body of parts.frames) {
    const word = COMMITTED | (BigInt(body.length) << 2n) | (BigInt(seq) << 16n);
    image.writeBigUInt64LE(word, RING_DATA_OFFSET + at);
    image.set(body, RING_DATA_OFFSET + at + 12);
    at += Math.ceil((12 + body.length) / 8) * 8;
    seq += 1;
  }
  const place = (placeSeq: number, offset: number): bigint =>
    (BigInt(placeSeq) << 19n) | BigInt(offset / 8);
  image.writeBigUInt64LE(place(seq, at), 512);
  image.writeBigUInt64LE(place(1, 0), 576);
  image.writeBigUInt64LE(place(1, 0), 584);
  image.writeBigUInt64LE(process.hrtime.bigint() / 1000n, 704);
  for (const [index, call] of (parts.inCalls ?? []).entries()) {
    const from = 1024 + 32 * index;
    const word = (BigInt(call.thread) << 32n) | (BigInt(call.method) << 8n) | 2n;
    image.writeBigUInt64LE(word, from);
    image.writeBigUInt64LE(BigInt(call.sinceUs), from + 8);
    image.writeBigUInt64LE(BigInt(call.session), from + 16);
    image.writeBigUInt64LE(BigInt(call.call), from + 24);
  }
  for (const [index, slot] of (parts.slots ?? []).entries()) {
    const from = 4096 + 768 * index;
    image.writeUInt32LE(slot.closing ? 3 : 2, from);
    image.writeBigUInt64LE(BigInt(slot.session), from + 8);
    for (const [which, count] of slot.counters.entries()) {
      image.writeBigUInt64LE(BigInt(count), from + 24 + 8 * which);
    }
  }
  return image;
}

function text(image: Buffer, at: number, value: string): void {
  image.writeUInt16LE(Buffer.byteLength(value), at);
  image.write(value, at + 2);
}
