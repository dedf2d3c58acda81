/**
 * One peer, from its first byte to its last. Bytes come in, and it tells what to do with them; what
 * shims and clients mean is decided elsewhere (`hub.ts`, `clients.ts`).
 *
 *   greeting --48 bytes--> answer --32 bytes--> shim | client --> closed
 *       `-- deadline, wrong proof, bad frame, limit ----------------^
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { FrameReader } from '../protocol/wire/frame-reader.ts';
import {
  ANSWER_BYTES,
  checkAnswer,
  GREETING_BYTES,
  type Greeting,
  makeChallenge,
  NONCE_BYTES,
  type Role,
  readGreeting,
  STATUS,
} from '../protocol/wire/handshake.ts';
import {
  FRAME_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  PROTOCOL_VERSION,
} from '../protocol/wire/limits.ts';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';

/** Takes the bodies of one peer. */
export interface BodyHandler {
  /**
   * The body stands from `start` to `end` and belongs to the caller.
   *
   * @returns Where the next frame begins: `end`, or behind what it took of those that follow.
   * @throws {ProtocolError}
   */
  take(bytes: Uint8Array, start: number, end: number): number;
  /** Every whole frame of a chunk of so many bytes was taken. */
  turn(bytes: number): void;
  /** The peer broke the protocol and should be told before it is cut. */
  broken(error: ProtocolError): void;
  /** The connection is gone; called once. */
  closed(): void;
}

/** What a connection needs of the daemon. */
export interface Gate {
  readonly secret: Uint8Array;
  readonly pipe: string;
  /** The status for the challenge: go on, too many, stopping. */
  admit(role: Role): number;
  /** A peer that proved itself. */
  enter(role: Role, protocol: number, socket: Socket): BodyHandler;
  /** A peer was turned away before it could speak. */
  refused(reason: string): void;
  /** The handshake is over, well or not. @param admitted The role that was told to go on. */
  left(admitted: Role | undefined): void;
}

type Phase =
  | { readonly type: 'greeting' }
  | {
      readonly type: 'answer';
      readonly greeting: Greeting;
      readonly sent: Uint8Array;
      readonly challenge: Uint8Array;
    }
  | { readonly type: 'peer'; readonly handler: BodyHandler; readonly reader: FrameReader }
  | { readonly type: 'closed' };

export function serveConnection(socket: Socket, gate: Gate): void {
  let phase: Phase = { type: 'greeting' };
  /** Bytes of the handshake that are not whole yet. */
  let pending: Buffer = Buffer.alloc(0);
  let left = false;
  let admitted: Role | undefined;
  const leave = (): void => {
    if (left) return;
    left = true;
    gate.left(admitted);
  };
  /** The handshake's, later that of an incomplete frame. */
  let deadline: NodeJS.Timeout | undefined;
  const stopClock = (): void => {
    clearTimeout(deadline);
    deadline = undefined;
  };
  const startClock = (ms: number, passed: () => void): void => {
    stopClock();
    // Bytes that came while we were busy were in time: they are read before the deadline counts.
    const timer = setTimeout(() => setImmediate(() => deadline === timer && passed()), ms);
    deadline = timer;
  };

  const close = (reason?: string): void => {
    if (phase.type === 'closed') return;
    const was = phase;
    phase = { type: 'closed' };
    stopClock();
    leave();
    if (was.type === 'peer') was.handler.closed();
    else if (reason) gate.refused(reason);
    socket.destroy();
  };
  startClock(HANDSHAKE_TIMEOUT_MS, () => close('timeout'));

  const takeHandshake = (bytes: Buffer): Buffer | undefined => {
    pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes]);
    if (phase.type === 'greeting') {
      if (pending.length < GREETING_BYTES) return undefined;
      const sent = Buffer.from(pending.subarray(0, GREETING_BYTES));
      pending = pending.subarray(GREETING_BYTES);
      const greeting = readGreeting(sent);
      const speaks = greeting.protocol >= 1;
      const status = speaks ? gate.admit(greeting.role) : STATUS.version;
      const challenge = makeChallenge({
        secret: gate.secret,
        pipe: gate.pipe,
        greeting: sent,
        nonce: randomBytes(NONCE_BYTES),
        status,
        protocol: speaks ? Math.min(greeting.protocol, PROTOCOL_VERSION) : PROTOCOL_VERSION,
      });
      if (status !== STATUS.goOn) {
        socket.write(challenge);
        socket.end();
        const reason =
          status === STATUS.version ? 'version' : status === STATUS.tooMany ? 'limit' : 'stopping';
        gate.refused(reason);
        // The deadline closes whoever does not go.
        socket.removeAllListeners('data');
        socket.resume();
        return undefined;
      }
      admitted = greeting.role;
      socket.write(challenge);
      phase = { type: 'answer', greeting, sent, challenge };
    }
    if (phase.type === 'answer') {
      if (pending.length < ANSWER_BYTES) return undefined;
      const { greeting, sent, challenge } = phase;
      const proving = { secret: gate.secret, pipe: gate.pipe, greeting: sent };
      if (!checkAnswer(proving, challenge, pending.subarray(0, ANSWER_BYTES))) {
        close('proof');
        return undefined;
      }
      stopClock();
      leave();
      const protocol = Math.min(greeting.protocol, PROTOCOL_VERSION);
      const handler = gate.enter(greeting.role, protocol, socket);
      phase = { type: 'peer', handler, reader: new FrameReader() };
      const rest = pending.subarray(ANSWER_BYTES);
      pending = Buffer.alloc(0);
      return rest;
    }
    return undefined;
  };

  const fail = (thrown: unknown): void => {
    // Anything else would be a bug of ours that this peer's bytes found: it must not end the others.
    const error =
      thrown instanceof ProtocolError
        ? thrown
        : new ProtocolError('malformed', `Cannot take frame: ${(thrown as Error).message}`);
    if (phase.type !== 'peer') {
      close(error.reason);
      return;
    }
    socket.removeAllListeners('data');
    socket.resume();
    stopClock();
    phase.handler.broken(error);
  };

  const takeFrames = (handler: BodyHandler, reader: FrameReader, bytes: Buffer): void => {
    const before = reader.frames;
    reader.read(bytes, (body, start, end) => handler.take(body, start, end));
    handler.turn(bytes.length);
    if (reader.error) throw reader.error;
    // A frame that does not get whole is a peer that is stuck; single bytes of it are no progress.
    if (reader.pending === 0 || reader.frames !== before) stopClock();
    if (reader.pending > 0 && !deadline) {
      startClock(FRAME_TIMEOUT_MS, () => {
        const text = `a frame stayed incomplete for ${FRAME_TIMEOUT_MS} ms`;
        fail(new ProtocolError('timeout', `Cannot read frame: ${text}`));
      });
    }
  };

  socket.on('data', (chunk: Buffer) => {
    try {
      let bytes: Buffer | undefined = chunk;
      if (phase.type === 'greeting' || phase.type === 'answer') bytes = takeHandshake(chunk);
      if (bytes && bytes.length > 0 && phase.type === 'peer') {
        takeFrames(phase.handler, phase.reader, bytes);
      }
    } catch (error) {
      fail(error);
    }
  });
  // The reason does not matter: a ring keeps what was not acknowledged, a client asks again.
  socket.on('error', () => close());
  socket.on('end', () => close());
  socket.on('close', () => close('closed'));
}

const LINGER_MS = 2000;

/** Lets the last frames go out, for a while. */
export function endSoon(socket: Socket, lingerMs = LINGER_MS): void {
  socket.end();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
