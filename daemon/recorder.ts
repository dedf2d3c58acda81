/**
 * Recordings of sessions for clients that asked. Frames are copied on their way to the hub, from the
 * pipe and from adopted rings alike; while nobody asks and nothing is kept, `isOn` is all that a frame
 * costs. Nothing here waits: who does not keep up is told and cut.
 */
import type { Socket } from 'node:net';
import { sessionId } from '../protocol/session/ids.ts';
import { MAX_RECORDING_PIECE_BYTES, NOT_KEPT } from '../protocol/wire/clients.ts';
import { encodeFrame, frame as framed } from '../protocol/wire/encode.ts';
import type { Hello } from '../protocol/wire/frames.ts';
import { PROTOCOL_VERSION } from '../protocol/wire/limits.ts';
import { type HowRecorded, RECORDED } from '../protocol/wire/recording.ts';
import { endSoon } from './connection.ts';
import { toBytes } from './feed-client.ts';
import type { RingEntry } from './hub.ts';
import { MAX_CLIENT_BACKLOG_BYTES, MAX_TAPE_BYTES } from './limits.ts';

/** What of a frame decides where it belongs. */
export interface Recordable {
  readonly kind: string;
  readonly seq: number;
  readonly timeUs: number;
  readonly session: number;
}

/** The frames of one session. */
interface Tape {
  readonly id: string;
  readonly ring: string;
  readonly session: number;
  readonly clients: Set<TapeClient>;
  /** What has been recorded; undefined if nobody may ask for it later. */
  kept: Buffer[] | undefined;
  keptBytes: number;
  /** A connection that is replaced sends some frames again. */
  lastSeq: number;
  how: HowRecorded | undefined;
}

export class Recorder {
  /** Whether frames have to be offered to `take()`. */
  isOn: boolean;
  readonly #keep: number;
  /** Clients that wait for the next session. */
  readonly #waiting = new Set<TapeClient>();
  /** By session id, oldest first: those that run, and those that are kept. */
  readonly #tapes = new Map<string, Tape>();
  /** Tapes that still grow, by ring. */
  readonly #running = new Map<string, Set<Tape>>();

  /** @param keep How many sessions are recorded without being asked for; the newest stay. */
  constructor(keep: number) {
    this.#keep = keep;
    this.isOn = keep > 0;
  }

  /** Sends a session's frames to a client. @param id null: of the next session that opens. */
  record(id: string | null, socket: Socket): void {
    const client = new TapeClient(socket);
    socket.once('close', () => this.#leave(client));
    if (id === null) {
      this.#waiting.add(client);
      this.isOn = true;
      return;
    }
    const tape = this.#tapes.get(id);
    if (tape?.kept === undefined) {
      client.end(NOT_KEPT);
      return;
    }
    for (const bytes of tape.kept) client.take(bytes);
    if (tape.how !== undefined) client.end(RECORDED[tape.how]);
    else tape.clients.add(client);
  }

  /** The next frame of a ring, in the order of its seq. The body is copied. */
  take({ state: { origin }, hello }: RingEntry, frame: Recordable, body: Uint8Array): void {
    if (frame.kind === 'open') this.#open(origin.ring, hello ?? helloOf(origin, frame), frame);
    const tapes = this.#running.get(origin.ring);
    if (tapes === undefined || frame.kind === 'unknown') return;
    let bytes: Buffer | undefined;
    for (const tape of tapes) {
      if (frame.seq <= tape.lastSeq || ![0, tape.session].includes(frame.session)) continue;
      tape.lastSeq = frame.seq;
      bytes ??= Buffer.from(framed(body));
      this.#add(tape, bytes);
      if (frame.kind === 'close') this.#end(tape, 'closed');
    }
  }

  /** A session has ended, whether or not a frame said so. */
  ended(id: string, how: HowRecorded): void {
    const tape = this.#tapes.get(id);
    if (tape) this.#end(tape, how);
  }

