/**
 * Records as OpenTelemetry has them: a log record each, and a span for each session that ended, with a child
 * for each phase. Pure; knows only the types of the official packages.
 */
import { createHash } from 'node:crypto';
import type { HrTime, SpanContext } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { FinishedRecord } from '../../protocol/records/line.ts';
import { DURATION_BOUNDS_S, type Family } from '../../protocol/records/metrics.ts';
import type { Outcome } from '../../protocol/records/record.ts';

type Value = string | number | boolean | string[];
type Attributes = Record<string, Value>;

// Numbers of the wire, as the specification fixes them: their enums would load the packages.
const SPAN_KIND_INTERNAL = 0;
const STATUS = { unset: 0, ok: 1, error: 2 } as const;
const CUMULATIVE = 1;
const POINT = { histogram: 0, gauge: 2, sum: 3 } as const;
const DOUBLE = 1;

/** Known under a name of their own; everything else is `mapisync.` and its path. */
const STANDARD: Readonly<Record<string, string>> = {
  event_id: 'log.record.uid',
  'process.pid': 'process.pid',
  'process.executable.name': 'process.executable.name',
  'thread.id': 'thread.id',
  'session.id': 'session.id',
  'error.name': 'error.type',
};
/** Stand elsewhere in a log record, or in spans. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  ...['time', 'observed_time', 'level', 'severity_number', 'event_name', 'msg', 'phases'],
  ...['trace_id', 'span_id', 'trace_flags', 'service', 'host', 'state'],
]);

/** One object for each service and host, since the exporters group by identity. */
export class Resources {
  readonly #known = new Map<string, Resource>();

  of({ service, host }: Pick<FinishedRecord, 'service' | 'host'>): Resource {
    const key = JSON.stringify([service, host]);
    let resource = this.#known.get(key);
    if (!resource) {
      resource = makeResource({
        'service.name': service.name,
        'service.version': service.version,
        'service.instance.id': service.instance_id,
        'host.name': host.name,
      });
      // A daemon that was started a thousand times has a thousand instances in its journal.
      if (this.#known.size >= 64) this.#known.clear();
      this.#known.set(key, resource);
    }
    return resource;
  }
}

function makeResource(attributes: Record<string, string>): Resource {
  const resource: Resource = {
    attributes,
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  };
  return resource;
}

const SCOPE = { name: 'mapisync' };

export function toLog(record: FinishedRecord, resource: Resource): ReadableLogRecord {
  const context = contextOf(record);
  return {
    hrTime: hrTime(record.time),
    hrTimeObserved: hrTime(record.observed_time ?? record.time),
    ...(context ? { spanContext: context } : {}),
    severityNumber: record.severity_number,
    severityText: record.level.toUpperCase(),
    body: record.msg,
    eventName: `mapisync.${record.event_name}`,
    resource,
    instrumentationScope: SCOPE,
    attributes: attributesOf(record),
    droppedAttributesCount: 0,
  };
}

function attributesOf(record: FinishedRecord): Attributes {
  const found: Attributes = {};
  const put = (path: string, value: unknown): void => {
    if (ELSEWHERE.has(path) || value === undefined || value === null) return;
    if (Array.isArray(value)) {
      const texts = value.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)));
      if (texts.length > 0) found[`mapisync.${path}`] = texts;
    } else if (typeof value === 'object') {
      for (const [name, member] of Object.entries(value)) put(`${path}.${name}`, member);
    } else found[STANDARD[path] ?? `mapisync.${path}`] = value as Value;
  };
  for (const [name, value] of Object.entries(record)) put(name, value);
  return found;
}

const STATUS_OF: Readonly<Record<Outcome, number>> = {
  ok: STATUS.ok,
  ok_with_errors: STATUS.unset,
  warned: STATUS.unset,
  cancelled: STATUS.unset,
  failed: STATUS.error,
  abandoned: STATUS.error,
};

