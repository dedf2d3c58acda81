/** A disk that is full, for real, and one that fails. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Journal, type JournalTrouble } from '../../daemon/journal.ts';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { recover, type StoredRecord } from '../../daemon/recovery.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import {
  cleanUp,
  FakeClient,
  FakeShim,
  hello,
  journalOf,
  named,
  newRingId,
  Script,
  startDaemon,
  tempDir,
  until,
} from './support.ts';

/** Somewhere with so little space that it can be filled. */
function smallDisk(): { dir: string } | { why: string } {
  if (process.platform === 'win32') return { why: 'Windows has no tmpfs' };
  const dir = tempDir();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', dir], {
      stdio: 'pipe',
    });
  } catch (error) {
    return { why: `mounting a tmpfs is not allowed here: ${(error as Error).message}` };
  }
  cleanUp(() => execFileSync('umount', ['-l', dir]));
  return { dir };
}

test('a full disk holds acknowledgements back, says so, and loses nothing', async ({ skip }) => {
  const disk = smallDisk();
  if ('why' in disk) return skip(disk.why);
  const stateDir = join(disk.dir, 'state');
  const { said } = await startDaemon({ stateDir, segmentBytes: 600_000 });
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  const script = new Script();
  const send = (count: number): void => {
    const from = script.seq;
    for (let at = 0; at < count; at++) script.error(`error ${script.seq}`);
    shim.send(...script.after(from));
  };
  shim.send(...script.frames);
  send(10);
  await shim.acked(script.seq);
  const ballast = join(disk.dir, 'ballast');
  try {
    writeFileSync(ballast, Buffer.alloc(2_000_000));
  } catch {
    // It is as large as it gets.
  }
  send(200);
  await until('it says so', () => said.join().includes('The disk is full'));
  expect(named(journalOf(stateDir), 'journal.failed')).toMatchObject([
    { detail: { cause: 'full' } },
  ]);
  const acknowledged = (): number =>
    Math.max(...shim.frames.map((frame) => (frame.kind === 'ack' ? frame.durable : 0)));
  const before = acknowledged();
  expect(before).toBeLessThan(script.seq);
  // Everything that was acknowledged is there, and the state goes on.
  const client = await FakeClient.connect(stateDir);
  client.send({ kind: 'status' }, { kind: 'subscribe', wants: 2, after: null });
  const status = await client.got('status', ({ kind }) => kind === 'status');
  expect(status).toMatchObject({ status: { journal: { state: 'full' } } });
  const session = await client.got('session', ({ kind }) => kind === 'session');
  expect(session).toMatchObject({ session: { errors: 210 } });
  await sleep(1100);
  expect(acknowledged()).toBe(before);
  rmSync(ballast);
  await shim.acked(script.seq);
  await until('it says that, too', () => said.join().includes('There is space again'));
  const errors = named(journalOf(stateDir), 'session.error');
  expect(errors.map(({ seq }) => seq)).toEqual(Array.from({ length: 210 }, (_, at) => at + 2));
});

const draft = (msg: string): RecordDraft => ({
  event_name: 'daemon.started',
  level: 'info',
  time: '2026-01-01T00:00:00.000000Z',
  msg,
});

interface Calls {
  write: number;
  datasync: number;
}

/** A journal whose n-th write or sync fails. */
function breakable(fails: Partial<Calls>, sync: 'system' | 'disk') {
  const dir = join(tempDir(), 'journal');
  mkdirSync(dir);
  const troubles: JournalTrouble[] = [];
  const published: string[] = [];
  const calls: Calls = { write: 0, datasync: 0 };
  const failing = (name: keyof Calls): void => {
    calls[name] += 1;
    if (calls[name] === fails[name]) throw Object.assign(new Error('EIO: broken'), { code: 'EIO' });
  };
  const journal = new Journal({
    dir,
    lines: new LineMaker({ service: { name: 'x', version: '1', instance_id: 'i' }, host: 'h' }),
    sync,
    firstSegment: 1,
    segmentBytes: 1_000_000,
    journalBytes: 10_000_000,
    journalDays: 1,
    snapshot: () => [
      { ...draft(''), event_name: 'snapshot.begin' },
      { ...draft(''), event_name: 'snapshot.end' },
    ],
    onDurable: (durable) =>
      void published.push(...durable.lines().map(({ line }) => JSON.parse(line).msg)),
    onTrouble: (trouble) => void troubles.push(trouble),
    openFile: async (...args) => {
      const file = await open(...args);
      const { write, datasync } = file;
      file.write = (async (bytes: Uint8Array, from: number, size: number, at: number) => {
        failing('write');
        // The system may write less than it was asked for.
        const part = Math.max(1, Math.ceil(size / 2));
        return (write as (...args: unknown[]) => ReturnType<typeof write>).call(
          file,
          bytes,
          from,
          part,
          at,
        );
      }) as typeof write;
      file.datasync = async () => {
        failing('datasync');
        return datasync.call(file);
      };
      return file;
    },
  });
  return { dir, journal, troubles, published };
}

