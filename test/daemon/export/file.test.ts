// The second stream: files for a shipper.
import { appendFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openFileSink } from '../../../daemon/export/file-sink.ts';
import { segmentPath } from '../../../daemon/platform/journal-files.ts';
import type { FileExport } from '../../../protocol/records/exports.ts';
import { until } from '../support.ts';
import { exported, HandJournal, start } from './support.ts';

const settings = (journal: HandJournal, more: Partial<FileExport> = {}): FileExport => ({
  name: 'siem',
  kind: 'file',
  text: 'plain',
  dir: join(journal.root, 'out'),
  ...more,
});
const idsIn = (dir: string): string[] => exported(dir).map(({ event_id }) => event_id);

describe('export to files', () => {
  test('makes whole lines that a group may read, and new files, never one renamed', async () => {
    const journal = new HandJournal();
    const given = settings(journal, { fileBytes: 20_000 });
    const { exporter, stop } = start(journal, { open: () => openFileSink(given) });
    for (let at = 0; at < 5; at++) {
      exporter.grown(journal.grow(30));
      await until('it is there', () => exporter.status.backlog_bytes === 0);
    }
    await stop();
    expect(idsIn(given.dir)).toEqual(journal.ids);
    const [lock, ...names] = readdirSync(given.dir).sort();
    expect(lock).toBe('.mapisync.lock');
    expect(names.length).toBeGreaterThan(2);
    expect(names[0]).toBe('mapisync.000001.jsonl');
    if (process.platform === 'win32') return;
    for (const name of names) expect(statSync(join(given.dir, name)).mode & 0o777).toBe(0o640);
    expect(statSync(given.dir).mode & 0o777).toBe(0o750);
  });

  test('brings nothing twice after a crash between a write and its cursor, and mends a torn line', async () => {
    const journal = new HandJournal();
    const given = settings(journal);
    const first = start(journal, { open: () => openFileSink(given) });
    const end = journal.grow(100);
    first.exporter.grown(end);
    await first.stop();
    // As if the batch had been written and the cursor not, and a second batch half.
    writeFileSync(join(journal.cursors, 'siem'), '1:0\n');
    appendFileSync(segmentPath(given.dir, 1), '{"v":1,"time":"2026');
    const second = start(journal, { open: () => openFileSink(given) });
    second.exporter.grown(end);
    await until('it looked', () => second.exporter.status.backlog_bytes === 0);
    second.exporter.grown(journal.grow(100));
    await second.stop();
    expect(idsIn(given.dir)).toEqual(journal.ids);
  });

  test('keeps all files within their size, and the newest of them', async () => {
    const journal = new HandJournal();
    const given = settings(journal, { fileBytes: 20_000, totalBytes: 80_000 });
    const { exporter, stop } = start(journal, { open: () => openFileSink(given) });
    for (let at = 0; at < 20; at++) {
      exporter.grown(journal.grow(20));
      await until('it is there', () => exporter.status.backlog_bytes === 0);
    }
    await stop();
    const total = readdirSync(given.dir).reduce(
      (sum, name) => sum + statSync(join(given.dir, name)).size,
      0,
    );
    expect(total).toBeLessThanOrEqual(80_000);
    expect(total).toBeGreaterThan(40_000);
    const ids = idsIn(given.dir);
    expect(ids).toEqual(journal.ids.slice(-ids.length));
  });

  test('writes nothing where another exporter does, and all when that one is gone', async () => {
    const [journal, other] = [new HandJournal(), new HandJournal()];
    const given = settings(journal);
    const first = start(other, { open: () => openFileSink(given) });
    first.exporter.grown(other.grow(10));
    await until('it is there', () => first.exporter.status.backlog_bytes === 0);
    const { exporter, said, stop } = start(journal, { open: () => openFileSink(given) });
    exporter.grown(journal.grow(10));
    await until('it says so', () => said.length > 0);
    expect(said[0]?.msg).toContain(`Cannot write to ${given.dir}: another mapisync exports there`);
    expect(idsIn(given.dir)).toEqual(other.ids);
    await first.stop();
    await until('it goes on', () => exporter.status.backlog_bytes === 0);
    await stop();
    // By hand, ids begin anew in each.
    expect(idsIn(given.dir)).toEqual([...new Set([...other.ids, ...journal.ids])]);
  });

  test.for([
    ['a file in the way', (dir: string) => writeFileSync(dir, ''), (dir: string) => dir, 'failed'],
    [
      'a file above it',
      (dir: string) => writeFileSync(dir, ''),
      (dir: string) => join(dir, 'x'),
      'failed',
    ],
    ['where there can be none', () => {}, () => '/proc/mapisync', 'failed'],
  ] as const)('says what is wrong: %s', async ([, prepare, place, cause], { skip }) => {
    const journal = new HandJournal();
    prepare(join(journal.root, 'out'));
    const given = settings(journal, { dir: place(join(journal.root, 'out')) });
    if (given.dir.startsWith('/proc') && process.platform !== 'linux') return skip('has no /proc');
    const { exporter, said, stop } = start(journal, { open: () => openFileSink(given) });
    exporter.grown(journal.grow(10));
    await until('it says so', () => said.length > 0);
    expect(said[0]?.export?.cause).toBe(cause);
    expect(said[0]?.msg).toContain(given.dir);
    await stop();
  });
});
