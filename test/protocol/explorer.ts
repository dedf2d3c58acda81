/**
 * Every order in which two shims, their connections, the daemon, its journal and their deaths can step,
 * on the real functions of `protocol/session/`. A state is a string of small numbers, so that a million
 * of them fit; what the reducer makes of a ring is kept once and referred to by number, so each call of
 * it is made once for each argument that can occur.
 *
 * The model keeps the daemon's order of things: records go to a queue behind each other, a barrier runs
 * once everything before it is durable, `welcome` and `ack` are sent by barriers, a new `hello` fences
 * the connection before, and a dead shim's ring is adopted in two steps with a barrier after each. A
 * daemon that dies keeps what was synced, and any beginning of what was only written.
 */
import type { RecordDraft } from '../../protocol/records/record.ts';
import type { Acceptance, RingState } from '../../protocol/session/ring.ts';
import {
  accept,
  foldIntoRings,
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

/** What is explored. A wrong variant replaces one of them. */
export const CORE = {
  accept: accept as (ring: RingState, seq: number) => Acceptance,
  foldIntoRings,
  onDurable,
  onHello: onHello as (ring: RingState, hello: Clocks & { freed: number }) => number,
  onWritten,
  ringGone,
  snapshotDrafts,
  takeFrame,
  /** A new connection ends the one before. */
  fences: true,
  /** A barrier waits for what stands before it. */
  waits: true,
};
export type Core = typeof CORE;

export interface Limits {
  /** Deaths of the daemon or of a shim. */
  readonly crashes: number;
  /** Connections that break, or lose a frame on the way. */
  readonly drops: number;
  /** Times that the journal begins a segment. */
  readonly rotations: number;
  /** Frames of each of the two shims, the second's may be 0. */
  readonly frames: readonly [number, number];
}

export interface Explored {
  readonly states: number;
  readonly steps: number;
  /** States in which nothing can happen but a new fault. */
  readonly ends: number;
  /** What is wrong, and the shortest history that leads there. */
  readonly violation?: { readonly what: string; readonly history: readonly string[] };
}

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

const isMust = (shim: number, seq: number): boolean => shim === 0 || seq === 1;

// A state: the shims, side by side, then the daemon, then the journal's queue.

/** Of a shim and of what the daemon has of it. Connections are told apart by a number. */
const F = {
  /** 0 alive, 1 dead, 2 its ring is deleted. */
  process: 0,
  /** Frames in the ring so far, and how many were freed again. */
  made: 1,
  freed: 2,
  /** The shim's end: 0 none, 1 hello sent, 2 welcomed; and whether it still reaches the daemon. */
  end: 3,
  linked: 4,
  /** Newest frame sent on it. */
  sent: 5,
  /** On the way to the shim: 1 + what `welcome` says, and a bit for each `ack`. */
  welcome: 6,
  acks: 7,
  /** The daemon's end: 0 none, 1 hello to be read, 2 waits to be welcomed, 3 live. Frames read and sent. */
  peer: 8,
  read: 9,
  arrived: 10,
  number: 11,
  /** The one before, if the daemon has not noticed its end. */
  oldPeer: 12,
  oldRead: 13,
  oldArrived: 14,
  oldNumber: 15,
  /** Numbers of `RingState` and of what the journal has of this ring. */
  ring: 16,
  journal: 17,
  /** 0 none, 1 waits for its first barrier, 2 for its second. */
  adoption: 18,
} as const;
const SHIM = 19;
/** Where the fields of the two shims begin. */
const SHIMS = [0, SHIM] as const;
/** Where the fields of the newest connection and of the one before begin, and what is in there. */
const NOW = F.peer;
const OLD = F.oldPeer;
const READ = 1;
const ARRIVED = 2;
const NUMBER = 3;
const PEER_FIELDS = 4;
const D = { up: 38, crashes: 39, drops: 40, rotations: 41, written: 42, queue: 43 } as const;

type State = number[];

interface Item {
  readonly type: 'records' | 'snapshot' | 'welcome' | 'ack' | 'adopt' | 'adopted';
  readonly shim: number;
  /** Of records: how the journal numbers them. Of a barrier: seq. */
  readonly value: number;
  readonly connection: number;
}

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
  readonly wrong: string;
}

interface Records {
  /** 0: no frame caused them. */
  readonly seq: number;
  readonly ends: number;
  readonly totals: string;
  readonly drafts: readonly RecordDraft[];
  /** Of a snapshot: the ring that it tells of. */
  readonly of?: number;
}

