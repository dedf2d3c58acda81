import { expect, test } from 'vitest';
import { sessionId, traceId } from '../../../protocol/session/ids.ts';

// SHA-256 of ring and big-endian session, by another implementation.
test.for<[string, number, string]>([
  ['00112233445566778899aabbccddeeff', 1, 'f4144b0dbdff25c123be73e0b16c4ce8'],
  ['00112233445566778899aabbccddeeff', 2 ** 45 - 1, '3b5239bdf841134968c3fe1bd571bd0c'],
])('%s, session %d', ([ring, session, want]) => {
  expect(traceId(ring, session)).toBe(want);
  expect(sessionId(ring, session)).toBe(want.slice(0, 16));
});
