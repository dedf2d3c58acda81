/** `record`: the raw frames of one session, from its `open` on, into a file. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { prepareStateDir, statePaths } from '../../daemon/platform/paths.ts';
import { machineTokens } from '../../daemon/platform/token-key.ts';
import { sessionId } from '../../protocol/session/ids.ts';
import { NOT_KEPT } from '../../protocol/wire/clients.ts';
import { decodeShimFrame } from '../../protocol/wire/decode.ts';
import { encodeFrame } from '../../protocol/wire/encode.ts';
import { FrameReader } from '../../protocol/wire/frame-reader.ts';
import { type HowRecorded, howRecorded, RecordingWriter } from '../../protocol/wire/recording.ts';
import { redactFrame } from '../../protocol/wire/redact.ts';
import type { Connection, Place } from '../connection.ts';
import { CliError, EXIT } from '../exit.ts';
import { findHistory, findInHistory } from '../history.ts';
import { type Io, OutputClosed } from '../io.ts';
import { say } from '../messages.ts';
import type { Settings } from '../settings.ts';
import { connectOrStart } from '../start.ts';

export interface RecordOptions {
  readonly session?: string;
  readonly next?: boolean;
  /** `-` is stdout. */
  readonly file?: string;
  readonly redact: boolean;
  readonly start: boolean;
}

const HOW_TEXT: Record<HowRecorded, string> = {
  closed: 'its callback was released',
  done: 'Done was called, and its callback not released',
  gone: 'its process is gone',
  stopped: 'the recording was stopped',
};

export async function record(options: RecordOptions, settings: Settings, io: Io): Promise<number> {
  if ((options.session === undefined) === (options.next !== true)) {
    throw new CliError(
      EXIT.usage,
      `Cannot record: expected --next or SESSION, got ${options.next ? 'both' : 'neither'}`,
      'To wait for the next sync: mapisync record --next',
    );
  }
  const stopped = io.interrupted();
  const late =
    settings.timeoutMs === undefined ? undefined : AbortSignal.timeout(settings.timeoutMs);
  const signal = late ? AbortSignal.any([stopped, late]) : stopped;
  const place: Place = { stateDir: settings.stateDir, env: io.env, signal };
  const id =
    options.session === undefined
      ? null
      : findInHistory(findHistory(undefined, settings, io), options.session);
  const connection = await connectOrStart(io, place, options.start);
  const tape = new Tape(options, settings, io);
  try {
    connection.send({ kind: 'record', session: id });
    // Its answer says that the daemon has taken both.
    connection.send({ kind: 'status' });
    const how = await take(connection, tape, id, () => {
      const { pid } = connection.daemon;
      if (id === null && settings.verbosity >= 0) {
        say(io, `Waiting for the next session (daemon ${pid})`);
      }
    });
    tape.end(how);
  } finally {
    connection.close();
    tape.abandon();
  }
  if (signal.aborted) {
    await tape.report();
    return stopped.aborted ? EXIT.interrupted : EXIT.timeout;
  }
  if (!tape.begun) {
    throw new CliError(
      EXIT.noDaemon,
      'Cannot record: the daemon went away',
      'Look why: mapisync daemon status',
    );
  }
  await tape.report();
  return EXIT.done;
}

/** Everything that comes, until the session ends or the connection does. */
async function take(
  connection: Connection,
  tape: Tape,
  id: string | null,
  ready: () => void,
): Promise<HowRecorded | undefined> {
  for (;;) {
    const frame = await connection.next();
    if (frame === undefined || frame.kind === 'bye') return undefined;
    if (frame.kind === 'status') ready();
    if (frame.kind === 'recording' && !tape.take(frame.bytes)) return 'stopped';
    if (frame.kind === 'cut') {
      throw new CliError(
        EXIT.failed,
        `Cannot record on: ${frame.reason}, ${frame.dropped} frames left out`,
        'Write to a faster disk',
      );
    }
    if (frame.kind !== 'recorded') continue;
    if (frame.how !== NOT_KEPT) return howRecorded(frame.how);
    throw new CliError(
      EXIT.usage,
      `Cannot record session ${id}: expected one that begins from now on, got one that began before`,
      'Record the next one with --next, or run the daemon with: mapisync daemon run --record-keep 8',
    );
  }
}