export function explore(core: Core, limits: Limits, atMost = 20_000_000): Explored {
  return new Explorer(core, limits).run(atMost);
}

/** Ends the search. */
class Wrong extends Error {}

/** More connections than faults can explain: nothing moves on. */
const MAX_CONNECTIONS = 8;

class Explorer {
  readonly #core: Core;
  readonly #limits: Limits;
  readonly #model: Model;
  readonly #seen = new Set<string>();
  readonly #states: string[] = [];
  // How each state was reached first.
  readonly #parents: number[] = [];
  readonly #verbs: string[] = [];
  readonly #shims: number[] = [];
  #from = 0;
  #steps = 0;

  constructor(core: Core, limits: Limits) {
    this.#core = core;
    this.#limits = limits;
    this.#model = new Model(core);
  }

  run(atMost: number): Explored {
    const first: State = new Array(D.queue).fill(0);
    first[D.up] = 1;
    first[D.crashes] = this.#limits.crashes;
    first[D.drops] = this.#limits.drops;
    first[D.rotations] = this.#limits.rotations;
    let ends = 0;
    const result = () => ({ states: this.#states.length, steps: this.#steps, ends });
    try {
      this.#reach(first, 'begin', 0);
      // Breadth first: what is wrong is found by the shortest history.
      for (let at = 0; at < this.#states.length; at += 1) {
        if (at > atMost) throw new Wrong(`there are more than ${atMost} states`);
        this.#from = at;
        const state = numbersOf(this.#states[at]!);
        const before = this.#steps;
        this.#ordinary(state);
        if (this.#steps === before) {
          ends += 1;
          this.#checkEnd(state);
        }
        this.#faults(state);
      }
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      return { ...result(), violation: { what: error.message, history: this.#history() } };
    }
    return result();
  }

  #reach(state: State, verb: string, shim: number): void {
    this.#steps += 1;
    const key = String.fromCharCode.apply(null, state);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#states.push(key);
    this.#parents.push(this.#from);
    this.#verbs.push(verb);
    this.#shims.push(shim);
  }

  #history(): string[] {
    const words: string[] = [];
    for (let at = this.#from; at > 0; at = this.#parents[at]!) {
      words.unshift(this.#verbs[at]!.replace('$', this.#shims[at] === 0 ? 'A' : 'B'));
    }
    return words;
  }

  // What goes wrong.

  #faults(state: State): void {
    if (state[D.drops]! > 0) for (const at of SHIMS) this.#drops(state, at);
    if (state[D.crashes] === 0) return;
    for (const at of SHIMS) {
      if (state[at + F.process] !== 0 || state[at + F.made] === 0) continue;
      const next = [...state];
      next[D.crashes]! -= 1;
      next[at + F.process] = 1;
      for (const field of [F.end, F.linked, F.sent, F.welcome, F.acks]) next[at + field] = 0;
      this.#reach(next, 'shim $ dies', at);
    }
    if (state[D.up] === 0) return;
    // Any beginning of what was written and not synced is there after it.
    for (let kept = 0; kept <= state[D.written]!; kept += 1) {
      if (kept > 0 && !this.#isLine(state, kept - 1)) continue;
      const next = state.slice(0, D.queue);
      for (let item = 0; item < kept; item += 1) this.#store(next, state[D.queue + item]!);
      next[D.crashes]! -= 1;
      next[D.up] = 0;
      next[D.written] = 0;
      for (const at of SHIMS) {
        next[at + F.linked] = 0;
        next[at + F.ring] = 0;
        next[at + F.adoption] = 0;
        next[at + F.number] = 0;
        this.#forgetPeer(next, at, NOW);
        this.#forgetPeer(next, at, OLD);
      }
      this.#reach(next, 'the daemon dies', 0);
    }
  }

  #drops(state: State, at: number): void {
    if (state[at + F.linked] === 1) {
      const next = [...state];
      next[D.drops]! -= 1;
      next[at + F.linked] = 0;
      this.#reach(next, 'the connection of $ breaks', at);
    }
    // A shim that leaves one out. If nothing followed, nobody could see it.
    if (state[at + F.peer] === 3 && state[at + F.arrived]! - state[at + F.read]! >= 2) {
      const next = [...state];
      next[D.drops]! -= 1;
      next[at + F.read]! += 1;
      this.#reach(next, 'a frame of $ is left out', at);
    }
  }

  // What goes on by itself. Nothing here can go on for ever: it ends in a state that is checked.

  #ordinary(state: State): void {
    for (const at of SHIMS) {
      if (state[at + F.process] === 0) this.#shim(state, at);
      if (state[D.up] === 1) this.#peers(state, at);
    }
    if (state[D.up] === 1) {
      this.#journal(state);
      return;
    }
    const next = [...state];
    next[D.up] = 1;
    for (const at of SHIMS) next[at + F.ring] = this.#model.stored(state[at + F.journal]!).ring;
    this.#reach(next, 'a daemon starts', 0);
  }

  #shim(state: State, at: number): void {
    if (state[at + F.made]! < this.#limits.frames[at === 0 ? 0 : 1]) {
      const next = [...state];
      next[at + F.made]! += 1;
      this.#reach(next, '$ makes a frame', at);
    }
    const end = state[at + F.end]!;
    if (end === 0) {
      if (state[D.up] === 1) this.#connect(state, at);
      return;
    }
    if (state[at + F.linked] === 0) {
      const next = [...state];
      for (const field of [F.end, F.sent, F.welcome, F.acks]) next[at + field] = 0;
      this.#reach(next, '$ sees that its connection is gone', at);
    }
    if (state[at + F.welcome]! > 0) {
      const next = [...state];
      const freed = Math.max(state[at + F.freed]!, state[at + F.welcome]! - 1);
      next[at + F.end] = 2;
      next[at + F.welcome] = 0;
      next[at + F.freed] = freed;
      next[at + F.sent] = freed;
      if (state[at + F.linked] === 1) {
        next[at + F.read] = freed;
        next[at + F.arrived] = freed;
      }
      this.#reach(next, '$ is welcomed', at);
      return;
    }
    const acks = state[at + F.acks]!;
    if (acks !== 0) {
      const next = [...state];
      const seq = 31 - Math.clz32(acks & -acks);
      next[at + F.acks] = acks & (acks - 1);
      next[at + F.freed] = Math.max(state[at + F.freed]!, seq);
      this.#reach(next, '$ takes an acknowledgement', at);
    }
    if (end === 2 && state[at + F.linked] === 1 && state[at + F.sent]! < state[at + F.made]!) {
      const next = [...state];
      next[at + F.sent]! += 1;
      next[at + F.arrived] = next[at + F.sent]!;
      this.#reach(next, '$ sends a frame', at);
    }
  }

  #connect(state: State, at: number): void {
    const next = [...state];
    if (state[at + F.peer] !== 0) {
      if (state[at + F.oldPeer] !== 0) return; // The daemon notices one of the two first.
      for (let field = 0; field < PEER_FIELDS; field += 1) {
        next[at + OLD + field] = state[at + NOW + field]!;
      }
      this.#forgetPeer(next, at, NOW);
    }
    next[at + F.end] = 1;
    next[at + F.linked] = 1;
    next[at + F.peer] = 1;
    next[at + F.number]! += 1;
    if (next[at + F.number]! > MAX_CONNECTIONS) throw new Wrong('a shim connects again and again');
    this.#reach(next, '$ connects', at);
  }

