import type { Level, RecordDraft } from '../records/record.ts';
import { rfc3339 } from '../records/time.ts';
import type { ProgressView } from '../wire/decode.ts';
import type { Hello, Hole, Lost, SequencedFrame, Slot, Unknown } from '../wire/frames.ts';
import { MAX_SESSIONS_PER_RING } from '../wire/limits.ts';
import { ProtocolError } from '../wire/protocol-error.ts';
import { judgeOverlap } from './contract.ts';
import type { Draft } from './drafts.ts';
import { label, methodName, processFields, sessionFields } from './drafts.ts';
import type { Emit, GoneFacts, SessionFrame } from './session.ts';
import { applyFrame, applySlot, openSession, processGone, setClock } from './session.ts';
import { foldRecord, snapshotSession } from './snapshot.ts';
import type { Origin, SessionState } from './state.ts';
import { hasCalls } from './state.ts';
import { stepBar } from './step.ts';

/**
 * One ring: how far its stream has come, and its sessions. Pure; a plain object of its owner, changed in
 * place.
 *
 *   received   accepted and applied to the sessions
 *   written    its records are handed to the journal
 *   durable    its records are in the journal: what `welcome` and `ack` carry
 *
 * Always `durable <= written <= received`.
 */
export interface RingState {
  readonly origin: Origin;
  received: number;
  written: number;
  durable: number;
  /** Wall clock minus monotonic clock at the newest anchor; null before the first. */
  clockOffsetUs: number | null;
  /** As the shim counted them, so that each loss is told once. */
  readonly lost: LostCounts;
  holes: number;
  /** Frames of kinds that we do not know. */
  unknown: number;
  /** Frames of sessions that we do not know, or know no more. */
  orphans: number;
  /**
   * By the seq of their `open`. One that ended stays until it is released, and the last
   * `MAX_RELEASED` of those stay too, so that a call that comes all the same is known.
   */
  readonly sessions: Map<number, SessionState>;
}

export interface LostCounts {
  opens: number;
  progress: number;
  errors: number;
  dones: number;
  others: number;
}

export const MAX_RELEASED = 8;

const LOST_KINDS = ['opens', 'progress', 'errors', 'dones', 'others'] as const;

/** What a frame's place in the sequence asks for. `gap`: the connection must be closed. */
export type Acceptance = 'take' | 'drop' | 'gap';

export function newRing(origin: Origin): RingState {
  return {
    origin,
    received: 0,
    written: 0,
    durable: 0,
    clockOffsetUs: null,
    lost: { opens: 0, progress: 0, errors: 0, dones: 0, others: 0 },
    holes: 0,
    unknown: 0,
    orphans: 0,
    sessions: new Map(),
  };
}

export function originOf(
  hello: Pick<Hello, 'ring' | 'pid' | 'bits' | 'executable' | 'shimVersion'>,
): Origin {
  return {
    ring: hello.ring,
    pid: hello.pid,
    arch: hello.bits === 32 ? 'x86' : 'x64',
    executable: hello.executable,
    shimVersion: hello.shimVersion,
  };
}

/**
 * A producer of this ring is back, or its dead ring is read: everything up to `freed` is gone there.
 * Call it once what the ring's former connection brought is durable, so that nothing is in flight.
 *
 * @returns What `welcome` carries.
 */
export function onHello(
  ring: RingState,
  hello: Pick<Hello, 'freed' | 'timeUs' | 'wallUs'>,
): number {
  ring.durable = Math.max(ring.durable, hello.freed);
  ring.written = Math.max(ring.written, ring.durable);
  ring.received = Math.max(ring.received, ring.durable);
  anchor(ring, hello.wallUs - hello.timeUs);
  return ring.durable;
}

/** Looks only; `takeFrame()` moves on. */
export function accept(ring: RingState, seq: number): Acceptance {
  if (seq === ring.received + 1) return 'take';
  return seq <= ring.received ? 'drop' : 'gap';
}

