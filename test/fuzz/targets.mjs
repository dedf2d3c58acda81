/**
 * What the daemon and its clients read, as fuzz targets. A target is a function over mutated bytes that
 * throws where something is wrong: any error but the one for bad input, and whatever must hold of what
 * was read and does not.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endpointText, goldenFrames, inputsOf } from './corpus.mjs';
import { makeRingImages } from './describe.mjs';

const must = (holds, what) => {
  if (!holds) throw new Error(`It does not hold that ${what}`);
};

/** Every number of a frame or record is one that JavaScript has exactly. */
function saneNumbers(value) {
  for (const key in value) {
    const found = value[key];
    if (typeof found === 'number')
      must(Number.isSafeInteger(found) && found >= 0, `${key} is whole`);
    else if (typeof found === 'object' && found !== null) saneNumbers(found);
  }
}

const bodies = () => goldenFrames().map((frame) => frame.subarray(4));

export const TARGETS = {
  /** The body of a frame: the mutated bytes stand in the middle of others, as in a chunk. */
  frame: {
    inputs: () => inputsOf('frame').filter(({ length }) => length <= 2048),
    files: ['protocol/wire/decode.js', 'protocol/wire/body-cursor.js'],
    make({ decode, encode, errors }) {
      const { ProtocolError } = errors;
      const view = new decode.ProgressView();
      const attempt = (read) => {
        try {
          return read();
        } catch (error) {
          if (error instanceof ProtocolError) return undefined;
          throw error;
        }
      };
      let turn = 0;
      return (bytes, size) => {
        turn += 1;
        let frame;
        try {
          frame = decode.decodeShimFrame(bytes, 0, size);
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
        }
        if (frame !== undefined) saneNumbers(frame);
        if (decode.peekKind(bytes, 0, size) === 4) {
          const read = attempt(() => {
            view.fill(bytes, 0, size);
            return view;
          });
          must((read !== undefined) === (frame?.kind === 'progress'), 'both readers agree');
          if (read !== undefined) {
            must(
              read.seq === frame.seq &&
                read.timeUs === frame.timeUs &&
                read.thread === frame.thread &&
                read.session === frame.session &&
                read.call === frame.call &&
                read.index === frame.index &&
                read.max === frame.max &&
                read.marks === frame.marks &&
                read.text === frame.text,
              'both readers read the same',
            );
          }
        }
        if ((turn & 7) === 0) attempt(() => decode.decodeDaemonFrame(bytes.subarray(0, size)));
        if ((turn & 31) !== 0 || frame === undefined || frame.kind === 'unknown') return;
        const text = JSON.stringify(frame);
        // Replaced bytes take more room than those that they stand for.
        if (text.includes('\ufffd')) return;
        const again = decode.decodeShimFrame(encode.encodeFrame(frame));
        must(JSON.stringify(again) === text, 'what was read can be written and read again');
      };
    },
    planted: {
      file: 'protocol/wire/decode.js',
      find: 'this.#textEnd === end && this.seq !== 0',
      put: 'this.#textEnd >= end && this.seq !== 0',
    },
  },

  /** A chunk of several frames, cut anywhere. */
  stream: {
    inputs: () => goldenFrames().filter(({ length }) => length <= 512),
    files: ['protocol/wire/frame-reader.js'],
    make({ reader }) {
      const all = goldenFrames().filter(({ length }) => length <= 512);
      let turn = 0;
      return (bytes, size) => {
        turn += 1;
        const good = all[turn % all.length];
        const chunk = Buffer.concat([good, bytes.subarray(0, size), good]);
        const whole = new reader.FrameReader();
        const want = whole.push(chunk);
        const cut = new reader.FrameReader();
        const got = [];
        const step = 1 + (turn % 61);
        for (let at = 0; at < chunk.length; at += step) {
          for (const body of cut.push(chunk.subarray(at, at + step))) got.push(Buffer.from(body));
          must(cut.pending <= 65_536 + 4, 'less than one frame is held');
        }
        must(cut.error?.message === whole.error?.message, 'cuts do not change the error');
        must(got.length === want.length && cut.frames === whole.frames, 'cuts lose no frame');
        for (const [n, body] of got.entries()) must(body.equals(want[n]), 'cuts change no frame');
        if (whole.error === undefined) must(cut.pending === whole.pending, 'the rest is the same');
      };
    },
    planted: {
      file: 'protocol/wire/frame-reader.js',
      find: 'this.#bodyBytes = chunk.length - at;',
      put: 'this.#bodyBytes = chunk.length - from;',
    },
  },

  /** What a client gets from a daemon: nested, and read by the msgpack library. */
  feed: {
    inputs: () => [...bodies().filter((body) => body.length <= 2048), ...nested()],
    files: ['protocol/wire/clients.js', 'protocol/wire/shape.js'],
    make({ clients, errors }) {
      const { ProtocolError } = errors;
      return (bytes, size) => {
        const body = bytes.slice(0, size);
        for (const read of [clients.decodeFeedFrame, clients.decodeClientFrame]) {
          try {
            const frame = read(body);
            must(depthOf(frame) <= 8, 'it is not deeper than it may be');
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error;
          }
        }
      };
    },
    planted: {
      file: 'protocol/wire/shape.js',
      find: 'left.length > maxDepth',
      put: 'left.length > maxDepth + 1',
    },
  },

  /** The file of a dead ring. */
  ring: {
    inputs: () => inputsOf('ring'),
    files: ['protocol/wire/ring-file.js', 'protocol/wire/crc32c.js'],
    make({ ringFile, errors, crc }) {
      const { ProtocolError } = errors;
      const expand = makeRingImages();
      let turn = 0;
      return (bytes, size) => {
        turn += 1;
        if (size < 19) return;
        const input = Buffer.from(bytes.buffer, bytes.byteOffset, size);
        if (turn % 4 !== 0) sealRing(input, crc.crc32c);
        const { image, thisBoot } = expand(input);
        // The slots too, with what else is at hand.
        const slots = [1024, 1056, 4096, 4096 + 24, 4096 + 112, 4096 + 128, 4096 + 448, 4096 + 768];
        const at = slots[turn % slots.length] + (turn % 5) * 4;
        const part = input.subarray(19, 19 + 32);
        if (turn % 2 === 0) image.set(part, at);
        try {
          const options = { thisBoot: thisBoot ? image.toString('hex', 64, 80) : 'ee'.repeat(16) };
          const read = ringFile.readRing(image, options);
          saneNumbers(read);
          let seq = read.freed;
          for (const frame of read.frames) must(frame.seq === ++seq, 'frames are dense');
          must(read.frames.length + read.torn <= image.length / 16, 'no frame is read twice');
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
        } finally {
          image.fill(0, 1024, 4096 + 2048);
        }
      };
    },
    planted: {
      file: 'protocol/wire/ring-file.js',
      find: 'return frame.seq === word.seq ? frame : undefined;',
      put: 'return frame.seq <= word.seq ? frame : undefined;',
    },
  },

  /** The file that says where the daemon is. */
  endpoint: {
    inputs: () => [
      ...inputsOf('endpoint'),
      Buffer.from(endpointText('/é')),
      Buffer.from(endpointText(`/${'p'.repeat(99)}`)),
      Buffer.from(`later=1\n${endpointText()}`),
    ],
    files: ['daemon/platform/endpoint.js'],
    make({ endpoint }) {
      return (bytes, size) => {
        try {
          const text = Buffer.from(bytes.buffer, bytes.byteOffset, size).toString('utf8');
          const found = endpoint.parseEndpoint('it', text);
          must(found.secret.length === 32, 'a secret has 32 bytes');
          must(found.protocol >= 1 && found.protocol <= 99_999, 'a protocol is a number');
          must(Buffer.byteLength(found.pipe) <= 100 && !found.pipe.includes('\0'), 'a pipe is one');
        } catch (error) {
          if (error.name !== 'PlatformError') throw error;
          must(error.reason === 'malformed', 'the reason says what is wrong');
        }
      };
    },
    planted: {
      file: 'daemon/platform/endpoint.js',
      find: 'Buffer.byteLength(pipe) > MAX_PIPE_BYTES',
      put: 'Buffer.byteLength(pipe) > MAX_PIPE_BYTES + 1',
    },
  },

  /** The recording of a session. */
  recording: {
    inputs: recordings,
    files: ['protocol/wire/recording.js'],
    make({ recording, errors, crc }) {
      const { ProtocolError } = errors;
      let turn = 0;
      return (bytes, size) => {
        const input = bytes.slice(0, size);
        turn += 1;
        // With the right checksum at its end, so that only the rest is wrong.
        if (turn % 2 === 0 && size > 32) {
          new DataView(input.buffer).setUint32(size - 4, crc.crc32c(input, 0, size - 4));
        }
        try {
          const { redacted, how } = recording.readRecording(input);
          const writer = new recording.RecordingWriter();
          const parts = [writer.head(redacted)];
          for (const part of recording.recordingParts(input)) {
            if (part.kind === 'frame') parts.push(writer.frame(part.body));
          }
          must(
            Buffer.concat([...parts, writer.end(how)]).equals(input),
            'it is what a writer makes',
          );
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
        }
      };
    },
    planted: {
      file: 'protocol/wire/recording.js',
      find: 'if (told !== frames)',
      put: 'if (told < frames)',
    },
  },

  /** A segment of the journal, damaged, as a daemon finds it at its start. */
  journal: {
    inputs: journals,
    files: [
      'daemon/recovery.js',
      'daemon/platform/journal-files.js',
      'protocol/session/snapshot.js',
    ],
    make({ recovery, hub, lines }, folder) {
      const dir = join(folder, 'journal');
      const service = { name: 'mapisync', version: '0.0.0', instance_id: '0'.repeat(32) };
      const recover = () => {
        const fold = new hub.Fold();
        const records = [];
        const found = recovery.recover(dir, (record) => {
          fold.take(record);
          records.push(record);
        });
        return { fold, records, found };
      };
      return (bytes, size) => {
        rmSync(dir, { recursive: true, force: true });
        mkdirSync(dir, { recursive: true });
        writeFileSync(join(dir, 'mapisync.000001.jsonl'), bytes.subarray(0, size));
        const first = recover();
        const second = recover();
        must(second.records.length === first.records.length, 'a second recovery finds the same');
        const group = second.records.at(-1)?.group;
        // A line that was damaged, and not torn, may have been the rest of it.
        const whole = second.found.torn > 0 || !(group?.n < group?.of);
        must(whole, 'no group is left incomplete at the end');
        // What a new segment opens with.
        const restored = new hub.Hub({});
        restored.restore(first.fold.rings, first.fold.notes);
        const maker = new lines.LineMaker({ service, host: 'h' });
        for (const draft of restored.snapshot()) JSON.parse(maker.line(draft));
      };
    },
    planted: {
      file: 'daemon/recovery.js',
      find: 'group.n < group.of',
      put: 'group.n + 1 < group.of',
    },
  },
};