  #peers(state: State, at: number): void {
    for (const which of [NOW, OLD]) {
      const peer = state[at + which]!;
      if (peer === 0) continue;
      if (which === OLD || state[at + F.linked] === 0) {
        const next = [...state];
        this.#forgetPeer(next, at, which);
        this.#reach(next, 'the daemon sees that a connection of $ is gone', at);
      }
      if (peer === 1) this.#hello(state, at, which);
      if (peer === 3 && state[at + which + READ]! < state[at + which + ARRIVED]!) {
        this.#read(state, at, which);
      }
    }
    const { process, adoption, peer, oldPeer } = F;
    if (state[at + process] !== 1 || state[at + adoption] !== 0) return;
    if (state[at + peer]! >= 2 || state[at + oldPeer]! >= 2) return;
    const next = [...state];
    next[at + adoption] = 1;
    next[at + F.ring] ||= this.#model.blank(at);
    next.push(this.#model.item('adopt', at));
    this.#reach(next, 'the ring of $ is locked', at);
  }

  #hello(state: State, at: number, which: number): void {
    const next = [...state];
    const other = which === NOW ? OLD : NOW;
    if (this.#core.fences && state[at + other]! >= 2) {
      this.#forgetPeer(next, at, other);
      if (other === NOW) next[at + F.linked] = 0;
    }
    next[at + F.ring] ||= this.#model.blank(at);
    next[at + which] = 2;
    next.push(this.#model.item('welcome', at, 0, state[at + which + NUMBER]!));
    this.#runUnwaited(next);
    this.#reach(next, 'the daemon takes the hello of $', at);
  }

