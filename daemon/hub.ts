/**
 * What the daemon knows: rings, the sessions in them, and how far the journal is. Frames come in from
 * connections and from the rings of dead processes, by the same rules; records go to the journal,
 * changes to the feed. What a frame means is decided in `protocol/session/`.
 *
 * What always holds: state and records change together, in one turn, so that a snapshot between two
 * turns says exactly what the journal says.
 */
import type { LiveSession, RecordDraft } from '../protocol/records/record.ts';
import { rfc3339 } from '../protocol/records/time.ts';
import { processFields } from '../protocol/session/drafts.ts';
import {
  foldIntoHistory,
  type History,
  historyDrafts,
  usualOf,
} from '../protocol/session/history.ts';
import { liveSession } from '../protocol/session/live.ts';
import {
  accept,
  type CallInside,
  closeBySlot,
  foldIntoRings,
  goneDraft,
  type LostCounts,
  liveSessions,
  newRing,
  onDurable,
  onHello,
  onWritten,
  originOf,
  type RingState,
  ringGone,
  snapshotDrafts,
  takeFrame,
  takeLostCounts,
  takeSlot,
  takeStep,
} from '../protocol/session/ring.ts';
import { takeRun } from '../protocol/session/run.ts';
import {
  END_AFTER_DONE_US,
  excuse,
  type GoneFacts,
  type Origin,
  type SessionState,
  tick,
} from '../protocol/session/session.ts';
import type { ProgressView } from '../protocol/wire/decode.ts';
import { encodeFrame } from '../protocol/wire/encode.ts';
import type { Hello, SequencedFrame, Slot, Unknown } from '../protocol/wire/frames.ts';
import { MAX_SESSIONS_PER_RING } from '../protocol/wire/limits.ts';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';
import type { RingSlot } from '../protocol/wire/ring-file.ts';
import { monotonicUs, wallUs } from './clock.ts';
import type { Feed } from './feed.ts';
import type { Journal } from './journal.ts';
import {
  MAX_ENDED_SHOWN,
  MAX_RINGS,
  MAX_SESSIONS,
  MAX_UNWRITTEN_BYTES,
  MEMORY_RING_GRACE_MS,
  RING_WATERMARK_DAYS,
  TICK_MS,
} from './limits.ts';
import { type ProcessWatch, watchProcess } from './platform/process.ts';
import type { Recorder } from './recorder.ts';
import { REFUSAL } from './refusals.ts';
import type { ShimPeer } from './shims.ts';

/** One ring and who brings its frames. */
export interface RingEntry {
  readonly state: RingState;
  /** The connection whose frames count; at most one. */
  peer: ShimPeer | undefined;
  watch: ProcessWatch | undefined;
  /** The newest; undefined if the ring was only ever read from its file. */
  hello: Hello | undefined;
  /** Its process is gone, and a record says so. */
  gone: boolean;
  /** When there was last a connection, or its file was read. */
  seenWallUs: number;
  /** Monotonic; since when there is no connection. */
  lostUs: number;
  /** Monotonic; when frames were last taken, and the time of the newest of them. */
  tookUs: number;
  newestUs: number;
}

export interface HubDeps {
  readonly journal: () => Journal;
  readonly feed: () => Feed;
  readonly recorder: Recorder;
  readonly quietUs?: number | undefined;
  /** Is there a file of this ring? Then adoption finds out when its owner dies. */
  readonly hasRingFile: (ring: string) => boolean;
  /** A frame was counted and has no effect; nothing else happens to its ring. */
  readonly rejected: (error: ProtocolError) => void;
}

const DAY_US = 86_400_000_000;
/** A clock that jumped so far since the last tick was held up or asleep. */
const SLEPT_US = 3 * TICK_MS * 1000;
/** Windows: an exit code from here on is an exception that nobody caught. */
const FIRST_CRASH_CODE = 0xc0000000;
/** Changes that a client sees at once. */
const URGENT: ReadonlySet<string> = new Set([
  'open',
  'error',
  'done',
  'close',
  'blocked',
  'unblocked',
]);

export class Hub {
  readonly #deps: HubDeps;
  readonly #rings = new Map<string, RingEntry>();
  /** Sessions that have not ended, by public id. */
  readonly #live = new Map<string, SessionState>();
  /** How the last ones ended, oldest first. */
  readonly #ended = new Map<string, LiveSession>();
  readonly #toAcknowledge = new Set<RingEntry>();
  /** What syncs of each store are usually like. */
  #history: History = new Map();
  #drafts: RecordDraft[] = [];
  #lastTickUs = monotonicUs();
  #paused = false;
  #turnWallUs = 0;
  /** Frames that had been taken before. */
  dropped = 0;