const depthOf = (value) =>
  typeof value === 'object' && value !== null
    ? 1 + Math.max(0, ...Object.values(value).map(depthOf))
    : 0;

/** Maps as deep as they may be, and headers by which a general decoder recurses and allocates. */
function nested() {
  const status = Uint8Array.of(0x92, 97);
  const maps = [5, 6, 7].map((levels) =>
    Buffer.concat([status, Buffer.from(`${'81a161'.repeat(levels)}00`, 'hex')]),
  );
  const bombs = ['dd00000001', 'dd0000ffff', '91', 'df00000001', 'dc0001'].map((hex) =>
    Buffer.concat([status, Buffer.from(hex.repeat(40), 'hex')]),
  );
  return [...maps, ...bombs];
}

/** The frames of one session, as a shim sends them. */
function sessionFrames() {
  const header = (seq) => ({ seq, timeUs: 1_000_000 + seq * 1000, thread: 7, session: 1 });
  const wallUs = 1_750_000_000_000_000;
  const ring = '00112233445566778899aabbccddeeff';
  const hello = { kind: 'hello', protocol: 1, ring, freed: 0, pid: 4242, bits: 64 };
  const counters = {
    progress: 5,
    errors: 1,
    dones: 1,
    merged: 0,
    lost: 0,
    innerUs: 7,
    innerMaxUs: 7,
  };
  const open = { attach: 1, flags: 0x21, provider: 'P', store: 'S', wallUs, callback: 1 };
  const progress = (call) => ({ call, index: call, max: 5, marks: 0, text: 'Inbox' });
  return [
    {
      ...hello,
      executable: 'a.exe',
      shimVersion: '0.1.0',
      timeUs: 1,
      wallUs,
      clockResolutionUs: 1,
      memory: 0,
    },
    { kind: 'open', ...header(1), ...open },
    ...[1, 2, 3].map((n) => ({ kind: 'progress', ...header(n + 1), ...progress(n) })),
    { kind: 'note', ...header(5), key: 'k', value: 'v' },
    { kind: 'error', ...header(6), call: 1, hresult: 0x8004010f, marks: 0, text: 'Cannot' },
    {
      kind: 'lost',
      ...header(7),
      session: 0,
      opens: 1,
      progress: 0,
      errors: 0,
      dones: 0,
      others: 2,
    },
    { kind: 'done', ...header(8), call: 1, hresult: 0, handle: 2 },
    { kind: 'close', ...header(9), counters },
  ];
}

