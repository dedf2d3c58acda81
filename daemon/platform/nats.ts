/**
 * A connection to NATS JetStream, and the stream of a whole fleet. The packages are optional and are loaded
 * by the first call, never before.
 */
import { readFileSync } from 'node:fs';
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node';
import type { ExportCause } from '../../protocol/records/record.ts';
import { causesOf, isTlsCode, SinkError } from '../export/sink.ts';

export interface NatsPlace {
  readonly servers: readonly string[];
  readonly stream?: string;
  /** Files: a certificate authority, a client's certificate and its key, a credentials file. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly credentials?: string;
}

export interface FleetStream {
  readonly stream: string;
  readonly connection: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly packages: typeof import('@nats-io/jetstream');
}

const PREFIX = 'mapisync.ev';
/** Of all machines. */
export const FLEET_SUBJECTS = `${PREFIX}.>`;
const STREAM = 'MAPISYNC';
const CONNECT_TIMEOUT_MS = 5000;
/** Of a request. A batch that is longer under way than this has failed. */
export const NATS_TIMEOUT_MS = 5000;
/** Of the stream that is made where there is none. */
const MAX_AGE_NS = 30 * 86_400 * 1_000_000_000;
const DUPLICATE_WINDOW_NS = 120 * 1_000_000_000;
const NO_STREAM = 10_059;

/** `mapisync.ev.HOST.EVENT`; what a subject must not hold becomes `_`. */
export const subjectOf = (host: string, event: string): string =>
  `${PREFIX}.${host.replace(/[^A-Za-z0-9_~-]/g, '_') || '_'}.${event}`;

/**
 * Connects, and makes the stream if there is none. The connection does not come back by itself: whoever uses
 * it has to look what arrived.
 *
 * @throws {SinkError}
 */
export async function openFleet(place: NatsPlace): Promise<FleetStream> {
  const stream = place.stream ?? STREAM;
  let connection: NatsConnection | undefined;
  try {
    const { transport, packages } = await load();
    const { ca, cert, key } = place;
    const options: ConnectionOptions = {
      servers: [...place.servers],
      name: 'mapisync',
      reconnect: false,
      timeout: CONNECT_TIMEOUT_MS,
      ...(ca || cert
        ? {
            tls: {
              ...(ca ? { caFile: ca } : {}),
              ...(cert ? { certFile: cert } : {}),
              ...(key ? { keyFile: key } : {}),
            },
          }
        : {}),
      ...(place.credentials
        ? { authenticator: transport.credsAuthenticator(readFileSync(place.credentials)) }
        : {}),
    };
    connection = await transport.connect(options);
    const js = packages.jetstream(connection, { timeout: NATS_TIMEOUT_MS });
    const jsm = await js.jetstreamManager(false);
    await ensureStream(jsm, stream);
    return { stream, connection, js, jsm, packages };
  } catch (error) {
    await connection?.close().catch(() => {}); // What failed is said already.
    throw natsError(error, place);
  }
}

async function load(): Promise<{
  transport: typeof import('@nats-io/transport-node');
  packages: typeof import('@nats-io/jetstream');
}> {
  try {
    return {
      transport: await import('@nats-io/transport-node'),
      packages: await import('@nats-io/jetstream'),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new SinkError(
      'missing',
      'Cannot use NATS: expected the packages @nats-io/transport-node and @nats-io/jetstream, got none. ' +
        'Install them beside mapisync: npm install @nats-io/transport-node @nats-io/jetstream',
      error,
    );
  }
}

async function ensureStream(jsm: JetStreamManager, name: string): Promise<void> {
  try {
    await jsm.streams.info(name);
  } catch (error) {
    if ((error as { code?: unknown }).code !== NO_STREAM) throw error;
    await jsm.streams.add({
      name,
      subjects: [FLEET_SUBJECTS],
      max_age: MAX_AGE_NS,
      duplicate_window: DUPLICATE_WINDOW_NS,
      deny_delete: true,
    });
  }
}

/** What a failure of the library, the server or the network means to whoever has to mend it. */
export function natsError(error: unknown, { servers, credentials, ca }: NatsPlace): SinkError {
  if (error instanceof SinkError) return error;
  const chain = causesOf(error);
  const words = chain.map(({ message }) => message).join(': ');
  const names = chain.map(({ name }) => name);
  const codes = chain.map(({ code }) => String(code ?? ''));
  const make = (reason: ExportCause, hint: string): SinkError =>
    new SinkError(reason, `Cannot use NATS at ${servers.join(', ')}: ${words}. ${hint}`, error);
  const has = (name: string): boolean => names.includes(name);
  if (codes.some(isTlsCode) || /certificate|tls/i.test(words)) {
    return make('tls', `Is ${ca ?? 'the authority of its certificate'} the right one?`);
  }
  if (has('AuthorizationError') || has('PermissionViolationError') || /authoriz/i.test(words)) {
    return make('denied', `May ${credentials ?? 'this user'} publish and see ${FLEET_SUBJECTS}?`);
  }
  if (has('UserAuthenticationExpiredError')) return make('denied', 'Renew the credentials');
  if (codes.some((code) => code === 'ENOENT' || code === 'EACCES')) {
    return make('failed', 'Look at the files that export.nats.* names');
  }
  if (has('JetStreamApiError') || has('JetStreamError')) {
    return make('refused', 'The stream does not take it');
  }
  if (has('TimeoutError')) return make('timeout', 'It does not answer in time');
  if (has('NoRespondersError') || has('JetStreamNotEnabled')) {
    return make('refused', 'Is JetStream switched on there?');
  }
  return make('unreachable', 'It is tried again');
}
