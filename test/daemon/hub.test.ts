// What the hub keeps at most, each limit from both sides: with a played clock, its journal on a real disk.
import { expect, test, vi } from 'vitest';
import type { Hub, RingEntry } from '../../daemon/hub.ts';
import {
  MAX_ENDED_SHOWN,
  MAX_RINGS,
  MAX_UNWRITTEN_BYTES,
  MEMORY_RING_GRACE_MS,
  RING_WATERMARK_DAYS,
} from '../../daemon/limits.ts';
import type { Hello, SequencedFrame } from '../../protocol/wire/frames.ts';
import { Script } from '../protocol/session/script.ts';
import { type Bench, bench as benchWith, peer } from './hub-bench.ts';
import { hello, journalOf, named, newRingId, tempDir } from './support.ts';

const clock = vi.hoisted(() => ({ nowUs: 1, days: 0 }));
vi.mock('../../daemon/clock.ts', async (load) => {
  const real = await load<typeof import('../../daemon/clock.ts')>();
  return {
    ...real,
    monotonicUs: () => clock.nowUs,
    wallUs: () => real.wallUs() + clock.days * 86_400_000_000,
  };
});

const GRACE_S = MEMORY_RING_GRACE_MS / 1000;
const bench = (options = {}): Promise<Bench> =>
  benchWith(clock, tempDir(), { files: false, ...options });
const connect = (hub: Hub, more: Partial<Hello> = {}, by = peer): RingEntry =>
  hub.hello(hello(newRingId(), { pid: 1, ...more }) as Hello, by);

/** A whole session, or one that has not ended. */
function play(hub: Hub, entry: RingEntry, script = new Script(), ends = true): void {
  const frames = [script.open(), script.progress(1, 2)];
  if (ends) frames.push(script.done(0), script.close());
  for (const frame of frames) hub.take(entry, { ...frame, timeUs: clock.nowUs } as SequencedFrame);
  hub.turn(entry, peer, false);
}

test('the last sessions that ended are shown, and no more of them', async () => {
  const { hub } = await bench();
  const ring = connect(hub);
  const script = new Script();
  for (let at = 0; at < MAX_ENDED_SHOWN; at++) {
    play(hub, ring, new Script(script.seq + 4 * at));
  }
  const all = [...hub.sessionIds()];
  expect(all).toHaveLength(MAX_ENDED_SHOWN);
  play(hub, ring, new Script(script.seq + 4 * MAX_ENDED_SHOWN));
  const then = [...hub.sessionIds()];
  expect(then).toHaveLength(MAX_ENDED_SHOWN);
  expect(then.slice(0, -1)).toEqual(all.slice(1));
  expect(hub.liveSession(all[0] as string)).toBeUndefined();
});

test('a ring in plain memory may be away for a while; then its sessions end', async () => {
  const { hub, stateDir, journal, pass } = await bench();
  const [back, gone] = [connect(hub), connect(hub)];
  for (const entry of [back, gone]) play(hub, entry, new Script(), false);
  for (const entry of [back, gone]) hub.leave(entry, peer);
  await pass(GRACE_S);
  expect(hub.liveCount).toBe(2);
  hub.hello(hello(back.state.origin.ring, { pid: 1 }) as Hello, peer);
  await pass(2);
  expect(hub.liveCount).toBe(1);
  await new Promise<void>((resolve) => journal.barrier(resolve));
  const [ended, ...more] = named(journalOf(stateDir), 'session.ended');
  expect(ended).toMatchObject({ ring: gone.state.origin.ring, outcome: 'abandoned' });
  expect(more).toEqual([]);
});

test('of so many rings the watermark is kept; of those that are gone the one known longest makes room', async () => {
  const { hub } = await bench();
  const rings = Array.from({ length: MAX_RINGS }, () => connect(hub));
  expect(() => connect(hub)).toThrow(`${MAX_RINGS} are known`);
  for (const at of [7, 5]) {
    const entry = rings[at] as RingEntry;
    hub.leave(entry, peer);
    hub.gone(entry, [], true);
  }
  const added = connect(hub);
  expect(hub.rings.size).toBe(MAX_RINGS);
  const ids = [rings[5], rings[7], added].map((one) => one?.state.origin.ring ?? '');
  expect(ids.map((id) => hub.rings.has(id))).toEqual([false, true, true]);
});

test('the watermark of a ring that is gone is kept for days', async () => {
  const { hub, pass } = await bench();
  const entry = connect(hub);
  const id = entry.state.origin.ring;
  hub.leave(entry, peer);
  hub.gone(entry, [], true);
  clock.days = RING_WATERMARK_DAYS - 0.01;
  await pass(1);
  expect(hub.rings.has(id)).toBe(true);
  clock.days = RING_WATERMARK_DAYS + 0.01;
  await pass(1);
  expect(hub.rings.has(id)).toBe(false);
  clock.days = 0;
});

test('while so much waits for the disk no shim is read, and all of them are once half of it is written', async () => {
  let full = false;
  const { hub, journal } = await bench({ full: () => full });
  const said: string[] = [];
  const by = {
    ...peer,
    pause: () => void said.push(`pause ${journal.backlogBytes > MAX_UNWRITTEN_BYTES}`),
    resume: () => void said.push(`resume ${journal.backlogBytes <= MAX_UNWRITTEN_BYTES / 2}`),
  };
  const ring = connect(hub, {}, by);
  const other = connect(hub, {}, by);
  const script = new Script();
  hub.take(ring, { ...script.open(), timeUs: clock.nowUs } as SequencedFrame);
  full = true;
  while (journal.backlogBytes <= MAX_UNWRITTEN_BYTES) {
    expect(said).toEqual([]);
    const frame = script.error(0x80004005, 'x'.repeat(2000));
    hub.take(ring, { ...frame, timeUs: clock.nowUs } as SequencedFrame);
    hub.turn(ring, by, false);
  }
  expect(said).toEqual(['pause true', 'pause true']);
  full = false;
  await new Promise<void>((resolve) => journal.barrier(resolve));
  expect(said.slice(2)).toEqual(['resume true', 'resume true']);
  expect(other.peer).toBe(by);
});
