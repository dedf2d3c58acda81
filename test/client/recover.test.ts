// Rings as somebody sends them: of a real host that was killed, and damaged in every way.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { run } from '../../client/cli.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { RING_FILE_BYTES } from '../../protocol/wire/limits.ts';
import { journalOf, startDaemon, tempDir, until } from '../daemon/support.ts';
import { Bench, systems } from '../e2e/systems.ts';
import { vectorFile } from '../protocol/vectors.ts';
import { checkValid } from '../valid-record.mjs';
import { keptIo } from './builders.ts';

async function recover(...args: string[]) {
  const io = keptIo();
  const code = await run(['recover', ...args], io);
  return { code, out: io.stdout.text, err: io.stderr.text };
}

const records = (text: string): RecordDraft[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordDraft);

/** What the C++ side made: sparse lines of offset and bytes, all else zero. */
function goldenRing(): Buffer {
  let image = Buffer.alloc(0);
  for (const line of readFileSync(vectorFile('ring-v1.txt'), 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [first, second] = line.trim().split(/\s+/) as [string, string];
    if (first === 'size') image = Buffer.alloc(Number(second));
    else image.write(second, Number.parseInt(first, 16), 'hex');
  }
  return image;
}

/** The file of a real host that was killed in the middle of a sync. */
async function killedRing(): Promise<{ rings: string; state: string; close: () => Promise<void> }> {
  const bench = new Bench(systems[0]!);
  bench.makeState();
  const maildir = join(bench.scratch, 'Mailbox');
  makeMaildir({ dir: maildir, messages: 400, folders: 2, broken: 20 });
  const trace = join(bench.scratch, 'trace');
  const host = bench.host([
    ...['--maildir', maildir, '--store', join(bench.scratch, 'store'), '--trace', trace],
    ...['--calls-per-second', '500', '--quiet'],
  ]);
  await until('the host is at work', () => {
    try {
      return readFileSync(trace, 'utf8').split('\n').length > 200;
    } catch {
      return false; // It is not there yet.
    }
  });
  host.child.kill('SIGKILL');
  await host.ended;
  return { rings: join(bench.state, 'rings'), state: bench.state, close: () => bench.close() };
}

test('a killed host: the records of adoption with the same ids, and the files stay', async () => {
  const { rings, state, close } = await killedRing();
  const copy = join(tempDir(), 'rings');
  cpSync(rings, copy, { recursive: true });
  const contents = () =>
    readdirSync(copy).map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(copy, name)))
        .digest('hex'),
    ]);
  const before = contents();
  const told = await recover(copy, '--json');
  expect([told.code, told.err]).toEqual([0, '']);
  const found = records(told.out);
  for (const record of found) checkValid(record);
  expect(found.at(-1)).toMatchObject({ event_name: 'daemon.recovered', recovered: { rings: 1 } });
  await startDaemon({ stateDir: state });
  const idOfFrame = ({ event_id = '' }: RecordDraft) => /^[0-9a-f]{32}-\d+-\d+$/.test(event_id);
  const ids = (all: readonly RecordDraft[]) => all.filter(idOfFrame).map((one) => one.event_id);
  const adopted = ids(journalOf(state));
  const recovered = ids(found);
  expect(recovered.length).toBeGreaterThan(3);
  // What was recorded last may have no checksum yet.
  expect(adopted.slice(0, recovered.length)).toEqual(recovered);
  expect(records((await recover(copy, '--json')).out).slice(0, -1)).toEqual(found.slice(0, -1));
  expect(contents()).toEqual(before);
  const plain = await recover(copy);
  expect(plain.out.trimEnd().split('\n')).toEqual([
    expect.stringMatching(
      /"Mailbox" ended abandoned .*\(The process ended.* before Done\), last words: "\w+" \d+\/\d+ in Progress call \d+$/,
    ),
    expect.stringMatching(/^1 ring, \d+ frames, \d+ records, \d+ torn$/),
  ]);
  await close();
});

describe('a bad file is said, and the others are read', () => {
  const layout = (version: number): Buffer => {
    const image = goldenRing();
    image.writeUInt32LE(version, 8);
    return image;
  };
  test.for<[string, () => Buffer, RegExp]>([
    ['empty', () => Buffer.alloc(0), /expected \d+ to \d+ bytes, got 0/],
    ['cut in its header', () => goldenRing().subarray(0, 5000), /expected .* bytes, got 5000/],
    ['cut in its data', () => goldenRing().subarray(0, -8), /a data size of at most/],
    ['too long', () => Buffer.alloc(RING_FILE_BYTES + 9, 'MAPIRING'), /expected .* bytes, got/],
    ['foreign', () => Buffer.alloc(1_000_000, 0x20), /it to begin with "MAPIRING"/],
    ['of tomorrow', () => layout(3), /expected layout 2, got 3\. Use the version of mapisync/],
  ])('%s', async ([, make, want]) => {
    const dir = join(tempDir(), 'rings');
    mkdirSync(dir);
    writeFileSync(join(dir, 'a.ring'), make());
    writeFileSync(join(dir, 'b.ring'), goldenRing());
    const { code, out, err } = await recover(dir);
    expect(code).toBe(1);
    expect(err).toMatch(new RegExp(`^mapisync: Cannot read ${join(dir, 'a.ring')}: `));
    expect(err).toMatch(want);
    expect(out).toMatch(/\n?1 ring, \d+ frames.*; cannot read 1 file\n$/);
  });
});

test.for<[string, string, RegExp]>([
  ['nothing', 'nowhere', /Cannot read .*nowhere: it does not exist/],
  ['no ring', '', /expected \*\.ring files, got none/],
])('where there is %s it is wrong usage', async ([, name, want]) => {
  const { code, out, err } = await recover(join(tempDir(), name));
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(want);
});
