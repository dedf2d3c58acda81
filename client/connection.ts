/** One connection to the daemon, past the handshake: frames out, frames in. */
import type { Socket } from 'node:net';
import { connect } from '../daemon/platform/connect.ts';
import { statePaths } from '../daemon/platform/paths.ts';
import {
  type ClientFrame,
  type DaemonFacts,
  decodeFeedFrame,
  encodeClientFrame,
  type FeedFrame,
} from '../protocol/wire/clients.ts';
import { frame as prefixed } from '../protocol/wire/encode.ts';
import { FrameReader } from '../protocol/wire/frame-reader.ts';
import type { Unknown } from '../protocol/wire/frames.ts';
import { PROTOCOL_VERSION } from '../protocol/wire/limits.ts';
import { CliError, EXIT } from './exit.ts';
import type { Env } from './render/theme.ts';
import { packageVersion } from './version.ts';

/** How long the daemon may take to answer a question. */
export const ANSWER_TIMEOUT_MS = 5000;

/** Why the daemon turned a client away, as in PROTOCOL.md. */
const REFUSED = { protocol: 1, stopping: 7 } as const;

export interface Place {
  readonly stateDir: string | undefined;
  readonly env: Env;
  /** Ends whatever is going on with this connection. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

export class Connection {
  readonly #socket: Socket;
  readonly #frames: AsyncGenerator<FeedFrame | Unknown>;
  readonly #timeoutMs: number;
  #daemon: DaemonFacts | undefined;

  private constructor(socket: Socket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#frames = read(socket);
  }

  /**
   * Connects and says hello.
   *
   * @throws {PlatformError | CliError} no daemon, another user's, another version, no answer.
   */
  static async open(place: Place): Promise<Connection> {
    const timeoutMs = place.timeoutMs ?? ANSWER_TIMEOUT_MS;
    const { endpoint } = statePaths(place.stateDir, place.env as NodeJS.ProcessEnv);
    const { socket } = await connect(endpoint, { role: 'client', timeoutMs });
    const stop = (): void => void socket.destroy();
    place.signal?.addEventListener('abort', stop, { once: true });
    socket.once('close', () => place.signal?.removeEventListener('abort', stop));
    if (place.signal?.aborted) stop();
    const connection = new Connection(socket, timeoutMs);
    try {
      connection.send({
        kind: 'hello',
        protocol: PROTOCOL_VERSION,
        version: packageVersion(),
        pid: process.pid,
      });
      connection.#daemon = (await connection.answer('welcome')).daemon;
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get daemon(): DaemonFacts {
    return this.#daemon!;
  }

  send(frame: ClientFrame): void {
    if (this.#socket.writable) this.#socket.write(prefixed(encodeClientFrame(frame)));
  }

  /** The next frame; undefined when the daemon is gone. A refusal is thrown. */
  async next(): Promise<FeedFrame | undefined> {
    for (;;) {
      const { value, done } = await this.#frames.next();
      if (done || value === undefined) return undefined;
      if (value.kind === 'refused') throw refusal(value.reason, value.text);
      if (value.kind !== 'unknown') return value;
    }
  }

  /**
   * Reads on to the frame of a kind, and lets what comes before it go by.
   *
   * @throws {CliError} exit 4 if it does not come, exit 3 if the daemon goes.
   */
  async answer<K extends FeedFrame['kind']>(kind: K): Promise<Extract<FeedFrame, { kind: K }>> {
    for (;;) {
      const found = await within(this.#timeoutMs, this.next());
      if (found === undefined) {
        throw new CliError(
          EXIT.noDaemon,
          'Cannot ask the daemon: it closed the connection',
          'Look why: mapisync daemon status',
        );
      }
      if (found.kind === kind) return found as Extract<FeedFrame, { kind: K }>;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Frames as they come; ends with the connection, however that ends. */
async function* read(socket: Socket): AsyncGenerator<FeedFrame | Unknown> {
  const reader = new FrameReader();
  const chunks = socket[Symbol.asyncIterator]();
  for (;;) {
    let chunk: IteratorResult<Uint8Array>;
    try {
      chunk = await chunks.next();
    } catch {
      return; // A connection that broke ends like one that was closed.
    }
    if (chunk.done) return;
    for (const body of reader.push(chunk.value)) yield decodeFeedFrame(body);
    if (reader.error) throw reader.error;
  }
}

function refusal(reason: number, text: string): CliError {
  if (reason === REFUSED.protocol) {
    return new CliError(
      EXIT.version,
      `Cannot talk to the daemon: ${text}`,
      'Run the same version of both',
    );
  }
  const code = reason === REFUSED.stopping ? EXIT.noDaemon : EXIT.failed;
  return new CliError(code, `Cannot go on: the daemon turned us away: ${text}`);
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const text = `Cannot ask the daemon: expected an answer within ${ms} ms, got none`;
      reject(new CliError(EXIT.timeout, text, 'Give it longer with --timeout'));
    }, ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {}); // It may still fail, and nobody waits for it any more.
  }
}
