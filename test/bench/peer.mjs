/**
 * A daemon as others would write it: `peer.mjs msgpack|jsonl|grpc SOCKET LOG`. It takes the same calls,
 * folds them by the same reducer, with the same checks, and logs the same records with pino.
 */
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { loadGrpc } from './grpc.mjs';
import { load } from './support.mjs';

const { FrameReader } = await load('protocol/wire/frame-reader.js');
const { newRing, accept, takeFrame } = await load('protocol/session/ring.js');

const [kind, path, file] = process.argv.slice(2);
const log = pino({ base: null, timestamp: false }, pino.destination({ dest: file, sync: false }));
const record = (draft) => log[draft.level](draft, draft.msg);
const origin = { pid: 1, arch: 'x64', executable: 'bench', shimVersion: '0.1.0' };
let rings = 0;

/** What a connection has: a ring, and an answer at the end of each turn. */
function receiver(answer) {
  const ring = newRing({ ...origin, ring: String(++rings).padStart(32, '0') });
  let asked = false;
  return (frame) => {
    if (accept(ring, frame.seq) !== 'take') throw new Error(`Cannot take ${frame.seq}`);
    takeFrame(ring, frame, record, Date.now() * 1000);
    if (asked) return;
    asked = true;
    setImmediate(() => {
      asked = false;
      answer(ring.received);
    });
  };
}

const answerOn = (socket) => (seq) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(seq));
  socket.write(bytes);
};

async function msgpack() {
  const { decode } = await import('@msgpack/msgpack');
  const fields = {
    open: 'attach flags provider store wallUs callback',
    progress: 'call index max marks text',
    error: 'call hresult marks text',
    close: 'counters',
  };
  const names = Object.fromEntries(
    Object.entries(fields).map(([name, rest]) => [
      name,
      ['kind', 'seq', 'timeUs', 'thread', 'session', ...rest.split(' ')],
    ]),
  );
  return (socket) => {
    const take = receiver(answerOn(socket));
    const reader = new FrameReader();
    socket.on('data', (chunk) => {
      reader.read(chunk, (bytes, start, end) => {
        const values = decode(bytes.subarray(start, end));
        const keys = names[values[0]];
        const frame = {};
        for (let i = 0; i < keys.length; i++) frame[keys[i]] = values[i];
        take(frame);
        return end;
      });
    });
  };
}

async function jsonl() {
  return (socket) => {
    const take = receiver(answerOn(socket));
    createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) =>
      take(JSON.parse(line)),
    );
  };
}

function listen(serve) {
  createServer((socket) => {
    socket.on('error', () => {});
    serve(socket);
  }).listen(path, () => process.send('ready'));
}

async function grpc() {
  const { library, service } = await loadGrpc();
  const server = new library.Server();
  server.addService(service, {
    report(call, done) {
      let last = 0;
      const take = receiver((seq) => {
        last = seq;
      });
      call.on('data', (message) =>
        take({ ...message[message.kind], ...message, kind: message.kind }),
      );
      call.on('end', () => setImmediate(() => done(null, { seq: last })));
      call.on('error', () => {});
    },
  });
  await new Promise((resolve, reject) =>
    server.bindAsync(`unix:${path}`, library.ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  process.send('ready');
}

if (kind === 'grpc') await grpc();
else listen(await { msgpack, jsonl }[kind]());