/** Everything up to `seq` was handed to the journal. */
export function onWritten(ring: RingState, seq: number): void {
  ring.written = Math.max(ring.written, Math.min(seq, ring.received));
}

/**
 * Everything up to `seq` is in the journal.
 *
 * @returns Whether there is something new to acknowledge: `ring.durable`.
 */
export function onDurable(ring: RingState, seq: number): boolean {
  onWritten(ring, seq);
  const durable = Math.min(seq, ring.written);
  if (durable <= ring.durable) return false;
  ring.durable = durable;
  return true;
}

/** Drafts of the frame being taken. Taking never nests. */
const drafts: Draft[] = [];
const collect: Emit = (draft) => {
  drafts.push(draft);
};

/**
 * Takes a frame that `accept()` said to take: routes it, and gives its records their ids, as one group.
 *
 * @param observedWallUs When it was read, if that may be long after it was made.
 * @returns The session that it changed, if any.
 * @throws {ProtocolError} `limit` for an `open` above `MAX_SESSIONS_PER_RING`; nothing is changed then.
 */
export function takeFrame(
  ring: RingState,
  frame: SequencedFrame | ProgressView | Unknown,
  emit: Emit,
  observedWallUs?: number,
): SessionState | undefined {
  const { seq } = frame;
  const session = route(ring, frame);
  ring.received = seq;
  if (drafts.length > 0) stamp(ring, seq, emit, observedWallUs);
  return session;
}

/**
 * Takes a frame if it is the next one and only moves a bar on, as `takeFrame()` would, but faster.
 *
 * @returns The session that it changed; `undefined`, with nothing changed, if it is for `takeFrame()`.
 */
export function takeStep(ring: RingState, frame: ProgressView): SessionState | undefined {
  if (frame.seq !== ring.received + 1) return undefined;
  const session = ring.sessions.get(frame.session);
  if (session === undefined || !stepBar(session, frame)) return undefined;
  ring.received = frame.seq;
  return session;
}

/** Takes a slot of this ring. */
export function takeSlot(ring: RingState, slot: Slot): SessionState | undefined {
  const session = ring.sessions.get(slot.session);
  if (session !== undefined) applySlot(session, slot);
  return session;
}

/** Takes the loss counters of a dead ring's header: what no `lost` frame could say any more. */
export function takeLostCounts(
  ring: RingState,
  counts: Readonly<LostCounts>,
  atWallUs: number,
  emit: Emit,
): void {
  const byKind = grownLosses(ring, counts);
  if (byKind !== undefined) emit(lostDraft(ring, 'full', byKind, rfc3339(atWallUs)));
}

/** A call that was inside Outlook's callback when its process ended. */
export interface CallInside {
  readonly session: number;
  readonly method: number;
  readonly thread: number;
}

/**
 * Ends a session whose callback was released, though the process ended before a frame could say so.
 *
 * @param slot As the dead ring has it.
 * @param timeUs Its process lived until then at least.
 * @returns The session, if it was there.
 */
export function closeBySlot(
  ring: RingState,
  slot: Slot,
  timeUs: number,
  emit: Emit,
): SessionState | undefined {
  const session = ring.sessions.get(slot.session);
  if (session === undefined) return undefined;
  const { counters } = slot;
  const header = { seq: 0, timeUs, thread: 0, session: slot.session };
  applyFrame(session, { kind: 'close', ...header, counters }, emit);
  ring.sessions.delete(slot.session);
  return session;
}

/**
 * The process of this ring has ended: so have its sessions, one after the other.
 *
 * @param ended Told of each once its records were emitted. The state is whole then: a snapshot may follow.
 */
export function ringGone(
  ring: RingState,
  facts: GoneFacts,
  inside: readonly CallInside[],
  emit: Emit,
  ended: (session: SessionState) => void,
): void {
  for (const [key, session] of ring.sessions) {
    const inCallback = inside.filter((call) => call.session === key);
    processGone(session, { ...facts, inCallback }, emit);
    ring.sessions.delete(key);
    ended(session);
  }
}

