/** An OpenTelemetry receiver of the test's own: takes HTTP with protobuf, decodes it, and fails when told to. */
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import protobuf from 'protobufjs';

const root = protobuf.loadSync(new URL('otlp.proto', import.meta.url).pathname);
const TYPES = { logs: 'LogsRequest', traces: 'TraceRequest', metrics: 'MetricsRequest' };

const plain = (list = []) =>
  Object.fromEntries(list.map(({ key, value }) => [key, valueIn(value)]));
const valueIn = (value = {}) => {
  if (value.arrayValue) return (value.arrayValue.values ?? []).map(valueIn);
  const [one] = Object.values(value);
  return one;
};
const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex');

export class Receiver {
  logs = [];
  spans = [];
  /** The newest of each name. */
  metrics = new Map();
  /** Everything that came, as it came. */
  bytes = [];
  headers = {};
  requests = 0;
  /** What happens to a request: a status, `drop` before or `lose` after it was taken; undefined: taken. */
  fate = () => undefined;
  #server;

  /** @param tls A certificate and its key as texts. @returns the address. */
  async listen(tls) {
    const take = (request, response) => this.#take(request, response);
    this.#server = tls ? createTlsServer(tls, take) : createServer(take);
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { port } = this.#server.address();
    return `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request, response) {
    const chunks = [];
    request.on('error', () => {});
    for await (const chunk of request) chunks.push(chunk);
    this.requests += 1;
    const what = /^\/v1\/(logs|traces|metrics)$/.exec(request.url)?.[1];
    const fate = await this.fate(what, this.requests);
    if (fate === 'drop') return request.socket.destroy();
    if (typeof fate === 'number') return response.writeHead(fate).end();
    if (what === undefined || request.headers['content-type'] !== 'application/x-protobuf') {
      return response.writeHead(415).end();
    }
    this.headers = request.headers;
    const body = Buffer.concat(chunks);
    this.bytes.push(body);
    const type = root.lookupType(`otlp.${TYPES[what]}`);
    this.#keep(what, type.toObject(type.decode(body), { longs: String }));
    if (fate === 'lose') return request.socket.destroy();
    return response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  }

  #keep(what, request) {
    if (what === 'logs') {
      for (const { resource, scopeLogs } of request.resourceLogs ?? []) {
        for (const record of scopeLogs.flatMap((scope) => scope.logRecords ?? [])) {
          this.logs.push({
            ...record,
            body: valueIn(record.body),
            attributes: plain(record.attributes),
            resource: plain(resource.attributes),
            traceId: hex(record.traceId),
            spanId: hex(record.spanId),
          });
        }
      }
    } else if (what === 'traces') {
      for (const { resource, scopeSpans } of request.resourceSpans ?? []) {
        for (const span of scopeSpans.flatMap((scope) => scope.spans ?? [])) {
          this.spans.push({
            ...span,
            attributes: plain(span.attributes),
            resource: plain(resource.attributes),
            traceId: hex(span.traceId),
            spanId: hex(span.spanId),
            parentSpanId: hex(span.parentSpanId),
          });
        }
      }
    } else {
      for (const { scopeMetrics } of request.resourceMetrics ?? []) {
        for (const metric of scopeMetrics.flatMap((scope) => scope.metrics ?? [])) {
          const data = metric.sum ?? metric.gauge ?? metric.histogram;
          const points = (data?.dataPoints ?? []).map((point) => ({
            ...point,
            attributes: plain(point.attributes),
          }));
          this.metrics.set(metric.name, { ...metric, points });
        }
      }
    }
  }
}
