/** The calls that the contenders of part `ingest` carry, as frames of ours and as each peer's bytes. */
import { randomBytes } from 'node:crypto';
import { load } from './support.mjs';

const { encodeFrame, frame: framed } = await load('protocol/wire/encode.js');

const CHUNK_BYTES = 65_536;
const OPEN = 1;
const CALLS_PER_TEXT = 100;
const CALLS_PER_ERROR = 1000;
const CALL_US = 100;
const E_FAIL = 0x80004005;
const ERRORS = [0x8004011b, 0x8004010f, 0x80070005, 0x80040115, E_FAIL];

export const hello = () => ({
  kind: 'hello',
  protocol: 1,
  ring: randomBytes(16).toString('hex'),
  freed: 0,
  pid: process.pid,
  bits: 64,
  executable: 'bench',
  shimVersion: '0.1.0',
  timeUs: nowUs(),
  wallUs: Date.now() * 1000,
  clockResolutionUs: 1,
  memory: 1,
});

const nowUs = () => Number(process.hrtime.bigint() / 1000n);

/**
 * A session of `count` calls, from `open` to `close`. `progress`: 1 % new texts, 0.1 % errors; `errors`:
 * nothing else.
 */
export function* session(mix, count) {
  const start = nowUs();
  const thread = 4711;
  const calls = { progress: 0, error: 0 };
  let text = '';
  yield {
    kind: 'open',
    ...{ seq: OPEN, timeUs: start, thread, session: OPEN, attach: 3, flags: 7 },
    ...{ provider: 'bench', store: 'Mailbox', wallUs: Date.now() * 1000, callback: 0 },
  };
  for (let i = 0; i < count; i++) {
    const header = { seq: OPEN + 1 + i, timeUs: start + i * CALL_US, thread, session: OPEN };
    if (mix === 'errors' || i % CALLS_PER_ERROR === CALLS_PER_ERROR - 1) {
      const what = `Cannot copy message ${String(i).padStart(9, '0')} of INBOX`;
      const hresult = ERRORS[i % ERRORS.length];
      yield { kind: 'error', ...header, call: ++calls.error, hresult, marks: 0, text: what };
      continue;
    }
    if (i % CALLS_PER_TEXT === 0) text = `Inbox: message ${String(i).padStart(9, '0')}`;
    const bar = { index: calls.progress % 1_000_000, max: 1_000_000, marks: 0, text };
    yield { kind: 'progress', ...header, call: ++calls.progress, ...bar };
  }
  const counters = { progress: calls.progress, errors: calls.error, dones: 0, merged: 0, lost: 0 };
  const close = { seq: OPEN + 1 + count, timeUs: start + count * CALL_US, thread, session: OPEN };
  yield { kind: 'close', ...close, counters: { ...counters, innerUs: 0, innerMaxUs: 0 } };
}

/** @returns chunks of about `CHUNK_BYTES`, each with the seq of its last frame. */
export function chunks(frames, toBytes) {
  const made = [];
  let parts = [];
  let bytes = 0;
  let seq = 0;
  const cut = () => {
    made.push({ bytes: Buffer.concat(parts), seq });
    parts = [];
    bytes = 0;
  };
  for (const frame of frames) {
    const part = toBytes(frame);
    parts.push(part);
    bytes += part.length;
    seq = frame.seq;
    if (bytes >= CHUNK_BYTES) cut();
  }
  if (bytes > 0) cut();
  return made;
}

export const asOurs = (frame) => framed(encodeFrame(frame));

const textEncoder = new TextEncoder();
export const asJsonLine = (frame) => textEncoder.encode(`${JSON.stringify(frame)}\n`);

/** The values without their names, behind a length, as ours are. */
export const asMsgpack = (encode) => (frame) => framed(encode(Object.values(frame)));
