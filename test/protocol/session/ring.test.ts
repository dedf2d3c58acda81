import { describe, expect, test } from 'vitest';
import { liveSession } from '../../../protocol/session/live.ts';
import {
  accept,
  closeBySlot,
  foldIntoRings,
  liveSessions,
  MAX_RELEASED,
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
} from '../../../protocol/session/ring.ts';
import type { Close, SequencedFrame, Slot } from '../../../protocol/wire/frames.ts';
import { MAX_SESSIONS_PER_RING } from '../../../protocol/wire/limits.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import {
  Log,
  NOT_FOUND,
  OPEN_US,
  OPEN_WALL_US,
  ORIGIN,
  RING,
  S_OK,
  Script,
  SECOND,
} from './script.ts';

const hello = (freed: number) => ({ freed, timeUs: OPEN_US, wallUs: OPEN_WALL_US });

function start(): { ring: RingState; log: Log; script: Script } {
  return { ring: newRing(ORIGIN), log: new Log(), script: new Script() };
}

const header = (seq: number) => ({ seq, timeUs: OPEN_US, thread: 1, session: 0 });
const lost = (seq: number, opens: number, progress: number): SequencedFrame => ({
  kind: 'lost',
  ...header(seq),
  opens,
  progress,
  errors: 0,
  dones: 0,
  others: 0,
});

describe('accept()', () => {
  test.for<[number, number, string]>([
    [0, 1, 'take'],
    [0, 2, 'gap'],
    [5, 5, 'drop'],
    [5, 1, 'drop'],
    [5, 6, 'take'],
    [5, 7, 'gap'],
  ])('received %d, then %d: %s', ([received, seq, want]) => {
    const ring = newRing(ORIGIN);
    onHello(ring, hello(received));
    expect(accept(ring, seq)).toBe(want);
  });
});

describe('watermarks', () => {
  test('durable follows what the journal has, and never passes what was received', () => {
    const { ring, log, script } = start();
    for (const frame of [script.open(), script.progress(1, 2), script.done(S_OK)]) {
      takeFrame(ring, frame, log.emit);
    }
    expect([ring.received, ring.written, ring.durable]).toEqual([3, 0, 0]);
    onWritten(ring, 2);
    expect(onDurable(ring, 1)).toBe(true);
    expect([ring.received, ring.written, ring.durable]).toEqual([3, 2, 1]);
    expect(onDurable(ring, 1)).toBe(false);
    expect(onDurable(ring, 99)).toBe(true);
    expect([ring.received, ring.written, ring.durable]).toEqual([3, 3, 3]);
  });

  test('hello moves on to what the ring has freed, never back', () => {
    const ring = newRing(ORIGIN);
    expect(onHello(ring, hello(7))).toBe(7);
    expect(onHello(ring, hello(3))).toBe(7);
    expect(accept(ring, 8)).toBe('take');
  });
});

test('a record has the id of its frame; several of one frame are a group', () => {
  const { ring, log, script } = start();
  takeFrame(ring, script.open(), log.emit);
  takeFrame(ring, script.progress(1, 1000), log.emit);
  takeFrame(ring, script.progress(2, 1000), log.emit);
  takeFrame(ring, script.done(S_OK), log.emit);
  const ids = log.records.map(({ event_id, group }) => [event_id, group?.n, group?.of]);
  expect(ids).toEqual([
    [`${RING}-1-1`, undefined, undefined],
    [`${RING}-2-1`, undefined, undefined],
    [`${RING}-4-1`, 1, 2],
    [`${RING}-4-2`, 2, 2],
  ]);
});

test('what is read late says when it was read', () => {
  const { ring, log, script } = start();
  takeFrame(ring, script.open(), log.emit, OPEN_WALL_US + SECOND);
  takeFrame(ring, script.note('a', 'b'), log.emit, OPEN_WALL_US + SECOND + 1);
  expect(log.records.map(({ observed_time }) => observed_time)).toEqual([
    undefined,
    '2025-06-15T15:06:41.000001Z',
  ]);
});

test('losses are told once, and only what is new', () => {
  const { ring, log } = start();
  for (const frame of [lost(1, 0, 5), lost(2, 0, 5), lost(3, 1, 7)])
    takeFrame(ring, frame, log.emit);
  takeFrame(ring, { kind: 'hole', ...header(4), reason: 1 }, log.emit);
  takeLostCounts(
    ring,
    { opens: 1, progress: 9, errors: 0, dones: 0, others: 2 },
    OPEN_WALL_US,
    log.emit,
  );
  takeLostCounts(
    ring,
    { opens: 1, progress: 9, errors: 0, dones: 0, others: 2 },
    OPEN_WALL_US,
    log.emit,
  );
  expect(log.records.map((record) => record.lost)).toEqual([
    { by_kind: { progress: 5 }, reason: 'full' },
    { by_kind: { opens: 1, progress: 2 }, reason: 'full' },
    { by_kind: { unknown: 1 }, reason: 'hole' },
    { by_kind: { progress: 2, others: 2 }, reason: 'full' },
  ]);
  expect(ring.holes).toBe(1);
});

