/**
 * Every order in which two shims, their connections, the daemon, its journal and their deaths can step,
 * on the real functions of `protocol/session/`, behind the numbers of explorer-model.ts.
 *
 * The model keeps the daemon's order of things: records go to a queue behind each other, a barrier runs
 * once everything before it is durable, `welcome` and `ack` are sent by barriers, a new `hello` fences
 * the connection before, and a dead shim's ring is adopted in two steps with a barrier after each. A
 * daemon that dies keeps what was synced, and any beginning of what was only written; the next one folds
 * that and opens a segment with a snapshot.
 */
import { type Core, type Item, isMust, Model, totalsOf } from './explorer-model.ts';
import { Visited } from './visited.ts';

export interface Limits {
  /** Deaths of the daemon or of a shim. */
  readonly crashes: number;
  /** Connections that break, or lose a frame on the way. */
  readonly drops: number;
  /** Times that the journal begins a segment, besides those at the start of a daemon. */
  readonly rotations: number;
  /** Frames of each of the two shims: of the first at most 3, of the second at most 9. */
  readonly frames: readonly [number, number];
}

/**
 * What makes the search smaller without hiding anything. Each keeps every outcome and every violation
 * that a search without it finds.
 */
export interface Reductions {
  /**
   * What nobody can see yet is decided when somebody sees it. A call that is in the ring shows only when
   * it is sent or its shim dies; a frame on the way only when it is read; an acknowledgement on the way
   * only when its shim dies or connects anew; that lines are written only when the daemon dies; and
   * between the death of a daemon and the start of the next nothing can be seen at all. So each of these
   * is a choice within the step that shows it, from all that it could have been by then.
   */
  readonly lazy: boolean;
  /**
   * Connections are numbered by place, newest first, and what waits for one that is gone is forgotten:
   * a number is compared with those of the connections that are there, and with nothing else.
   */
  readonly names: boolean;
  /**
   * Lines of two rings between two segments have no order among each other, and may be durable in any
   * (only with `lazy`). No line, barrier or watermark of a ring looks at another ring, so this only adds
   * histories: it cannot hide one.
   */
  readonly split: boolean;
  /**
   * A state is not looked at again with fewer faults left: whatever can happen then could happen before.
   */
  readonly budgets: boolean;
  /** Two 32-bit hashes stand for a state. Of 10 million states two are the same by chance once in 300,000 runs. */
  readonly hashed: boolean;
}
export const REDUCED: Reductions = {
  lazy: true,
  names: true,
  split: true,
  budgets: true,
  hashed: true,
};
export const UNREDUCED: Reductions = {
  lazy: false,
  names: false,
  split: false,
  budgets: false,
  hashed: false,
};

/** What must hold in every state, by name. */
export const INVARIANTS = {
  durable: 'What was acknowledged or deleted has its records in the journal',
  once: 'The records of a frame stand in the journal at most once',
  ordered:
    'Records stand in the order of their ring, and no frame is refused but behind one left out',
  complete:
    'In the end every frame is acknowledged, every dead ring adopted, every session over ended once, with the totals of its calls',
  restored: 'A daemon that starts now knows what this one knows',
} as const;
export type Invariant = keyof typeof INVARIANTS;

export interface Explored {
  readonly states: number;
  readonly transitions: number;
  /** Steps of the longest shortest history. */
  readonly depth: number;
  /** How things stand where nothing can happen but a new fault. */
  readonly ends: ReadonlySet<string>;
  /** What is wrong, and the shortest history that leads there. */
  readonly violation?: {
    readonly invariant: Invariant;
    readonly what: string;
    readonly history: readonly string[];
  };
}

// A state: the shims, side by side, then the daemon, then the journal's queue.

/** Of a shim and of what the daemon has of it. Connections are told apart by a number. */
const F = {
  /** 0 alive, 1 dead, 2 its ring is deleted. */
  process: 0,
  /** Frames in the ring so far, at least, and how many were freed again, at least. */
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

/** Ends the search. */
class Wrong extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, what: string) {
    super(what);
    this.invariant = invariant;
  }
}