/** Of a session that ended: its span first, then its phases. None of any other record. */
export function toSpans(record: FinishedRecord, resource: Resource): ReadableSpan[] {
  const context = contextOf(record);
  if (record.event_name !== 'session.ended' || !context || !record.outcome) return [];
  const { outcome, outcome_reason: reason, phases = [], duration_us: durationUs = 0 } = record;
  const endUs = timeUs(record.time);
  const code = STATUS_OF[outcome];
  const base = { resource, instrumentationScope: SCOPE, kind: SPAN_KIND_INTERNAL };
  const none = { links: [], events: [], ended: true };
  const dropped = { droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 };
  const span = (
    given: Pick<ReadableSpan, 'name' | 'attributes' | 'status' | 'spanContext'> & {
      readonly startUs: bigint;
      readonly endUs: bigint;
    },
  ): ReadableSpan => {
    const { startUs, endUs: until, ...rest } = given;
    const [startTime, endTime] = [fromUs(startUs), fromUs(until)];
    return {
      ...base,
      ...none,
      ...dropped,
      ...rest,
      startTime,
      endTime,
      duration: fromUs(until - startUs),
    };
  };
  const startUs = endUs - BigInt(durationUs);
  const root = span({
    name: 'mapisync.sync',
    attributes: attributesOf(record),
    status: code === STATUS.error ? { code, message: reason ?? outcome } : { code },
    spanContext: () => context,
    startUs,
    endUs,
  });
  let at = startUs;
  const children = phases.map((phase, index): ReadableSpan => {
    const from = at;
    // Phases follow each other; what the clock adds must not put one behind its parent.
    at = min(at + BigInt(phase.duration_us), endUs);
    const spanId = childId(context.spanId, index);
    const { text, duration_us: _, ...counts } = phase;
    const attributes: Attributes = {
      ...(text === undefined ? {} : { 'mapisync.phase.text': text }),
    };
    for (const [name, count] of Object.entries(counts))
      attributes[`mapisync.phase.${name}`] = count;
    return {
      ...span({
        name: 'mapisync.phase',
        attributes,
        status: { code: STATUS.unset },
        spanContext: () => ({ ...context, spanId }),
        startUs: from,
        endUs: at,
      }),
      parentSpanContext: context,
    };
  });
  return [root, ...children];
}

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The same after a resend: a span that came twice is one. */
const childId = (spanId: string, index: number): string =>
  createHash('sha256').update(`${spanId} ${index}`).digest('hex').slice(0, 16);

function contextOf(record: FinishedRecord): SpanContext | undefined {
  const { trace_id: traceId, span_id: spanId, trace_flags: traceFlags = 1 } = record;
  return traceId && spanId ? { traceId, spanId, traceFlags } : undefined;
}

/** Microseconds since the epoch, exactly: they do not fit a Date. */
function timeUs(time: string): bigint {
  const ms = BigInt(Date.parse(`${time.slice(0, 19)}Z`));
  return ms * 1000n + BigInt(time.slice(20, 26));
}

const fromUs = (us: bigint): HrTime => [Number(us / 1_000_000n), Number(us % 1_000_000n) * 1000];

const hrTime = (time: string): HrTime => fromUs(timeUs(time));

/** @param since When counting began, and now: milliseconds since the epoch. */
export function toMetrics(
  families: readonly Family[],
  resource: Resource,
  { sinceMs, nowMs }: { readonly sinceMs: number; readonly nowMs: number },
): ResourceMetrics {
  const [startTime, endTime] = [fromUs(BigInt(sinceMs) * 1000n), fromUs(BigInt(nowMs) * 1000n)];
  const metrics = families.map(({ name, help, type, points }): MetricData => {
    const unit = name.includes('seconds') ? 's' : '1';
    const descriptor = {
      name: name.replace(/_total$|_seconds$/, '').replace(/^mapisync_/, 'mapisync.'),
      description: help,
      unit,
      valueType: DOUBLE,
    };
    const common = { descriptor, aggregationTemporality: CUMULATIVE };
    const place = { startTime, endTime };
    if (type === 'histogram') {
      const dataPoints = points.map(({ labels, value, buckets = [] }) => ({
        ...place,
        attributes: { ...labels },
        value: {
          buckets: { boundaries: [...DURATION_BOUNDS_S], counts: [...buckets] },
          sum: value,
          count: buckets.reduce((sum, count) => sum + count, 0),
        },
      }));
      return { ...common, dataPointType: POINT.histogram, dataPoints };
    }
    const dataPoints = points.map(({ labels, value }) => ({
      ...place,
      attributes: { ...labels },
      value,
    }));
    if (type === 'gauge') return { ...common, dataPointType: POINT.gauge, dataPoints };
    return { ...common, dataPointType: POINT.sum, dataPoints, isMonotonic: true };
  });
  return { resource, scopeMetrics: [{ scope: SCOPE, metrics }] };
}
