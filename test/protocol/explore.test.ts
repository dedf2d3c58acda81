// Every order of steps of two shims, the daemon, its journal and their deaths: what the promise of
// delivery rests on. See explorer.ts for the model.
import { expect, test } from 'vitest';
import { CORE, type Core, explore, type Limits } from './explorer.ts';

test.for<[string, Limits, number]>([
  ['a death and a broken connection', { crashes: 1, drops: 1, rotations: 0, frames: [2, 1] }, 3e5],
  ['two deaths', { crashes: 2, drops: 1, rotations: 0, frames: [2, 1] }, 1e6],
])('holds in every order of steps: %s', { timeout: 120_000 }, ([, limits, atLeast]) => {
  const { states, ends, violation } = explore(CORE, limits);
  expect(violation).toBeUndefined();
  expect(states).toBeGreaterThan(atLeast);
  expect(ends).toBeGreaterThan(0);
});

const SMALL: Limits = { crashes: 1, drops: 1, rotations: 0, frames: [2, 1] };

test.for<[string, Partial<Core>]>([
  ['acknowledges before the journal has it', { waits: false }],
  ['takes what was taken before', { accept: () => 'take' }],
  ['takes a gap', { accept: (ring, seq) => (seq > ring.received ? 'take' : 'drop') }],
  ['keeps the connection before', { fences: false }],
  ['forgets at a restart', { foldIntoRings: () => {} }],
])('finds a core that %s', { timeout: 60_000 }, ([, wrong]) => {
  expect(explore({ ...CORE, ...wrong } as Core, SMALL).violation).toBeDefined();
});