export function explore(
  core: Core,
  limits: Limits,
  reductions: Reductions = REDUCED,
  /** Is told how far it is, after each step of depth. */
  progress: (states: number, depth: number) => void = () => {},
): Explored {
  return new Explorer(core, limits, reductions).run(progress);
}

class Explorer {
  readonly #core: Core;
  readonly #limits: Limits;
  readonly #by: Reductions;
  readonly #model: Model;
  readonly #visited: Visited;
  /** Of each budget, the bits of those that allow nothing more. */
  readonly #covers: readonly number[];
  /** States of the next depth, as text. */
  #next: string[] = [];
  #from = 0;
  /** Groups of records that adoption appended in this step, and behind which of them a segment begins. */
  #groups = 0;
  #rotateAfter = -1;
  #transitions = 0;

  constructor(core: Core, limits: Limits, reductions: Reductions) {
    this.#core = core;
    this.#limits = limits;
    this.#by = reductions;
    this.#model = new Model(core);
    this.#visited = new Visited(reductions.hashed);
    this.#covers = coversOf(limits, reductions.budgets);
  }

  run(progress: (states: number, depth: number) => void): Explored {
    const first: State = new Array(D.queue).fill(0);
    first[D.up] = 1;
    first[D.crashes] = this.#limits.crashes;
    first[D.drops] = this.#limits.drops;
    first[D.rotations] = this.#limits.rotations;
    const ends = new Set<string>();
    let depth = 0;
    const result = () => ({
      states: this.#visited.size,
      transitions: this.#transitions,
      depth,
      ends,
    });
    try {
      this.#reach(first, 'begin', 0);
      // Breadth first: what is wrong is found by the shortest history.
      for (let at = 0; this.#next.length > 0; depth += 1) {
        progress(this.#visited.size, depth);
        const states = this.#next;
        this.#next = [];
        for (const key of states) {
          this.#from = at;
          at += 1;
          const state = numbersOf(key);
          const before = this.#transitions;
          this.#ordinary(state);
          if (this.#transitions === before) ends.add(this.#checkEnd(state));
          this.#faults(state);
        }
      }
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      const { invariant, message } = error;
      const history = this.#visited.history(this.#from);
      return { ...result(), violation: { invariant, what: message, history } };
    }
    return result();
  }

  #reach(state: State, verb: string, shim: number): void {
    this.#transitions += 1;
    if (this.#by.names) for (const at of SHIMS) this.#renumber(state, at);
    if (this.#by.split && state.length > D.queue + 1) this.#sortQueue(state);
    const { crashes, drops, rotations } = D;
    const [c, d, r] = [state[crashes]!, state[drops]!, state[rotations]!];
    const budget = (c * (this.#limits.drops + 1) + d) * (this.#limits.rotations + 1) + r;
    const key = String.fromCharCode.apply(null, state);
    // Budgets are told apart beside the state.
    state[crashes] = 0;
    state[drops] = 0;
    state[rotations] = 0;
    const covers = this.#covers[budget]!;
    if (this.#visited.add(state, 1 << budget, covers, this.#from, verb, shim === 0 ? 'A' : 'B')) {
      this.#next.push(key);
    }
  }

  #renumber(state: State, at: number): void {
    const now = state[at + F.peer] === 0 ? -1 : state[at + F.number]!;
    const old = state[at + F.oldPeer] === 0 ? -1 : state[at + F.oldNumber]!;
    state[at + F.number] = now < 0 ? 0 : 1;
    state[at + F.oldNumber] = old < 0 ? 0 : 2;
    let kept = D.queue;
    for (let from = D.queue; from < state.length; from += 1) {
      const number = state[from]!;
      const item = this.#model.itemOf(number);
      const isOf = item.shim === at && (item.type === 'welcome' || item.type === 'ack');
      const { type, connection, value } = item;
      const named = connection === 0 ? 0 : connection === now ? 1 : connection === old ? 2 : 0;
      if (isOf && named === 0 && type === 'welcome') continue;
      state[kept] = !isOf || named === connection ? number : this.#item(type, at, value, named);
      kept += 1;
    }
    state.length = kept;
  }

  /** Between two snapshots: what is about the first shim, then what is about the second. */
  #sortQueue(state: State): void {
    let begin = D.queue;
    while (begin < state.length) {
      let end = begin;
      const second: number[] = [];
      let first = begin;
      for (; end < state.length; end += 1) {
        const item = this.#model.itemOf(state[end]!);
        if (item.type === 'snapshot') break;
        if (item.shim === 0) {
          state[first] = state[end]!;
          first += 1;
        } else {
          second.push(state[end]!);
        }
      }
      for (const number of second) {
        state[first] = number;
        first += 1;
      }
      begin = end + 1;
    }
  }

  // What goes wrong.

  #faults(state: State): void {
    if (state[D.drops]! > 0) for (const at of SHIMS) this.#drops(state, at);
    if (state[D.crashes] === 0) return;
    for (const at of SHIMS) if (state[at + F.process] === 0) this.#shimDies(state, at);
    if (state[D.up] === 0) return;
    for (const kept of this.#survivors(state)) {
      const next = state.slice(0, D.queue);
      for (const item of kept) this.#store(next, item);
      next[D.crashes]! -= 1;
      next[D.written] = 0;
      for (const at of SHIMS) {
        next[at + F.linked] = 0;
        next[at + F.ring] = 0;
        next[at + F.adoption] = 0;
        next[at + F.number] = 0;
        this.#forgetPeer(next, at, NOW);
        this.#forgetPeer(next, at, OLD);
      }
      if (this.#by.lazy) this.#start(next);
      else next[D.up] = 0;
      this.#reach(next, 'the daemon dies', 0);
    }
  }

  #shimDies(state: State, at: number): void {
    if (!this.#by.lazy) {
      if (state[at + F.made]! > 0) this.#reach(this.#dead(state, at), 'shim $ dies', at);
      return;
    }
    for (const seen of this.#taken(state, at)) {
      const least = Math.max(1, seen[at + F.made]!);
      for (let made = least; made <= this.#most(at); made += 1) {
        const next = this.#dead(seen, at);
        next[at + F.made] = made;
        // What was not made was not sent.
        for (const which of [NOW, OLD]) {
          const arrived = next[at + which + ARRIVED]!;
          next[at + which + ARRIVED] = Math.min(arrived, made);
        }
        this.#reach(next, 'shim $ dies', at);
      }
    }
  }

  #dead(state: State, at: number): State {
    const next = state.slice();
    next[D.crashes]! -= 1;
    next[at + F.process] = 1;
    for (const field of [F.end, F.linked, F.sent, F.welcome, F.acks]) next[at + field] = 0;
    return next;
  }

  /** With any beginning of what was on the way to the shim taken, and the rest gone. */
  *#taken(state: State, at: number): Generator<State> {
    const welcome = state[at + F.welcome]!;
    const acks = state[at + F.acks]!;
    const done = (freed: number): State => {
      const next = state.slice();
      next[at + F.welcome] = 0;
      next[at + F.acks] = 0;
      next[at + F.freed] = Math.max(state[at + F.freed]!, freed);
      return next;
    };
    if (welcome > 0) {
      const next = done(0);
      // It was not told from where on to send.
      next[at + F.arrived] = next[at + F.read]!;
      yield next;
    }
    const most = Math.max(state[at + F.freed]!, welcome - 1);
    yield done(most);
    for (let seq = most + 1; seq <= this.#most(at); seq += 1) {
      if ((acks & (1 << seq)) !== 0) yield done(seq);
    }
  }

