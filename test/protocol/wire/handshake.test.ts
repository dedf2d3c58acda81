import { describe, expect, test } from 'vitest';
import {
  checkAnswer,
  checkChallenge,
  makeAnswer,
  makeChallenge,
  makeGreeting,
  parseSecret,
  type Role,
  readGreeting,
} from '../../../protocol/wire/handshake.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import { readVectors, type Vector } from '../vectors.ts';

const vectors = readVectors('handshake-v1.txt');
const named = (name: string): Vector => {
  const found = vectors.find((vector) => vector.name === name);
  if (!found) throw new Error(`No golden ${name}`);
  return found;
};
const bytes = (hex: unknown): Uint8Array => Buffer.from(String(hex), 'hex');
const hex = (of: Uint8Array): string => Buffer.from(of).toString('hex');
const proving = ({ value }: Vector) => ({
  secret: parseSecret(String(value.secret)),
  pipe: String(value.pipe),
  greeting: named(String(value.greeting)).bytes,
});
const ofKind = (prefix: string): Vector[] => vectors.filter(({ name }) => name.startsWith(prefix));

const reasonOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason;
    throw error;
  }
  return 'none';
};

test.for(ofKind('greeting'))('golden $name', ({ value, bytes: want }) => {
  const [role, protocol] = [value.role as Role, Number(value.protocol)];
  expect(hex(makeGreeting({ role, protocol, nonce: bytes(value.nonce) }))).toBe(hex(want));
  const read = readGreeting(want);
  expect({ ...read, nonce: hex(read.nonce) }).toEqual(value);
});

test.for(ofKind('challenge'))('golden $name', (vector) => {
  const { value, bytes: want } = vector;
  const [status, protocol] = [Number(value.status), Number(value.protocol)];
  const made = makeChallenge({ ...proving(vector), status, protocol, nonce: bytes(value.nonce) });
  expect(hex(made)).toBe(hex(want));
  expect(checkChallenge(proving(vector), want)).toEqual({ status, protocol });
});

test.for(ofKind('answer'))('golden $name', (vector) => {
  const challenge = named(String(vector.value.challenge)).bytes;
  expect(hex(makeAnswer(proving(vector), challenge))).toBe(hex(vector.bytes));
  expect(checkAnswer(proving(vector), challenge, vector.bytes)).toBe(true);
});

test('every golden handshake is tested', () => {
  const tested = ['greeting', 'challenge', 'answer'].flatMap(ofKind);
  expect(tested.length).toBe(vectors.length);
  expect(tested.length).toBeGreaterThan(5);
});

describe('a handshake fails', () => {
  const challenge = named('challenge-go-on');
  const answer = named('answer-go-on');
  const good = proving(challenge);

  test('with any bit of a challenge flipped', () => {
    for (let bit = 0; bit < challenge.bytes.length * 8; bit += 1) {
      const flipped = Uint8Array.from(challenge.bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(reasonOf(() => checkChallenge(good, flipped))).toMatch(/^(malformed|version|proof)$/);
    }
  });

  test('with any bit of an answer flipped, or another size', () => {
    for (let bit = 0; bit < answer.bytes.length * 8; bit += 1) {
      const flipped = Uint8Array.from(answer.bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(checkAnswer(good, challenge.bytes, flipped)).toBe(false);
    }
    expect(checkAnswer(good, challenge.bytes, answer.bytes.subarray(1))).toBe(false);
  });

  test.for<[string, Partial<typeof good>]>([
    ['another secret', { secret: parseSecret('00'.repeat(32)) }],
    ['another pipe', { pipe: `${good.pipe}0` }],
    ['another greeting', { greeting: named('greeting-client').bytes }],
  ])('with %s', ([, other]) => {
    expect(reasonOf(() => checkChallenge({ ...good, ...other }, challenge.bytes))).toBe('proof');
    expect(checkAnswer({ ...good, ...other }, challenge.bytes, answer.bytes)).toBe(false);
  });

  test('when the proofs of both sides are swapped', () => {
    const reflected = Uint8Array.from(challenge.bytes);
    reflected.set(makeAnswer(good, challenge.bytes), 48);
    expect(reasonOf(() => checkChallenge(good, reflected))).toBe('proof');
  });
});

describe('readGreeting() refuses', () => {
  const good = named('greeting-shim').bytes;
  const changed = (at: number, byte: number): Uint8Array => {
    const copy = Uint8Array.from(good);
    copy[at] = byte;
    return copy;
  };
  test.for<[string, Uint8Array, string]>([
    ['a byte too few', good.subarray(0, 47), 'malformed'],
    ['a byte too many', Uint8Array.from([...good, 0]), 'malformed'],
    ['another magic', changed(0, 0), 'malformed'],
    ['another handshake', changed(8, 2), 'version'],
    ['role 0', changed(9, 0), 'malformed'],
    ['role 3', changed(9, 3), 'malformed'],
    ['reserved bytes', changed(15, 1), 'malformed'],
  ])('%s', ([, greeting, reason]) => {
    expect(reasonOf(() => readGreeting(greeting))).toBe(reason);
  });
});

test('parseSecret() never shows what it was given', () => {
  expect(parseSecret('Ab'.repeat(32))).toEqual(Buffer.alloc(32, 0xab));
  for (const bad of ['', 'ab'.repeat(31), 'ab'.repeat(33), `${'ab'.repeat(31)}zz`]) {
    expect(() => parseSecret(bad)).toThrow('Cannot read secret: expected 64 hex digits');
  }
});