  #read(state: State, at: number, which: number): void {
    const next = [...state];
    const seq = state[at + which + READ]! + 1;
    next[at + which + READ] = seq;
    const { acceptance, ring, records, received } = this.#model.take(state[at + F.ring]!, at, seq);
    if (acceptance === 'gap') {
      this.#forgetPeer(next, at, which);
      if (which === NOW) next[at + F.linked] = 0;
      this.#reach(next, 'the daemon refuses a gap of $', at);
      return;
    }
    next[at + F.ring] = ring;
    if (acceptance === 'take') {
      if (records >= 0) next.push(this.#model.item('records', at, records));
      next.push(this.#model.item('ack', at, received, state[at + which + NUMBER]!));
      this.#runUnwaited(next);
    }
    this.#reach(next, 'the daemon takes a frame of $', at);
  }

  #forgetPeer(state: State, at: number, which: number): void {
    state[at + which] = 0;
    state[at + which + READ] = 0;
    state[at + which + ARRIVED] = 0;
    if (which === OLD) state[at + which + NUMBER] = 0;
  }

  // The journal.

  #isLine(state: State, index: number): boolean {
    const item = state[D.queue + index];
    if (item === undefined) return false;
    const { type } = this.#model.itemOf(item);
    return type === 'records' || type === 'snapshot';
  }

  #journal(state: State): void {
    const size = state.length - D.queue;
    if (size === 0) for (const at of SHIMS) this.#checkFold(state, at);
    if (state[D.rotations]! > 0 && SHIMS.some((at) => state[at + F.ring] !== 0)) {
      const next = [...state];
      next[D.rotations]! -= 1;
      const [a, b] = SHIMS.map((at) => this.#model.snapshot(state[at + F.ring]!)) as [
        number,
        number,
      ];
      next.push(this.#model.item('snapshot', 0, a, b));
      this.#reach(next, 'the journal plans a segment', 0);
    }
    let line = state[D.written]!;
    while (line < size && !this.#isLine(state, line)) line += 1;
    if (line < size) {
      const next = [...state];
      next[D.written] = line + 1;
      this.#reach(next, 'a group of records is written', 0);
    }
    if (state[D.written]! > 0 || (size > 0 && !this.#isLine(state, 0))) {
      const next = [...state];
      this.#sync(next);
      this.#reach(next, 'the journal is synced', 0);
    }
  }

  /** What was written is durable now; then come the barriers up to what was not. */
  #sync(state: State): void {
    let end = state[D.written]!;
    while (D.queue + end < state.length && !this.#isLine(state, end)) end += 1;
    const items = state.splice(D.queue, end);
    state[D.written] = 0;
    for (const item of items) this.#store(state, item);
    for (const item of items) this.#barrier(state, item);
  }

  #store(state: State, number: number): void {
    const item = this.#model.itemOf(number);
    const keep = (at: number, records: number): void => {
      const stored = this.#model.store(state[at + F.journal]!, records, at);
      state[at + F.journal] = stored;
      const { wrong } = this.#model.stored(stored);
      if (wrong !== '') throw new Wrong(wrong);
    };
    if (item.type === 'records') keep(item.shim, item.value);
    if (item.type !== 'snapshot') return;
    if (item.value >= 0) keep(0, item.value);
    if (item.connection >= 0) keep(SHIM, item.connection);
  }

  #runUnwaited(state: State): void {
    if (this.#core.waits) return;
    const item = state.pop()!;
    this.#barrier(state, item);
  }

  #barrier(state: State, number: number): void {
    const { type, shim: at, value, connection } = this.#model.itemOf(number);
    const of = (stage: number): number | undefined =>
      [NOW, OLD].find(
        (which) => state[at + which] === stage && state[at + which + NUMBER] === connection,
      );
    switch (type) {
      case 'welcome': {
        const which = of(2);
        if (which === undefined) return;
        const { ring, durable } = this.#model.hello(state[at + F.ring]!, state[at + F.freed]!);
        state[at + F.ring] = ring;
        state[at + which] = 3;
        this.#checkAcknowledged(state, at, durable);
        if (which === NOW && state[at + F.linked] === 1) state[at + F.welcome] = durable + 1;
        return;
      }
      case 'ack': {
        const { ring, durable, isNew } = this.#model.durable(state[at + F.ring]!, value);
        state[at + F.ring] = ring;
        const which = of(3);
        if (!isNew || which === undefined) return;
        this.#checkAcknowledged(state, at, durable);
        if (which === NOW && state[at + F.linked] === 1) state[at + F.acks]! |= 1 << durable;
        return;
      }
      case 'adopt': {
        for (const which of [NOW, OLD]) {
          if (state[at + which]! >= 2) this.#forgetPeer(state, at, which);
        }
        const [freed, made] = [state[at + F.freed]!, state[at + F.made]!];
        const { ring, records } = this.#model.adopt(state[at + F.ring]!, at, freed, made);
        state[at + F.ring] = ring;
        for (const group of records) state.push(this.#model.item('records', at, group));
        state[at + F.adoption] = 2;
        state.push(this.#model.item('adopted', at));
        return;
      }
      case 'adopted':
        state[at + F.ring] = this.#model.adopted(state[at + F.ring]!);
        state[at + F.process] = 2;
        state[at + F.adoption] = 0;
        this.#checkAcknowledged(state, at, state[at + F.made]!);
        return;
      default:
        return;
    }
  }

  // What must hold.

  #checkAcknowledged(state: State, at: number, seq: number): void {
    if (seq > state[at + F.made]!) throw new Wrong('what was never made is acknowledged');
    const { has } = this.#model.stored(state[at + F.journal]!);
    for (let must = 1; must <= seq; must += 1) {
      if (isMust(at, must) && (has & (1 << must)) === 0) {
        throw new Wrong('a frame is acknowledged whose records are not durable');
      }
    }
  }

  /** With nothing on its way, a daemon that started now would know what this one knows. */
  #checkFold(state: State, at: number): void {
    const live = state[at + F.ring]!;
    const wrong = this.#model.compare(live, this.#model.stored(state[at + F.journal]!).ring);
    if (wrong !== '') throw new Wrong(wrong);
  }

  #checkEnd(state: State): void {
    for (const at of SHIMS) {
      const made = state[at + F.made]!;
      const isDead = state[at + F.process] !== 0;
      if (isDead && state[at + F.process] !== 2) throw new Wrong('a dead ring is never adopted');
      if (!isDead && state[at + F.freed] !== made) {
        throw new Wrong('a frame is never acknowledged');
      }
      this.#checkAcknowledged(state, at, made);
      const { ends, totals } = this.#model.stored(state[at + F.journal]!);
      const wanted = made > 0 && (isDead || (at === 0 && made === 3)) ? 1 : 0;
      if (ends !== wanted) throw new Wrong(`a session has ${ends} ends, and not ${wanted}`);
      if (ends === 1 && totals !== totalsOf(at, made)) {
        throw new Wrong(`the totals are ${totals}, and not ${totalsOf(at, made)}`);
      }
    }
  }
}

