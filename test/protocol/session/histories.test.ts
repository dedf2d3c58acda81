// Any history of several rings, whatever is cut off, sent again, killed or adopted in between: each
// must-frame's records stand in the journal once and in order, and nobody could tell from the state
// that the daemon was started anew. `HISTORIES=5000` before the command tries that many.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import { liveSession } from '../../../protocol/session/live.ts';
import {
  accept,
  closeBySlot,
  foldIntoRings,
  liveSessions,
  newRing,
  onDurable,
  onHello,
  onWritten,
  type RingState,
  ringGone,
  snapshotDrafts,
  takeFrame,
  takeLostCounts,
  takeSlot,
} from '../../../protocol/session/ring.ts';
import { tick } from '../../../protocol/session/session.ts';
import type {
  Counters,
  InnerTimes,
  NewestCall,
  SequencedFrame,
  Slot,
} from '../../../protocol/wire/frames.ts';
import { checkRecord, OPEN_US, OPEN_WALL_US, ORIGIN, SECOND } from './script.ts';

const NUM_RUNS = Number(process.env.HISTORIES ?? 70);
const NO_LOSSES = { opens: 0, progress: 0, errors: 0, dones: 0, others: 0 };
const NONE: Counters = {
  progress: 0,
  errors: 0,
  dones: 0,
  merged: 0,
  lost: 0,
  innerUs: 0,
  innerMaxUs: 0,
};
const NO_TIMES: InnerTimes = {
  progressUs: 0,
  progressMaxUs: 0,
  errorUs: 0,
  errorMaxUs: 0,
  doneUs: 0,
  doneMaxUs: 0,
};
const HRESULTS = [0, 1, 0x80040115, 0x8004010f, 0x80040113, 0x00040680] as const;
const TEXTS = [null, '', 'Inbox', 'Sent', '\u202eevil\u0000'] as const;

/** What a provider did, counted as simply as can be. */
interface Provider {
  readonly session: number;
  readonly openUs: number;
  counters: { -readonly [Key in keyof Counters]: Counters[Key] };
  times: { -readonly [Key in keyof InnerTimes]: InnerTimes[Key] };
  newest: NewestCall;
  errors: number;
  warnings: number;
  released: boolean;
}

/** A process with its ring: what it recorded, and what the daemon has acknowledged. */
class Shim {
  readonly id: string;
  readonly frames: (SequencedFrame | { kind: 'unknown'; wireKind: number; seq: number })[] = [];
  readonly providers: Provider[] = [];
  /** The newest that was. */
  released: Provider | undefined;
  readonly lost = { ...NO_LOSSES };
  freed = 0;
  /** The newest frame that was sent on this connection. -1: there is none. */
  sent = -1;
  dead = false;

  constructor(at: number) {
    this.id = `${at}`.padStart(32, '0');
  }

  add(kind: string, nowUs: number, said: object, session = 0): void {
    const header = { seq: this.frames.length + 1, timeUs: nowUs, thread: 7, session };
    this.frames.push({ kind, ...header, ...said } as SequencedFrame);
  }

  slotOf({ session, openUs, counters, times, newest }: Provider): Slot {
    const sums = { counters: { ...counters }, innerTimes: { ...times } };
    return { kind: 'slot', session, timeUs: openUs, ...sums, newest };
  }
}

type Act = readonly [what: number, ring: number, session: number, value: number, pauseUs: number];

/** Providers, the daemon and its journal in one: the last line of `journal` that is durable is `synced`. */
class World {
  readonly shims: Shim[];
  journal: RecordDraft[] = [];
  rings = new Map<string, RingState>();
  nowUs = OPEN_US;
  #synced = 0;
  /** The rings' watermarks behind a line. */
  #marks: { readonly end: number; readonly ring: string; readonly seq: number }[] = [];
  /** Where each segment begins, and where the snapshot at its head ends. */
  readonly #segments = [{ begin: 0, headEnd: 0 }];

  constructor(rings: number) {
    this.shims = Array.from({ length: rings }, (_, at) => new Shim(at + 1));
  }

