// Export to a real NATS server: nothing lost, nothing twice, and what is wrong is said.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../../client/cli.ts';
import { openNatsSink } from '../../../daemon/export/nats-sink.ts';
import { openFleet, subjectOf } from '../../../daemon/platform/nats.ts';
import type { NatsExport } from '../../../protocol/records/exports.ts';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import { keptIo } from '../../client/builders.ts';
import { checkValid } from '../../valid-record.mjs';
import { until } from '../support.ts';
import { hasNats, makeCertificate, NatsServer, storedMessages } from './nats-server.ts';
import { HandJournal, REAL_LINES, type Running, start } from './support.ts';

const HOST = 'bench';
const settings = (server: NatsServer, more: Partial<NatsExport> = {}): NatsExport => ({
  name: 'siem',
  kind: 'nats',
  text: 'plain',
  servers: [server.url],
  ...more,
});
const startNats = (journal: HandJournal, given: NatsExport): Running =>
  start(journal, { open: () => openNatsSink(given, HOST), firstRetryMs: 20 });

describe.runIf(hasNats)('export to NATS', () => {
  test('stores each record once, with its id, host and event, while the server is killed', async () => {
    const server = await new NatsServer().start();
    const journal = new HandJournal();
    const given = settings(server);
    const { exporter, said, stop } = startNats(journal, given);
    for (let round = 0; round < 3; round++) {
      exporter.grown(journal.grow(1500));
      await until('some arrived', () => exporter.status.sent > round * 800);
      await server.kill();
      exporter.grown(journal.grow(50));
      await until('it is said', () => exporter.status.state === 'failing');
      await server.start();
    }
    await until('all arrived', () => exporter.status.backlog_bytes === 0);
    await stop();
    const stored = await storedMessages(given);
    expect(stored.map(({ id }) => id)).toEqual(journal.ids);
    for (const { subject, text, id } of stored) {
      const record = JSON.parse(text);
      checkValid(record);
      expect(record.event_id).toBe(id);
      expect(subject).toBe(`mapisync.ev.${HOST}.${record.event_name}`);
    }
    expect(said[0]).toMatchObject({
      event_name: 'export.failed',
      export: { cause: 'unreachable' },
    });
  });

  test('goes on behind what the stream has, long after the server forgot the ids', async () => {
    const server = await new NatsServer().start();
    const given = settings(server);
    const fleet = await openFleet(given);
    // The shortest that the server takes.
    await fleet.jsm.streams.update(fleet.stream, { duplicate_window: 100_000_000 });
    const journal = new HandJournal();
    const first = startNats(journal, given);
    const end = journal.grow(700);
    first.exporter.grown(end);
    await first.stop();
    // Another machine sends meanwhile, and the cursor of this one was never saved.
    await fleet.js.publish('mapisync.ev.other.session.note', '{}');
    writeFileSync(join(journal.cursors, 'siem'), '0:0\n');
    const probe = () =>
      fleet.js.publish('mapisync.ev.probe.session.note', '{}', { msgID: 'probe' });
    expect((await probe()).duplicate).toBe(false);
    // Until an id that is younger than ours is forgotten.
    while ((await probe()).duplicate);
    const second = startNats(journal, given);
    second.exporter.grown(end);
    await until('it looked', () => second.exporter.status.backlog_bytes === 0);
    second.exporter.grown(journal.grow(300));
    await second.stop();
    await fleet.connection.close();
    const ours = (await storedMessages(given)).filter(({ id }) => id.startsWith('0011'));
    expect(ours.map(({ id }) => id)).toEqual(journal.ids);
  });

  test('sends a record again that the server refused in the middle of a batch', async () => {
    const server = await new NatsServer().start();
    const given = settings(server);
    const fleet = await openFleet(given);
    // Takes small records only, so that some of a batch are refused and some that follow are taken.
    await fleet.jsm.streams.update(fleet.stream, { max_msg_size: 900 });
    const journal = new HandJournal();
    const first = startNats(journal, given);
    const end = journal.grow(100);
    first.exporter.grown(end);
    await until('it is said', () => first.said.length > 0);
    expect(first.said[0]?.export?.cause).toBe('refused');
    await first.stop();
    const some = (await storedMessages(given)).length;
    expect(some).toBeGreaterThan(10);
    expect(some).toBeLessThan(journal.ids.length);
    await fleet.jsm.streams.update(fleet.stream, { max_msg_size: -1 });
    await fleet.connection.close();
    const second = startNats(journal, given);
    second.exporter.grown(end);
    await second.stop();
    const ids = (await storedMessages(given)).map(({ id }) => id);
    expect(ids.sort()).toEqual([...journal.ids].sort());
  });

  test('tail --fleet shows all machines, from before and live', async () => {
    const server = await new NatsServer().start();
    const given = settings(server);
    const journal = new HandJournal();
    const { exporter, stop } = startNats(journal, given);
    exporter.grown(journal.grow(120));
    await until('all arrived', () => exporter.status.backlog_bytes === 0);
    const end = new AbortController();
    const env = { MAPISYNC_EXPORT_NATS_SERVERS: server.url };
    const watch = (...args: string[]) => {
      const io = keptIo({ env, interrupted: () => end.signal });
      return { io, code: run(['tail', '--fleet', ...args], io) };
    };
    const everything = watch('--since', '1h', '--all', '--json');
    const lines = watch('--since', '1h');
    const seen = () => everything.io.stdout.text.split('\n').slice(0, -1);
    await until('what was before', () => seen().length === journal.ids.length);
    exporter.grown(journal.grow(100));
    await until('what came', () => seen().length === journal.ids.length);
    expect(seen().map((line) => JSON.parse(line).event_id)).toEqual(journal.ids);
    await until('lines', () => lines.io.stdout.text.includes('bench '));
    end.abort();
    expect(await everything.code).toBe(130);
    expect(await lines.code).toBe(130);
    await stop();
    const wrong = keptIo({ env });
    expect(await run(['tail', '--fleet', '^0'], wrong)).toBe(2);
    expect(await run(['tail', '--fleet'], keptIo())).toBe(2);
  });

  test('sessions --fleet lists those of all machines, the newest first', async () => {
    const server = await new NatsServer().start();
    const fleet = await openFleet(settings(server));
    const send = async (host: string, record: RecordDraft): Promise<void> => {
      const text = JSON.stringify({ ...record, host: { name: host } });
      await fleet.js.publish(subjectOf(host, record.event_name), text);
    };
    const env = { MAPISYNC_EXPORT_NATS_SERVERS: server.url };
    const list = async (...args: string[]) => {
      const io = keptIo({ env });
      const code = await run(['sessions', '--fleet', ...args], io);
      return { code, out: io.stdout.text, err: io.stderr.text };
    };
    expect(await list()).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringContaining('No such session'),
    });
    const records = REAL_LINES.map((line) => JSON.parse(line) as RecordDraft);
    const opened = records.find((one) => one.event_name === 'session.opened')!;
    const { id } = opened.session!;
    const time = new Date().toISOString();
    for (const one of records.filter(({ session }) => session?.id === id)) {
      if (!one.event_name.startsWith('snapshot.')) await send('pc-1', one);
    }
    await send('pc-2', { ...opened, time: new Date(Date.now() - 3_600_000).toISOString() });
    await send('pc-3', { ...opened, time });
    await send('pc-3', records.find((one) => one.session === undefined)!);
    await fleet.connection.close();
    const all = await list('--json');
    const rows = all.out
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    expect(rows.map((row) => [row.host, row.id, row.state])).toEqual([
      ['pc-3', id, 'running'],
      ['pc-2', id, 'unknown'], // Nothing came from it for long.
      ['pc-1', id, 'ended'],
    ]);
    expect((await list('--outcome', rows[2].outcome)).out).toMatch(/^pc-1 .* ended .*\n$/);
    expect((await list('--limit', '1', '--json')).out).toContain('"pc-3"');
    expect((await list('--store', 'nowhere')).out).toBe('');
    expect((await list('--journal', 'x')).code).toBe(2);
    await server.kill();
    expect((await list()).code).toBe(3);
    expect(await run(['sessions', '--fleet'], keptIo())).toBe(2);
  });

  test('says tls for a certificate of somebody else, and goes on with the right authority', async () => {
    const journal = new HandJournal();
    const good = makeCertificate(journal.root, 'good');
    const other = makeCertificate(journal.root, 'other');
    const server = await new NatsServer(
      `tls { cert_file: "${good.cert}", key_file: "${good.key}" }`,
    ).start();
    const wrong = startNats(journal, settings(server, { ca: other.cert }));
    const end = journal.grow(20);
    wrong.exporter.grown(end);
    await until('it is said', () => wrong.said.length > 0);
    expect(wrong.said[0]?.export?.cause).toBe('tls');
    expect(wrong.said[0]?.msg).toContain(other.cert);
    await wrong.stop();
    const given = settings(server, { ca: good.cert });
    const right = startNats(journal, given);
    right.exporter.grown(end);
    await right.stop();
    expect(await storedMessages(given)).toHaveLength(journal.ids.length);
  });

  test('says denied to a user who may not, and unreachable where nobody is', async () => {
    const journal = new HandJournal();
    const server = await new NatsServer('authorization { user: a, password: b }').start();
    const denied = startNats(journal, settings(server));
    denied.exporter.grown(journal.grow(20));
    await until('it is said', () => denied.said.length > 0);
    expect(denied.said[0]?.export?.cause).toBe('denied');
    await denied.stop();
    await server.kill();
    const alone = startNats(journal, settings(server));
    alone.exporter.grown(journal.grow(20));
    await until('it is said', () => alone.said.length > 0);
    expect(alone.said[0]?.export?.cause).toBe('unreachable');
    await alone.stop();
  });
});
