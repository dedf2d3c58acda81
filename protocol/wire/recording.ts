/**
 * A recording: the frames of one session as they came, in a file. Laid out in PROTOCOL.md. No I/O: the
 * writer gives bytes to append, the reader takes all bytes of a file.
 */
import { crc32c } from './crc32c.ts';
import { decodeShimFrame } from './decode.ts';
import { frame as framed } from './encode.ts';
import { PREFIX_BYTES } from './frame-reader.ts';
import type { Hello, Open, SequencedFrame, ShimFrame } from './frames.ts';
import { MAX_FRAME_BYTES } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

const MAGIC = 'MAPISREC';
const VERSION = 1;
const HEADER_BYTES = 16;
/** Prefix 0, how, frames, CRC. */
const END_BYTES = 16;
const REDACTED = 1;

/** A writer stops before it gets there, and a reader refuses more. */
export const MAX_RECORDING_BYTES = 67_108_864;

/** How a recording ended. Numbers as in the file and in `recorded`. */
export const RECORDED = { closed: 0, done: 1, gone: 2, stopped: 3 } as const;
export type HowRecorded = keyof typeof RECORDED;

const HOW_NAMES = Object.keys(RECORDED) as HowRecorded[];

/** @returns undefined for a number of a newer peer. */
export const howRecorded = (value: number): HowRecorded | undefined => HOW_NAMES[value];

/** Makes a recording, piece by piece: head, hello, frames, end. */
export class RecordingWriter {
  #crc = 0;
  #frames = 0;
  #bytes = 0;

  /** Frames so far, `hello` included. */
  get frames(): number {
    return this.#frames;
  }

  /** Bytes given out so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param redacted Texts are tokens. */
  head(redacted: boolean): Uint8Array {
    const bytes = new Uint8Array(HEADER_BYTES);
    bytes.set(Buffer.from(MAGIC, 'latin1'));
    const view = new DataView(bytes.buffer);
    view.setUint16(8, VERSION);
    view.setUint16(10, redacted ? REDACTED : 0);
    return this.#count(bytes);
  }

  /** Whether a body of this size, and the end after it, still have room. */
  hasRoom(bodyBytes: number): boolean {
    return this.#bytes + PREFIX_BYTES + bodyBytes + END_BYTES <= MAX_RECORDING_BYTES;
  }

  frame(body: Uint8Array): Uint8Array {
    this.#frames += 1;
    return this.#count(framed(body));
  }