  readonly #emit = (draft: RecordDraft): void => {
    this.journal.push(draft);
  };

  act([what, at, which, value, pauseUs]: Act): void {
    this.nowUs += pauseUs;
    const shim = this.shims[at % this.shims.length]!;
    if (what < 60) {
      if (!shim.dead) this.#call(shim, which, value);
    } else if (what < 82) this.#deliver(shim, 1 + (value % 20));
    else if (what < 86) this.#sync();
    else if (what < 90) this.#tick();
    else if (what < 93) shim.sent = -1;
    else if (what < 95) this.#rotate();
    else if (what < 98) this.#restart(value % 4 === 0);
    else if (value % 4 === 0) this.#die(shim, which);
  }

  /** Something that a provider does, or that the shim says of it. */
  #call(shim: Shim, which: number, value: number): void {
    const running = shim.providers.filter(({ released }) => !released);
    const provider = running[which % Math.max(running.length, 1)];
    const kind = value % 40;
    if (provider === undefined || (kind === 0 && running.length < 5)) {
      this.#open(shim, value);
      return;
    }
    const { counters, times, session } = provider;
    const sums = (): object => ({ counters: { ...counters }, innerTimes: { ...times } });
    const add = (name: string, said: object): void => shim.add(name, this.nowUs, said, session);
    const text = TEXTS[value % TEXTS.length]!;
    const hresult = HRESULTS[value % HRESULTS.length]!;
    const method = 1 + (value % 3);
    if (kind < 18) {
      const call = ++counters.progress;
      // No frame says so, but for the counters.
      tookInside(provider, 1, value % 7);
      const said = { call, index: value % 101, max: 100, marks: 0, text };
      provider.newest = { ...said, timeUs: this.nowUs };
      // Under pressure only its slot says so.
      if (kind < 4) counters.merged += 1;
      else add('progress', said);
    } else if (kind < 23) {
      const call = ++counters.errors;
      provider[hresult < 0x80000000 ? 'warnings' : 'errors'] += 1;
      add('error', { call, hresult, marks: 0, text });
    } else if (kind === 23) {
      add('done', { call: ++counters.dones, hresult, handle: value % 4 });
    } else if (kind < 26) {
      tookInside(provider, method, value);
      add('inner', { method, call: 1, hresult, durationUs: value });
    } else if (kind === 26) {
      add('blocked', { method, call: 1, sinceUs: this.nowUs - 100 });
    } else if (kind === 27) {
      add('unblocked', { method, call: 1, sinceUs: this.nowUs - 200, durationUs: 200 });
    } else if (kind === 28) add('returned', { hresult, durationUs: value, event: 1 });
    else if (kind < 31) add('note', { key: 'k', value: String(value) });
    else if (kind < 34) add('merged', { ...sums(), newest: provider.newest });
    else if (kind === 34) {
      shim.lost[value % 2 === 0 ? 'progress' : 'others'] += 1;
      shim.add('lost', this.nowUs, { ...shim.lost });
    } else if (kind === 35) shim.add('hole', this.nowUs, { reason: 1 });
    else if (kind === 36) shim.add('clock', this.nowUs, { wallUs: this.#wallUs });
    else if (kind === 37) {
      shim.frames.push({ kind: 'unknown', wireKind: 99, seq: shim.frames.length + 1 });
    } else if (kind === 38) {
      provider.released = true;
      shim.released = provider;
      add('close', sums());
    } else if (kind === 39 && shim.released !== undefined) {
      // After the last Release.
      const { counters: last, session: late } = shim.released;
      shim.add('error', this.nowUs, { call: last.errors + 1, hresult, marks: 0, text }, late);
    }
  }

  #open(shim: Shim, value: number): void {
    const session = shim.frames.length + 1;
    const said = { attach: 1 + (value % 3), flags: value, provider: 'contoso', callback: 1 };
    const store = `Mailbox ${value % 3}`;
    shim.add('open', this.nowUs, { ...said, store, wallUs: this.#wallUs }, session);
    const newest = { call: 0, timeUs: this.nowUs, index: 0, max: 0, marks: 0, text: null };
    shim.providers.push({
      session,
      openUs: this.nowUs,
      counters: { ...NONE },
      times: { ...NO_TIMES },
      newest,
      errors: 0,
      warnings: 0,
      released: false,
    });
  }

  get #wallUs(): number {
    return OPEN_WALL_US + this.nowUs - OPEN_US;
  }

  #ringOf(shim: Shim): RingState {
    const known = this.rings.get(shim.id) ?? newRing({ ...ORIGIN, ring: shim.id });
    this.rings.set(shim.id, known);
    return known;
  }

  /** Sends up to `count` frames, behind `hello` if there is no connection. */
  #deliver(shim: Shim, count: number): void {
    if (shim.dead) return;
    const ring = this.#ringOf(shim);
    if (shim.sent < 0) {
      // Its answer waits for all that came before.
      this.#sync();
      const { freed } = shim;
      shim.sent = onHello(ring, { freed, timeUs: this.nowUs, wallUs: this.#wallUs });
      shim.freed = Math.max(shim.freed, shim.sent);
      this.#slots(shim, ring);
      this.#checkDurable(shim, shim.sent);
    }
    for (const frame of shim.frames.slice(shim.sent, shim.sent + count)) {
      this.#take(ring, frame);
      shim.sent = frame.seq;
    }
    onWritten(ring, ring.received);
  }

  #take(ring: RingState, frame: Shim['frames'][number]): void {
    expect(accept(ring, frame.seq)).toBe('take');
    expect(accept(ring, frame.seq + 1)).toBe('gap');
    takeFrame(ring, frame, this.#emit, this.#wallUs);
    this.#marks.push({ end: this.journal.length, ring: ring.origin.ring, seq: frame.seq });
    expect(accept(ring, frame.seq)).toBe('drop');
  }

  #slots(shim: Shim, ring: RingState): void {
    for (const one of shim.providers) takeSlot(ring, shim.slotOf(one));
  }

  /** The journal is on disk: what it holds is acknowledged. */
  #sync(): void {
    this.#synced = this.journal.length;
    for (const { ring: id, seq } of this.#marks) {
      const ring = this.rings.get(id)!;
      const shim = this.shims.find((one) => one.id === id)!;
      onDurable(ring, seq);
      expect(ring.durable).toBeLessThanOrEqual(ring.received);
      if (shim.sent >= 0) shim.freed = Math.max(shim.freed, ring.durable);
    }
    this.#marks = [];
  }

  #checkDurable(shim: Shim, durable: number): void {
    const kept = new Set(this.journal.filter(({ ring }) => ring === shim.id).map(({ seq }) => seq));
    for (const { kind, seq } of shim.frames.slice(0, durable)) {
      if (/^(open|error|done|inner|note|blocked)$/.test(kind)) expect(kept).toContain(seq);
    }
  }

  #tick(): void {
    for (const ring of this.rings.values()) {
      const newestUs = this.shims
        .find(({ id }) => id === ring.origin.ring)!
        .frames.slice(0, ring.received)
        .findLast((frame) => 'timeUs' in frame);
      const heardUs = newestUs !== undefined && 'timeUs' in newestUs ? newestUs.timeUs : 0;
      for (const session of liveSessions(ring)) {
        tick(session, this.nowUs, this.#emit, { quietUs: 3 * SECOND, heardUs });
      }
    }
  }

  #rotate(): void {
    const begin = this.journal.length;
    for (const ring of this.rings.values()) {
      this.journal.push(...snapshotDrafts(ring, this.#wallUs));
    }
    this.#segments.push({ begin, headEnd: this.journal.length });
  }

  /** @param power Whether what is not synced is lost too, as with the machine's power. */
  #restart(power: boolean): void {
    if (power) this.journal.length = this.#synced;
    // A segment whose snapshot is not whole is read from the one before.
    while (this.#segments.at(-1)!.headEnd > this.journal.length) this.#segments.pop();
    this.#marks = [];
    for (const shim of this.shims) shim.sent = -1;
    const before = this.rings;
    this.rings = this.#fold(this.#segments.at(-1)!.begin);
    if (power) return;
    for (const shim of this.shims) {
      const [was, is] = [before, this.rings].map((rings) => this.#stateOf(shim, rings));
      expect(is).toEqual(was);
    }
  }

  /** What a restart must give back, once the shim has told what its slots say. */
  #stateOf(shim: Shim, rings: ReadonlyMap<string, RingState>): unknown {
    const ring = structuredClone(rings.get(shim.id) ?? newRing({ ...ORIGIN, ring: shim.id }));
    this.#slots(shim, ring);
    return {
      lost: ring.lost,
      holes: ring.holes,
      sessions: liveSessions(ring).map((state) => [
        [state.session, state.id, state.flags, state.provider, state.store, state.attach],
        [state.errors, state.failures, state.warnings, state.oddities, state.dones],
        [state.done, state.returned, state.blocked, state.lastError, state.fired],
        [state.progress, state.merged, state.lost],
        [...state.repeats],
      ]),
    };
  }

  #fold(from: number): Map<string, RingState> {
    const rings = new Map<string, RingState>();
    for (const record of this.journal.slice(from)) {
      foldIntoRings(rings, JSON.parse(JSON.stringify(record)) as RecordDraft);
    }
    return rings;
  }

  /** The process dies, and its ring is adopted. @param which Its session may be about to be closed. */
  #die(shim: Shim, which = -1): void {
    if (shim.dead) return;
    shim.dead = true;
    shim.sent = -1;
    this.#sync();
    const ring = this.#ringOf(shim);
    const { freed } = shim;
    onHello(ring, { freed, timeUs: this.nowUs, wallUs: this.#wallUs });
    for (const frame of shim.frames.slice(freed)) {
      if (accept(ring, frame.seq) === 'take') this.#take(ring, frame);
    }
    shim.lost.errors += 1;
    this.#slots(shim, ring);
    const closing = shim.providers.filter(({ released }) => !released)[which];
    if (closing !== undefined) closeBySlot(ring, shim.slotOf(closing), this.nowUs, this.#emit);
    takeLostCounts(ring, shim.lost, this.#wallUs, this.#emit);
    onWritten(ring, ring.received);
    const facts = { wallUs: this.#wallUs, timeUs: this.nowUs };
    const inside = [{ session: 1, method: 1, thread: 9 }];
    ringGone(ring, facts, inside, this.#emit, () => {});
    this.#sync();
  }

  finish(): void {
    this.nowUs += SECOND;
    for (const shim of this.shims) this.#die(shim);
  }
}

const act: fc.Arbitrary<Act> = fc.tuple(
  fc.nat(99),
  fc.nat(3),
  fc.nat(4),
  fc.nat(9999),
  fc.oneof({ weight: 9, arbitrary: fc.nat(50_000) }, { weight: 1, arbitrary: fc.nat(2 * SECOND) }),
);
const acts = fc.array(act, { minLength: 200, maxLength: 500, size: 'max' });

const RECORD_OF: Readonly<Record<string, string>> = {
  open: 'session.opened',
  done: 'session.done',
  error: 'session.error',
  inner: 'session.inner_slow',
  note: 'session.note',
  blocked: 'session.stalled',
  unblocked: 'session.resumed',
  returned: 'session.returned',
  hole: 'frames.lost',
  lost: 'frames.lost',
};

function checkJournal({ journal, shims }: World): void {
  const records = journal.filter(({ event_name }) => !event_name.startsWith('snapshot.'));
  for (const record of journal) checkRecord(record);
  const ids = records.flatMap(({ event_id }) => event_id ?? []);
  expect(new Set(ids).size).toBe(ids.length);
  for (const shim of shims) {
    const ours = records.filter(({ ring }) => ring === shim.id);
    const seqs = ours.flatMap(({ seq }) => seq ?? []);
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    for (const frame of shim.frames) {
      const name = RECORD_OF[frame.kind];
      if (name === undefined) continue;
      // After the end an Error or a Done is a check.
      const late = /^(error|done)$/.test(frame.kind);
      const told = ours.filter(
        ({ seq, event_name, call, check }) =>
          seq === frame.seq &&
          (event_name === name ||
            (late && check !== undefined && call !== undefined && event_name === 'session.check')),
      );
      expect(told, JSON.stringify(frame)).toHaveLength(1);
    }
    const losses = { ...NO_LOSSES } as Record<string, number>;
    for (const { lost } of ours) {
      if (lost?.reason !== 'full') continue;
      for (const [kind, n] of Object.entries(lost.by_kind)) losses[kind]! += n as number;
    }
    expect(losses).toEqual(shim.lost);
    checkTotals(shim, ours);
  }
}

const METHODS = ['progress', 'error', 'done'] as const;

function tookInside({ counters, times }: Provider, method: number, us: number): void {
  const name = METHODS[method - 1]!;
  times[`${name}Us`] += us;
  times[`${name}MaxUs`] = Math.max(times[`${name}MaxUs`], us);
  counters.innerUs += us;
  counters.innerMaxUs = Math.max(counters.innerMaxUs, us);
}

function checkTotals(shim: Shim, records: readonly RecordDraft[]): void {
  for (const { session, counters, times, errors, warnings, released } of shim.providers) {
    const opened = records.find(({ seq, event_name }) => {
      return seq === session && event_name === 'session.opened';
    });
    const of = records.filter((record) => record.session?.id === opened!.session!.id);
    const ends = of.filter(({ event_name }) => event_name === 'session.ended');
    expect(ends).toHaveLength(1);
    const end = ends[0]!;
    const totals = of.findLast((record) => record.totals !== undefined)!.totals!;
    const calls = of.filter(({ error, call }) => error !== undefined && call !== undefined);
    const told = calls.filter(({ event_name }) => /error|check/.test(event_name));
    expect(told.length).toBeGreaterThanOrEqual(errors + warnings);
    // One that ended before its callback was released said what there was by then.
    if (end.unreleased === true && !released) continue;
    const { progress, merged, innerUs } = counters;
    expect(totals).toMatchObject({ progress, merged, errors, warnings, inner_us: innerUs });
    const inner: Record<string, number> = { ...NO_TIMES };
    for (const [name, { us, max_us }] of Object.entries(totals.inner_by_method ?? {})) {
      const method = name.toLowerCase() as (typeof METHODS)[number];
      inner[`${method}Us`] = us;
      inner[`${method}MaxUs`] = max_us;
    }
    expect(inner).toEqual(times);
  }
}

test(
  'of several rings loses nothing, says nothing twice, and survives restarts',
  () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 4 }), acts, (rings, all) => {
        const world = new World(rings);
        for (const one of all) world.act(one);
        for (const ring of world.rings.values()) {
          for (const session of liveSessions(ring)) liveSession(session, world.nowUs);
        }
        world.finish();
        checkJournal(world);
      }),
      // A history shrinks for minutes; the seed gives it back.
      { numRuns: NUM_RUNS, endOnFailure: true },
    );
  },
  NUM_RUNS * 1000,
);