const totalsOf = (shim: number, made: number): string =>
  shim === 0 ? `0 progress, ${made > 1 ? 1 : 0} errors` : `${made - 1} progress, 0 errors`;

function numbersOf(key: string): State {
  const numbers: State = new Array(key.length);
  for (let at = 0; at < key.length; at += 1) numbers[at] = key.charCodeAt(at);
  return numbers;
}

/** The reducer behind numbers: each ring state, group of records and step of the queue has one. */
class Model {
  readonly #core: Core;
  readonly #rings = new Numbered<string>([['', '']]);
  readonly #records = new Numbered<Records>();
  readonly #stored = new Numbered<Stored>([
    ['', { has: 0, ends: 0, newest: 0, ring: 0, totals: '', wrong: '' }],
  ]);
  readonly #items = new Numbered<Item>();
  readonly #known = new Map<string, unknown>();

  constructor(core: Core) {
    this.#core = core;
  }

  item(type: Item['type'], shim: number, value = 0, connection = 0): number {
    const key = `${type} ${shim} ${value} ${connection}`;
    return this.#items.number(key, () => ({ type, shim, value, connection }));
  }

  itemOf(number: number): Item {
    return this.#items.at(number);
  }

  stored(number: number): Stored {
    return this.#stored.at(number);
  }

  blank(shim: number): number {
    return this.#numberOf(newRing(originOf(shim)));
  }

  hello(ring: number, freed: number): { ring: number; durable: number } {
    return this.#once(`hello ${ring} ${freed}`, () => {
      const state = this.#ring(ring);
      const durable = this.#core.onHello(state, { ...CLOCKS, freed });
      return { ring: this.#numberOf(state), durable };
    });
  }

  /** What `Hub.take()` and `Hub.turn()` do with a frame. */
  take(ring: number, shim: number, seq: number): Taken {
    return this.#once(`take ${ring} ${shim} ${seq}`, () => {
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
    return this.#once(`durable ${ring} ${seq}`, () => {
      const state = this.#ring(ring);
      const isNew = this.#core.onDurable(state, seq);
      return { ring: this.#numberOf(state), durable: state.durable, isNew };
    });
  }

  /** What `Hub.adopt()` and `Hub.gone()` do with a dead ring. */
  adopt(
    ring: number,
    shim: number,
    freed: number,
    made: number,
  ): { ring: number; records: readonly number[] } {
    return this.#once(`adopt ${ring} ${shim} ${freed} ${made}`, () => {
      const state = this.#ring(ring);
      const groups: number[] = [];
      this.#core.onHello(state, { ...CLOCKS, freed });
      for (let seq = freed + 1; seq <= made; seq += 1) {
        if (this.#core.accept(state, seq) !== 'take') continue;
        groups.push(
          this.#group(seq, (emit) => this.#core.takeFrame(state, frameOf(shim, seq), emit)),
        );
      }
      takeSlot(state, slotOf(shim, made));
      const seen = { inCalls: [], closing: [] };
      const { wallUs } = CLOCKS;
      groups.push(this.#group(0, (emit) => this.#core.ringGone(state, { wallUs }, seen, emit)));
      this.#core.onWritten(state, state.received);
      return { ring: this.#numberOf(state), records: groups.filter((group) => group >= 0) };
    });
  }

  adopted(ring: number): number {
    return this.#once(`adopted ${ring}`, () => {
      const state = this.#ring(ring);
      this.#core.onDurable(state, state.received);
      return this.#numberOf(state);
    });
  }

  /** @returns -1 if the daemon does not know the ring. */
  snapshot(ring: number): number {
    if (ring === 0) return -1;
    return this.#once(`snapshot ${ring}`, () => {
      const drafts = this.#core.snapshotDrafts(this.#ring(ring), CLOCKS.wallUs);
      return this.#keep({ seq: 0, ends: 0, totals: '', drafts, of: ring });
    });
  }

  /** Appends records to what the journal has of a ring. */
  store(before: number, records: number, shim: number): number {
    return this.#once(`store ${before} ${records}`, () => {
      const { has, ends, newest, ring, totals, wrong } = this.stored(before);
      const { seq, ends: more, drafts, of, totals: told } = this.#records.at(records);
      const id = RINGS[shim === 0 ? 0 : 1];
      // Recovery begins at the newest snapshot.
      const rings = new Map(ring === 0 || of !== undefined ? [] : [[id, this.#ring(ring)]]);
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
          wrong ||
          (seq > 0 && (has & (1 << seq)) !== 0 ? 'the records of a frame stand there twice' : '') ||
          (seq > 0 && seq < newest ? 'records stand in another order than their frames' : '') ||
          (ends + more > 1 ? 'a session ends twice' : '') ||
          (of === undefined ? '' : this.#differs(of, after)),
      };
      return this.#stored.number(JSON.stringify(next), () => next);
    });
  }

  /** @returns What of the live state the journal does not give back; empty if all. */
  compare(live: number, folded: number): string {
    if (live === folded) return '';
    return this.#once(`compare ${live} ${folded}`, () => {
      const [ours, theirs] = [live, folded].map((number) => this.#ring(number)) as [
        RingState,
        RingState,
      ];
      if (theirs.received > ours.received) return 'the journal is ahead of the daemon';
      const told = (ring: RingState) =>
        JSON.stringify(
          [...ring.sessions.values()].map(({ session, errors, failures, dones, lastError }) => [
            [session, errors, failures, dones],
            lastError,
          ]),
        );
      if (told(ours) === told(theirs)) return '';
      return `the journal gives back ${told(theirs)} and not ${told(ours)}`;
    });
  }

  /** A snapshot says that all which was received is durable, and nothing else may differ. */
  #differs(live: number, folded: number): string {
    const state = this.#ring(live);
    state.durable = state.received;
    state.written = state.received;
    return this.#numberOf(state) === folded ? '' : 'a snapshot does not give back the state';
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

  #once<T>(key: string, make: () => T): T {
    if (!this.#known.has(key)) this.#known.set(key, make());
    return this.#known.get(key) as T;
  }
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
  ring: RINGS[shim === 0 ? 0 : 1],
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
