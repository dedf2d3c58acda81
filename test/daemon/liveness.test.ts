// What counts as a stall, with a played clock: the hub as the daemon has it, its journal on a real disk.
import { expect, test, vi } from 'vitest';
import type { Hub, RingEntry } from '../../daemon/hub.ts';
import type { Hello, SequencedFrame } from '../../protocol/wire/frames.ts';
import { Script as Session } from '../protocol/session/script.ts';
import { type Bench, bench as benchWith, peer, SECOND } from './hub-bench.ts';
import { hello, journalOf, named, newRingId, tempDir, until } from './support.ts';

const clock = vi.hoisted(() => ({ nowUs: 0 }));
vi.mock('../../daemon/clock.ts', async (load) => ({
  ...(await load<typeof import('../../daemon/clock.ts')>()),
  monotonicUs: () => clock.nowUs,
}));

const bench = (
  stateDir = tempDir(),
  options: { readonly quietUs?: number; readonly full?: () => boolean } = {},
): Promise<Bench> => benchWith(clock, stateDir, options);

/** A session whose frames come at the played time. */
class Provider {
  readonly #script = new Session();
  readonly #ring = newRingId();
  readonly #hub: Hub;
  entry: RingEntry;

  constructor(hub: Hub) {
    this.#hub = hub;
    this.entry = this.connect(hub);
    this.#take({ ...this.#script.open(), attach: 1 } as SequencedFrame);
  }

  connect(hub: Hub): RingEntry {
    this.entry = hub.hello(hello(this.#ring) as Hello, peer);
    return this.entry;
  }

  call(hub = this.#hub): void {
    this.#take(this.#script.progress(1, 0), hub);
  }

  frame(make: (script: Session) => SequencedFrame): void {
    this.#take(make(this.#script));
  }

  #take(frame: SequencedFrame, hub = this.#hub): void {
    hub.take(this.entry, { ...frame, timeUs: clock.nowUs });
    hub.turn(this.entry, peer, false);
  }
}

test('quiet is said once a stall, 30 s after the last call, and its end with the next', async () => {
  const { hub, pass, said } = await bench();
  const provider = new Provider(hub);
  await pass(20);
  provider.call();
  await pass(29);
  expect(await said()).toEqual([]);
  await pass(60);
  expect(await said()).toEqual(['stalled quiet 30']);
  provider.call();
  await pass(29);
  expect(await said()).toEqual(['stalled quiet 30', 'resumed quiet 89']);
  await pass(2);
  expect(await said()).toHaveLength(3);
});

test('the threshold is what the user set', async () => {
  const { hub, pass, said } = await bench(undefined, { quietUs: 3 * SECOND });
  new Provider(hub);
  await pass(2);
  expect(await said()).toEqual([]);
  await pass(1);
  expect(await said()).toEqual(['stalled quiet 3']);
});

test('a machine that slept raises no stall', async () => {
  const { stateDir, hub, pass, said } = await bench();
  const provider = new Provider(hub);
  await pass(10);
  clock.nowUs += 8 * 3600 * SECOND;
  await pass(19);
  expect(await said()).toEqual([]);
  provider.call();
  provider.frame((script) => script.done(0));
  provider.frame((script) => script.close());
  await said();
  const [ended] = named(journalOf(stateDir), 'session.ended');
  expect(ended?.longest_silence_us).toBe(28 * SECOND);
});

test('a full disk raises none', async () => {
  let full = false;
  const { hub, journal, pass, said } = await bench(undefined, { full: () => full });
  const provider = new Provider(hub);
  await said();
  full = true;
  provider.frame((script) => script.note('a', 'b'));
  await until('the disk is full', () => journal.state === 'full');
  await pass(300);
  full = false;
  await until('there is space again', () => journal.state !== 'full');
  await pass(29);
  expect(await said()).toEqual([]);
  await pass(2);
  expect(await said()).toEqual(['stalled quiet 30']);
});

test('a shim that is away raises none, nor does the time without a daemon', async () => {
  const first = await bench();
  const provider = new Provider(first.hub);
  await first.pass(10);
  first.hub.leave(provider.entry, peer);
  await first.pass(100);
  expect(await first.said()).toEqual([]);
  await first.journal.close(1000);

  clock.nowUs += 3600 * SECOND;
  const second = await bench(first.stateDir);
  await second.pass(100);
  expect(await second.said()).toEqual([]);
  provider.connect(second.hub);
  await second.pass(29);
  expect(await second.said()).toEqual([]);
  await second.pass(2);
  expect(await second.said()).toEqual(['stalled quiet 30']);
});

test('a restart in the middle of a stall says it no second time, and then its end', async () => {
  const first = await bench();
  const provider = new Provider(first.hub);
  await first.pass(40);
  expect(await first.said()).toEqual(['stalled quiet 30']);
  await first.journal.close(1000);
  const second = await bench(first.stateDir);
  provider.connect(second.hub);
  await second.pass(60);
  provider.call(second.hub);
  expect(await second.said()).toEqual(['stalled quiet 30', 'resumed quiet 100']);
});

test('a call inside Outlook is a stall of its own, and no silence', async () => {
  const { hub, pass, said } = await bench();
  const provider = new Provider(hub);
  await pass(2);
  provider.frame(
    (script) =>
      ({
        ...script.blocked(1, 4711),
        sinceUs: clock.nowUs - 2 * SECOND,
      }) as SequencedFrame,
  );
  await pass(100);
  provider.frame((script) => script.unblocked(1, 4711, 102 * SECOND));
  await pass(29);
  expect(await said()).toEqual(['stalled blocked 2', 'resumed blocked 102']);
});

test('a store that is often silent for long is given more time, also after a restart', async () => {
  const first = await bench();
  for (let n = 0; n < 3; n += 1) {
    const provider = new Provider(first.hub);
    await first.pass(25);
    provider.call();
    provider.frame((script) => script.done(0));
    provider.frame((script) => script.close());
    first.hub.fence(provider.entry);
  }
  await first.said();
  await first.journal.close(1000);
  const second = await bench(first.stateDir);
  const provider = new Provider(second.hub);
  await second.pass(74);
  expect(await second.said()).toEqual([]);
  await second.pass(1);
  expect(await second.said()).toEqual(['stalled quiet 75']);
  const [stall] = named(journalOf(first.stateDir), 'session.stalled');
  expect(stall?.stall?.threshold_us).toBe(75 * SECOND);
  const live = second.hub.liveSession(stall!.session!.id);
  expect(live?.usual_us).toBe(25 * SECOND);
  provider.frame((script) => script.close());
  await second.said();
  expect(named(journalOf(first.stateDir), 'session.ended').at(-1)?.usual_us).toBe(25 * SECOND);
});