test('clock anchors move the wall time of what follows', () => {
  const { ring, log, script } = start();
  takeFrame(ring, script.open(), log.emit);
  takeFrame(ring, script.at(60).clock(OPEN_WALL_US + 61 * SECOND), log.emit);
  takeFrame(ring, script.at(61).note('a', 'b'), log.emit);
  expect(log.last().time).toBe('2025-06-15T15:07:42.000000Z');
});

test('frames that belong nowhere are counted', () => {
  const { ring, log, script } = start();
  takeFrame(ring, { kind: 'unknown', wireKind: 99, seq: 1 }, log.emit);
  script.seq = 2;
  takeFrame(ring, script.error(NOT_FOUND), log.emit);
  expect([ring.received, ring.unknown, ring.orphans, log.records.length]).toEqual([2, 1, 1, 0]);
  const counters = {
    progress: 9,
    errors: 0,
    dones: 0,
    merged: 0,
    lost: 0,
    innerUs: 0,
    innerMaxUs: 0,
  };
  const newest = { call: 0, timeUs: 0, index: 0, max: 0, marks: 0, text: null };
  const slot = { kind: 'slot', session: 77, timeUs: 1, counters, newest } as const;
  expect(takeSlot(ring, slot)).toBeUndefined();
});

test('one session above the limit is refused, and changes nothing', () => {
  const { ring, log } = start();
  for (let seq = 1; seq <= MAX_SESSIONS_PER_RING; seq += 1) {
    takeFrame(ring, new Script(seq).open(), log.emit);
  }
  const next = new Script(MAX_SESSIONS_PER_RING + 1);
  expect(() => takeFrame(ring, next.open(), log.emit)).toThrow(ProtocolError);
  expect(ring.received).toBe(MAX_SESSIONS_PER_RING);
  expect(ring.sessions.size).toBe(MAX_SESSIONS_PER_RING);
  expect(log.named('session.opened')).toHaveLength(MAX_SESSIONS_PER_RING);
});

test('the end of a process ends its sessions, each as its slots say', () => {
  const { ring, log } = start();
  const first = new Script(1);
  takeFrame(ring, first.open(), log.emit);
  const second = new Script(2);
  takeFrame(ring, second.open(), log.emit);
  second.seq = 3;
  takeFrame(ring, second.done(S_OK), log.emit);
  const third = new Script(4);
  takeFrame(ring, third.open(), log.emit);
  const { counters } = third.close() as Close;
  const newest = { call: 0, timeUs: 0, index: 0, max: 0, marks: 0, text: null };
  const slot: Slot = { kind: 'slot', session: 4, timeUs: OPEN_US, counters, newest };
  expect(closeBySlot(ring, slot, OPEN_US, log.emit)?.session).toBe(4);
  expect(closeBySlot(ring, slot, OPEN_US, log.emit)).toBeUndefined();
  const inside = [{ session: 1, method: 3, thread: 9 }];
  const left: number[] = [];
  ringGone(ring, { wallUs: OPEN_WALL_US }, inside, log.emit, ({ session }) => {
    left.push(session, ring.sessions.size);
  });
  expect(left).toEqual([1, 1, 2, 0]);
  expect(log.named('session.ended').map(({ outcome, exit }) => [outcome, exit])).toEqual([
    ['failed', undefined],
    ['abandoned', { in_callback: [{ method: 'Done', thread: 9 }] }],
    ['ok', {}],
  ]);
  expect(ring.sessions.size).toBe(0);
});

test('originOf() takes what hello says', () => {
  const frame = {
    kind: 'hello',
    protocol: 1,
    freed: 0,
    bits: 32,
    timeUs: 1,
    wallUs: 2,
    clockResolutionUs: 1,
    memory: 0,
    ring: RING,
    pid: 7,
    executable: 'x.exe',
    shimVersion: '1',
  } as const;
  expect(originOf(frame)).toEqual({
    ring: RING,
    pid: 7,
    arch: 'x86',
    executable: 'x.exe',
    shimVersion: '1',
  });
});

