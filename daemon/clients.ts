/** A client (`tail`, `status`, ...) as the daemon sees it. */
import type { Socket } from 'node:net';
import { type ClientFrame, type DaemonFacts, decodeClientFrame } from '../protocol/wire/clients.ts';
import type { Unknown } from '../protocol/wire/frames.ts';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';
import { type BodyHandler, endSoon } from './connection.ts';
import type { Feed } from './feed.ts';
import { toBytes } from './feed-client.ts';
import type { Recorder } from './recorder.ts';
import { REFUSAL } from './refusals.ts';

export interface ClientDeps {
  readonly facts: DaemonFacts;
  readonly feed: Feed;
  readonly recorder: Recorder;
  readonly status: () => Record<string, unknown>;
  /** The client wants the daemon to end. */
  readonly stop: (pid: number) => void;
  readonly rejected: (error: ProtocolError) => void;
  readonly closed: () => void;
}

export function serveClient(socket: Socket, protocol: number, deps: ClientDeps): BodyHandler {
  let pid: number | undefined;
  let subscribed = false;
  let records = false;

  const take = (frame: ClientFrame | Unknown): void => {
    if (frame.kind === 'hello') {
      if (pid !== undefined) throw new ProtocolError('order', 'Cannot take a second hello');
      pid = frame.pid;
      socket.write(toBytes({ kind: 'welcome', protocol, daemon: deps.facts }));
      return;
    }
    if (pid === undefined) {
      throw new ProtocolError('order', `Cannot take ${frame.kind}: expected hello first`);
    }
    switch (frame.kind) {
      case 'subscribe': {
        if (subscribed) throw new ProtocolError('order', 'Cannot subscribe twice');
        subscribed = true;
        const problem = deps.feed.subscribe(socket, frame.wants, frame.after);
        if (problem) throw new ProtocolError('bad-field', `Cannot subscribe: ${problem}`);
        return;
      }
      case 'record':
        if (records) throw new ProtocolError('order', 'Cannot record twice on one connection');
        records = true;
        deps.recorder.record(frame.session, socket);
        return;
      case 'status':
        // A client that asks and asks without reading must not fill our memory.
        if (socket.writableNeedDrain || !socket.writable) return;
        socket.write(toBytes({ kind: 'status', status: deps.status() }));
        return;
      case 'stop':
        deps.stop(pid);
        return;
      case 'unknown':
        return;
    }
  };

  return {
    take(bytes, start, end) {
      take(decodeClientFrame(bytes, start, end));
      return end;
    },
    turn() {},
    broken(error) {
      deps.rejected(error);
      socket.write(toBytes({ kind: 'refused', reason: REFUSAL.malformed, text: error.message }));
      endSoon(socket);
    },
    closed: deps.closed,
  };
}
