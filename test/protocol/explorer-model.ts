/**
 * The reducer and the journal behind numbers: each ring state, group of records and step of the journal's
 * queue has one, so that a state of the search is a few small numbers, and each function of
 * `protocol/session/` is called once for each argument that can occur.
 */
import type { RecordDraft } from '../../protocol/records/record.ts';
import type { Acceptance, RingState } from '../../protocol/session/ring.ts';
import {
  accept,
  foldIntoRings,
  liveSessions,
  newRing,
  onDurable,
  onHello,
  onWritten,
  ringGone,
  snapshotDrafts,
  takeFrame,
  takeSlot,
} from '../../protocol/session/ring.ts';
import type { Emit } from '../../protocol/session/session.ts';
import { restoreSession, snapshotSession } from '../../protocol/session/snapshot.ts';
import type { Origin } from '../../protocol/session/state.ts';
import type { Counters, SequencedFrame, Slot } from '../../protocol/wire/frames.ts';

/** What is explored. A wrong variant replaces some of it. */
export const CORE = {
  accept: accept as (ring: RingState, seq: number) => Acceptance,
  foldIntoRings,
  onDurable,
  onHello: onHello as (ring: RingState, hello: Clocks & { freed: number }) => number,
  onWritten,
  ringGone,
  snapshotDrafts,
  takeFrame,
  takeSlot,
  // What the daemon decides beside it.
  /** Adoption goes on with what the daemon has of the ring, not with nothing. */
  knowsAdopted: true,
  /** A new connection ends the one before. */
  fences: true,
  /** Recovery begins at a whole snapshot only. */
  ignoresTorn: true,
  /** A barrier of this type waits for what stands before it. */
  waits: (_type: Item['type']): boolean => true,
};
export type Core = typeof CORE;

// Frames. The first shim ends its session, the second is cut off in the middle of one.

interface Clocks {
  readonly timeUs: number;
  readonly wallUs: number;
}
const CLOCKS: Clocks = { timeUs: 1_000_000, wallUs: 1_750_000_000_000_000 };
const RINGS = ['00'.repeat(16), 'ff'.repeat(16)] as const;
const NONE: Counters = {
  progress: 0,
  errors: 0,
  dones: 0,
  merged: 0,
  lost: 0,
  innerUs: 0,
  innerMaxUs: 0,
};

function frameOf(shim: number, seq: number): SequencedFrame {
  const header = { seq, timeUs: CLOCKS.timeUs + seq * 1000, thread: 7, session: 1 };
  if (seq === 1) {
    const open = { attach: 1, flags: null, provider: null, store: null, callback: 1 };
    return { kind: 'open', ...header, ...open, wallUs: CLOCKS.wallUs };
  }
  if (shim === 0 && seq === 2) {
    return { kind: 'error', ...header, call: 1, hresult: 0x80040115, marks: 0, text: null };
  }
  if (shim === 0) return { kind: 'close', ...header, counters: { ...NONE, errors: 1 } };
  return { kind: 'progress', ...header, call: seq - 1, index: seq, max: 9, marks: 0, text: null };
}

export const isMust = (shim: number, seq: number): boolean => shim === 0 || seq === 1;

export const totalsOf = (shim: number, made: number): string =>
  shim === 0 ? `0 progress, ${made > 1 ? 1 : 0} errors` : `${made - 1} progress, 0 errors`;

export interface Item {
  readonly type: (typeof TYPES)[number];
  readonly shim: number;
  /** Of records: how the journal numbers them; of a snapshot: those of the first ring. Of an ack: seq. */
  readonly value: number;
  /** Of a barrier, 0: gone. Of a snapshot: the records of the second ring. */
  readonly connection: number;
}
const TYPES = ['records', 'snapshot', 'torn', 'welcome', 'ack', 'adopt', 'adopted'] as const;