/** The file that is being written. */
class Tape {
  readonly #settings: Settings;
  readonly #io: Io;
  readonly #reader = new FrameReader();
  readonly #writer = new RecordingWriter();
  readonly #token: ((text: string) => string) | undefined;
  #fd: number | undefined;
  #path = '';
  #hello: Uint8Array | undefined;
  #ring = '';
  #session = '';
  #how: HowRecorded = 'stopped';

  constructor(options: RecordOptions, settings: Settings, io: Io) {
    this.#settings = settings;
    this.#io = io;
    if (options.redact) {
      const paths = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
      prepareStateDir(paths);
      this.#token = machineTokens(paths.root);
    }
    // Told now, not when the sync is over.
    if (options.file !== undefined) this.#open(options.file);
  }

  get begun(): boolean {
    return this.#session !== '';
  }

  /** @returns false if the file has no room for more. */
  take(bytes: Uint8Array): boolean {
    return this.#reader.push(bytes).every((body) => this.#frame(body));
  }

  /** @param how undefined: the connection ended first. */
  end(how: HowRecorded | undefined): void {
    if (!this.begun) return;
    this.#how = how ?? 'stopped';
    this.#write(this.#writer.end(this.#how));
    this.#close();
  }

  /** Removes what nothing was written to. */
  abandon(): void {
    if (this.#fd === undefined) return;
    this.#close();
    if (!this.begun && this.#path !== '') rmSync(this.#path, { force: true });
  }

  async report(): Promise<void> {
    if (!this.begun) return;
    const { frames, bytes } = this.#writer;
    const facts = { session: this.#session, file: this.#path, frames, bytes, how: this.#how };
    if (this.#settings.output === 'json' && this.#path !== '') {
      await this.#io.stdout.write(`${JSON.stringify(facts)}\n`);
    } else if (this.#settings.verbosity >= 0) {
      const where = this.#path === '' ? 'stdout' : this.#path;
      const what = `${frames} frames, ${bytes} bytes`;
      say(this.#io, `Recorded ${this.#session} to ${where}: ${what}; ${HOW_TEXT[this.#how]}`);
    }
  }

  #frame(body: Uint8Array): boolean {
    const frame = decodeShimFrame(body);
    if (frame.kind === 'hello') {
      this.#ring = frame.ring;
      this.#hello = body.slice();
      return true;
    }
    if (frame.kind === 'unknown') return true;
    if (frame.kind === 'open') this.#begin(sessionId(this.#ring, frame.session));
    if (!this.begun) return true;
    const kept = this.#token ? encodeFrame(redactFrame(frame, this.#token)) : body;
    if (!this.#writer.hasRoom(kept.length)) return false;
    this.#write(this.#writer.frame(kept));
    return true;
  }

  #begin(id: string): void {
    this.#session = id;
    if (this.#fd === undefined) this.#open(`${id}.mapisync`);
    this.#write(this.#writer.head(this.#token !== undefined));
    this.#write(this.#writer.frame(this.#hello as Uint8Array));
    if (this.#settings.verbosity >= 0) say(this.#io, `Recording ${id}`);
  }

  #open(path: string): void {
    if (path === '-') {
      this.#fd = 1;
      return;
    }
    try {
      this.#fd = openSync(path, 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      throw new CliError(
        EXIT.usage,
        `Cannot write ${path}: expected a new file, got one that is there`,
        'Remove it, or choose another one with --file',
      );
    }
    this.#path = path;
  }

  #write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd as number, bytes, at);
    } catch (error) {
      const isClosed = (error as NodeJS.ErrnoException).code === 'EPIPE';
      throw isClosed ? new OutputClosed() : error;
    }
  }

  #close(): void {
    if (this.#fd !== undefined && this.#fd !== 1) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
