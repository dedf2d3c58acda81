/** What stands after a daemon died: killed for real, or found with the files of one that was. */
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { segmentPath } from '../../daemon/platform/journal-files.ts';
import { recover, type StoredRecord } from '../../daemon/recovery.ts';
import { runDaemon } from '../../daemon/run.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import {
  FakeShim,
  journalOf,
  kill,
  named,
  newRingId,
  Script,
  spawnDaemon,
  startDaemon,
  tempDir,
} from './support.ts';

test('kill -9 in the middle of a stream loses and doubles nothing', {
  timeout: 60_000,
}, async () => {
  const stateDir = join(tempDir(), 'state');
  const ring = newRingId();
  const script = new Script();
  const total = 400;
  for (let count = 1; count <= total; count++) {
    script.progress(count, total, `Folder ${count % 7}`).error(`error ${count}`);
  }
  script.done().close();
  let kills = 0;
  for (let round = 0; ; round++) {
    const daemon = await spawnDaemon(stateDir);
    const shim = await FakeShim.connect(stateDir);
    const durable = await shim.hello(ring);
    const acknowledged = named(journalOf(stateDir), 'session.error').filter(
      ({ seq }) => (seq ?? 0) <= durable,
    );
    // Two frames for each error, behind `open`.
    expect(acknowledged.length).toBe(Math.min(total, Math.max(0, Math.floor((durable - 1) / 2))));
    const rest = script.after(durable);
    const part = round < 6 ? rest.slice(0, 120 + 10 * round) : rest;
    shim.send(...part);
    if (part.length === rest.length) {
      await shim.acked(script.seq);
      await kill(daemon, 'SIGTERM');
      expect(daemon.exitCode).toBe(0);
      break;
    }
    await shim.acked(durable + 20);
    await kill(daemon);
    kills += 1;
  }
  expect(kills).toBeGreaterThan(3);
  const records = journalOf(stateDir);
  const texts = named(records, 'session.error').map(({ error }) => error?.text);
  expect(texts).toEqual(Array.from({ length: total }, (_, at) => `error ${at + 1}`));
  expect(named(records, 'session.opened')).toHaveLength(1);
  expect(named(records, 'session.ended')).toMatchObject([
    { outcome: 'ok_with_errors', totals: { progress: total, errors: total } },
  ]);
  expect(named(records, 'daemon.recovered').length).toBeGreaterThanOrEqual(kills);
});

/** A state directory whose daemon acknowledged an open session, and is gone. */
async function left(): Promise<{ stateDir: string; ring: string; script: Script; path: string }> {
  const daemon = await startDaemon();
  const shim = await FakeShim.connect(daemon.stateDir);
  const ring = newRingId();
  await shim.hello(ring);
  const script = new Script().progress(1, 4, 'Inbox').progress(2, 4, 'Outbox').error('first');
  shim.send(...script.frames);
  await shim.acked(script.seq);
  await daemon.stop();
  const dir = join(daemon.stateDir, 'journal');
  return { stateDir: daemon.stateDir, ring, script, path: segmentPath(dir, 1) };
}

test.for<[string, number, (path: string) => void]>([
  ['a torn last line', 1, (path) => appendFileSync(path, '{"v":1,"event_name":"session.er')],
  [
    'a group that is not complete',
    1,
    (path) => {
      const line = { v: 1, event_name: 'session.error', group: { n: 1, of: 2 } };
      appendFileSync(path, `${JSON.stringify(line)}\n`);
    },
  ],
  [
    'a segment without a whole snapshot',
    1,
    (path) => {
      const begin = readFileSync(path, 'utf8').split('\n')[0];
      writeFileSync(path.replace('000001', '000002'), `${begin}\n{"v":1,"ev`);
    },
  ],
  ['an empty segment', 0, (path) => writeFileSync(path.replace('000001', '000002'), '')],
])('is cut, and the session goes on: %s', async ([, torn, damage]) => {
  const { stateDir, ring, script, path } = await left();
  damage(path);
  await startDaemon({ stateDir });
  const shim = await FakeShim.connect(stateDir);
  expect(await shim.hello(ring)).toBe(script.seq);
  const from = script.seq;
  shim.send(...script.error('second').done().close().after(from));
  await shim.acked(script.seq);
  const records = journalOf(stateDir);
  expect(named(records, 'session.error').map(({ error }) => error?.text)).toEqual([
    'first',
    'second',
  ]);
  expect(named(records, 'session.ended')).toMatchObject([{ totals: { progress: 2, errors: 2 } }]);
  expect(named(records, 'daemon.recovered').at(-1)?.recovered?.torn).toBe(torn);
});