/** What the journal has of one ring, once folded. */
interface Stored {
  /** A bit for each seq whose records are there. */
  readonly has: number;
  readonly ends: number;
  readonly newest: number;
  /** As a daemon that starts now would restore it. */
  readonly ring: number;
  /** Of the session that ended. */
  readonly totals: string;
  readonly wrong: readonly ['once' | 'ordered' | 'complete' | 'restored', string] | undefined;
}

interface Records {
  /** 0: no frame caused them. */
  readonly seq: number;
  readonly ends: number;
  readonly totals: string;
  readonly drafts: readonly RecordDraft[];
  /** Recovery begins here. */
  readonly isFirst?: boolean;
  /** Of a whole snapshot: the ring that it tells of. */
  readonly of?: number;
}

export class Model {
  readonly #core: Core;
  readonly #rings = new Numbered<string>([['', '']]);
  readonly #records = new Numbered<Records>();
  readonly #stored = new Numbered<Stored>([
    ['', { has: 0, ends: 0, newest: 0, ring: 0, totals: '', wrong: undefined }],
  ]);
  readonly #items: Item[] = [];
  readonly #itemNumbers = new Map<number, number>();
  readonly #known = {
    hello: new Map<number, { ring: number; durable: number }>(),
    take: new Map<number, Taken>(),
    durable: new Map<number, { ring: number; durable: number; isNew: boolean }>(),
    adopt: new Map<number, readonly Adopted[]>(),
    adopted: new Map<number, number>(),
    snapshot: new Map<number, number>(),
    store: new Map<number, number>(),
    compare: new Map<number, string>(),
  };

  constructor(core: Core) {
    this.#core = core;
  }

  item(type: Item['type'], shim: number, value: number, connection: number): number {
    const what = TYPES.indexOf(type) * 2 + (shim === 0 ? 0 : 1);
    const key = (what * MANY + value + 1) * MANY + connection + 1;
    let number = this.#itemNumbers.get(key);
    if (number === undefined) {
      number = this.#items.push({ type, shim, value, connection }) - 1;
      this.#itemNumbers.set(key, number);
    }
    return number;
  }

  itemOf(number: number): Item {
    return this.#items[number]!;
  }

  stored(number: number): Stored {
    return this.#stored.at(number);
  }

  blank(shim: number): number {
    return this.#numberOf(newRing(originOf(shim)));
  }

  hello(ring: number, freed: number): { ring: number; durable: number } {
    return once(this.#known.hello, ring * 16 + freed, () => {
      const state = this.#ring(ring);
      const durable = this.#core.onHello(state, { ...CLOCKS, freed });
      return { ring: this.#numberOf(state), durable };
    });
  }

  /** What `Hub.take()` and `Hub.turn()` do with a frame. */
  take(ring: number, shim: number, seq: number): Taken {
    return once(this.#known.take, (ring * 2 + sideOf(shim)) * 16 + seq, () => {
      const state = this.#ring(ring);
      const acceptance = this.#core.accept(state, seq);
      if (acceptance !== 'take') return { acceptance, ring, records: -1, received: 0 };
      const records = this.#group(seq, (emit) =>
        this.#core.takeFrame(state, frameOf(shim, seq), emit),
      );
      this.#core.onWritten(state, state.received);
      return { acceptance, ring: this.#numberOf(state), records, received: state.received };
    });
  }

  durable(ring: number, seq: number): { ring: number; durable: number; isNew: boolean } {
    return once(this.#known.durable, ring * 16 + seq, () => {
      const state = this.#ring(ring);
      const isNew = this.#core.onDurable(state, seq);
      return { ring: this.#numberOf(state), durable: state.durable, isNew };
    });
  }

  /**
   * What the daemon does with a dead ring: each group of records that it appends, -1 for none, and the
   * ring as it is then.
   */
  adopt(ring: number, shim: number, freed: number, made: number): readonly Adopted[] {
    const key = ((ring * 2 + sideOf(shim)) * 16 + freed) * 16 + made;
    return once(this.#known.adopt, key, () => {
      const state = this.#core.knowsAdopted ? this.#ring(ring) : newRing(originOf(shim));
      const steps: Adopted[] = [];
      const append = (seq: number, act: (emit: Emit) => unknown): void => {
        const group = this.#group(seq, act);
        steps.push({ group, ring: this.#numberOf(state) });
      };
      this.#core.onHello(state, { ...CLOCKS, freed });
      for (let seq = freed + 1; seq <= made; seq += 1) {
        if (this.#core.accept(state, seq) !== 'take') continue;
        append(seq, (emit) => this.#core.takeFrame(state, frameOf(shim, seq), emit));
      }
      this.#core.takeSlot(state, slotOf(shim, made));
      const { wallUs } = CLOCKS;
      append(0, (emit) => {
        this.#core.ringGone(state, { wallUs }, [], emit, () => {});
        this.#core.onWritten(state, state.received);
      });
      return steps;
    });
  }

  adopted(ring: number): number {
    return once(this.#known.adopted, ring, () => {
      const state = this.#ring(ring);
      this.#core.onDurable(state, state.received);
      return this.#numberOf(state);
    });
  }

  /** @returns -1 if the daemon does not know the ring. */
  snapshot(ring: number): number {
    if (ring === 0) return -1;
    return once(this.#known.snapshot, ring, () => {
      const drafts = this.#core.snapshotDrafts(this.#ring(ring), CLOCKS.wallUs);
      return this.#keep({ seq: 0, ends: 0, totals: '', drafts, isFirst: true, of: ring });
    });
  }

  /** The first record of a snapshot. */
  torn(snapshot: number): number {
    const { drafts } = this.#records.at(snapshot);
    return this.#keep({ seq: 0, ends: 0, totals: '', drafts: drafts.slice(0, 1), isFirst: true });
  }

  /** Appends records to what the journal has of a ring. */
  store(before: number, records: number, shim: number): number {
    return once(this.#known.store, before * MANY + records, () => {
      const { has, ends, newest, ring, totals, wrong } = this.stored(before);
      const { seq, ends: more, drafts, isFirst, of, totals: told } = this.#records.at(records);
      const id = RINGS[sideOf(shim)]!;
      const rings = new Map(ring === 0 || isFirst ? [] : [[id, this.#ring(ring)]]);
      for (const draft of drafts) {
        this.#core.foldIntoRings(rings, JSON.parse(JSON.stringify(draft)) as RecordDraft);
      }
      const folded = rings.get(id);
      const after = folded === undefined ? 0 : this.#numberOf(folded);
      const next: Stored = {
        has: has | (seq === 0 ? 0 : 1 << seq),
        ends: ends + more,
        newest: Math.max(newest, seq),
        ring: after,
        totals: told === '' ? totals : told,
        wrong:
          wrong ??
          (seq > 0 && (has & (1 << seq)) !== 0
            ? ['once', 'the records of a frame stand there twice']
            : seq > 0 && seq < newest
              ? ['ordered', 'records stand in another order than their frames']
              : ends + more > 1
                ? ['complete', 'a session ends twice']
                : this.#differs(of, after)),
      };
      return this.#stored.number(JSON.stringify(next), () => next);
    });
  }

  /** @returns What of the live state the journal does not give back; empty if all. */
  compare(live: number, folded: number): string {
    if (live === folded) return '';
    return once(this.#known.compare, live * MANY + folded, () => {
      const [ours, theirs] = [live, folded].map((number) => this.#ring(number)) as [
        RingState,
        RingState,
      ];
      if (theirs.received > ours.received) return 'the journal is ahead of the daemon';
      // What has ended is kept for late calls alone, and the record of the process's end drops it.
      const told = (ring: RingState) =>
        JSON.stringify(
          liveSessions(ring).map(({ session, errors, failures, dones, lastError }) => [
            [session, errors, failures, dones],
            lastError,
          ]),
        );
      if (told(ours) === told(theirs)) return '';
      return `the journal gives back ${told(theirs)} and not ${told(ours)}`;
    });
  }

  /** A snapshot says that all which was received is durable, and nothing else may differ. */
  #differs(live: number | undefined, folded: number): Stored['wrong'] {
    if (live === undefined) return undefined;
    const state = this.#ring(live);
    state.durable = state.received;
    state.written = state.received;
    if (this.#numberOf(state) === folded) return undefined;
    return ['restored', 'a snapshot does not give back the state'];
  }

  #group(seq: number, act: (emit: Emit) => unknown): number {
    const drafts: RecordDraft[] = [];
    act((draft) => drafts.push(draft));
    if (drafts.length === 0) return -1;
    const ended = drafts.filter(({ event_name }) => event_name === 'session.ended');
    const { progress = 0, errors = 0 } = ended[0]?.totals ?? {};
    const totals = ended.length === 0 ? '' : `${progress} progress, ${errors} errors`;
    return this.#keep({ seq, ends: ended.length, totals, drafts });
  }

  #keep(records: Records): number {
    return this.#records.number(JSON.stringify(records), () => records);
  }

  #ring(number: number): RingState {
    const text = this.#rings.at(number);
    if (text === '') return newRing(originOf(0));
    const { sessions, ...plain } = JSON.parse(text) as RingState & { sessions: unknown[] };
    const ring: RingState = { ...plain, sessions: new Map() };
    for (const image of sessions) {
      const session = restoreSession(image);
      if (session !== undefined) ring.sessions.set(session.session, session);
    }
    return ring;
  }

  #numberOf(ring: RingState): number {
    const sessions = [...ring.sessions.values()].map(snapshotSession);
    const { origin, received, written, durable, clockOffsetUs, lost, holes, unknown, orphans } =
      ring;
    const marks = { received, written, durable, clockOffsetUs };
    const text = JSON.stringify({ origin, ...marks, lost, holes, unknown, orphans, sessions });
    return this.#rings.number(text, () => text);
  }
}

