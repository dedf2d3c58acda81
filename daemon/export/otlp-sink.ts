/** Records to an OpenTelemetry receiver, by HTTP with protobuf, through the official exporters. */
import { readFileSync } from 'node:fs';
import type { OtlpExport } from '../../protocol/records/exports.ts';
import type { FinishedRecord } from '../../protocol/records/line.ts';
import { Metrics } from '../../protocol/records/metrics.ts';
import { Resources, toLog, toMetrics, toSpans } from './otlp-map.ts';
import { causesOf, isTlsCode, type OutRecord, type Sink, SinkError } from './sink.ts';

const LINGER_MS = 1000;
/** The library tries again by itself within this; then it is our turn. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Figures go after records, at most so often. */
const METRICS_MS = 10_000;
const SUCCESS = 0;

/** What an exporter has counted. It outlives a sink, so that a failure does not begin the figures anew. */
export class OtlpState {
  readonly resources = new Resources();
  readonly metrics = new Metrics();
  readonly sinceMs = Date.now();
  metricsMs = 0;
  /** Of which daemon the figures are: the last that a record came from. */
  newest: FinishedRecord | undefined;
}

/** What is common to the exporters of all three. */
interface Exporter<T> {
  export(items: T, done: (result: { code: number; error?: Error }) => void): void;
  shutdown(): Promise<void>;
}

export async function openOtlpSink(
  settings: OtlpExport,
  state: OtlpState,
  requestTimeoutMs = REQUEST_TIMEOUT_MS,
): Promise<Sink> {
  const { logs, traces, metrics } = await load();
  const { ca, headers, url } = settings;
  let options: (path: string) => object;
  try {
    const agent = ca ? { httpAgentOptions: { ca: readFileSync(ca), keepAlive: true } } : {};
    const given = headers ? { headers: readHeaders(headers) } : {};
    options = (path) => ({
      url: `${url.replace(/\/$/, '')}/v1/${path}`,
      timeoutMillis: requestTimeoutMs,
      ...agent,
      ...given,
    });
  } catch (error) {
    const text = `Cannot export to ${url}: ${(error as Error).message}`;
    throw new SinkError('failed', `${text}. Look at the files that export.otlp.* names`, error);
  }
  return new OtlpSink(settings, state, {
    logs: new logs.OTLPLogExporter(options('logs')),
    traces: new traces.OTLPTraceExporter(options('traces')),
    metrics: new metrics.OTLPMetricExporter(options('metrics')),
  });
}

async function load() {
  try {
    return {
      logs: await import('@opentelemetry/exporter-logs-otlp-proto'),
      traces: await import('@opentelemetry/exporter-trace-otlp-proto'),
      metrics: await import('@opentelemetry/exporter-metrics-otlp-proto'),
    };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
    const names = ['logs', 'trace', 'metrics'].map(
      (one) => `@opentelemetry/exporter-${one}-otlp-proto`,
    );
    throw new SinkError(
      'missing',
      `Cannot export to OpenTelemetry: expected the packages ${names.join(', ')}, got none. ` +
        `Install them beside mapisync: npm install ${names.join(' ')}`,
      error,
    );
  }
}

/** `name: value` lines. */
function readHeaders(path: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of readFileSync(path, 'utf8').split(/\r?\n/)) {
    const at = line.indexOf(':');
    if (at > 0) headers[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return headers;
}

interface Exporters {
  readonly logs: Exporter<ReturnType<typeof toLog>[]>;
  readonly traces: Exporter<ReturnType<typeof toSpans>>;
  readonly metrics: Exporter<ReturnType<typeof toMetrics>>;
}

class OtlpSink implements Sink {
  readonly lingerMs = LINGER_MS;
  readonly #settings: OtlpExport;
  readonly #state: OtlpState;
  readonly #to: Exporters;
  #timer: NodeJS.Timeout | undefined;
  #isWell = true;

  constructor(settings: OtlpExport, state: OtlpState, to: Exporters) {
    this.#settings = settings;
    this.#state = state;
    this.#to = to;
  }

  async send(records: readonly OutRecord[]): Promise<void> {
    const { resources, metrics } = this.#state;
    // Spans first: a log record that is there says that its span is.
    const spans = records.flatMap(({ record }) => toSpans(record, resources.of(record)));
    if (spans.length > 0) await this.#export(this.#to.traces, spans);
    const logs = records.map(({ record }) => toLog(record, resources.of(record)));
    await this.#export(this.#to.logs, logs);
    for (const { record } of records) metrics.take(record);
    this.#state.newest = records.at(-1)?.record;
    this.#sendMetricsSoon();
  }

  async close(): Promise<void> {
    const isWaiting = this.#timer !== undefined;
    clearTimeout(this.#timer);
    if (isWaiting && this.#isWell) await this.#sendMetrics();
    const { logs, traces, metrics } = this.#to;
    await Promise.all([logs.shutdown(), traces.shutdown(), metrics.shutdown()]);
  }

  #sendMetricsSoon(): void {
    const waitMs = Math.max(0, this.#state.metricsMs + METRICS_MS - Date.now());
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#sendMetrics();
    }, waitMs);
  }

  /** They are sums: what does not arrive is in the next ones. */
  async #sendMetrics(): Promise<void> {
    const { metrics, resources, sinceMs, newest } = this.#state;
    if (!newest) return;
    const nowMs = Date.now();
    this.#state.metricsMs = nowMs;
    const data = toMetrics(metrics.families(), resources.of(newest), { sinceMs, nowMs });
    await this.#export(this.#to.metrics, data).catch(() => {});
  }

  #export<T>(to: Exporter<T>, items: T): Promise<void> {
    return new Promise((resolve, reject) => {
      to.export(items, ({ code, error }) => {
        this.#isWell = code === SUCCESS;
        if (this.#isWell) resolve();
        else reject(explain(error ?? new Error('no reason was given'), this.#settings));
      });
    });
  }
}

const DENIED = new Set(['401', '403']);

function explain(error: Error, { url, ca }: OtlpExport): SinkError {
  const chain = causesOf(error);
  const codes = chain.map(({ code }) => String(code ?? ''));
  const words = chain.map(({ message }) => message).join(': ');
  const status = codes.find((code) => /^\d{3}$/.test(code));
  const make = (reason: SinkError['reason'], hint: string): SinkError => {
    const what = status === undefined ? words : `${status} ${words}`;
    return new SinkError(reason, `Cannot export to ${url}: ${what}. ${hint}`, error);
  };
  if (codes.some(isTlsCode)) {
    return make('tls', `Is ${ca ?? 'the authority of its certificate'} the right one?`);
  }
  if (status !== undefined && DENIED.has(status)) {
    return make('denied', 'Look at the file that export.otlp.headers names');
  }
  if (status !== undefined || /retryable status/i.test(words)) {
    return make('refused', 'It is tried again');
  }
  if (/time/i.test(words)) return make('timeout', 'It is tried again');
  return make('unreachable', 'It is tried again');
}
