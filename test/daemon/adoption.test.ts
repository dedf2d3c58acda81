/** Rings of processes that died: adopted exactly once, and never while their owner lives. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { listSegments, segmentPath } from '../../daemon/platform/journal-files.ts';
import { prepareStateDir, statePaths } from '../../daemon/platform/paths.ts';
import { encodeFrame } from '../../protocol/wire/encode.ts';
import type { ShimFrame, Unknown } from '../../protocol/wire/frames.ts';
import { RING_DATA_OFFSET } from '../../protocol/wire/limits.ts';
import { RING_MAGIC, ringImage } from './ring-image.ts';
import {
  FakeShim,
  journalOf,
  kill,
  named,
  newRingId,
  runScript,
  Script,
  spawnDaemon,
  startDaemon,
  tempDir,
  until,
} from './support.ts';

function stateWithRing(
  frames: readonly Exclude<ShimFrame, Unknown>[],
  more: Partial<Parameters<typeof ringImage>[0]> = {},
): { stateDir: string; ring: string; path: string } {
  const stateDir = join(tempDir(), 'state');
  const paths = statePaths(stateDir);
  prepareStateDir(paths);
  const ring = newRingId();
  const path = join(paths.rings, `${ring}.ring`);
  writeFileSync(path, ringImage({ ring, frames: frames.map(encodeFrame), ...more }), {
    mode: 0o600,
  });
  return { stateDir, ring, path };
}

const NOBODY = 65534;

/** Holds the lock of a ring as its owner would. */
const OWNER = `
  import { lockFile } from 'built/daemon/platform/locks.js';
  console.log(lockFile(process.argv[1]) ? 'locked' : 'taken');
  setInterval(() => {}, 1000);
`;

test('a dead ring is read at start, and its session ends', async () => {
  const script = new Script().progress(1, 9, 'Inbox').error('no folder').progress(2, 9);
  const { stateDir, path } = stateWithRing(script.frames);
  await startDaemon({ stateDir });
  // The last thing that it says of its start.
  await until('the recovery is told', () => {
    return named(journalOf(stateDir), 'daemon.recovered').length > 0;
  });
  const records = journalOf(stateDir);
  expect(named(records, 'session.ended')).toMatchObject([
    { outcome: 'abandoned', totals: { progress: 2, errors: 1 } },
  ]);
  expect(named(records, 'process.gone')).toMatchObject([
    { process: { executable: { name: 'HOST.EXE' } } },
  ]);
  expect(named(records, 'daemon.recovered')).toMatchObject([
    { recovered: { rings: 1, frames: 4 } },
  ]);
  expect(existsSync(path)).toBe(false);
});

test('threads inside the callback are named, and slots make totals whole', async () => {
  const script = new Script().progress(1, 9, 'Inbox');
  const { stateDir } = stateWithRing(script.frames, {
    inCalls: [{ thread: 4711, method: 1, sinceUs: 5, session: 1, call: 8 }],
    slots: [{ session: 1, counters: [8, 2, 0, 6, 0, 700, 500, 60, 50], closing: false }],
  });
  await startDaemon({ stateDir });
  expect(named(journalOf(stateDir), 'session.ended')).toMatchObject([
    {
      outcome: 'abandoned',
      totals: {
        progress: 8,
        errors: 2,
        merged: 6,
        inner_us: 760,
        inner_max_us: 500,
        inner_by_method: { Progress: { us: 700, max_us: 500 }, Error: { us: 60, max_us: 50 } },
      },
      exit: { in_callback: [{ method: 'Progress', thread: 4711 }] },
    },
  ]);
});

test('a callback that was released before the process ended is no abandoned one', async () => {
  const script = new Script().progress(1, 1).done();
  const { stateDir } = stateWithRing(script.frames, {
    slots: [{ session: 1, counters: [1, 0, 1, 0, 0], closing: true }],
  });
  await startDaemon({ stateDir });
  expect(named(journalOf(stateDir), 'session.ended')).toMatchObject([{ outcome: 'ok' }]);
});

test('what its connection had brought is not taken twice', async () => {
  const script = new Script().error('first').error('second').error('third');
  const { stateDir, ring, path } = stateWithRing(script.frames);
  const hidden = `${path}.hidden`;
  copyFileSync(path, hidden);
  writeFileSync(path, '');
  const owner = runScript(OWNER, [path]);
  await until('the ring is locked', () => owner.said().includes('locked'));
  writeFileSync(path, readFileSync(hidden));
  await startDaemon({ stateDir });
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(ring, { pid: owner.pid ?? 0 });
  shim.send(...script.frames.slice(0, 2));
  await shim.acked(2);
  // The connection is lost, the owner lives: nobody may touch the ring.
  shim.socket.destroy();
  await sleep(1300);
  expect(existsSync(path)).toBe(true);
  expect(named(journalOf(stateDir), 'session.error')).toHaveLength(1);
  await kill(owner);
  await until('the ring is adopted', () => !existsSync(path));
  const records = journalOf(stateDir);
  expect(named(records, 'session.error').map(({ error }) => error?.text)).toEqual([
    'first',
    'second',
    'third',
  ]);
  expect(named(records, 'session.ended')).toHaveLength(1);
});