/** More than there are of anything that has a number. */
const MANY = 1 << 20;

const sideOf = (shim: number): number => (shim === 0 ? 0 : 1);

function once<T>(known: Map<number, T>, key: number, make: () => T): T {
  const before = known.get(key);
  if (before !== undefined) return before;
  const made = make();
  known.set(key, made);
  return made;
}

interface Adopted {
  readonly group: number;
  readonly ring: number;
}

interface Taken {
  readonly acceptance: Acceptance;
  readonly ring: number;
  /** -1: none. */
  readonly records: number;
  readonly received: number;
}

/** Values by number, each once. */
class Numbered<T> {
  readonly #values: T[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(first: readonly (readonly [string, T])[] = []) {
    for (const [key, value] of first) this.number(key, () => value);
  }

  number(key: string, make: () => T): number {
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#values.push(make()) - 1;
    this.#numbers.set(key, number);
    return number;
  }

  at(number: number): T {
    return this.#values[number]!;
  }
}

const originOf = (shim: number): Origin => ({
  ring: RINGS[sideOf(shim)]!,
  pid: 1,
  arch: 'x64',
  executable: 'host',
  shimVersion: '1',
});

/** A session's slot, as adoption finds it. */
function slotOf(shim: number, made: number): Slot {
  const progress = shim === 0 ? 0 : made - 1;
  const errors = shim === 0 && made > 1 ? 1 : 0;
  const newest = { call: progress, timeUs: CLOCKS.timeUs + made * 1000, index: made, max: 9 };
  return {
    kind: 'slot',
    session: 1,
    timeUs: CLOCKS.timeUs + 1000,
    counters: { ...NONE, progress, errors },
    newest: { ...newest, marks: 0, text: null },
  };
}