test('a damaged snapshot does not take the records behind it along', async () => {
  const { stateDir, ring, script, path } = await left();
  const lines = readFileSync(path, 'utf8').split('\n');
  lines[1] = lines[1]!.slice(0, 20);
  writeFileSync(path, lines.join('\n'));
  const fold: StoredRecord[] = [];
  recover(join(stateDir, 'journal'), (record) => fold.push(record));
  expect(named(fold, 'session.error')).toHaveLength(1);
  await startDaemon({ stateDir });
  const shim = await FakeShim.connect(stateDir);
  expect(await shim.hello(ring)).toBe(script.seq);
});

test('each prefix of a journal is a journal', async () => {
  const { stateDir, path } = await left();
  const bytes = readFileSync(path);
  const whole: RecordDraft[] = journalOf(stateDir);
  const dir = join(tempDir(), 'journal');
  mkdirSync(dir);
  let seen = 0;
  for (let size = 0; size <= bytes.length; size += 37) {
    const cut = segmentPath(dir, 1);
    writeFileSync(cut, bytes.subarray(0, size));
    const records: StoredRecord[] = [];
    recover(dir, (record) => records.push(record));
    const told = records.filter(({ event_name }) => !event_name.startsWith('snapshot.'));
    // What is there is the beginning of what was, in order, and it never gets less.
    expect(told).toEqual(whole.slice(0, told.length));
    expect(told.length).toBeGreaterThanOrEqual(seen);
    seen = told.length;
  }
  expect(seen).toBeGreaterThan(whole.length - 2);
});

test('segments stay within their size, open with a snapshot, and go when they are too many', async () => {
  const segmentBytes = 300_000;
  const { stateDir, stop } = await startDaemon({ segmentBytes, journalBytes: 1_000_000 });
  const shim = await FakeShim.connect(stateDir);
  const ring = newRingId();
  await shim.hello(ring);
  const script = new Script();
  for (let count = 0; count < 1500; count++) script.error(`${count} ${'x'.repeat(1000)}`);
  shim.send(...script.frames);
  await shim.acked(script.seq);
  await stop();
  const dir = join(stateDir, 'journal');
  const names = readdirSync(dir).filter((name) => name.endsWith('.jsonl'));
  expect(names.length).toBeGreaterThan(2);
  let total = 0;
  for (const name of names) {
    const text = readFileSync(join(dir, name), 'utf8');
    total += text.length;
    expect(text.length).toBeLessThanOrEqual(segmentBytes);
    const events = text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).event_name);
    expect(events[0]).toBe('snapshot.begin');
    expect(events).toContain('snapshot.end');
  }
  expect(total).toBeLessThanOrEqual(1_000_000);
  expect(named(journalOf(stateDir), 'journal.trimmed').length).toBeGreaterThan(0);
  // The newest segment alone tells the state.
  const alone = join(tempDir(), 'state');
  for (const path of [alone, join(alone, 'journal')]) mkdirSync(path, { mode: 0o700 });
  copyFileSync(join(dir, names.at(-1)!), join(alone, 'journal', names.at(-1)!));
  await startDaemon({ stateDir: alone });
  const again = await FakeShim.connect(alone);
  expect(await again.hello(ring)).toBe(script.seq);
  again.send(
    ...script
      .done()
      .close()
      .after(script.seq - 2),
  );
  await again.acked(script.seq);
  expect(named(journalOf(alone), 'session.ended')).toMatchObject([{ totals: { errors: 1500 } }]);
});

test('a second daemon is told who the first is', async () => {
  const stateDir = join(tempDir(), 'state');
  const first = await spawnDaemon(stateDir);
  const said: string[] = [];
  const exit = await runDaemon({ version: '0.0.1', stateDir, say: (line) => void said.push(line) });
  expect(exit).toBe(1);
  expect(said.join()).toContain(`(pid ${first.pid})`);
  await kill(first);
  const { stop } = await startDaemon({ stateDir });
  expect(await stop()).toBe(0);
});
