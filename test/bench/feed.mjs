/** Sends chunks to a peer or to our daemon, as a shim does: at most a window ahead of what is acknowledged. */
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { asOurs, chunks, hello, session } from './frames.mjs';
import { load } from './support.mjs';

const { connect } = await load('daemon/platform/connect.js');
const { FrameReader } = await load('protocol/wire/frame-reader.js');
const { decodeDaemonFrame } = await load('protocol/wire/decode.js');
const { WINDOW_BYTES } = await load('protocol/wire/limits.js');

/** Sends all of `made` on `socket`; `acknowledged` is called with a seq by whoever reads the socket. */
function windowed(socket, made) {
  let next = 0;
  let first = 0;
  let ahead = 0;
  let finish;
  let refuse;
  const done = new Promise((resolve, reject) => {
    finish = resolve;
    refuse = reject;
  });
  const send = () => {
    while (next < made.length && ahead < WINDOW_BYTES) {
      ahead += made[next].bytes.length;
      socket.write(made[next].bytes);
      next += 1;
    }
  };
  socket.on('error', refuse);
  socket.on('close', () => refuse(new Error('The peer hung up')));
  return {
    done,
    send,
    refuse,
    acknowledged(seq) {
      while (first < next && made[first].seq <= seq) ahead -= made[first++].bytes.length;
      if (first === made.length) finish();
      else send();
    },
  };
}

/** As the shim of a new process. */
export async function feedOurs(state, made) {
  const socket = await feedAndStay(state, made);
  socket.destroy();
}

async function feedAndStay(state, made) {
  const { socket } = await connect(join(state, 'endpoint'), { role: 'shim' });
  const sending = windowed(socket, made);
  const reader = new FrameReader();
  socket.on('data', (bytes) => {
    for (const body of reader.push(bytes)) {
      const frame = decodeDaemonFrame(body);
      if (frame.kind === 'refused') sending.refuse(new Error(`Refused: ${frame.text}`));
      if (frame.kind === 'welcome' || frame.kind === 'ack') sending.acknowledged(frame.durable);
    }
  });
  socket.write(asOurs(hello()));
  await sending.done;
  return socket;
}

/** A shim with so many open sessions, each with a call, that stays. @returns its socket */
export async function openOurs(state, sessions) {
  const frames = [];
  for (let seq = 1; seq <= 2 * sessions; seq += 2) {
    const [open, call] = session('progress', 1);
    frames.push({ ...open, seq, session: seq, store: `Mailbox ${seq}` });
    frames.push({ ...call, seq: seq + 1, session: seq });
  }
  return feedAndStay(state, chunks(frames, asOurs));
}

/** The peers answer with eight bytes: the newest seq. */
export async function feedPeer(path, made) {
  const socket = createConnection(path);
  const sending = windowed(socket, made);
  let rest = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    const whole = rest.length - (rest.length % 8);
    if (whole > 0) sending.acknowledged(Number(rest.readBigUInt64LE(whole - 8)));
    rest = rest.subarray(whole);
  });
  sending.send();
  await sending.done;
  socket.destroy();
}