/** What the journal says of the end of a ring's process. */
export function goneDraft(
  origin: Origin,
  facts: GoneFacts,
  inside: readonly CallInside[],
): RecordDraft {
  const { exitCode: code, crashed } = facts;
  const inCallback = inside.map(({ method, thread }) => ({
    method: methodName(method),
    thread,
  }));
  const exit = {
    ...(code === undefined ? {} : { code }),
    ...(crashed === undefined ? {} : { crashed }),
    ...(inCallback.length === 0 ? {} : { in_callback: inCallback }),
  };
  const how = crashed ? 'crashed' : 'ended';
  const detail = code === undefined ? '' : ` with exit code ${code}`;
  return {
    event_name: 'process.gone',
    level: 'warn',
    time: rfc3339(facts.wallUs),
    msg: `${origin.executable} (pid ${origin.pid}) ${how}${detail}`,
    process: processFields(origin),
    ring: origin.ring,
    ...(Object.keys(exit).length === 0 ? {} : { exit }),
  };
}

/** Sessions that have not ended. */
export function liveSessions(ring: RingState): SessionState[] {
  return [...ring.sessions.values()].filter(({ ended }) => ended === null);
}

/** The session of the same store that still runs, if there is one. What has no label is no store. */
export function overlapOf(
  sessions: Iterable<SessionState>,
  opened: Pick<SessionState, 'provider' | 'store' | 'session'>,
): SessionState | undefined {
  if (opened.store === null || opened.store === '') return undefined;
  for (const other of sessions) {
    const same = other.store === opened.store && other.provider === opened.provider;
    const runs = other.ended === null && other.dones === 0 && hasCalls(other);
    if (same && runs && other.session !== opened.session) return other;
  }
  return undefined;
}

/** Drops sessions that have ended. Their late calls are then orphans. */
export function forgetEnded(ring: RingState): void {
  for (const [key, session] of ring.sessions) {
    if (session.ended !== null) ring.sessions.delete(key);
  }
}

/** The monotonic clock's place on the wall clock; 0 before the first anchor. */
export function wallUsOf(ring: RingState, timeUs: number): number {
  return timeUs + (ring.clockOffsetUs ?? 0);
}

function route(
  ring: RingState,
  frame: SequencedFrame | ProgressView | Unknown,
): SessionState | undefined {
  switch (frame.kind) {
    case 'open': {
      if (ring.sessions.size >= MAX_SESSIONS_PER_RING) forgetEnded(ring);
      if (ring.sessions.size >= MAX_SESSIONS_PER_RING) {
        const want = `at most ${MAX_SESSIONS_PER_RING} sessions of one ring`;
        throw new ProtocolError('limit', `Cannot open session: expected ${want}, got one more`);
      }
      const session = openSession(frame, ring.origin, collect);
      const other = overlapOf(ring.sessions.values(), session);
      if (other !== undefined) judgeOverlap(session, other, frame, collect);
      ring.sessions.set(session.session, session);
      anchor(ring, frame.wallUs - frame.timeUs);
      return session;
    }
    case 'clock':
      anchor(ring, frame.wallUs - frame.timeUs);
      return undefined;
    case 'lost':
      takeLost(ring, frame);
      return undefined;
    case 'hole':
      takeHole(ring, frame);
      return undefined;
    case 'unknown':
      ring.unknown += 1;
      return undefined;
    default:
      return routeToSession(ring, frame);
  }
}

function routeToSession(ring: RingState, frame: SessionFrame): SessionState | undefined {
  const session = ring.sessions.get(frame.session);
  if (session === undefined) {
    ring.orphans += 1;
    return undefined;
  }
  applyFrame(session, frame, collect);
  if (frame.kind === 'close') dropReleased(ring);
  return session;
}