test.skipIf(process.getuid?.() !== 0)(
  'a ring that cannot be deleted yet is deleted later, and taken once',
  async () => {
    const { stateDir, path } = stateWithRing(new Script().error('only once').frames);
    for (const name of ['..', '.', 'journal', 'rings'])
      chownSync(join(stateDir, name), NOBODY, NOBODY);
    chownSync(path, NOBODY, NOBODY);
    chmodSync(dirname(path), 0o500);
    await spawnDaemon(stateDir, {}, { uid: NOBODY, gid: NOBODY });
    const log = join(stateDir, 'daemon.log');
    const complaints = (): number =>
      existsSync(log) ? readFileSync(log, 'utf8').split('Cannot adopt').length - 1 : 0;
    await until('it says so', () => complaints() > 0);
    expect(existsSync(path)).toBe(true);
    chmodSync(dirname(path), 0o700);
    await until('it is deleted', () => !existsSync(path));
    const records = journalOf(stateDir);
    for (const name of ['session.error', 'session.ended', 'process.gone']) {
      expect(named(records, name)).toHaveLength(1);
    }
    expect(complaints()).toBe(1);
  },
);

test('a daemon that dies while it adopts leaves nothing out and nothing twice', {
  timeout: 60_000,
}, async () => {
  const script = new Script();
  for (let count = 1; count <= 2000; count++) script.error(`error ${count}`);
  const { stateDir, path } = stateWithRing(script.frames);
  let partly = 0;
  // Each round dies one write later than the round before, in turn half-way through it and behind it.
  for (let round = 1; existsSync(path); round++) {
    const daemon = runScript(DIES_IN_WRITE, [stateDir, String(round)]);
    await until('it died or adopted', () => daemon.signalCode !== null || !existsSync(path));
    await kill(daemon);
    const written = errorsIn(stateDir);
    if (existsSync(path) && written > 0 && written < 2000) partly += 1;
  }
  expect(partly).toBeGreaterThan(1);
  await kill(await spawnDaemon(stateDir), 'SIGTERM');
  const records = journalOf(stateDir);
  const texts = named(records, 'session.error').map(({ error }) => error?.text);
  expect(texts).toEqual(Array.from({ length: 2000 }, (_, at) => `error ${at + 1}`));
  expect(named(records, 'session.ended')).toMatchObject([{ totals: { errors: 2000 } }]);
});

/** A daemon that is killed in its n-th write to the journal. */
const DIES_IN_WRITE = `
  import { open } from 'node:fs/promises';
  import { runDaemon } from 'built/daemon/run.js';
  const [stateDir, last] = process.argv.slice(1);
  let writes = 0;
  const openFile = async (...given) => {
    const file = await open(...given);
    const write = file.write.bind(file);
    file.write = async (bytes, from, length, at) => {
      writes += 1;
      if (writes < Number(last)) return write(bytes, from, length, at);
      await write(bytes, from, last % 2 ? length >> 1 : length, at);
      process.kill(process.pid, 'SIGKILL');
    };
    return file;
  };
  await runDaemon({ version: '0.0.1', stateDir, segmentBytes: 400000, openFile });
`;

/** Whole or torn, as a death left them. */
function errorsIn(stateDir: string): number {
  const dir = join(stateDir, 'journal');
  const texts = listSegments(dir).map((segment) => readFileSync(segmentPath(dir, segment), 'utf8'));
  return texts.join('').split('"event_name":"session.error"').length - 1;
}

test.for<[string, Buffer, boolean, number]>([
  ['an empty file', Buffer.alloc(0), false, 0],
  ['a file without magic', Buffer.alloc(RING_DATA_OFFSET + 4096), false, 0],
  ['a magic and nothing else', RING_MAGIC, false, 1],
  ['a layout of tomorrow', withLayout(3), true, 1],
  ['noise behind the magic', Buffer.concat([RING_MAGIC, Buffer.alloc(300_000, 0xa5)]), true, 1],
])('of no use: %s', async ([, bytes, stays, rejected]) => {
  const { stateDir, path } = stateWithRing([]);
  writeFileSync(path, bytes);
  await startDaemon({ stateDir });
  expect(existsSync(path)).toBe(stays);
  await sleep(1200); // A tick later it is not complained about again.
  expect(named(journalOf(stateDir), 'frame.rejected')).toHaveLength(rejected);
});

function withLayout(version: number): Buffer {
  const image = ringImage({ ring: newRingId(), frames: [] });
  image.writeUInt32LE(version, 8);
  return image;
}
