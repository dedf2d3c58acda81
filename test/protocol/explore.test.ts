// Every order of steps of two shims, the daemon, its journal and their deaths: what the promise of
// delivery rests on. See explorer.ts for the model and for the five invariants.
import { expect, test } from 'vitest';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { foldIntoRings, newRing, type RingState } from '../../protocol/session/ring.ts';
import { explore, type Invariant, type Limits, REDUCED, UNREDUCED } from './explorer.ts';
import { CORE, type Core } from './explorer-model.ts';

const SMALL: Limits = { crashes: 1, drops: 1, rotations: 0, frames: [2, 1] };
const ROTATES: Limits = { crashes: 1, drops: 1, rotations: 1, frames: [2, 0] };
/** Progress alone: more of it than has records. */
const PROGRESS: Limits = { crashes: 2, drops: 0, rotations: 0, frames: [0, 4] };

test.for<[string, Limits, number]>([
  [
    'two deaths, a drop, three frames of each',
    { crashes: 2, drops: 1, rotations: 0, frames: [3, 3] },
    1e6,
  ],
  ['with a new segment', { ...SMALL, rotations: 1 }, 2e5],
])(
  'durable, once, ordered, complete, restored: %s',
  { timeout: 300_000 },
  ([, limits, atLeast]) => {
    const { states, ends, violation } = explore(CORE, limits);
    expect(violation).toBeUndefined();
    expect(states).toBeGreaterThan(atLeast);
    expect(ends.size).toBeGreaterThan(3);
  },
);

test.for(Object.keys(REDUCED) as (keyof typeof REDUCED)[])(
  'the outcomes are the same without the reduction %s',
  { timeout: 120_000 },
  (name) => {
    for (const limits of [{ ...SMALL, frames: [1, 1] } as const, ROTATES]) {
      const { ends } = explore(CORE, limits);
      expect(explore(CORE, limits, { ...REDUCED, [name]: false }).ends).toEqual(ends);
    }
  },
);

/** As a record without some of its fields. */
const without =
  (...names: string[]) =>
  (rings: Map<string, RingState>, record: RecordDraft): void => {
    const kept = Object.entries(record).filter(([name]) => !names.includes(name));
    foldIntoRings(rings, Object.fromEntries(kept) as unknown as RecordDraft);
  };

const WRONG: readonly (readonly [string, Partial<Core>, Invariant, Limits?])[] = [
  ['acknowledges before the journal has it', { waits: (type) => type !== 'ack' }, 'durable'],
  ['welcomes before the journal has it', { waits: (type) => type !== 'welcome' }, 'complete'],
  ['deletes a ring before the journal has it', { waits: (type) => type !== 'adopted' }, 'durable'],
  [
    'acknowledges what it received',
    { onDurable: (ring) => CORE.onDurable(ring, ring.received) },
    'durable',
  ],
  ['takes what was taken before', { accept: () => 'take' }, 'durable'],
  ['takes a gap', { accept: (ring, seq) => (seq > ring.received ? 'take' : 'drop') }, 'durable'],
  ['keeps the connection before', { fences: false }, 'complete'],
  ['forgets at a restart', { foldIntoRings: () => {} }, 'restored'],
  ['folds without seq', { foldIntoRings: without('seq') }, 'restored'],
  ['folds without the sessions', { foldIntoRings: without('session') }, 'restored'],
  ['forgets the ring that it adopts', { knowsAdopted: false }, 'once'],
  ['adopts without ending the sessions', { ringGone: () => {} }, 'complete'],
  ['adopts without the slots', { takeSlot: () => undefined }, 'complete', PROGRESS],
  [
    'believes the journal and not what the shim has freed',
    { onHello: (ring, hello) => CORE.onHello(ring, { ...hello, freed: 0 }) },
    'ordered',
    PROGRESS,
  ],
  [
    'believes the shim and not the journal',
    {
      onHello: (ring, { freed }) => {
        ring.received = freed;
        ring.written = freed;
        ring.durable = freed;
        return freed;
      },
    },
    'restored',
  ],
  [
    'writes a snapshot with the durable number',
    { snapshotDrafts: (ring, at) => CORE.snapshotDrafts({ ...ring, received: ring.durable }, at) },
    'restored',
    ROTATES,
  ],
  [
    'writes a snapshot without the sessions',
    { snapshotDrafts: (ring, at) => CORE.snapshotDrafts(ring, at).slice(0, 1) },
    'restored',
    ROTATES,
  ],
  [
    'restores a snapshot as new',
    {
      foldIntoRings: (rings, record) => {
        if (record.event_name !== 'snapshot.ring') foldIntoRings(rings, record);
        else rings.set(record.ring!, newRing((record.state as RingState).origin));
      },
    },
    'restored',
    ROTATES,
  ],
  ['begins at a torn snapshot', { ignoresTorn: false }, 'durable', ROTATES],
];

test.for(WRONG)('finds a core that %s', { timeout: 60_000 }, ([, wrong, invariant, limits]) => {
  const core: Core = { ...CORE, ...wrong };
  const { violation } = explore(core, limits ?? SMALL);
  expect(violation).toMatchObject({ invariant });
  expect(violation?.history.length).toBeGreaterThan(1);
  expect(explore(core, limits ?? SMALL, UNREDUCED).violation).toBeDefined();
});
