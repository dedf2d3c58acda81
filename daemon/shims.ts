/** A shim as the daemon sees it: its connection, frame by frame. */
import type { Socket } from 'node:net';
import { decodeShimFrame, ProgressView, peekKind, readProgress } from '../protocol/wire/decode.ts';
import { encodeFrame, frame as framed } from '../protocol/wire/encode.ts';
import { type DaemonFrame, KIND } from '../protocol/wire/frames.ts';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';
import { type BodyHandler, endSoon } from './connection.ts';
import type { Hub, RingEntry } from './hub.ts';
import { MAX_BUFFERED_BYTES } from './limits.ts';
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
  /** An acknowledgement that waits until the shim has read the ones before. */
  let unsent: number | undefined;
  let leaving = false;

  const send = (frame: DaemonFrame): void => {
    socket.write(framed(encodeFrame(frame)));
  };
  const peer: ShimPeer = {
    acknowledge(durable) {
      if (over) return;
      unsent = undefined;
      if (!welcomed) {
        welcomed = true;
        send({ kind: 'welcome', protocol, durable });
      } else if (socket.writableLength > MAX_BUFFERED_BYTES) {
        unsent = durable;
      } else {
        send({ kind: 'ack', durable });
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
  socket.on('drain', () => {
    if (unsent === undefined || over) return;
    send({ kind: 'ack', durable: unsent });
    unsent = undefined;
  });

  const begun = (what: string): { of: RingEntry; to: Hub } => {
    if (ring && hub) return { of: ring, to: hub };
    throw new ProtocolError('order', `Cannot take ${what}: expected hello first`);
  };

  return {
    take(bytes, start, end) {
      // After a refusal and until the shim has read it.
      if (over) return;
      if (ring && hub && welcomed && peekKind(bytes, start, end) === KIND.progress) {
        readProgress(bytes, start, end, progress);
        if (recorder.isOn) recorder.take(ring, progress, bytes.subarray(start, end));
        hub.takeProgress(ring, progress);
        return;
      }
      const frame = decodeShimFrame(bytes, start, end);
      if (frame.kind === 'hello') {
        if (ring) throw new ProtocolError('order', 'Cannot take a second hello');
        hub = deps.hub();
        if (hub) ring = hub.hello(frame, peer);
        else peer.refuse(REFUSAL.journal, 'The journal starts over; try again');
        return;
      }
      const { of, to } = begun(frame.kind);
      if (frame.kind === 'bye') {
        leaving = true;
        return;
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
    },
    turn() {
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
