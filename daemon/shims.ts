/** A shim as the daemon sees it: its connection, frame by frame. */
import type { Socket } from 'node:net';
import { decodeShimFrame, ProgressView, peekKind, readProgress } from '../protocol/wire/decode.ts';
import { encodeFrame, frame as framed } from '../protocol/wire/encode.ts';
import { type DaemonFrame, KIND } from '../protocol/wire/frames.ts';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';
import { type BodyHandler, endSoon } from './connection.ts';
import type { Hub, RingEntry } from './hub.ts';
import { ACK_BYTES, MAX_BUFFERED_BYTES } from './limits.ts';
import type { Recorder } from './recorder.ts';
import { REFUSAL, refusalOf } from './refusals.ts';

export interface ShimDeps {
  /** Undefined while the journal starts over. */
  readonly hub: () => Hub | undefined;
  readonly recorder: Recorder;
  readonly rejected: (error: ProtocolError) => void;
  readonly closed: () => void;
}

/** What a ring may do with the connection that brings its frames. */
export interface ShimPeer {
  /** Everything up to `durable` is in the journal. The first call is the answer to `hello`. */
  acknowledge(durable: number): void;
  /** Tells the shim why, and ends the connection. No frame of it is taken any more. */
  refuse(reason: number, text: string): void;
  /** The daemon is stopping: the next acknowledgement is the last word. */
  farewell(): void;
  /** No more frames for now: they would not find room. */
  pause(): void;
  resume(): void;
}

export function serveShim(socket: Socket, protocol: number, deps: ShimDeps): BodyHandler {
  /** The one that took our hello; a newer one knows this connection by a new hello only. */
  let hub: Hub | undefined;
  const { recorder } = deps;
  const progress = new ProgressView();
  let ring: RingEntry | undefined;
  let welcomed = false;
  let over = false;
  /** An acknowledgement that waits: for more to acknowledge, or until the shim has read those before. */
  let unsent: number | undefined;
  /** Bytes that came since the last one was sent, and chunks in all. */
  let newBytes = 0;
  let chunks = 0;
  let looks = false;
  let leaving = false;

  const send = (frame: DaemonFrame): void => {
    socket.write(framed(encodeFrame(frame)));
  };
  const sendAck = (): void => {
    if (unsent === undefined || over || socket.writableLength > MAX_BUFFERED_BYTES) return;
    send({ kind: 'ack', durable: unsent });
    unsent = undefined;
    newBytes = 0;
  };
  /** Each costs a system call here and wakes the shim: one that keeps sending gets fewer. */
  const ackSoon = (): void => {
    looks = true;
    const before = chunks;
    setImmediate(() => {
      looks = false;
      if (unsent === undefined) return;
      if (chunks === before || newBytes >= ACK_BYTES) sendAck();
      else ackSoon();
    });
  };
  const peer: ShimPeer = {
    acknowledge(durable) {
      if (over) return;
      if (!welcomed) {
        welcomed = true;
        send({ kind: 'welcome', protocol, durable });
      } else {
        unsent = durable;
        if (leaving || newBytes >= ACK_BYTES) sendAck();
        else if (!looks) ackSoon();
      }
      if (leaving) {
        over = true;
        send({ kind: 'daemonBye' });
        endSoon(socket);
      }
    },
    refuse(reason, text) {
      if (over) return;
      over = true;
      send({ kind: 'refused', reason, text });
      endSoon(socket);
    },
    farewell() {
      leaving = true;
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
  };
  socket.on('drain', sendAck);

  const begun = (what: string): { of: RingEntry; to: Hub } => {
    if (ring && hub) return { of: ring, to: hub };
    throw new ProtocolError('order', `Cannot take ${what}: expected hello first`);
  };

  return {
    take(bytes, start, end) {
      // After a refusal and until the shim has read it.
      if (over) return end;
      if (ring && hub && welcomed && peekKind(bytes, start, end) === KIND.progress) {
        readProgress(bytes, start, end, progress);
        if (!recorder.isOn) return hub.takeProgress(ring, progress, bytes, end);
        recorder.take(ring, progress, bytes.subarray(start, end));
        hub.take(ring, progress);
        return end;
      }
      const frame = decodeShimFrame(bytes, start, end);
      if (frame.kind === 'hello') {
        if (ring) throw new ProtocolError('order', 'Cannot take a second hello');
        hub = deps.hub();
        if (hub) ring = hub.hello(frame, peer);
        else peer.refuse(REFUSAL.journal, 'The journal starts over; try again');
        return end;
      }
      const { of, to } = begun(frame.kind);
      if (frame.kind === 'bye') {
        leaving = true;
        return end;
      }
      if (!welcomed) {
        throw new ProtocolError('order', `Cannot take ${frame.kind}: it came before welcome`);
      }
      if (frame.kind === 'slot') to.slot(of, frame);
      else if (frame.kind === 'unknown') to.unknown(of, frame);
      else {
        // Before what it ends is over.
        if (recorder.isOn) recorder.take(of, frame, bytes.subarray(start, end));
        to.take(of, frame);
      }
      return end;
    },
    turn(bytes) {
      newBytes += bytes;
      chunks += 1;
      if (ring && !over) hub?.turn(ring, peer, leaving);
    },
    broken(error) {
      deps.rejected(error);
      // What came before the broken frame counts.
      if (ring && !over && welcomed) hub?.turn(ring, peer, false);
      peer.refuse(refusalOf(error.reason), error.message);
    },
    closed() {
      over = true;
      if (ring) hub?.leave(ring, peer);
      deps.closed();
    },
  };
}
