// Export to OpenTelemetry, held to what a receiver of its own decodes.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OtlpState, openOtlpSink } from '../../../daemon/export/otlp-sink.ts';
import type { OtlpExport } from '../../../protocol/records/exports.ts';
import type { FinishedRecord } from '../../../protocol/records/line.ts';
import { cleanUp, until } from '../support.ts';
import { makeCertificate } from './nats-server.ts';
import { Receiver } from './receiver.mjs';
import { HandJournal, REAL_LINES, type Running, start } from './support.ts';

async function receiver(tls?: {
  cert: string;
  key: string;
}): Promise<{ to: Receiver; url: string }> {
  const to = new Receiver();
  const url = await to.listen(tls);
  cleanUp(() => to.close());
  return { to, url };
}

function startOtlp(journal: HandJournal, given: Partial<OtlpExport> & { url: string }): Running {
  const state = new OtlpState();
  const settings: OtlpExport = { name: 'siem', kind: 'otlp', text: 'plain', ...given };
  // Too short for the library to try again by itself.
  const open = async () => Object.assign(await openOtlpSink(settings, state, 900), { lingerMs: 0 });
  return start(journal, { open, firstRetryMs: 20 });
}

const uid = ({ attributes }: { attributes: Readonly<Record<string, unknown>> }) =>
  attributes['log.record.uid'];
const real = REAL_LINES.map((line) => JSON.parse(line) as FinishedRecord).filter(
  ({ event_name }) => !event_name.startsWith('snapshot.'),
);
const nanos = (time: string): string =>
  `${BigInt(Date.parse(`${time.slice(0, 19)}Z`)) / 1000n}${time.slice(20, 26)}000`;

describe('export to OpenTelemetry', () => {
  test('each record is a log record, each session a span with its phases, and figures come', async () => {
    const { to, url } = await receiver();
    const journal = new HandJournal();
    const headers = join(journal.root, 'headers');
    writeFileSync(headers, 'authorization: Bearer of it\n');
    const { exporter, stop } = startOtlp(journal, { url, headers });
    exporter.grown(journal.grow(REAL_LINES.length));
    await until('all arrived', () => exporter.status.backlog_bytes === 0 && to.metrics.size > 3);
    await stop();
    expect(to.headers.authorization).toBe('Bearer of it');
    // Grouped by daemon, and in order within a group.
    expect(to.logs.map(uid).sort()).toEqual([...journal.ids].sort());
    const byId = new Map(to.logs.map((log) => [uid(log), log]));
    real.forEach((record, at) => {
      const log = byId.get(journal.ids[at])!;
      expect(log).toMatchObject({
        eventName: `mapisync.${record.event_name}`,
        timeUnixNano: nanos(record.time),
        severityNumber: record.severity_number,
        body: record.msg,
        traceId: record.trace_id ?? '',
        spanId: record.span_id ?? '',
        resource: { 'service.name': 'mapisync', 'host.name': 'bench' },
      });
      if (record.error) expect(log.attributes['error.type']).toBe(record.error.name);
    });
    const ended = real.filter(({ event_name }) => event_name === 'session.ended');
    expect(ended.length).toBeGreaterThan(8);
    for (const record of ended) {
      const ours = to.spans.filter(({ traceId }) => traceId === record.trace_id);
      const [root, ...phases] = ours;
      expect(root).toMatchObject({
        name: 'mapisync.sync',
        spanId: record.span_id,
        parentSpanId: '',
      });
      expect(root!.endTimeUnixNano).toBe(nanos(record.time));
      const took = BigInt(root!.endTimeUnixNano) - BigInt(root!.startTimeUnixNano);
      expect(took).toBe(BigInt(record.duration_us!) * 1000n);
      const code = { ok: 1, failed: 2, abandoned: 2 }[record.outcome as string] ?? 0;
      expect(root!.status?.code ?? 0).toBe(code);
      expect(phases).toHaveLength(record.phases!.length);
      for (const phase of phases) {
        expect(phase.parentSpanId).toBe(root!.spanId);
        expect(BigInt(phase.startTimeUnixNano)).toBeGreaterThanOrEqual(
          BigInt(root!.startTimeUnixNano),
        );
        expect(BigInt(phase.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(root!.endTimeUnixNano));
      }
      expect(new Set(ours.map(({ spanId }) => spanId)).size).toBe(ours.length);
    }
    const endedMetric = to.metrics.get('mapisync.sessions_ended');
    expect(endedMetric).toMatchObject({ sum: { isMonotonic: true, aggregationTemporality: 2 } });
    const sum = (points: { asDouble: number }[]) =>
      points.reduce((all, { asDouble }) => all + asDouble, 0);
    expect(sum(endedMetric.points)).toBe(ended.length);
    const durations = to.metrics.get('mapisync.session_duration');
    expect(durations.unit).toBe('s');
    const counts = durations.points.flatMap(
      (point: { bucketCounts: string[] }) => point.bucketCounts,
    );
    expect(counts.map(Number).reduce((all: number, count: number) => all + count, 0)).toBe(
      ended.length,
    );
  });

  test('a receiver that refuses, hangs up and loses its answers gets every id, and no other', async () => {
    const { to, url } = await receiver();
    const ok = undefined;
    const fates = [503, ok, ok, 'drop', ok, 'lose', ok, ok, 400, ok, 'lose', ok, ok, 500];
    to.fate = (what, request) => (what === 'metrics' ? undefined : fates[request % fates.length]);
    const journal = new HandJournal();
    const { exporter, said, stop } = startOtlp(journal, { url });
    for (let round = 0; round < 8; round++) {
      exporter.grown(journal.grow(40));
      const sent = exporter.status.sent;
      await until('some went', () => exporter.status.sent > sent);
    }
    to.fate = () => undefined;
    await until('all arrived', () => exporter.status.backlog_bytes === 0);
    await stop();
    expect([...new Set(to.logs.map(uid))].sort()).toEqual([...journal.ids].sort());
    expect(to.logs.length).toBeGreaterThan(journal.ids.length);
    expect(said.length).toBeGreaterThan(0);
  });

  test.for([
    [503, 'refused'],
    [400, 'refused'],
    [401, 'denied'],
    ['drop', 'unreachable'],
  ] as const)('says what a receiver does: %s is %s', async ([fate, cause]) => {
    const { to, url } = await receiver();
    to.fate = () => fate;
    const journal = new HandJournal();
    const { exporter, said, stop } = startOtlp(journal, { url });
    exporter.grown(journal.grow(5));
    await until('it says so', () => said.length > 0, 15_000);
    expect(said[0]?.export?.cause).toBe(cause);
    await stop();
  });

  test('says tls for a certificate of somebody else, and goes on with the right authority', async () => {
    const journal = new HandJournal();
    const good = makeCertificate(journal.root, 'good');
    const other = makeCertificate(journal.root, 'other');
    const text = (path: string) => readFileSync(path, 'utf8');
    const { to, url } = await receiver({ cert: text(good.cert), key: text(good.key) });
    const wrong = startOtlp(journal, { url, ca: other.cert });
    const end = journal.grow(20);
    wrong.exporter.grown(end);
    await until('it says so', () => wrong.said.length > 0, 15_000);
    expect(wrong.said[0]?.export?.cause).toBe('tls');
    await wrong.stop();
    const right = startOtlp(journal, { url, ca: good.cert });
    right.exporter.grown(end);
    await right.stop();
    expect(to.logs.map(uid)).toEqual(journal.ids);
  });
});
