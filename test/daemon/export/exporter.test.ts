// One exporter on a journal made by hand: nothing lost, nothing twice, whatever the far side does.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MAX_BATCH_RECORDS } from '../../../daemon/export/limits.ts';
import { SinkError } from '../../../daemon/export/sink.ts';
import { segmentPath } from '../../../daemon/platform/journal-files.ts';
import { until } from '../support.ts';
import { HandJournal, ListSink, start } from './support.ts';

const eventNames = (said: readonly { event_name: string }[]) =>
  said.map(({ event_name }) => event_name);

describe('an exporter', () => {
  test('brings all records but snapshots once, in order, across segments, as they come', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    journal.grow(300);
    journal.rotate();
    const { exporter, said, stop } = start(journal, sink);
    exporter.grown(journal.grow(MAX_BATCH_RECORDS * 2));
    await until('it caught up', () => sink.got.length === journal.ids.length);
    exporter.grown(journal.grow(10));
    await stop();
    expect(sink.ids).toEqual(journal.ids);
    expect(Math.max(...sink.batches)).toBeLessThanOrEqual(MAX_BATCH_RECORDS);
    // For more to gather only before the first batch and the last.
    expect(sink.lingered).toBeLessThan(sink.batches.length);
    expect(exporter.status).toMatchObject({
      state: 'stopped',
      backlog_bytes: 0,
      sent: sink.got.length,
    });
    expect(said).toEqual([]);
  });

  test('reads nothing that is not durable yet', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    const half = journal.grow(50);
    const count = journal.ids.length;
    const all = journal.grow(50);
    const { exporter, stop } = start(journal, sink);
    exporter.grown(half);
    await until('the first half', () => sink.got.length >= count);
    expect(sink.got).toHaveLength(count);
    exporter.grown(all);
    await stop();
    expect(sink.ids).toEqual(journal.ids);
  });

  test('moves its cursor only when the far side has answered, and goes on from there', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    const end = journal.grow(100);
    const first = start(journal, sink);
    first.exporter.grown(end);
    await first.stop();
    const saved = join(journal.cursors, 'siem');
    expect(readFileSync(saved, 'utf8')).toBe(`${end.segment}:${end.offset}\n`);
    sink.hangs = true;
    const second = start(journal, sink);
    const later = journal.grow(100);
    second.exporter.grown(later);
    await until('it sends', () => sink.hanging === 1);
    second.exporter.stop(0);
    expect(readFileSync(saved, 'utf8')).toBe(`${end.segment}:${end.offset}\n`);
    sink.hangs = false;
    const third = start(journal, sink);
    third.exporter.grown(later);
    await third.stop();
    expect(sink.ids).toEqual(journal.ids);
  });

  test('goes on where another process has left the cursor', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    let isTaken = true;
    let given = 0;
    const own = (): (() => void) => {
      if (isTaken) throw new SinkError('failed', 'Cannot export: another process does');
      return () => void given++;
    };
    const { exporter, said, stop } = start(journal, { open: sink.open, own });
    const end = journal.grow(50);
    const theirs = journal.ids.length;
    exporter.grown(end);
    await until('it waits', () => said.length === 1);
    writeFileSync(join(journal.cursors, 'siem'), `${end.segment}:${end.offset}\n`);
    exporter.grown(journal.grow(50));
    isTaken = false;
    await until('it caught up', () => said.length === 2);
    expect([sink.ids, given]).toEqual([journal.ids.slice(theirs), 0]);
    await stop();
    expect(given).toBe(1);
  });

  test.for([
    ['removes duplicates', false, 7],
    ['knows what it has', true, 7],
    ['knows that it has it all', true, Number.POSITIVE_INFINITY],
  ] as const)(
    'sends what a far side lost in the middle of a batch, to one that %s',
    async ([, knows, takes]) => {
      const journal = new HandJournal();
      const sink = new ListSink();
      Object.assign(sink, { failure: 'unreachable', takes, knows });
      const { exporter, said, stop } = start(journal, sink);
      exporter.grown(journal.grow(60));
      await until('it tried again', () => sink.opened >= 2);
      sink.failure = undefined;
      await until('it caught up', () => eventNames(said).includes('export.caught_up'));
      exporter.grown(journal.grow(60));
      await stop();
      expect([...new Set(sink.ids)]).toEqual(journal.ids);
      if (knows) expect(sink.ids).toEqual(journal.ids);
      else expect(sink.ids.length).toBeGreaterThan(journal.ids.length);
      // Once, however often it was tried.
      expect(eventNames(said)).toEqual(['export.failed', 'export.caught_up']);
      expect(said[0]).toMatchObject({
        level: 'warn',
        export: { name: 'siem', cause: 'unreachable' },
      });
      expect(said[0]?.export?.backlog_bytes).toBeGreaterThan(1000);
    },
  );

  test('says that it failed once an episode, with the cause, and what it waits for in its status', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    let openable = false;
    const open = async () => {
      if (openable) return sink.open();
      throw new SinkError('tls', 'Cannot export: expected a certificate that we trust');
    };
    const { exporter, said, stop } = start(journal, { open });
    exporter.grown(journal.grow(10));
    await until('it fails', () => exporter.status.state === 'failing');
    expect(exporter.status).toMatchObject({
      cause: 'tls',
      error: expect.stringContaining('trust'),
    });
    expect(exporter.status.backlog_bytes).toBeGreaterThan(0);
    openable = true;
    await until('it caught up', () => exporter.status.backlog_bytes === 0 && said.length === 2);
    expect(exporter.status).not.toHaveProperty('error');
    openable = false;
    sink.failure = 'refused';
    exporter.grown(journal.grow(10));
    await until('it fails again', () => said.length === 3);
    expect(eventNames(said)).toEqual(['export.failed', 'export.caught_up', 'export.failed']);
    await stop();
  });

  test('gives up on a far side that does not answer in time, and stops without it', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    sink.hangs = true;
    const { exporter, said, stop } = start(journal, { open: sink.open, sendTimeoutMs: 20 });
    exporter.grown(journal.grow(10));
    await until('it says so', () => said.length > 0);
    expect(said[0]?.export?.cause).toBe('timeout');
    // It did not let go either.
    sink.hangs = false;
    await until('it caught up', () => eventNames(said).includes('export.caught_up'));
    await stop();
    expect(sink.ids).toEqual(journal.ids);
  });

  test('goes on with what is left where the journal was deleted', async () => {
    const journal = new HandJournal();
    const sink = new ListSink();
    journal.grow(100);
    const gone = journal.ids.length;
    journal.rotate();
    const end = journal.grow(100);
    rmSync(segmentPath(journal.dir, 1));
    const { exporter, stop } = start(journal, sink);
    exporter.grown(end);
    await stop();
    expect(sink.ids).toEqual(journal.ids.slice(gone));
  });
});