function dropReleased(ring: RingState): void {
  const released = [...ring.sessions.values()].filter((session) => session.released);
  for (const { session } of released.slice(0, -MAX_RELEASED)) ring.sessions.delete(session);
}

function anchor(ring: RingState, offsetUs: number): void {
  ring.clockOffsetUs = offsetUs;
  for (const session of ring.sessions.values()) setClock(session, offsetUs);
}

function takeLost(ring: RingState, frame: Lost): void {
  const byKind = grownLosses(ring, frame);
  if (byKind === undefined) return;
  collect(lostDraft(ring, 'full', byKind, rfc3339(wallUsOf(ring, frame.timeUs)), frame));
}

/** What the shim counted since it last said so; `undefined` for nothing. */
function grownLosses(
  ring: RingState,
  counts: Readonly<LostCounts>,
): Record<string, number> | undefined {
  const byKind: Record<string, number> = {};
  for (const kind of LOST_KINDS) {
    const grown = counts[kind] - ring.lost[kind];
    if (grown <= 0) continue;
    byKind[kind] = grown;
    ring.lost[kind] = counts[kind];
  }
  return Object.keys(byKind).length === 0 ? undefined : byKind;
}

function takeHole(ring: RingState, frame: Hole): void {
  ring.holes += 1;
  const time = rfc3339(wallUsOf(ring, frame.timeUs));
  collect(lostDraft(ring, 'hole', { unknown: 1 }, time, frame));
}

function lostDraft(
  ring: RingState,
  reason: 'full' | 'hole',
  byKind: Record<string, number>,
  time: string,
  frame?: { readonly seq: number; readonly timeUs: number },
): RecordDraft {
  const words = Object.entries(byKind).map(([kind, n]) => `${n} ${kind}`);
  const level: Level = 'error';
  return {
    event_name: 'frames.lost',
    level,
    time,
    msg:
      reason === 'hole'
        ? 'A thread ended while it recorded a call: one frame is lost'
        : `The ring was full, frames are lost: ${words.join(', ')}`,
    process: processFields(ring.origin),
    ring: ring.origin.ring,
    ...(frame === undefined ? {} : { seq: frame.seq, mono_us: frame.timeUs }),
    lost: { by_kind: byKind, reason },
  };
}

function stamp(ring: RingState, seq: number, emit: Emit, observedWallUs: number | undefined): void {
  const of = drafts.length;
  for (let at = 0; at < of; at += 1) {
    const draft = drafts[at] as Draft;
    draft.event_id = `${ring.origin.ring}-${seq}-${at + 1}`;
    if (of > 1) draft.group = { n: at + 1, of };
    if (observedWallUs !== undefined) observe(draft, observedWallUs);
    emit(draft);
  }
  drafts.length = 0;
}

/** Of the newest time of reading: all frames of a turn have the same. */
let observedUs = -1;
let observed = '';
let onTime = '';

/** Notes when a record was read, if that was late. */
function observe(draft: Draft, wallUs: number): void {
  if (wallUs !== observedUs) {
    observedUs = wallUs;
    observed = rfc3339(wallUs);
    onTime = rfc3339(wallUs - OBSERVED_LATE_US);
  }
  // Both are UTC of one length, so they compare as text.
  if (draft.time < onTime) draft.observed_time = observed;
}

/** What was read later than this after it was made says so. */
const OBSERVED_LATE_US = 1_000_000;

/**
 * What stands at the head of a segment about this ring: a `snapshot.ring`, and a `snapshot.session` for
 * each session that it keeps. It says that everything received so far is in the journal, so it must be
 * appended behind the records of all frames that were taken, and before those of the next one.
 */
