/** What the journal deletes, on both sides of its limits, and whom it says it took something from. */
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Journal } from '../../daemon/journal.ts';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { MAX_GROUP_BYTES } from '../../daemon/limits.ts';
import { listSegments, segmentPath } from '../../daemon/platform/journal-files.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { checkValid } from '../valid-record.mjs';
import { cleanUp, tempDir, until } from './support.ts';

const OLD = 20;
const OLD_BYTES = 1000;
const DAY_MS = 86_400_000;
const SESSION = '0123456789abcdef';

interface Case {
  /** Added to the size at which everything fits. */
  readonly spare?: number;
  /** Days since the first segments were written. */
  readonly ages?: readonly number[];
  readonly cursors?: Record<string, string>;
  /** Segments with a line about the session, and what kind of line. */
  readonly lines?: Record<number, string>;
  /** The session has ended, and its callback was not released. */
  readonly ended?: boolean;
  /** Text in the snapshot, so that the new segment may be larger than others. */
  readonly snapshotBytes?: number;
  /** It is closed as soon as it is open. */
  readonly closes?: boolean;
  /** It begins another segment as soon as it is open. */
  readonly rotates?: boolean;
}

const draft = (event_name: RecordDraft['event_name'], more: object = {}): RecordDraft => ({
  event_name,
  level: 'debug',
  time: new Date().toISOString(),
  msg: 'x',
  ...more,
});

interface Trimmed {
  /** What was there once it was open. */
  readonly ready: number[];
  readonly left: number[];
  readonly said: RecordDraft[];
}

/** Twenty old segments of 1,000 bytes, and a journal that opens the next one. */
async function trimmed(given: Case): Promise<Trimmed> {
  const state = tempDir();
  const dir = join(state, 'journal');
  for (const path of [dir, join(state, 'cursors')]) mkdirSync(path);
  for (let segment = 1; segment <= OLD; segment += 1) {
    const line = given.lines?.[segment];
    const text = line ? `{"event_name":"${line}","span_id":"${SESSION}"}\n` : '';
    const path = segmentPath(dir, segment);
    writeFileSync(path, text.padEnd(OLD_BYTES - 1, 'x').concat('\n'));
    const age = given.ages?.[segment - 1];
    if (age !== undefined) utimesSync(path, new Date(), new Date(Date.now() - age * DAY_MS));
  }
  for (const [name, text] of Object.entries(given.cursors ?? {})) {
    writeFileSync(join(state, 'cursors', name), text);
  }
  const text = 'x'.repeat(10_000);
  const snapshot = [
    draft('snapshot.begin'),
    draft('snapshot.session', {
      trace_id: SESSION.repeat(2),
      span_id: SESSION,
      state: { ended: given.ended ? { outcome: 'ok' } : null },
    }),
    ...Array.from({ length: (given.snapshotBytes ?? 0) / text.length }, () =>
      draft('snapshot.ring', { state: text }),
    ),
    draft('snapshot.end'),
  ];
  const lines = new LineMaker({
    service: { name: 'x', version: '1', instance_id: 'i' },
    host: 'h',
  });
  const bytes = snapshot.reduce((sum, one) => sum + Buffer.byteLength(lines.line(one)), 0);
  const segmentBytes = 300_000;
  const grown = Math.max(segmentBytes, 2 * bytes + 2 * MAX_GROUP_BYTES);
  const said: RecordDraft[] = [];
  const journal = new Journal({
    dir,
    // Counts its lines anew, so that they are as long as those that were measured.
    lines: new LineMaker({ service: { name: 'x', version: '1', instance_id: 'i' }, host: 'h' }),
    sync: 'system',
    firstSegment: OLD + 1,
    segmentBytes,
    journalBytes: OLD * OLD_BYTES + grown + (given.spare ?? 0),
    journalDays: 30,
    snapshot: () => snapshot,
    onDurable: (durable) => void said.push(...durable.lines().map(({ line }) => JSON.parse(line))),
    onTrouble: () => {},
  });
  await journal.open();
  const ready = listSegments(dir);
  if (given.closes) {
    await journal.close(1000);
    return { ready, left: listSegments(dir), said };
  }
  cleanUp(() => journal.close(1000));
  if (given.rotates) {
    const lines = Array.from({ length: 100 }, () => draft('daemon.started', { msg: text }));
    for (const line of lines) journal.append([line]);
  }
  // What it says of the deletion may follow at once.
  const [head] = readFileSync(segmentPath(dir, OLD + 1), 'utf8').split(/(?<="snapshot.end".*\n)/);
  expect(Buffer.byteLength(head ?? '')).toBe(bytes);
  await journal.trimmed;
  await new Promise<void>((done) => journal.barrier(done));
  for (const record of said) if (record.trimmed) checkValid(record);
  return { ready, left: listSegments(dir), said };
}

