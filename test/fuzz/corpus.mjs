/**
 * The inputs that both languages share: what the golden vectors hold, and `corpus/<target>.txt`, a line
 * of hex for each input that a fuzzer found worth keeping. Their form is that of the targets in
 * `native-shim/tests/fuzz/targets.cc`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/native.mjs';

const RING_DATA_OFFSET = 200_704;
const CORPUS = join(root, 'test', 'fuzz', 'corpus');
const vectorFile = (name) => readFileSync(join(root, 'protocol', 'vectors', name), 'utf8');

const hexLines = (text) =>
  [...text.matchAll(/^hex\s+(.*)$/gm)].map(([, hex]) =>
    Buffer.from(hex.replaceAll(' ', ''), 'hex'),
  );

/** Frames of the golden vectors, with their prefixes. */
export const goldenFrames = () => [
  ...hexLines(vectorFile('v1.txt')),
  ...hexLines(vectorFile('clients-v1.txt')),
];

/** The image of the golden ring. */
export function goldenRing() {
  const [first, ...rows] = vectorFile('ring-v1.txt').trim().split('\n');
  const image = Buffer.alloc(Number(first.split(' ')[1]));
  for (const row of rows) {
    const [at, hex] = row.split(' ');
    image.write(hex, Number.parseInt(at, 16), 'hex');
  }
  return image;
}

export const endpointText = (pipe = '/run/user/1000/mapisync/pipe') =>
  `protocol=1\npipe=${pipe}\npid=4242\nstarted=2026-01-02T03:04:05.678Z\nsecret=${'0123456789abcdef'.repeat(4)}\n`;

const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

function ringInputs() {
  const image = goldenRing();
  const data = image.subarray(RING_DATA_OFFSET);
  const retired = image.subarray(584, 592);
  const nothing = Buffer.alloc(2 + 8);
  const inputs = [0, 1].map((flags) =>
    Buffer.concat([Uint8Array.of(flags), retired, nothing, data]),
  );
  // Each golden frame alone, as the first record: only what is sequenced is taken.
  for (const frame of goldenFrames()) {
    const body = frame.subarray(4);
    if (body.length > 300 || body[0] === 0xdc) continue;
    const word = (1n << 16n) | (BigInt(body.length) << 2n) | 2n;
    const record = Buffer.concat([u64(word), Buffer.alloc(4), body]);
    const whole = Buffer.concat([record, Buffer.alloc(((8 - (record.length % 8)) % 8) + 16)]);
    inputs.push(Buffer.concat([Uint8Array.of(1), u64(1n << 19n), nothing, whole]));
  }
  return inputs;
}

const utf16 = (text, flags = 0, units = 255) =>
  Buffer.concat([Uint8Array.of(units, flags), Buffer.from(text, 'utf16le')]);

const SEEDS = {
  frame: () => goldenFrames().map((frame) => frame.subarray(4)),
  ring: ringInputs,
  endpoint: () => [
    Buffer.from(endpointText()),
    Buffer.from(endpointText().replaceAll('\n', '\r\n').trim()),
  ],
  handshake: () =>
    [
      [0, 0],
      [1, 0],
      [9, 0],
      [0, 1],
    ].map(([status, zero]) => {
      const input = Buffer.alloc(1 + 48 + 32);
      input.write('MAPISYNC', 1);
      input.set([1, status, 0, 1, 0, 0, zero], 9);
      return input;
    }),
  utf8: () => [
    utf16('Inbox'),
    utf16('Posteingang – Zoë 語 😀', 1),
    utf16('\ud800a\udc00', 0, 3),
    utf16('x'.repeat(40), 1, 37),
  ],
  stream: () => {
    const frames = goldenFrames().filter((frame) => frame[5] >= 32 && frame[5] <= 35);
    const welcome = Buffer.from('00000003932001'.concat('00'), 'hex');
    welcome[3] = 4;
    const ack = (seq) => Buffer.from([0, 0, 0, 3, 0x92, 33, seq]);
    return [
      ...frames.map((frame) => Buffer.concat([Uint8Array.of(0), welcome, frame])),
      Buffer.concat([Uint8Array.of(3), welcome, ack(2), ack(6)]),
    ];
  },
};

/** All inputs of a target, each once. */
export function inputsOf(target) {
  const file = join(CORPUS, `${target}.txt`);
  const kept = existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((hex) => Buffer.from(hex, 'hex'))
    : [];
  const once = new Map(
    [...SEEDS[target](), ...kept].map((input) => [input.toString('hex'), input]),
  );
  return [...once.values()];
}

/** Puts each input into a file of its own, as libFuzzer wants them. */
export function unpackInputs(target, folder) {
  mkdirSync(folder, { recursive: true });
  for (const [n, input] of inputsOf(target).entries()) {
    writeFileSync(join(folder, `seed-${n}`), input);
  }
}

/** Takes what a fuzzer left in a folder into the corpus, without what is there already. */
export function keepInputs(target, folder) {
  const known = new Set(SEEDS[target]().map((input) => input.toString('hex')));
  const found = readdirSync(folder).map((name) => readFileSync(join(folder, name)).toString('hex'));
  const lines = [...new Set(found)].filter((hex) => !known.has(hex)).sort();
  lines.sort((a, b) => a.length - b.length);
  mkdirSync(CORPUS, { recursive: true });
  writeFileSync(join(CORPUS, `${target}.txt`), lines.map((line) => `${line}\n`).join(''));
  return lines.length;
}
