/** What the TypeScript readers make of an input, in the text of `native-shim/tests/fuzz/targets.cc`. */
import { createHmac } from 'node:crypto';
import { goldenRing } from './corpus.mjs';

const RING_DATA_OFFSET = 200_704;
const RING_INPUT_BYTES = 19;
const RING_MAX_DATA_BYTES = 8192;
const PATCHABLE_BYTES = 1017;

/** The image that a ring input stands for. Borrowed until the next call. */
export function makeRingImages() {
  const base = Buffer.alloc(RING_DATA_OFFSET + RING_MAX_DATA_BYTES);
  goldenRing().copy(base, 0, 0, 512);
  const header = Buffer.from(base.subarray(0, 1024));
  return (input) => {
    const at = input.readUInt16LE(9) % PATCHABLE_BYTES;
    const data = input.subarray(RING_INPUT_BYTES, RING_INPUT_BYTES + RING_MAX_DATA_BYTES);
    const size = data.length - (data.length % 8);
    header.copy(base);
    base.writeBigUInt64LE(BigInt(size), 32);
    input.copy(base, 584, 1, 9);
    if (at !== 0) input.copy(base, at, 11, 19);
    data.copy(base, RING_DATA_OFFSET, 0, size);
    return { image: base.subarray(0, RING_DATA_OFFSET + size), thisBoot: (input[0] & 1) === 1 };
  };
}

const hex = (text) => `x${Buffer.from(text, 'utf8').toString('hex')}`;
const word = (value) =>
  value === null ? 'nil' : typeof value === 'string' ? hex(value) : String(value);

/** All values of a frame in the order of PROTOCOL.md. */
function words(value) {
  if (typeof value !== 'object' || value === null) return [word(value)];
  return Object.values(value).flatMap(words);
}

const KIND_FIELDS = (kinds, frame) => {
  const { kind, wireKind, ...rest } = frame;
  if (kind === 'unknown') return `${wireKind} ${rest.seq}`;
  return `${kinds[kind]} ${words(rest).join(' ')}`;
};

/** @param {object} modules of the build: `decode`, `frames`, `ringFile`, `handshake`, `endpoint`, `errors` */
export function describers({ decode, frames, ringFile, handshake, endpoint, errors }) {
  const { ProtocolError } = errors;
  const orError = (read) => {
    try {
      return read();
    } catch (error) {
      if (error instanceof ProtocolError) return undefined;
      throw error;
    }
  };
  const expand = makeRingImages();
  const view = new decode.ProgressView();
  return {
    frame(input) {
      const shim = orError(() => decode.decodeShimFrame(input));
      const isSequenced = shim?.seq > 0;
      const parts = ['shim'];
      if (isSequenced) parts.push(KIND_FIELDS(frames.KIND, shim));
      const progress = orError(() => {
        decode.readProgress(input, 0, input.length, view);
        return view;
      });
      if (progress !== undefined) {
        const { timeUs, session, call, index, max, marks, text } = progress;
        parts.push('progress', ...[timeUs, session, call, index, max, marks, text].map(word));
      }
      const daemon = orError(() => decode.decodeDaemonFrame(input));
      parts.push('daemon');
      if (daemon === undefined) parts.push('malformed');
      else if (daemon.kind === 'unknown') parts.push('unknown');
      else {
        const { kind, ...rest } = daemon;
        parts.push(kind === 'daemonBye' ? 'bye' : kind, ...words(rest));
      }
      return parts.join(' ');
    },
    ring(input) {
      if (input.length < RING_INPUT_BYTES) return 'short';
      const { image, thisBoot } = expand(input);
      // Another machine's start than any that the header may name.
      const bootId = image.toString('hex', 64, 80);
      const options = { thisBoot: thisBoot ? bootId : 'ee'.repeat(16) };
      const read = orError(() => ringFile.readRing(image, options));
      if (read === undefined) return 'none';
      const lines = read.frames.map((frame) =>
        frame.kind === 'hole' && frame.reason === 2 && frame.thread === 0 && frame.session === 0
          ? `hole ${frame.seq}`
          : `frame ${KIND_FIELDS(frames.KIND, frame)}`,
      );
      return ['ring', ...lines].join('\n');
    },
    endpoint(input) {
      try {
        const { protocol, pipe, secret } = endpoint.parseEndpoint('it', input.toString('utf8'));
        return `endpoint ${protocol} ${hex(pipe)} x${secret.toString('hex')}`;
      } catch (error) {
        if (error.name !== 'PlatformError') throw error;
        return /pid|started/.test(error.message) ? 'refused for what is for people' : 'refused';
      }
    },
    handshake(input) {
      if (input.length < 81) return 'short';
      const secret = Uint8Array.from({ length: 32 }, (_, n) => n);
      const nonce = new Uint8Array(32);
      nonce[0] = 7;
      const greeting = handshake.makeGreeting({ role: 'shim', nonce });
      const proving = { secret, pipe: '/fuzz', greeting };
      const stated = input.subarray(1, 49);
      const proof = createHmac('sha256', secret)
        .update('mapisync/1 daemon\n')
        .update(greeting)
        .update(stated)
        .update('/fuzz')
        .digest();
      const challenge = Buffer.concat([stated, proof.map((byte, n) => byte ^ input[49 + n])]);
      // What comes in one piece with the end of the challenge was not asked for.
      const step = input[0] || input.length;
      if (Math.min(Math.ceil(80 / step) * step, input.length - 1) > 80) return 'broken';
      const read = orError(() => handshake.checkChallenge(proving, challenge));
      if (read === undefined) return 'broken';
      if (read.status !== 0) return `refused ${read.status}`;
      if (read.protocol !== 1) return 'broken';
      return `proven x${Buffer.from(handshake.makeAnswer(proving, challenge)).toString('hex')}`;
    },
    utf8(input) {
      if (input.length < 2) return 'short';
      const most = input[0];
      const whole = Buffer.from(input.subarray(2, input.length - (input.length % 2))).toString(
        'utf16le',
      );
      const text = whole.split('\0', 1)[0];
      let cut = text.slice(0, most);
      const isPair = /[\ud800-\udbff]$/.test(cut) && /^[\udc00-\udfff]/.test(text.slice(most));
      if (isPair) cut = cut.slice(0, -1);
      const isWhole = cut.length === text.length;
      const marks = (isWhole ? 0 : 1) | (cut.isWellFormed() ? 0 : 2);
      const bytes = Buffer.from(cut.toWellFormed(), 'utf8');
      let end = Math.min(bytes.length, most);
      if (end < bytes.length) while (end > 0 && (bytes[end] & 0xc0) === 0x80) end -= 1;
      return `text ${marks} x${bytes.toString('hex')} x${bytes.toString('hex', 0, end)}`;
    },
  };
}

/** Texts of C++ keep bytes that are no UTF-8; JavaScript's have U+FFFD there. */
export const normalise = (line) =>
  line.replace(/\bx([0-9a-f]+)/g, (_, bytes) => hex(Buffer.from(bytes, 'hex').toString('utf8')));