test('deletes behind the start, and a stop does not wait for it', async () => {
  const many = { spare: -999_999 };
  const open = await trimmed(many);
  expect(open.ready).toHaveLength(OLD + 1);
  expect(open.left).toHaveLength(2);
  const closed = await trimmed({ ...many, closes: true });
  expect(closed.left.length).toBeGreaterThan(2);
});

test('a segment that begins meanwhile waits, and no deletion is told twice', async () => {
  const { left, said } = await trimmed({ spare: -999_999, rotates: true });
  expect(left).toEqual([OLD + 1, OLD + 2]);
  await until('it is told', () => said.filter((one) => one.trimmed).length >= 2);
  expect(said.map((one) => one.trimmed?.segments ?? 0).reduce((sum, one) => sum + one, 0)).toBe(
    OLD,
  );
});

test.for<[string, Case, number, object]>([
  ['nothing, at the limit exactly', {}, 0, {}],
  ['one segment, a byte above it', { spare: -1 }, 1, { bytes: OLD_BYTES }],
  ['as many as it takes', { spare: -7 * OLD_BYTES }, 7, { bytes: 7 * OLD_BYTES }],
  ['one more for a byte more', { spare: -7 * OLD_BYTES - 1 }, 8, {}],
  ['never the two newest', { spare: -999_999 }, OLD - 1, {}],
  ['nothing, at the limit with a large snapshot', { snapshotBytes: 200_000 }, 0, {}],
  ['one, a byte above it with a large snapshot', { snapshotBytes: 200_000, spare: -1 }, 1, {}],
  ['what is too old, by the clock', { ages: [31, 30.001, 29.999, 1] }, 2, {}],
  ['nothing that is young behind what is old', { ages: [1, 31] }, 0, {}],
  ['what a reader has read', { spare: -1, cursors: { ship: '1:1000', b: '2:0' } }, 1, {}],
  [
    'what readers have not read, and names them',
    { spare: -1001, cursors: { ship: '1:0\n', nats: '2:999', done: '2:1000' } },
    2,
    { reader: 'nats,ship' },
  ],
  [
    'on, whatever stands among the cursors',
    { spare: -1, cursors: { a: '', b: 'x:y', c: '0:0'.padEnd(99, '0'), '.tmp': '0:0' } },
    1,
    {},
  ],
  [
    'records of a running session, and says so',
    { spare: -1, lines: { 1: 'session.opened' } },
    1,
    { running: 1 },
  ],
  [
    'records of a session that has ended',
    { spare: -1, lines: { 1: 'session.opened' }, ended: true },
    1,
    {},
  ],
  ['what only a snapshot says of it', { spare: -1, lines: { 1: 'snapshot.session' } }, 1, {}],
  ['others than those of a session', { spare: -1, lines: { 2: 'session.opened' } }, 1, {}],
])('deletes %s', async ([, given, count, want]) => {
  const { left, said } = await trimmed(given);
  expect(left).toEqual(Array.from({ length: OLD + 1 - count }, (_, at) => at + count + 1));
  const { running, ...fields } = { ...want } as { running?: number };
  if (count === 0) expect(said).toEqual([]);
  else {
    await until('it is said', () => said.length > 0);
    const [record] = said;
    expect(record?.trimmed).toEqual({ segments: count, bytes: count * OLD_BYTES, ...fields });
    expect(record?.detail?.running_sessions).toBe(running);
  }
});

test('knows which running sessions have records in segments of its own', async () => {
  const dir = join(tempDir(), 'journal');
  mkdirSync(dir);
  const running = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb', 'cccccccccccccccc'];
  const about = (span_id: string): object => ({ trace_id: span_id.repeat(2), span_id });
  const said: RecordDraft[] = [];
  const journal = new Journal({
    dir,
    lines: new LineMaker({ service: { name: 'x', version: '1', instance_id: 'i' }, host: 'h' }),
    sync: 'system',
    firstSegment: 1,
    segmentBytes: 300_000,
    journalBytes: 1,
    journalDays: 30,
    snapshot: () =>
      running.map((id) => draft('snapshot.session', { ...about(id), state: { ended: null } })),
    onDurable: (durable) => void said.push(...durable.lines().map(({ line }) => JSON.parse(line))),
    onTrouble: () => {},
  });
  await journal.open();
  cleanUp(() => journal.close(1000));
  const [a, b, c] = running as [string, string, string];
  // In each segment, and what is said once it is deleted.
  const segments = [[a], [a, b], [], [c, 'dddddddddddddddd'], [], []];
  for (const [at, ids] of segments.entries()) {
    for (const id of ids) journal.append([draft('session.error', about(id))]);
    while (journal.segment <= at + 1) {
      journal.append([draft('daemon.started', { msg: 'x'.repeat(10_000) })]);
      await new Promise<void>((done) => journal.barrier(done));
    }
  }
  await until('four are deleted', () => said.filter((one) => one.trimmed).length >= 4);
  const counts = said.filter((one) => one.trimmed).map((one) => one.detail?.running_sessions);
  expect(counts.slice(0, 4)).toEqual([1, 2, undefined, 1]);
});
