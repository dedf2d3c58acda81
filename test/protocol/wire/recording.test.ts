// The recording file: written and read back, and damaged at every byte.
import { describe, expect, test } from 'vitest';
import { encodeFrame } from '../../../protocol/wire/encode.ts';
import type { ShimFrame, Unknown } from '../../../protocol/wire/frames.ts';
import { ProtocolError } from '../../../protocol/wire/protocol-error.ts';
import {
  MAX_RECORDING_BYTES,
  RECORDED,
  RecordingWriter,
  readRecording,
  recordingParts,
} from '../../../protocol/wire/recording.ts';
import { readVectors } from '../vectors.ts';

type Frame = Exclude<ShimFrame, Unknown>;
const header = (seq: number, session = 3) => ({ seq, timeUs: 10 + seq, thread: 7, session });
const hello: Frame = {
  kind: 'hello',
  protocol: 1,
  ring: '00112233445566778899aabbccddeeff',
  freed: 2,
  pid: 4711,
  bits: 64,
  executable: 'OUTLOOK.EXE',
  shimVersion: '0.1.0',
  timeUs: 12,
  wallUs: 1_760_000_000_000_000,
  clockResolutionUs: 1000,
  memory: 0,
};
const open: Frame = {
  kind: 'open',
  ...header(3),
  attach: 1,
  flags: 3,
  provider: 'contoso',
  store: null,
  wallUs: 1_760_000_000_000_000,
  callback: 1,
};
const progress: Frame = {
  kind: 'progress',
  ...header(5),
  call: 1,
  index: 1,
  max: 2,
  marks: 0,
  text: 'Inbox',
};
const done: Frame = { kind: 'done', ...header(9), call: 1, hresult: 0, handle: 0 };
const clock: Frame = { kind: 'clock', ...header(8, 0), wallUs: 5 };

function write(frames: readonly Frame[], how: keyof typeof RECORDED = 'closed'): Buffer {
  const writer = new RecordingWriter();
  const parts = [writer.head(false), ...frames.map((frame) => writer.frame(encodeFrame(frame)))];
  parts.push(writer.end(how));
  const bytes = Buffer.concat(parts);
  expect(writer).toMatchObject({ bytes: bytes.length, frames: frames.length });
  return bytes;
}

const whole = write([hello, open, progress, clock, done]);

function errorOf(bytes: Uint8Array): ProtocolError {
  try {
    readRecording(bytes);
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error('It was read');
}

test.for(Object.keys(RECORDED) as (keyof typeof RECORDED)[])('reads back what was %s', (how) => {
  expect(readRecording(write([hello, open, progress, clock, done], how))).toEqual({
    redacted: false,
    how,
    hello,
    frames: [open, progress, clock, done],
  });
});

test('its bytes are those of PROTOCOL.md', () => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  expect(hex(whole.subarray(0, 16))).toBe('4d4150495352454300010000' + '00000000');
  const vectors = readVectors('v1.txt');
  const of = (kind: string) => vectors.find(({ value }) => value.kind === kind)!;
  const made = new RecordingWriter();
  const frame = of('hello').value as unknown as Frame;
  expect(hex(made.frame(encodeFrame(frame)))).toBe(hex(of('hello').bytes));
  expect(hex(whole.subarray(-16, -4))).toBe('00000000' + '00000000' + '00000005');
});

test('cut anywhere, it says at which byte', () => {
  for (let size = 0; size < whole.length; size += 1) {
    const error = errorOf(whole.subarray(0, size));
    expect(error.message).toMatch(/^Cannot read recording.* at byte \d+/);
  }
  const last = errorOf(whole.subarray(0, -16)).message;
  expect(last).toContain(`expected a frame or the end mark at byte ${whole.length - 16}`);
});

test('with any bit flipped, it is refused', () => {
  for (let bit = 0; bit < whole.length * 8; bit += 1) {
    const bytes = Buffer.from(whole);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    expect(errorOf(bytes).message).toMatch(/^Cannot read recording.* at byte \d+/);
  }
});

test('what stands before a damage can be had', () => {
  const kinds: string[] = [];
  expect(() => {
    for (const part of recordingParts(whole.subarray(0, -20))) {
      kinds.push(part.kind === 'frame' ? part.frame.kind : part.kind);
    }
  }).toThrow(/expected a frame of \d+ bytes at byte \d+, got the end of the file/);
  expect(kinds).toEqual(['head', 'hello', 'open', 'progress', 'clock']);
});

describe('refuses', () => {
  const version = Buffer.from(whole);
  version[9] = 2;
  test.for<[string, Uint8Array, RegExp]>([
    ['nothing', Buffer.alloc(0), /expected "MAPISREC" at byte 0/],
    ['something else', Buffer.from('{"v":1}\n'.repeat(9)), /expected "MAPISREC" at byte 0/],
    ['a newer version', version, /expected version 1 at byte 8, got 2/],
    ['no hello', write([open, done]), /expected hello at byte 16, got open/],
    ['two hellos', write([hello, hello, open]), /expected no second hello at byte \d+/],
    ['no open', write([hello, done]), /expected open after hello at byte \d+, got done/],
    ['a hello alone', write([hello]), /expected hello and open first at byte \d+/],
    [
      'another session',
      write([hello, open, { ...done, session: 4 }]),
      /expected frames of session 3 alone at byte \d+, got done of another/,
    ],
    ['a seq again', write([hello, open, done, done]), /expected a seq above 9 at byte \d+, got 9/],
    ['bytes behind the end', Buffer.concat([whole, Buffer.alloc(1)]), /got 1 bytes more/],
    [
      'more than it may have',
      Buffer.alloc(MAX_RECORDING_BYTES + 1),
      new RegExp(`at most ${MAX_RECORDING_BYTES} bytes`),
    ],
  ])('%s', ([, bytes, want]) => expect(errorOf(bytes).message).toMatch(want));
});

test('a writer knows when there is no room', () => {
  const writer = new RecordingWriter();
  writer.head(false);
  expect(writer.hasRoom(MAX_RECORDING_BYTES - 16 - 16 - 4)).toBe(true);
  expect(writer.hasRoom(MAX_RECORDING_BYTES - 16 - 16 - 3)).toBe(false);
});