  /** What may be in the journal after the daemon died: any beginning of what waited, each by its lines. */
  *#survivors(state: State): Generator<number[]> {
    const all: number[] = [];
    let lines: [number[], number[]] = [[], []];
    const end = this.#by.lazy ? state.length : D.queue + state[D.written]!;
    for (let at = D.queue; ; at += 1) {
      const number = state[at];
      const isOver = number === undefined || at >= end;
      const item = isOver ? undefined : this.#model.itemOf(number);
      if (item !== undefined && item.type === 'records') {
        lines[this.#by.split && item.shim !== 0 ? 1 : 0].push(number!);
        continue;
      }
      if (item !== undefined && item.type !== 'snapshot') continue;
      for (let first = 0; first <= lines[0].length; first += 1) {
        for (let second = 0; second <= lines[1].length; second += 1) {
          yield [...all, ...lines[0].slice(0, first), ...lines[1].slice(0, second)];
        }
      }
      all.push(...lines[0], ...lines[1]);
      if (item === undefined) return;
      if (!this.#core.ignoresTorn)
        yield [...all, this.#item('torn', 0, item.value, item.connection)];
      all.push(number!);
      lines = [[], []];
    }
  }

  #drops(state: State, at: number): void {
    if (state[at + F.linked] === 1) {
      const next = state.slice();
      next[D.drops]! -= 1;
      next[at + F.linked] = 0;
      this.#reach(next, 'the connection of $ breaks', at);
    }
    // A shim that leaves one out. Nobody sees it before the next one is read.
    if (state[at + F.peer] === 3 && state[at + F.arrived]! - state[at + F.read]! >= 2) {
      const next = state.slice();
      next[D.drops]! -= 1;
      next[at + F.read]! += 1;
      this.#read(next, at, NOW, true);
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
    const next = state.slice();
    this.#start(next);
    this.#reach(next, 'a daemon starts', 0);
  }

  /** Folds the journal and opens a segment with what that gives. */
  #start(state: State): void {
    state[D.up] = 1;
    for (const at of SHIMS) {
      const { ring } = this.#model.stored(state[at + F.journal]!);
      state[at + F.ring] = ring;
      const snapshot = this.#model.snapshot(ring);
      if (snapshot >= 0) this.#keep(state, at, snapshot);
    }
  }

  #shim(state: State, at: number): void {
    if (this.#most(at) === 0) return;
    if (this.#by.lazy) {
      if (state[at + F.linked] === 0 && this.#canConnect(state, at)) {
        for (const next of this.#taken(state, at)) this.#connect(next, at);
      }
      return;
    }
    if (state[at + F.made]! < this.#most(at)) {
      const next = state.slice();
      next[at + F.made]! += 1;
      this.#reach(next, '$ makes a frame', at);
    }
    const end = state[at + F.end]!;
    if (end === 0) {
      if (state[D.up] === 1 && this.#canConnect(state, at)) this.#connect(state.slice(), at);
      return;
    }
    if (state[at + F.linked] === 0) {
      const next = state.slice();
      for (const field of [F.end, F.sent, F.welcome, F.acks]) next[at + field] = 0;
      this.#reach(next, '$ sees that its connection is gone', at);
    }
    if (state[at + F.welcome]! > 0) {
      const next = state.slice();
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
      const next = state.slice();
      const seq = 31 - Math.clz32(acks & -acks);
      next[at + F.acks] = acks & (acks - 1);
      next[at + F.freed] = Math.max(state[at + F.freed]!, seq);
      this.#reach(next, '$ takes an acknowledgement', at);
    }
    if (end === 2 && state[at + F.linked] === 1 && state[at + F.sent]! < state[at + F.made]!) {
      const next = state.slice();
      next[at + F.sent]! += 1;
      next[at + F.arrived] = next[at + F.sent]!;
      this.#reach(next, '$ sends a frame', at);
    }
  }

  /** The daemon notices the end of one of two before there is a third. */
  #canConnect(state: State, at: number): boolean {
    return state[at + F.peer] === 0 || state[at + F.oldPeer] === 0;
  }

  #connect(next: State, at: number): void {
    if (next[at + F.peer] !== 0) {
      for (let field = 0; field < PEER_FIELDS; field += 1) {
        next[at + OLD + field] = next[at + NOW + field]!;
      }
      this.#forgetPeer(next, at, NOW);
    }
    next[at + F.end] = 1;
    next[at + F.linked] = 1;
    next[at + F.peer] = 1;
    next[at + F.number] = Math.max(next[at + F.number]!, next[at + F.oldNumber]!) + 1;
    this.#reach(next, '$ connects', at);
  }

  #peers(state: State, at: number): void {
    for (const which of [NOW, OLD]) {
      const peer = state[at + which]!;
      if (peer === 0) continue;
      if (which === OLD || state[at + F.linked] === 0) {
        const next = state.slice();
        this.#forgetPeer(next, at, which);
        this.#reach(next, 'the daemon sees that a connection of $ is gone', at);
      }
      if (peer === 1) this.#hello(state, at, which);
      if (peer === 3 && state[at + which + READ]! < state[at + which + ARRIVED]!) {
        this.#read(state.slice(), at, which, false);
      }
    }
    const { process, adoption, peer, oldPeer } = F;
    if (state[at + process] !== 1 || state[at + adoption] !== 0) return;
    if (state[at + peer]! >= 2 || state[at + oldPeer]! >= 2) return;
    const next = state.slice();
    next[at + adoption] = 1;
    next[at + F.ring] ||= this.#model.blank(at);
    this.#enqueue(next, 'adopt', at);
    this.#reach(next, 'the ring of $ is locked', at);
  }