  #open(ring: string, hello: Hello, { seq, session }: Recordable): void {
    if (this.#waiting.size === 0 && this.#keep === 0) return;
    const id = sessionId(ring, session);
    if (this.#tapes.has(id)) return;
    const tape: Tape = {
      id,
      ring,
      session,
      clients: new Set(this.#waiting),
      kept: this.#keep > 0 ? [] : undefined,
      keptBytes: 0,
      lastSeq: seq - 1,
      how: undefined,
    };
    this.#waiting.clear();
    this.#tapes.set(id, tape);
    const tapes = this.#running.get(ring) ?? new Set();
    this.#running.set(ring, tapes.add(tape));
    this.#add(tape, Buffer.from(framed(encodeFrame(hello))));
    this.#forget();
  }

  #add(tape: Tape, bytes: Buffer): void {
    tape.keptBytes += bytes.length;
    // A part of a session is of no use.
    if (tape.keptBytes > MAX_TAPE_BYTES) tape.kept = undefined;
    tape.kept?.push(bytes);
    for (const client of tape.clients) client.take(bytes);
  }

  #end(tape: Tape, how: HowRecorded): void {
    if (tape.how !== undefined) return;
    tape.how = how;
    for (const client of tape.clients) client.end(RECORDED[how]);
    tape.clients.clear();
    this.#stop(tape);
  }

  /** No further frame is wanted for a tape. */
  #stop(tape: Tape): void {
    const tapes = this.#running.get(tape.ring);
    tapes?.delete(tape);
    if (tapes?.size === 0) this.#running.delete(tape.ring);
    if (tape.kept === undefined) this.#tapes.delete(tape.id);
    this.isOn = this.#keep > 0 || this.#waiting.size > 0 || this.#running.size > 0;
  }

  #leave(client: TapeClient): void {
    this.#waiting.delete(client);
    for (const tape of this.#tapes.values()) {
      if (tape.clients.delete(client) && tape.clients.size === 0 && tape.kept === undefined) {
        this.#stop(tape);
      }
    }
    this.isOn = this.#keep > 0 || this.#waiting.size > 0 || this.#running.size > 0;
  }

  #forget(): void {
    let over = [...this.#tapes.values()].filter(({ kept }) => kept).length - this.#keep;
    for (const tape of this.#tapes.values()) {
      if (over <= 0) return;
      if (tape.kept === undefined) continue;
      over -= 1;
      tape.kept = undefined;
      if (tape.how !== undefined || tape.clients.size === 0) this.#stop(tape);
    }
  }
}

/** One client that records. */
class TapeClient {
  readonly #socket: Socket;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #scheduled = false;
  #over = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  take(bytes: Buffer): void {
    if (this.#over) return;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= MAX_RECORDING_PIECE_BYTES) this.#flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#flush();
      });
    }
  }

  end(how: number): void {
    if (this.#over) return;
    this.#flush();
    if (this.#over) return;
    this.#over = true;
    this.#socket.write(toBytes({ kind: 'recorded', how }));
  }

  #flush(): void {
    if (this.#over || this.#pending.length === 0) return;
    if (this.#socket.writableLength + this.#pendingBytes > MAX_CLIENT_BACKLOG_BYTES) {
      const dropped = this.#pending.length;
      this.#over = true;
      this.#pending = [];
      const reason = 'the recording client fell too far behind';
      this.#socket.write(toBytes({ kind: 'cut', reason, dropped }));
      endSoon(this.#socket);
      return;
    }
    const all = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    for (let at = 0; at < all.length; at += MAX_RECORDING_PIECE_BYTES) {
      const bytes = all.subarray(at, at + MAX_RECORDING_PIECE_BYTES);
      this.#socket.write(toBytes({ kind: 'recording', bytes }));
    }
  }
}

/** For a ring that was never connected: what its file says of it. */
function helloOf(origin: RingEntry['state']['origin'], open: Recordable): Hello {
  return {
    kind: 'hello',
    protocol: PROTOCOL_VERSION,
    ring: origin.ring,
    freed: open.seq - 1,
    pid: origin.pid,
    bits: origin.arch === 'x86' ? 32 : 64,
    executable: origin.executable,
    shimVersion: origin.shimVersion,
    timeUs: open.timeUs,
    wallUs: 'wallUs' in open ? (open.wallUs as number) : 0,
    clockResolutionUs: 0,
    memory: 0,
  };
}
