// What counts as a stall, with a played clock: the hub as the daemon has it, its journal on a real disk.
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { Feed } from '../../daemon/feed.ts';
import { Fold, Hub, type RingEntry } from '../../daemon/hub.ts';
import { Journal } from '../../daemon/journal.ts';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { Recorder } from '../../daemon/recorder.ts';
import { recover } from '../../daemon/recovery.ts';
import type { Hello, SequencedFrame } from '../../protocol/wire/frames.ts';
import { Script as Session } from '../protocol/session/script.ts';
import { cleanUp, hello, journalOf, named, newRingId, tempDir, until } from './support.ts';

const SECOND = 1_000_000;
const clock = vi.hoisted(() => ({ nowUs: 0 }));
vi.mock('../../daemon/clock.ts', async (load) => ({
  ...(await load<typeof import('../../daemon/clock.ts')>()),
  monotonicUs: () => clock.nowUs,
}));

interface Bench {
  readonly stateDir: string;
  readonly hub: Hub;
  readonly journal: Journal;
  /** Lets so many seconds pass, with a tick in each, once what came is written if it can be. */
  readonly pass: (seconds: number) => Promise<void>;
  /** The stalls and their ends, once all is written. */
  readonly said: () => Promise<string[]>;
}

/** @param full Whether the disk takes nothing. */
async function bench(
  stateDir = tempDir(),
  options: { readonly quietUs?: number; readonly full?: () => boolean } = {},
): Promise<Bench> {
  const { quietUs, full = () => false } = options;
  const dir = `${stateDir}/journal`;
  const fold = new Fold();
  mkdirSync(dir, { recursive: true });
  const found = recover(dir, (record) => fold.take(record));
  const service = { name: 'mapisync', version: '0.0.1', instance_id: `at-${found.nextSegment}` };
  const feed = new Feed({
    journalDir: dir,
    sessionIds: () => [],
    liveSession: () => undefined,
    durableEnd: () => ({ segment: 0, offset: 0 }),
    cut: () => {},
  });
  const journal: Journal = new Journal({
    dir,
    lines: new LineMaker({ service, host: 'bench' }),
    sync: 'system',
    firstSegment: found.nextSegment,
    segmentBytes: 4_000_000,
    journalBytes: 40_000_000,
    journalDays: 30,
    snapshot: () => hub.snapshot(),
    onDurable: () => {},
    onTrouble: () => {},
    openFile: async (...args) => {
      const file = await open(...args);
      const write = file.write.bind(file) as (...given: unknown[]) => unknown;
      file.write = ((...given: unknown[]) => {
        if (full()) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        return write(...given);
      }) as typeof file.write;
      return file;
    },
  });
  const hub: Hub = new Hub({
    journal: () => journal,
    feed: () => feed,
    recorder: new Recorder(0),
    quietUs,
    hasRingFile: () => true,
    rejected: () => {},
  });
  hub.restore(fold.rings, fold.notes, fold.history);
  await journal.open();
  cleanUp(() => journal.close(1000));
  return {
    stateDir,
    hub,
    journal,
    pass: async (seconds) => {
      if (!full()) await new Promise<void>((resolve) => journal.barrier(resolve));
      for (let n = 0; n < seconds; n += 1) {
        clock.nowUs += SECOND;
        hub.tick();
      }
    },
    said: async () => {
      await new Promise<void>((resolve) => journal.barrier(resolve));
      return journalOf(stateDir)
        .filter(({ stall }) => stall !== undefined)
        .map(({ event_name, stall }) => {
          const seconds = Math.round((stall?.for_us ?? 0) / SECOND);
          return `${event_name.slice(8)} ${stall?.kind} ${seconds}`;
        });
    },
  };
}

const peer = { acknowledge() {}, refuse() {}, farewell() {}, pause() {}, resume() {} };

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