export function snapshotDrafts(ring: RingState, atWallUs: number): RecordDraft[] {
  const { origin, received, clockOffsetUs, lost, holes, unknown, orphans } = ring;
  const common = {
    level: 'debug',
    time: rfc3339(atWallUs),
    process: processFields(origin),
    ring: origin.ring,
  } as const;
  const ringDraft: RecordDraft = {
    ...common,
    event_name: 'snapshot.ring',
    msg: `Ring at ${received}`,
    shim_version: origin.shimVersion,
    state: { origin, durable: received, clockOffsetUs, lost: { ...lost }, holes, unknown, orphans },
  };
  return [
    ringDraft,
    ...[...ring.sessions.values()].map(
      (session): RecordDraft => ({
        ...common,
        event_name: 'snapshot.session',
        msg: `${label(session)}: ${session.ended?.outcome ?? 'running'}`,
        trace_id: session.traceId,
        span_id: session.id,
        trace_flags: 1,
        session: sessionFields(session),
        state: snapshotSession(session),
      }),
    ),
  ];
}

/**
 * Takes the next record of the journal into the rings that it is about. After the last one, `rings` is
 * what a daemon goes on with: everything that the journal has is durable, nothing more was received.
 *
 * @param rings By ring id.
 */
export function foldIntoRings(rings: Map<string, RingState>, record: RecordDraft): void {
  const id = record.ring;
  if (id === undefined || !/^[0-9a-f]{32}$/.test(id)) return;
  let ring = rings.get(id);
  if (record.event_name === 'snapshot.ring') {
    ring = restoreRing(id, record) ?? ring;
  } else if (ring === undefined) {
    ring = newRing(originOfRecord(id, record));
  }
  if (ring === undefined) return;
  rings.set(id, ring);
  settle(ring, record.seq ?? 0);
  if (record.event_name === 'frames.lost') foldLost(ring, record);
  if (record.session !== undefined) foldSession(ring, record, record.session.id);
  if (record.event_name === 'process.gone') ring.sessions.clear();
}

function settle(ring: RingState, seq: number): void {
  ring.durable = Math.max(ring.durable, seq);
  ring.written = ring.durable;
  ring.received = ring.durable;
}

function foldSession(ring: RingState, record: RecordDraft, id: string): void {
  const known = [...ring.sessions.values()].find((session) => session.id === id);
  const next = foldRecord(known, record);
  if (next === undefined) {
    if (known !== undefined) ring.sessions.delete(known.session);
    return;
  }
  if (known === undefined && ring.sessions.size >= MAX_SESSIONS_PER_RING) forgetEnded(ring);
  ring.sessions.set(next.session, next);
  if (next.released) dropReleased(ring);
  ring.clockOffsetUs ??= next.clockOffsetUs;
}

function foldLost(ring: RingState, record: RecordDraft): void {
  if (record.lost?.reason === 'hole') ring.holes += 1;
  for (const kind of LOST_KINDS) {
    const grown = record.lost?.by_kind?.[kind];
    if (typeof grown === 'number') ring.lost[kind] += grown;
  }
}

function restoreRing(id: string, record: RecordDraft): RingState | undefined {
  const state = record.state as Partial<RingState> | undefined;
  if (typeof state !== 'object' || state === null || state.origin?.ring !== id) return undefined;
  const ring = newRing({ ...originOfRecord(id, record), ...state.origin });
  settle(ring, count(state.durable));
  ring.clockOffsetUs = typeof state.clockOffsetUs === 'number' ? state.clockOffsetUs : null;
  ring.holes = count(state.holes);
  ring.unknown = count(state.unknown);
  ring.orphans = count(state.orphans);
  for (const kind of LOST_KINDS) ring.lost[kind] = count(state.lost?.[kind]);
  return ring;
}

function originOfRecord(ring: string, record: RecordDraft): Origin {
  return {
    ring,
    pid: record.process?.pid ?? 0,
    arch: record.process?.arch ?? 'x64',
    executable: record.process?.executable?.name ?? '',
    shimVersion: record.shim_version ?? '',
  };
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