describe('foldIntoRings()', () => {
  test('a snapshot at any place, and the records behind it, give the ring back', () => {
    const { ring, log, script } = start();
    const other = new Script(3);
    const frames = [script.open(), script.progress(1, 4, 'Inbox'), other.open()];
    script.seq = 4;
    frames.push(script.error(NOT_FOUND, 'gone'), lost(5, 2, 3));
    script.seq = 6;
    frames.push(script.at(1).progress(2, 4, 'Sent'), script.done(S_OK));
    for (let cut = 0; cut <= frames.length; cut += 1) {
      const live = newRing(ORIGIN);
      const journal = new Log();
      for (const frame of frames.slice(0, cut)) takeFrame(live, frame, journal.emit);
      const head = snapshotDrafts(live, OPEN_WALL_US);
      const rest = new Log();
      for (const frame of frames.slice(cut)) takeFrame(live, frame, rest.emit);
      for (const journalRecords of [
        [...head, ...rest.records],
        [...journal.records, ...rest.records],
      ]) {
        const rings = new Map<string, RingState>();
        // As they come back from a file.
        for (const record of journalRecords)
          foldIntoRings(rings, JSON.parse(JSON.stringify(record)));
        const back = rings.get(RING)!;
        expect([back.received, back.durable]).toEqual([7, 7]);
        expect(back.lost).toEqual(live.lost);
        expect([...back.sessions.keys()]).toEqual([...live.sessions.keys()]);
        for (const [seq, session] of back.sessions) {
          const now = OPEN_US + 2 * SECOND;
          expect(liveSession(session, now)).toEqual(liveSession(live.sessions.get(seq)!, now));
        }
      }
    }
    expect(log.records).toEqual([]);
    expect(ring.received).toBe(0);
  });

  test('a damaged record says nothing, and stops nothing', () => {
    const { ring, log, script } = start();
    for (const frame of [script.open(), lost(1, 2, 3)]) takeFrame(ring, frame, log.emit);
    const rings = new Map<string, RingState>();
    for (const record of log.records) {
      const line = JSON.stringify(record).replace('by_kind', 'by_kinx');
      foldIntoRings(rings, JSON.parse(line));
    }
    expect([...rings.get(RING)!.sessions.keys()]).toEqual([1]);
  });

  test('a ring that came back goes on counting where it was', () => {
    const { ring, log, script } = start();
    const first = [script.open(), script.error(NOT_FOUND, 'x'), script.error(NOT_FOUND, 'x')];
    for (const frame of first) takeFrame(ring, frame, log.emit);
    const rings = new Map<string, RingState>();
    for (const record of log.records) foldIntoRings(rings, JSON.parse(JSON.stringify(record)));
    takeFrame(rings.get(RING)!, script.error(NOT_FOUND, 'x'), log.emit);
    expect(log.last()).toMatchObject({ event_id: `${RING}-4-1`, error: { repeat: 3 } });
    expect(accept(rings.get(RING)!, 4)).toBe('drop');
  });

  test('snapshots are valid records, and bounded', () => {
    const { ring, log, script } = start();
    const wide = '\u0001'.repeat(4000);
    takeFrame(
      ring,
      script.open({ provider: wide.slice(0, 1000), store: wide.slice(0, 1000) }),
      log.emit,
    );
    for (let n = 0; n < 40; n += 1) {
      takeFrame(
        ring,
        script.at(n).progress(0xfffffff0 + (n % 9), 0xffffffff, `${n}${wide}`),
        log.emit,
      );
      takeFrame(ring, script.error(0x80042000 + n, `${n}${wide}`), log.emit);
      takeFrame(ring, script.error(0x80043000 + n, 'x'.repeat(4000)), log.emit);
    }
    const snapshot = new Log();
    snapshotDrafts(ring, OPEN_WALL_US).forEach(snapshot.emit);
    expect(snapshot.records).toHaveLength(2);
    expect(Buffer.byteLength(JSON.stringify(snapshot.records[1]?.state))).toBeLessThanOrEqual(8192);
  });

  test('of ended sessions the last released ones are kept, none of a process that is gone', () => {
    const { ring, log } = start();
    for (let n = 0; n <= MAX_RELEASED; n += 1) {
      const script = new Script(ring.received + 1);
      for (const frame of [script.open(), script.done(S_OK), script.close()]) {
        takeFrame(ring, frame, log.emit);
      }
    }
    const rings = new Map<string, RingState>();
    for (const record of log.records) foldIntoRings(rings, record);
    const back = rings.get(RING)!;
    expect([...back.sessions.keys()]).toEqual([...ring.sessions.keys()]);
    expect([ring.sessions.size, liveSessions(back)]).toEqual([MAX_RELEASED, []]);
    const gone = {
      event_name: 'process.gone',
      level: 'warn',
      time: '',
      msg: '',
      ring: RING,
    } as const;
    foldIntoRings(rings, gone);
    expect(back.sessions.size).toBe(0);
  });

  test('strangers are ignored', () => {
    const { ring, log, script } = start();
    takeFrame(ring, script.open(), log.emit);
    const rings = new Map<string, RingState>();
    const [opened] = log.records;
    foldIntoRings(rings, { ...opened!, ring: 'no ring' });
    foldIntoRings(rings, { ...opened!, event_name: 'snapshot.ring', state: 7 });
    foldIntoRings(rings, { ...opened!, event_name: 'snapshot.session', state: { numbers: 'x' } });
    expect([...rings.values()].map(({ sessions }) => sessions.size)).toEqual([0]);
  });
});