function recordings({ encode, recording }) {
  const frames = sessionFrames();
  return [2, 4, frames.length].map((count) => {
    const writer = new recording.RecordingWriter();
    const parts = [writer.head(count === 4)];
    for (const frame of frames.slice(0, count)) parts.push(writer.frame(encode.encodeFrame(frame)));
    return Buffer.concat([...parts, writer.end(count === frames.length ? 'closed' : 'gone')]);
  });
}

/** Segments as the daemon's own code writes them, after so many frames and with what followed. */
function journals({ ring: { newRing, originOf, onHello, snapshotDrafts, takeFrame }, lines }) {
  const service = { name: 'mapisync', version: '0.0.0', instance_id: '0'.repeat(32) };
  const time = '2026-01-02T03:04:05.000000Z';
  const mark = (name) => ({ event_name: name, level: 'debug', time, msg: 'Snapshot' });
  return [1, 4, 8].map((before) => {
    const maker = new lines.LineMaker({ service, host: 'h' });
    const [hello, ...frames] = sessionFrames();
    const ring = newRing(originOf(hello));
    onHello(ring, hello);
    const drafts = [];
    const take = (frame) => {
      const records = [];
      takeFrame(ring, frame, (draft) => records.push(draft), hello.wallUs);
      return records;
    };
    for (const frame of frames.slice(0, before)) take(frame);
    const [own, ...sessions] = snapshotDrafts(ring, hello.wallUs);
    drafts.push(mark('snapshot.begin'), { ...own, detail: { gone: false, seen_us: 1 } });
    drafts.push(...sessions, mark('snapshot.end'));
    for (const frame of frames.slice(before)) {
      const records = take(frame);
      const of = records.length;
      drafts.push(
        ...records.map((draft, n) => (of > 1 ? { ...draft, group: { n: n + 1, of } } : draft)),
      );
    }
    return Buffer.from(drafts.map((draft) => maker.line(draft)).join(''));
  });
}

