/** `replay`: feeds a recording to the daemon, over a connection like that of a shim. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../daemon/platform/connect.ts';
import { statePaths } from '../../daemon/platform/paths.ts';
import { sessionId } from '../../protocol/session/ids.ts';
import { decodeDaemonFrame } from '../../protocol/wire/decode.ts';
import { encodeFrame, frame as framed } from '../../protocol/wire/encode.ts';
import { FrameReader } from '../../protocol/wire/frame-reader.ts';
import type { SequencedFrame } from '../../protocol/wire/frames.ts';
import { WINDOW_BYTES } from '../../protocol/wire/limits.ts';
import { rebase } from '../../protocol/wire/rebase.ts';
import { ANSWER_TIMEOUT_MS, type Place } from '../connection.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { say } from '../messages.ts';
import { loadRecording } from '../recordings.ts';
import type { Settings } from '../settings.ts';
import { connectOrStart } from '../start.ts';

/** The fastest that is not at once. */
const MAX_SPEED = 1000;

/** `1x`, `2.5x`, `max`. @returns Infinity for `max`. @throws {CliError} exit 2 for anything else. */
export function parseSpeed(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY;
  const speed = /^\d+(\.\d+)?x$/.test(text) ? Number(text.slice(0, -1)) : Number.NaN;
  if (speed >= 1 && speed <= MAX_SPEED) return speed;
  throw new CliError(
    EXIT.usage,
    `Cannot read --speed: expected 1x to ${MAX_SPEED}x, or max, got "${text}"`,
  );
}

export async function replay(
  path: string,
  options: { readonly speed: number; readonly start: boolean },
  settings: Settings,
  io: Io,
): Promise<number> {
  const recording = loadRecording(path);
  const stopped = io.interrupted();
  const late =
    settings.timeoutMs === undefined ? undefined : AbortSignal.timeout(settings.timeoutMs);
  const signal = late ? AbortSignal.any([stopped, late]) : stopped;
  const place: Place = { stateDir: settings.stateDir, env: io.env, signal };
  (await connectOrStart(io, place, options.start)).close();

  const [open] = recording.frames;
  const spanUs = (recording.frames.at(-1) ?? open).timeUs - open.timeUs;
  const beganUs = monotonicUs();
  // So that the last frame is of the moment in which it is sent, and none is of the future.
  const openUs = Math.max(0, Math.floor(beganUs + spanUs / options.speed - spanUs));
  const { hello, frames } = rebase(recording, {
    salt: `${process.pid} ${beganUs}`,
    pid: process.pid,
    openUs,
    clockOffsetUs: Date.now() * 1000 - beganUs,
  });
  const [id, was] = [sessionId(hello.ring, 1), sessionId(recording.hello.ring, open.seq)];
  const { endpoint } = statePaths(place.stateDir, io.env as NodeJS.ProcessEnv);
  const { socket } = await connect(endpoint, { role: 'shim' });
  const line = new Line(socket, signal);
  try {
    line.send(encodeFrame(hello));
    await line.acknowledged(0);
    if (settings.verbosity >= 0) say(io, `Replaying ${was} as ${id}`);
    const firstUs = frames[0]?.timeUs ?? 0;
    for (const frame of frames) {
      const dueUs = beganUs + (frame.timeUs - firstUs) / options.speed;
      await line.frame(frame, dueUs);
    }
    await line.finish();
  } catch (error) {
    if (!signal.aborted) throw error;
    return stopped.aborted ? EXIT.interrupted : EXIT.timeout;
  } finally {
    socket.destroy();
  }
  const facts = { session: id, recorded_as: was, frames: frames.length };
  if (settings.output === 'json') await io.stdout.write(`${JSON.stringify(facts)}\n`);
  else if (settings.verbosity >= 0) say(io, `Replayed ${frames.length} frames as ${id}`);
  return EXIT.done;
}

const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);
/** What is due within this time goes out together. */
const TOGETHER_US = 1000;

/** The shim's side of a connection: a window of what is not acknowledged yet. */
class Line {
  readonly #socket: Socket;
  readonly #signal: AbortSignal;
  readonly #reader = new FrameReader();
  /** Sent and not acknowledged: up to which seq, and how many bytes. */
  readonly #inFlight: { readonly seq: number; readonly bytes: number }[] = [];
  #inFlightBytes = 0;
  #unsent: Uint8Array[] = [];
  #mustSeq = 0;
  #durable = -1;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
    const fail = (error: Error): void => {
      this.#failure ??= error;
      this.#wake();
    };
    socket.on('data', (chunk: Buffer) => {
      for (const body of this.#reader.push(chunk)) this.#take(body);
    });
    socket.on('error', fail);
    socket.on('close', () => {
      const text = 'Cannot replay: the daemon closed the connection';
      fail(new CliError(EXIT.noDaemon, text, 'Look why: mapisync daemon status'));
    });
    signal.addEventListener('abort', () => socket.destroy(), { once: true });
  }

  send(body: Uint8Array): void {
    this.#socket.write(framed(body));
  }

  async frame(frame: SequencedFrame, dueUs: number): Promise<void> {
    const waitUs = dueUs - monotonicUs();
    if (waitUs > TOGETHER_US) {
      this.#flush();
      await sleep(waitUs / 1000, undefined, { signal: this.#signal });
    }
    const bytes = framed(encodeFrame(frame));
    while (this.#inFlightBytes > 0 && this.#inFlightBytes + bytes.length > WINDOW_BYTES) {
      this.#flush();
      await this.#change();
    }
    this.#unsent.push(bytes);
    this.#inFlight.push({ seq: frame.seq, bytes: bytes.length });
    this.#inFlightBytes += bytes.length;
    if (frame.kind !== 'progress' && frame.kind !== 'clock') this.#mustSeq = frame.seq;
    if (this.#failure) throw this.#failure;
  }

  /** @param seq 0: by `welcome`. */
  async acknowledged(seq: number): Promise<void> {
    while (this.#durable < seq) await this.#change();
  }

  /** Everything is in the journal, and the daemon knows that nothing follows. */
  async finish(): Promise<void> {
    this.#flush();
    await this.acknowledged(this.#mustSeq);
    if (this.#socket.writable) this.send(encodeFrame({ kind: 'bye', reason: 1 }));
    const late = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    if (!this.#socket.closed) await once(this.#socket, 'close', { signal: late }).catch(() => {});
  }

  #flush(): void {
    if (this.#unsent.length === 0) return;
    this.#socket.write(Buffer.concat(this.#unsent));
    this.#unsent = [];
  }

  #take(body: Uint8Array): void {
    const frame = decodeDaemonFrame(body);
    if (frame.kind === 'refused') {
      this.#failure ??= new CliError(
        EXIT.failed,
        `Cannot replay: the daemon refused: ${frame.text}`,
      );
    } else if (frame.kind === 'welcome' || frame.kind === 'ack') {
      this.#durable = Math.max(this.#durable, frame.durable);
      while ((this.#inFlight[0]?.seq ?? Number.POSITIVE_INFINITY) <= this.#durable) {
        this.#inFlightBytes -= this.#inFlight.shift()?.bytes ?? 0;
      }
    }
    this.#wake();
  }

  #change(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => (this.#failure ? reject(this.#failure) : resolve());
      if (this.#failure) look();
      else this.#wake = look;
    });
  }
}