test.for<['write' | 'datasync', number]>([
  ...Array.from({ length: 24 }, (_, at) => ['write', at + 14] as ['write', number]),
  ...Array.from({ length: 5 }, (_, at) => ['datasync', at + 2] as ['datasync', number]),
])(
  'after a failed %s number %i nothing counts as durable that is not there',
  async ([call, nth]) => {
    const { dir, journal, troubles, published } = breakable({ [call]: nth }, 'disk');
    await journal.open();
    const durable: number[] = [];
    const failed = (): boolean => troubles.some(({ type }) => type === 'failed');
    for (let count = 0; count < 5; count++) {
      journal.append([draft(`record ${count}`)]);
      journal.barrier(() => void durable.push(count));
      // One at a time, so that the same call fails in each run.
      await until('it is durable, or never will be', () => durable.includes(count) || failed());
    }
    expect(failed()).toBe(true);
    const found: StoredRecord[] = [];
    recover(dir, (record) => found.push(record));
    const there = named(found, 'daemon.started').map(({ msg }) => msg);
    expect(there).toEqual(durable.map((count) => `record ${count}`));
    expect(published).toEqual(there);
    expect(durable.length).toBeLessThan(5);
  },
);

test('a disk that fails makes the daemon start over, and shims send again', async () => {
  let broken = false;
  const { stateDir, said } = await startDaemon({
    openFile: async (...args) => {
      const file = await open(...args);
      const { write } = file;
      const failing = async (...given: unknown[]): Promise<unknown> => {
        if (broken) throw Object.assign(new Error('EIO: broken'), { code: 'EIO' });
        return (write as (...args: unknown[]) => unknown).call(file, ...given);
      };
      file.write = failing as typeof write;
      return file;
    },
  });
  const ring = newRingId();
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(ring);
  const script = new Script().error('before');
  shim.send(...script.frames);
  await shim.acked(script.seq);
  broken = true;
  shim.send(...script.error('while it is broken').after(script.seq - 1));
  expect(await shim.refused()).toMatchObject({ reason: 8 });
  // Who comes meanwhile is told, and loses nothing.
  const early = await FakeShim.connect(stateDir);
  early.send(hello(ring));
  expect(await early.refused()).toMatchObject({ reason: 8 });
  broken = false;
  await until('it went on', () => named(journalOf(stateDir), 'journal.failed')[0]);
  const again = await FakeShim.connect(stateDir);
  expect(await again.hello(ring)).toBe(2);
  again.send(...script.done().close().after(2));
  await again.acked(script.seq);
  const records = journalOf(stateDir);
  expect(named(records, 'session.error').map(({ error }) => error?.text)).toEqual([
    'before',
    'while it is broken',
  ]);
  expect(named(records, 'session.ended')).toMatchObject([{ totals: { errors: 2 } }]);
  expect(said.join()).toContain('The journal failed and starts over');
});

test('a group commit acknowledges many records after one sync', async () => {
  const stateDir = join(tempDir(), 'state');
  await startDaemon({ stateDir, sync: 50 });
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  const script = new Script();
  shim.send(...script.frames);
  await shim.acked(1);
  const began = performance.now();
  for (let count = 0; count < 20; count++) shim.send(...script.error('x').after(script.seq - 1));
  await shim.acked(script.seq);
  expect(performance.now() - began).toBeGreaterThan(20);
  expect(shim.frames.filter(({ kind }) => kind === 'ack').length).toBeLessThan(6);
});