  #hello(state: State, at: number, which: number): void {
    const next = state.slice();
    const other = which === NOW ? OLD : NOW;
    if (this.#core.fences && state[at + other]! >= 2) {
      this.#forgetPeer(next, at, other);
      if (other === NOW) next[at + F.linked] = 0;
    }
    next[at + F.ring] ||= this.#model.blank(at);
    next[at + which] = 2;
    const number = state[at + which + NUMBER]!;
    for (const each of this.#rotations(next)) {
      this.#enqueue(each, 'welcome', at, 0, number);
      this.#reach(each, 'the daemon takes the hello of $', at);
    }
  }

  #read(next: State, at: number, which: number, isLeftOut: boolean): void {
    const seq = next[at + which + READ]! + 1;
    next[at + which + READ] = seq;
    if (this.#by.lazy) {
      next[at + F.made] = Math.max(next[at + F.made]!, seq);
      if (which === NOW && next[at + F.welcome]! > 0) {
        next[at + F.freed] = Math.max(next[at + F.freed]!, next[at + F.welcome]! - 1);
        next[at + F.welcome] = 0;
      }
    }
    const { acceptance, ring, records, received } = this.#model.take(next[at + F.ring]!, at, seq);
    if (acceptance === 'gap') {
      if (!isLeftOut) throw new Wrong('ordered', 'a frame is refused and none before was left out');
      this.#forgetPeer(next, at, which);
      if (which === NOW) next[at + F.linked] = 0;
      this.#reach(next, 'the daemon refuses a frame of $ behind one that was left out', at);
      return;
    }
    next[at + F.ring] = ring;
    const verb = `the daemon takes frame ${seq} of $`;
    if (acceptance !== 'take') {
      this.#reach(next, verb, at);
      return;
    }
    if (records >= 0) this.#enqueue(next, 'records', at, records);
    const number = next[at + which + NUMBER]!;
    for (const each of records >= 0 ? this.#rotations(next) : [next]) {
      this.#enqueue(each, 'ack', at, received, number);
      this.#reach(each, verb, at);
    }
  }

  #forgetPeer(state: State, at: number, which: number): void {
    state[at + which] = 0;
    state[at + which + READ] = 0;
    state[at + which + ARRIVED] = 0;
    if (which === OLD) state[at + which + NUMBER] = 0;
  }

  // The journal.

  #item(type: Item['type'], at: number, value = 0, connection = 0): number {
    return this.#model.item(type, at, value, connection);
  }

  #enqueue(state: State, type: Item['type'], at: number, value = 0, connection = 0): void {
    const item = this.#item(type, at, value, connection);
    if (this.#core.waits(type)) state.push(item);
    else this.#barrier(state, item);
  }

  /** Without a new segment, and with one behind what was just appended. */
  *#rotations(state: State): Generator<State> {
    const next = state[D.rotations]! > 0 ? state.slice() : undefined;
    yield state;
    if (next === undefined) return;
    this.#rotate(next);
    yield next;
  }

  #rotate(state: State): void {
    state[D.rotations]! -= 1;
    const [a, b] = SHIMS.map((at) => this.#model.snapshot(state[at + F.ring]!));
    this.#enqueue(state, 'snapshot', 0, a, b);
  }

  #isLine(state: State, index: number): boolean {
    const item = state[D.queue + index];
    if (item === undefined) return false;
    const { type } = this.#model.itemOf(item);
    return type === 'records' || type === 'snapshot';
  }

  #journal(state: State): void {
    const size = state.length - D.queue;
    if (size === 0) for (const at of SHIMS) this.#checkFold(state, at);
    if (this.#by.lazy) {
      this.#commits(state, size);
      return;
    }
    let line = state[D.written]!;
    while (line < size && !this.#isLine(state, line)) line += 1;
    if (line < size) {
      const next = state.slice();
      next[D.written] = line + 1;
      this.#reach(next, 'a group of records is written', 0);
    }
    if (state[D.written]! > 0 || (size > 0 && !this.#isLine(state, 0))) {
      const next = state.slice();
      let end = next[D.written]!;
      while (end < size && !this.#isLine(next, end)) end += 1;
      next[D.written] = 0;
      this.#commit(next, 0, end, 'the journal is synced');
    }
  }

  /** One line and the barriers behind it; a batch of more is the same as one after the other. */
  #commits(state: State, size: number): void {
    let begin = 0;
    while (begin < size) {
      const { shim, type } = this.#model.itemOf(state[D.queue + begin]!);
      if (begin > 0 && type === 'snapshot') return;
      let end = begin + 1;
      const isSame = (): boolean =>
        !this.#by.split || this.#model.itemOf(state[D.queue + end]!).shim === shim;
      while (end < size && !this.#isLine(state, end) && isSame()) end += 1;
      this.#commit(state, begin, end - begin, 'the journal writes and syncs');
      if (!this.#by.split || type === 'snapshot') return;
      // The same for the other shim.
      const isOther = (): boolean => {
        const item = this.#model.itemOf(state[D.queue + end]!);
        return item.shim !== shim || item.type === 'snapshot';
      };
      while (end < size && !isOther()) end += 1;
      begin = end;
      if (shim !== 0) return;
    }
  }

  /** These are durable now; then come the barriers among them. */
  #commit(state: State, begin: number, count: number, verb: string): void {
    const segments = state[D.rotations]! > 0;
    // Adoption appends; a segment may begin behind each group of it.
    for (let after = -1; after === -1 || (segments && after < this.#groups); after += 1) {
      this.#groups = 0;
      this.#rotateAfter = after;
      const next = state.slice();
      const items = next.splice(D.queue + begin, count);
      for (const item of items) this.#store(next, item);
      for (const item of items) this.#barrier(next, item);
      this.#reach(next, verb, 0);
    }
    this.#rotateAfter = -1;
  }

  #store(state: State, number: number): void {
    const { type, shim, value, connection } = this.#model.itemOf(number);
    if (type === 'records') this.#keep(state, shim, value);
    if (type === 'torn') {
      // As far as the first ring's watermark, and none of its sessions.
      if (value >= 0) this.#keep(state, 0, this.#model.torn(value));
      else this.#keep(state, SHIM, this.#model.torn(connection));
    }
    if (type !== 'snapshot') return;
    if (value >= 0) this.#keep(state, 0, value);
    if (connection >= 0) this.#keep(state, SHIM, connection);
  }

  #keep(state: State, at: number, records: number): void {
    const stored = this.#model.store(state[at + F.journal]!, records, at);
    state[at + F.journal] = stored;
    const { wrong } = this.#model.stored(stored);
    if (wrong !== undefined) throw new Wrong(...wrong);
  }

  #barrier(state: State, number: number): void {
    const { type, shim: at, value, connection } = this.#model.itemOf(number);
    const of = (stage: number): number | undefined =>
      connection === 0
        ? undefined
        : [NOW, OLD].find(
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
        if (which !== NOW || state[at + F.linked] === 0) return;
        state[at + F.welcome] = durable + 1;
        if (!this.#by.lazy) return;
        state[at + F.read] = Math.max(state[at + F.freed]!, durable);
        state[at + F.arrived] = this.#most(at);
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
        for (const { group, ring } of this.#model.adopt(state[at + F.ring]!, at, freed, made)) {
          state[at + F.ring] = ring;
          if (group < 0) continue;
          this.#enqueue(state, 'records', at, group);
          if (this.#groups === this.#rotateAfter) this.#rotate(state);
          this.#groups += 1;
        }
        state[at + F.adoption] = 2;
        this.#enqueue(state, 'adopted', at);
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

  #most(at: number): number {
    return this.#limits.frames[at === 0 ? 0 : 1];
  }

  /** How many frames there may be. */
  #madeBy(state: State, at: number): number {
    const isOpen = this.#by.lazy && state[at + F.process] === 0;
    return isOpen ? this.#most(at) : state[at + F.made]!;
  }

  #checkAcknowledged(state: State, at: number, seq: number): void {
    if (seq > this.#madeBy(state, at)) {
      throw new Wrong('durable', 'what was never made is acknowledged');
    }
    const { has } = this.#model.stored(state[at + F.journal]!);
    for (let must = 1; must <= seq; must += 1) {
      if (isMust(at, must) && (has & (1 << must)) === 0) {
        throw new Wrong('durable', 'a frame is acknowledged whose records are not durable');
      }
    }
  }

  /** With nothing on its way, a daemon that started now would know what this one knows. */
  #checkFold(state: State, at: number): void {
    const live = state[at + F.ring]!;
    const wrong = this.#model.compare(live, this.#model.stored(state[at + F.journal]!).ring);
    if (wrong !== '') throw new Wrong('restored', wrong);
  }

  /** @returns how things stand. */
  #checkEnd(state: State): string {
    const outcome: unknown[] = [];
    for (const at of SHIMS) {
      const made = this.#madeBy(state, at);
      const isDead = state[at + F.process] !== 0;
      const acks = 31 - Math.clz32(state[at + F.acks]! | 1);
      const freed = Math.max(state[at + F.freed]!, state[at + F.welcome]! - 1, acks);
      if (isDead && state[at + F.process] !== 2) {
        throw new Wrong('complete', 'a dead ring is never adopted');
      }
      if (!isDead && freed !== made) throw new Wrong('complete', 'a frame is never acknowledged');
      this.#checkAcknowledged(state, at, made);
      const { has, ends, totals } = this.#model.stored(state[at + F.journal]!);
      const wanted = made > 0 && (isDead || (at === 0 && made === 3)) ? 1 : 0;
      if (ends !== wanted) {
        throw new Wrong('complete', `a session has ${ends} ends, and not ${wanted}`);
      }
      if (ends === 1 && totals !== totalsOf(at, made)) {
        throw new Wrong('complete', `the totals are ${totals}, and not ${totalsOf(at, made)}`);
      }
      outcome.push([isDead, made, has, ends, totals]);
    }
    return JSON.stringify(outcome);
  }
}

function coversOf({ crashes, drops, rotations }: Limits, budgets: boolean): number[] {
  const all: (readonly [number, number, number])[] = [];
  for (let c = 0; c <= crashes; c += 1) {
    for (let d = 0; d <= drops; d += 1) {
      for (let r = 0; r <= rotations; r += 1) all.push([c, d, r]);
    }
  }
  const want = 'at most 32 combinations of crashes, drops and rotations';
  if (all.length > 32) throw new RangeError(`Cannot explore: expected ${want}, got ${all.length}`);
  return all.map(([c, d, r], own) =>
    all.reduce((bits, [lessC, lessD, lessR], at) => {
      const isCovered = budgets ? lessC <= c && lessD <= d && lessR <= r : at === own;
      return isCovered ? bits | (1 << at) : bits;
    }, 0),
  );
}

function numbersOf(key: string): State {
  const numbers: State = new Array(key.length);
  for (let at = 0; at < key.length; at += 1) numbers[at] = key.charCodeAt(at);
  return numbers;
}