  end(how: HowRecorded): Uint8Array {
    const bytes = new Uint8Array(END_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(4, RECORDED[how]);
    view.setUint32(8, this.#frames);
    view.setUint32(12, crc32c(bytes, 0, END_BYTES - 4, this.#crc));
    this.#bytes += bytes.length;
    return bytes;
  }

  #count(bytes: Uint8Array): Uint8Array {
    this.#crc = crc32c(bytes, 0, bytes.length, this.#crc);
    this.#bytes += bytes.length;
    return bytes;
  }
}

/** What stands in a recording, in its order. `offset`: of its first byte in the file. */
export type RecordingPart =
  | { readonly kind: 'head'; readonly offset: number; readonly redacted: boolean }
  | {
      readonly kind: 'frame';
      readonly offset: number;
      readonly body: Uint8Array;
      readonly frame: Hello | SequencedFrame;
    }
  | {
      readonly kind: 'end';
      readonly offset: number;
      readonly how: HowRecorded;
      readonly frames: number;
    };

/**
 * Reads the bytes of a recording part by part, so that what stands before a damage can be had.
 *
 * @throws {ProtocolError} naming the byte where the file stops being a recording.
 */
export function* recordingParts(bytes: Uint8Array): Generator<RecordingPart> {
  if (bytes.length > MAX_RECORDING_BYTES) {
    throw damaged(`at most ${MAX_RECORDING_BYTES} bytes`, `${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  yield { kind: 'head', offset: 0, redacted: readHead(bytes, view) };
  let at = HEADER_BYTES;
  let open: Open | undefined;
  let before = 0;
  for (let frames = 0; ; frames += 1) {
    if (at + PREFIX_BYTES > bytes.length) {
      throw damaged('a frame or the end mark', 'the end of the file', at);
    }
    const size = view.getUint32(at);
    if (size === 0) {
      if (open === undefined) throw damaged('hello and open first', 'the end mark', at);
      yield readEnd(bytes, view, at, frames);
      return;
    }
    if (size > MAX_FRAME_BYTES) {
      throw damaged(`a frame of at most ${MAX_FRAME_BYTES} bytes`, `${size}`, at);
    }
    const end = at + PREFIX_BYTES + size;
    if (end > bytes.length) throw damaged(`a frame of ${size} bytes`, 'the end of the file', at);
    const frame = readFrame(bytes, at, end);
    if (frames === 0 ? frame.kind !== 'hello' : frame.kind === 'hello') {
      throw damaged(frames === 0 ? 'hello' : 'no second hello', frame.kind, at);
    }
    if (frame.kind !== 'hello') {
      if (open === undefined) {
        if (frame.kind !== 'open') throw damaged('open after hello', frame.kind, at);
        open = frame;
      } else if (frame.kind === 'open' || ![0, open.seq].includes(frame.session)) {
        throw damaged(`frames of session ${open.seq} alone`, `${frame.kind} of another`, at);
      }
      if (frame.seq <= before) throw damaged(`a seq above ${before}`, `${frame.seq}`, at);
      before = frame.seq;
    }
    yield { kind: 'frame', offset: at, body: bytes.subarray(at + PREFIX_BYTES, end), frame };
    at = end;
  }
}

/** A whole recording. */
export interface Recording {
  readonly redacted: boolean;
  readonly hello: Hello;
  /** The `open` first; sequence numbers grow, with gaps where other sessions were. */
  readonly frames: readonly [Open, ...SequencedFrame[]];
  readonly how: HowRecorded;
}

/** @throws {ProtocolError} naming the byte where the file stops being a recording. */
export function readRecording(bytes: Uint8Array): Recording {
  let redacted = false;
  let how: HowRecorded = 'stopped';
  const frames: (Hello | SequencedFrame)[] = [];
  for (const part of recordingParts(bytes)) {
    if (part.kind === 'head') redacted = part.redacted;
    else if (part.kind === 'frame') frames.push(part.frame);
    else how = part.how;
  }
  const [hello, ...rest] = frames as [Hello, Open, ...SequencedFrame[]];
  return { redacted, hello, frames: rest, how };
}

function readHead(bytes: Uint8Array, view: DataView): boolean {
  const magic = Buffer.from(bytes.subarray(0, MAGIC.length)).toString('latin1');
  if (magic !== MAGIC) throw damaged(`"${MAGIC}"`, 'something else: this is no recording', 0);
  if (bytes.length < HEADER_BYTES) throw damaged('a whole header', 'the end of the file', 8);
  const version = view.getUint16(8);
  if (version !== VERSION) {
    const want = `version ${VERSION} at byte 8`;
    throw new ProtocolError('version', `Cannot read recording: expected ${want}, got ${version}`);
  }
  const flags = view.getUint16(10);
  if (flags > REDACTED) throw damaged('no flag but 1', `${flags}`, 10);
  if (view.getUint32(12) !== 0) throw damaged('zero', `${view.getUint32(12)}`, 12);
  return flags === REDACTED;
}

function readFrame(bytes: Uint8Array, at: number, end: number): Hello | SequencedFrame {
  let frame: ShimFrame;
  try {
    frame = decodeShimFrame(bytes, at + PREFIX_BYTES, end);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const text = error.message.replace(/^Cannot read \w+: /, '');
    throw new ProtocolError(
      error.reason,
      `Cannot read recording: in the frame at byte ${at} ${text}`,
    );
  }
  if (frame.kind !== 'unknown' && frame.kind !== 'slot' && frame.kind !== 'bye') return frame;
  throw damaged('hello or a sequenced frame', frame.kind, at);
}

function readEnd(bytes: Uint8Array, view: DataView, at: number, frames: number): RecordingPart {
  if (at + END_BYTES > bytes.length) throw damaged('a whole end mark', 'the end of the file', at);
  const how = howRecorded(view.getUint32(at + 4));
  if (how === undefined) throw damaged('how it ended', `${view.getUint32(at + 4)}`, at + 4);
  const told = view.getUint32(at + 8);
  if (told !== frames) throw damaged(`the count ${frames}`, `${told}`, at + 8);
  const crc = crc32c(bytes, 0, at + END_BYTES - 4);
  const stored = view.getUint32(at + END_BYTES - 4);
  if (crc !== stored) {
    const [want, got] = [crc, stored].map((sum) => `0x${sum.toString(16).padStart(8, '0')}`);
    throw damaged(`checksum ${want}`, `${got}: some byte before it is damaged`, at + 12);
  }
  if (bytes.length > at + END_BYTES) {
    throw damaged('the end of the file', `${bytes.length - at - END_BYTES} bytes more`, at + 16);
  }
  return { kind: 'end', offset: at, how, frames };
}

function damaged(wanted: string, got: string, at?: number): ProtocolError {
  const where = at === undefined ? '' : ` at byte ${at}`;
  return new ProtocolError(
    'malformed',
    `Cannot read recording: expected ${wanted}${where}, got ${got}`,
  );
}