/** Gives the records of a ring input the seq and checksum that a reader expects, as far as they lead. */
function sealRing(input, crc32c) {
  const data = input.subarray(19, 19 + 8192);
  const units = data.length >>> 3;
  const place = input.readBigUInt64LE(1);
  let seq = place >> 19n;
  let unit = Number(place & 0x7ffffn);
  for (let walked = 0; unit < units; ) {
    const at = unit * 8;
    const low = data.readUInt32LE(at);
    const [state, size] = [low & 3, (low >>> 2) & 0x3fff];
    if (state === 0) return;
    const taken = state === 3 ? units - unit : (12 + size + 7) >>> 3;
    walked += taken;
    if (walked > units || unit + taken > units) return;
    const kept = BigInt(state === 3 ? 0 : size) << 2n;
    data.writeBigUInt64LE(((seq & 0xffffffffffffn) << 16n) | kept | BigInt(state), at);
    if (state === 2) {
      const tag = data[at + 12] === 0xdc ? 4 : 2;
      if (size > tag + 9) {
        data[at + 12 + tag] = 0xcf;
        data.writeBigUInt64BE(seq, at + 13 + tag);
      }
      const crc = crc32c(data, at + 12, at + 12 + size, crc32c(data, at, at + 8));
      data.writeUInt32LE(crc === 0 ? 0xffffffff : crc, at + 8);
    }
    if (state !== 3) seq += 1n;
    unit = unit + taken === units ? 0 : unit + taken;
  }
}
