import { BodyWriter } from './body-writer.ts';
import { PREFIX_BYTES } from './frame-reader.ts';
import type {
  Counters,
  DaemonFrame,
  Header,
  InnerTimes,
  NewestCall,
  ShimFrame,
  Unknown,
} from './frames.ts';
import { KIND } from './frames.ts';

/** Frames to bodies. Values take their shortest form, but for those that PROTOCOL.md calls fixed. */

const HEADER_ELEMENTS = 5;
const COUNTER_ELEMENTS = 7;
const NEWEST_ELEMENTS = 6;
const INNER_TIMES_ELEMENTS = 6;

/** Encoding never nests and never waits, so one writer serves all. */
const writer = new BodyWriter();

/**
 * Encodes the body of a frame.
 *
 * @throws {RangeError} for a value that the protocol has no room for: a bug of the caller.
 */
export function encodeFrame(frame: Exclude<ShimFrame, Unknown> | DaemonFrame): Uint8Array {
  const w = writer;
  switch (frame.kind) {
    case 'hello':
      w.open(12).uint(KIND.hello).uint(frame.protocol).bin(Buffer.from(frame.ring, 'hex'));
      w.uint(frame.freed).uint(frame.pid).uint(frame.bits);
      w.str(frame.executable).str(frame.shimVersion);
      w.uint(frame.timeUs).uint(frame.wallUs).uint(frame.clockResolutionUs).uint(frame.memory);
      break;
    case 'slot':
      w.open(3 + COUNTER_ELEMENTS + NEWEST_ELEMENTS + timesElements(frame)).uint(KIND.slot);
      w.uint(frame.session).uint(frame.timeUs);
      counters(frame.counters);
      newestCall(frame.newest);
      innerTimes(frame);
      break;
    case 'bye':
      w.open(2).uint(KIND.bye).uint(frame.reason);
      break;
    case 'open':
      header(KIND.open, frame, 6).uint(frame.attach).uintOrNil(frame.flags);
      w.str(frame.provider).str(frame.store).uint(frame.wallUs).uint(frame.callback);
      break;
    case 'progress':
      header(KIND.progress, frame, 5).uint(frame.call).uint(frame.index).uint(frame.max);
      w.uint(frame.marks).str(frame.text);
      break;
    case 'error':
      header(KIND.error, frame, 4).uint(frame.call).uint(frame.hresult);
      w.uint(frame.marks).str(frame.text);
      break;
    case 'done':
      header(KIND.done, frame, 3).uint(frame.call).uint(frame.hresult).uint(frame.handle);
      break;
    case 'inner':
      header(KIND.inner, frame, 4).uint(frame.method).uint(frame.call);
      w.uint(frame.hresult).uint(frame.durationUs);
      break;
    case 'blocked':
      header(KIND.blocked, frame, 3).uint(frame.method).uint(frame.call).uint(frame.sinceUs);
      break;
    case 'unblocked':
      header(KIND.unblocked, frame, 4).uint(frame.method).uint(frame.call);
      w.uint(frame.sinceUs).uint(frame.durationUs);
      break;
    case 'returned':
      header(KIND.returned, frame, 3).uint(frame.hresult);
      w.uint(frame.durationUs).uint(frame.event);
      break;
    case 'note':
      header(KIND.note, frame, 2).str(frame.key).str(frame.value);
      break;
    case 'close':
      header(KIND.close, frame, COUNTER_ELEMENTS + timesElements(frame));
      counters(frame.counters);
      innerTimes(frame);
      break;
    case 'merged':
      header(KIND.merged, frame, COUNTER_ELEMENTS + NEWEST_ELEMENTS + timesElements(frame));
      counters(frame.counters);
      newestCall(frame.newest);
      innerTimes(frame);
      break;
    case 'lost':
      header(KIND.lost, frame, 5).uint(frame.opens).uint(frame.progress);
      w.uint(frame.errors).uint(frame.dones).uint(frame.others);
      break;
    case 'hole':
      header(KIND.hole, frame, 1).uint(frame.reason);
      break;
    case 'clock':
      header(KIND.clock, frame, 1).uint(frame.wallUs);
      break;
    case 'welcome':
      w.open(3).uint(KIND.welcome).uint(frame.protocol).uint(frame.durable);
      break;
    case 'ack':
      w.open(2).uint(KIND.ack).uint(frame.durable);
      break;
    case 'refused':
      w.open(3).uint(KIND.refused).uint(frame.reason).str(frame.text);
      break;
    case 'daemonBye':
      w.open(1).uint(KIND.daemonBye);
      break;
  }
  return w.close();
}

/** Puts the prefix before a body: what goes on the pipe. */
export function frame(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length);
  bytes.set(body, PREFIX_BYTES);
  return bytes;
}

function header(kind: number, of: Header, elementsAfter: number): BodyWriter {
  return writer
    .open(HEADER_ELEMENTS + elementsAfter)
    .uint(kind)
    .fixed64(of.seq)
    .fixed64(of.timeUs)
    .fixed32(of.thread)
    .uint(of.session);
}

function counters(of: Counters): void {
  writer.uint(of.progress).uint(of.errors).uint(of.dones).uint(of.merged).uint(of.lost);
  writer.uint(of.innerUs).uint(of.innerMaxUs);
}

function timesElements({ innerTimes }: { readonly innerTimes?: InnerTimes }): number {
  return innerTimes === undefined ? 0 : INNER_TIMES_ELEMENTS;
}

function innerTimes({ innerTimes: of }: { readonly innerTimes?: InnerTimes }): void {
  if (of === undefined) return;
  writer.uint(of.progressUs).uint(of.progressMaxUs).uint(of.errorUs).uint(of.errorMaxUs);
  writer.uint(of.doneUs).uint(of.doneMaxUs);
}

function newestCall(of: NewestCall): void {
  writer.uint(of.call).uint(of.timeUs).uint(of.index).uint(of.max).uint(of.marks).str(of.text);
}