  constructor(deps: HubDeps) {
    this.#deps = deps;
  }

  get rings(): ReadonlyMap<string, RingEntry> {
    return this.#rings;
  }

  get liveCount(): number {
    return this.#live.size;
  }

  // What the journal says, before anything else.

  /** Takes over what was folded from the journal. */
  restore(
    rings: ReadonlyMap<string, RingState>,
    notes: ReadonlyMap<string, RingNote>,
    history: History = new Map(),
  ): void {
    this.#history = history;
    const nowUs = monotonicUs();
    for (const [id, state] of rings) {
      const note = notes.get(id);
      const entry = this.#newEntry(state);
      entry.gone = note?.gone ?? false;
      entry.seenWallUs = note?.seenWallUs ?? wallUs();
      this.#rings.set(id, entry);
      for (const session of liveSessions(state)) {
        // What it did while no daemon ran is not known.
        excuse(session, Math.max(0, nowUs - session.lastCallUs - session.excusedUs));
        session.usual = usualOf(this.#history, session) ?? null;
        this.#live.set(session.id, session);
      }
    }
  }

  /** The state as records, one after the other: what a segment of the journal opens with. */
  *snapshot(): Generator<RecordDraft> {
    const now = wallUs();
    const time = rfc3339(now);
    yield { event_name: 'snapshot.begin', level: 'debug', time, msg: 'Snapshot' };
    for (const entry of this.#rings.values()) {
      for (const draft of snapshotDrafts(entry.state, now)) {
        if (draft.event_name !== 'snapshot.ring') yield draft;
        else yield { ...draft, detail: { gone: entry.gone, seen_us: entry.seenWallUs } };
      }
    }
    yield* historyDrafts(this.#history, now);
    yield { event_name: 'snapshot.end', level: 'debug', time, msg: 'Snapshot' };
  }

  // Connections.

  /** A shim introduced itself. Its frames are taken once it was answered. */
  hello(hello: Hello, peer: ShimPeer): RingEntry {
    const entry = this.#entryOf(originOf(hello));
    this.fence(entry);
    entry.peer = peer;
    entry.hello = hello;
    entry.tookUs = monotonicUs();
    entry.gone = false;
    entry.watch ??= watchProcess(hello.pid);
    const { origin } = entry.state;
    this.#deps.journal().append([
      {
        event_name: 'process.connected',
        level: 'info',
        time: rfc3339(wallUs()),
        msg: `${origin.executable} (pid ${origin.pid}) connected`,
        process: processFields(origin),
        ring: origin.ring,
        shim_version: origin.shimVersion,
        detail: { memory: hello.memory === 1, clock_resolution_us: hello.clockResolutionUs },
      },
    ]);
    // Behind everything that an earlier connection of this ring brought.
    this.#deps.journal().barrier(() => {
      if (entry.peer === peer) peer.acknowledge(onHello(entry.state, hello));
    });
    return entry;
  }

  /** Ends the connection of a ring, if there is one: somebody else brings its frames from now on. */
  fence(entry: RingEntry): void {
    const { peer } = entry;
    entry.peer = undefined;
    peer?.refuse(REFUSAL.replaced, 'Another connection, or adoption, took over this ring');
  }

  /**
   * Takes a call of `Progress` that ends at `end`, and those behind it that only move the same bar on.
   *
   * @returns where the first frame begins that was not taken.
   * @throws {ProtocolError} `gap`.
   */
  takeProgress(entry: RingEntry, frame: ProgressView, bytes: Uint8Array, end: number): number {
    const { state } = entry;
    const { received } = state;
    let session = takeStep(state, frame);
    if (!session) {
      this.take(entry, frame);
      session = state.sessions.get(frame.session);
      if (state.received === received || !session) return end;
    }
    const at = takeRun(state, session, frame, bytes, end);
    if (session.lastCallUs > entry.newestUs) entry.newestUs = session.lastCallUs;
    this.#deps.feed().sessionMoved(session);
    return at;
  }

  /** @throws {ProtocolError} `gap`, `limit`. */
  take(entry: RingEntry, frame: SequencedFrame | ProgressView): void {
    switch (accept(entry.state, frame.seq)) {
      case 'take':
        this.#takeNext(entry, frame);
        return;
      case 'drop':
        this.dropped += 1;
        return;
      case 'gap': {
        const want = `seq ${entry.state.received + 1}`;
        throw new ProtocolError('gap', `Cannot take frame: expected ${want}, got ${frame.seq}`);
      }
    }
  }

  slot(entry: RingEntry, slot: Slot): void {
    const session = takeSlot(entry.state, slot);
    if (session) this.#deps.feed().sessionMoved(session);
  }

  /** A kind from a newer shim. It has its place in the sequence if we could read one. */
  unknown(entry: RingEntry, frame: Unknown): void {
    if (frame.seq > 0) this.take(entry, frame as never);
    else entry.state.unknown += 1;
  }

  /** The frames of one chunk were taken. @param always Answer even if there is nothing new. */
  turn(entry: RingEntry, peer: ShimPeer, always: boolean): void {
    if (entry.peer !== peer) return;
    const { state } = entry;
    if (state.received === state.written && !always) return;
    const seq = state.received;
    onWritten(state, seq);
    entry.tookUs = monotonicUs();
    const journal = this.#deps.journal();
    journal.barrier(() => {
      if ((onDurable(state, seq) || always) && entry.peer === peer) this.#acknowledge(entry);
    });
    if (journal.backlogBytes > MAX_UNWRITTEN_BYTES) this.#pause();
  }

  leave(entry: RingEntry, peer: ShimPeer): void {
    if (entry.peer !== peer) return;
    entry.peer = undefined;
    entry.lostUs = monotonicUs();
    entry.seenWallUs = wallUs();
  }

  /** The daemon is stopping: each shim gets what is durable by then, and goodbye. */
  farewell(): void {
    for (const entry of this.#rings.values()) {
      if (!entry.peer) continue;
      entry.peer.farewell();
      this.turn(entry, entry.peer, true);
    }
  }

  /** The journal has written some: peers that were held back may go on. */
  relieved(): void {
    if (!this.#paused || this.#deps.journal().backlogBytes > MAX_UNWRITTEN_BYTES / 2) return;
    this.#paused = false;
    for (const { peer } of this.#rings.values()) peer?.resume();
  }

  #pause(): void {
    this.#paused = true;
    for (const { peer } of this.#rings.values()) peer?.pause();
  }

  /** One acknowledgement for all that one batch of the journal made durable. */
  #acknowledge(entry: RingEntry): void {
    if (this.#toAcknowledge.size === 0) {
      queueMicrotask(() => {
        for (const { peer, state } of this.#toAcknowledge) peer?.acknowledge(state.durable);
        this.#toAcknowledge.clear();
      });
    }
    this.#toAcknowledge.add(entry);
  }

  #takeNext(entry: RingEntry, frame: SequencedFrame | ProgressView): void {
    if (frame.kind === 'open' && this.#isFull(entry.state)) {
      // Not this ring's fault: its connection stays, and its calls are counted.
      entry.state.received = frame.seq;
      entry.state.orphans += 1;
      const want = `at most ${MAX_SESSIONS} live sessions of all rings`;
      this.#deps.rejected(
        new ProtocolError('limit', `Cannot open session: expected ${want}, got one more`),
      );
      return;
    }
    const session = takeFrame(entry.state, frame, this.#collect, this.#nowWallUs());
    if (frame.timeUs > entry.newestUs) entry.newestUs = frame.timeUs;
    this.#append();
    if (!session) return;
    if (frame.kind === 'open') session.usual = usualOf(this.#history, session) ?? null;
    if (frame.kind === 'progress') this.#deps.feed().sessionMoved(session);
    else this.#changed(session, URGENT.has(frame.kind));
  }

  /** All rings together have their sessions, and this one not yet its share, beyond which it is refused. */
  #isFull(ring: RingState): boolean {
    return (
      this.#live.size >= MAX_SESSIONS && [...liveSessions(ring)].length < MAX_SESSIONS_PER_RING
    );
  }

  /** The wall clock, read once a turn: a million frames a second ask for it. */
  #nowWallUs(): number {
    if (this.#turnWallUs === 0) {
      this.#turnWallUs = wallUs();
      setImmediate(() => {
        this.#turnWallUs = 0;
      });
    }
    return this.#turnWallUs;
  }

  readonly #collect = (draft: RecordDraft): void => {
    this.#drafts.push(draft);
  };

  #append(): void {
    if (this.#drafts.length === 0) return;
    const drafts = this.#drafts;
    this.#drafts = [];
    for (const draft of drafts) foldIntoHistory(this.#history, draft);
    this.#deps.journal().append(drafts);
  }

  /** Appends what no frame caused, as a group of its own. */
  #appendDecision(): void {
    const of = this.#drafts.length;
    if (of > 1) {
      this.#drafts = this.#drafts.map((draft, at) => ({ ...draft, group: { n: at + 1, of } }));
    }
    this.#append();
  }

  #changed(session: SessionState, urgent: boolean): void {
    if (session.ended) {
      if (!this.#live.delete(session.id)) return;
      const end = liveSession(session, monotonicUs());
      this.#ended.set(session.id, end);
      if (this.#ended.size > MAX_ENDED_SHOWN) this.#ended.delete(first(this.#ended.keys()));
      this.#deps.feed().sessionChanged(session.id, true, end);
      return;
    }
    this.#live.set(session.id, session);
    this.#deps.feed().sessionChanged(session.id, urgent);
  }

  // Rings whose processes are gone.

  /** The entry that a dead ring's frames go to. */
  entryOfDead(origin: Origin): RingEntry {
    const entry = this.#entryOf(origin);
    this.fence(entry);
    return entry;
  }

  /** Takes what a dead ring holds, by the rules of the wire. */
  adopt(
    entry: RingEntry,
    from: {
      readonly hello: Pick<Hello, 'freed' | 'timeUs' | 'wallUs'>;
      readonly frames: Iterable<SequencedFrame | Unknown>;
      readonly slots: readonly RingSlot[];
      readonly lost: LostCounts;
      /** Its process lived until then at least. */
      readonly lastSeenUs: number;
    },
  ): number {
    onHello(entry.state, from.hello);
    let taken = 0;
    for (const frame of from.frames) {
      if (accept(entry.state, frame.seq) !== 'take') continue;
      const { recorder } = this.#deps;
      if (recorder.isOn && frame.kind !== 'unknown') {
        recorder.take(entry, frame, encodeFrame(frame));
      }
      try {
        this.#takeNext(entry, frame as SequencedFrame);
        taken += 1;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        // There is no room for this session, and nobody who could send it again.
        entry.state.received = frame.seq;
        entry.state.orphans += 1;
      }
    }
    for (const slot of from.slots) {
      this.slot(entry, slot);
      if (slot.closing) this.#close(entry, slot, from.lastSeenUs);
    }
    takeLostCounts(entry.state, from.lost, wallUs(), this.#collect);
    this.#appendDecision();
    onWritten(entry.state, entry.state.received);
    return taken;
  }

  /** The callback was released, and the process ended before a frame could say so. */
  #close(entry: RingEntry, slot: RingSlot, timeUs: number): void {
    const session = closeBySlot(entry.state, slot, timeUs, this.#collect);
    if (!session) return;
    this.#appendDecision();
    this.#changed(session, true);
    this.#deps.recorder.ended(session.id, 'closed');
  }

  /** Everything that a dead ring held is durable. */
  adopted(entry: RingEntry): void {
    onDurable(entry.state, entry.state.received);
  }

  /** The process of a ring is gone, and with it its sessions. */
  gone(entry: RingEntry, inside: readonly CallInside[], sameBoot: boolean): void {
    const { state } = entry;
    const code = entry.watch?.exitCode();
    const facts: GoneFacts = {
      wallUs: wallUs(),
      ...(sameBoot ? { timeUs: monotonicUs() } : {}),
      ...(code === undefined ? {} : { exitCode: code, crashed: code >= FIRST_CRASH_CODE }),
    };
    ringGone(state, facts, inside, this.#collect, (session) => {
      this.#appendDecision();
      this.#changed(session, true);
      this.#deps.recorder.ended(session.id, 'gone');
    });
    entry.watch?.close();
    entry.watch = undefined;
    entry.seenWallUs = wallUs();
    if (entry.gone) return;
    entry.gone = true;
    this.#deps.journal().append([goneDraft(state.origin, facts, inside)]);
  }

  // Time.

  tick(): void {
    const nowUs = monotonicUs();
    const passedUs = nowUs - this.#lastTickUs;
    this.#lastTickUs = nowUs;
    const held = this.#deps.journal().state === 'full' || this.#paused || passedUs > SLEPT_US;
    const { quietUs } = this.#deps;
    for (const session of this.#live.values()) {
      // While a shim is away nobody knows what its provider does.
      const knows = !held && this.#rings.get(session.origin.ring)?.peer !== undefined;
      if (!knows) excuse(session, passedUs);
      // A stall may be said sooner than the end after Done.
      const soonUs = session.done === null ? (quietUs ?? END_AFTER_DONE_US) : END_AFTER_DONE_US;
      const afterUs = Math.min(soonUs, END_AFTER_DONE_US);
      const heardUs = this.#heardUs(session.origin.ring, nowUs, afterUs);
      tick(session, nowUs, this.#collect, { quietUs, heardUs });
      const decided = this.#drafts.length > 0;
      this.#appendDecision();
      // Ages are part of the picture, so it changes with time.
      this.#changed(session, decided);
      if (session.ended) this.#deps.recorder.ended(session.id, 'done');
    }
    this.#tickRings(nowUs);
  }

  /**
   * Up to when everything that a ring holds was taken. A shim sends at once what there is, so one that
   * has its acknowledgements and stays silent for `afterUs` has no more; while it is away its ring may
   * hold anything.
   */
  #heardUs(ring: string, nowUs: number, afterUs: number): number {
    const entry = this.#rings.get(ring);
    if (!entry) return nowUs;
    const { peer, state, tookUs, newestUs } = entry;
    const owes = !peer || this.#paused || state.durable < state.received;
    return owes || nowUs - tookUs < afterUs ? newestUs : nowUs;
  }

  #tickRings(nowUs: number): void {
    const oldestUs = wallUs() - RING_WATERMARK_DAYS * DAY_US;
    for (const [id, entry] of this.#rings) {
      if (entry.peer) continue;
      if (entry.gone) {
        if (entry.seenWallUs < oldestUs) this.#rings.delete(id);
        continue;
      }
      if (this.#deps.hasRingFile(id)) continue;
      // Its ring died with it, or will never be found: only the connection could have told more. A
      // process that has nothing to say may stay away for as long as it lives.
      const dead = entry.watch?.isAlive() === false;
      const late = nowUs - entry.lostUs > MEMORY_RING_GRACE_MS * 1000;
      const missed = !entry.watch || liveSessions(entry.state).length > 0;
      if (dead || (late && missed)) this.gone(entry, [], true);
    }
  }

  // What clients see.

  /** The last that ended, then those that run. */
  *sessionIds(): Generator<string> {
    yield* this.#ended.keys();
    yield* this.#live.keys();
  }

  liveSession(id: string): LiveSession | undefined {
    const session = this.#live.get(id);
    return session ? liveSession(session, monotonicUs()) : this.#ended.get(id);
  }

  #entryOf(origin: Origin): RingEntry {
    const known = this.#rings.get(origin.ring);
    if (known) return known;
    if (this.#rings.size >= MAX_RINGS) this.#forgetOne();
    const entry = this.#newEntry(newRing(origin));
    this.#rings.set(origin.ring, entry);
    return entry;
  }

  #newEntry(state: RingState): RingEntry {
    return {
      state,
      peer: undefined,
      watch: undefined,
      hello: undefined,
      gone: false,
      seenWallUs: wallUs(),
      lostUs: monotonicUs(),
      tookUs: monotonicUs(),
      newestUs: 0,
    };
  }

  /** Of the rings that are gone the one known longest; a map keeps the order. */
  #forgetOne(): void {
    for (const [id, entry] of this.#rings) {
      if (!entry.gone) continue;
      this.#rings.delete(id);
      return;
    }
    throw new ProtocolError('limit', `Cannot take ring: ${MAX_RINGS} are known`);
  }
}

/** What the journal says of a ring besides its frames. */
export interface RingNote {
  readonly gone: boolean;
  readonly seenWallUs: number;
}

/** Folds the journal's records into rings, for `Hub.restore()`. */
export class Fold {
  readonly rings = new Map<string, RingState>();
  readonly notes = new Map<string, RingNote>();
  readonly history: History = new Map();

  take(record: RecordDraft): void {
    foldIntoRings(this.rings, record);
    foldIntoHistory(this.history, record);
    const { ring, event_name: name, detail } = record;
    if (ring === undefined) return;
    const seenWallUs = typeof detail?.seen_us === 'number' ? detail.seen_us : wallUs();
    if (name === 'snapshot.ring') this.notes.set(ring, { gone: detail?.gone === true, seenWallUs });
    if (name === 'process.gone') this.notes.set(ring, { gone: true, seenWallUs });
    if (name === 'process.connected') this.notes.set(ring, { gone: false, seenWallUs });
  }
}

const first = <T>(values: Iterator<T>): T => values.next().value as T;
