/**
 * Busy shims, in a process of their own: connections with sessions each, all sending as fast as the
 * daemon acknowledges. Arguments: endpoint, connections, sessions. Says how many frames were
 * acknowledged when asked.
 */
import { randomBytes } from 'node:crypto';
import { load, open } from './peers.mjs';

const [endpoint, connections, sessions] = process.argv.slice(2);
const { encodeFrame, frame } = await load('protocol/wire/encode.js');
const { decodeDaemonFrame } = await load('protocol/wire/decode.js');

const nowUs = () => Math.floor(Number(process.hrtime.bigint()) / 1000);
const header = (seq, session) => ({ seq, timeUs: nowUs(), thread: 7, session });
const ERROR_EVERY = 500;
/** Not acknowledged, of one connection. Together they keep the daemon busy without a pause. */
const WINDOW_BYTES = 32_768;
/** Where seq and time stand in a frame with its prefix. */
const SEQ_AT = 7;
const TIME_AT = 16;
/** A call number whose bytes are easy to find in a frame, and whose size never changes. */
const CALL_MARK = 0x12345678;
const text = 'Synchronizing folder Inbox, message';

let acked = 0;

class Shim {
  #seq = 0;
  #durable = 0;
  #peer;
  /** One frame for each session, end to end, and where their numbers stand. */
  #round;
  #places = [];
  #going = false;
  #call = 0;

  static async start() {
    const shim = new Shim();
    shim.#peer = await open(endpoint, 'shim');
    await new Promise((resolve, reject) => {
      shim.#peer.socket.once('close', () => reject(new Error('The daemon closed a connection')));
      shim.#peer.onBody((body) => {
        const got = decodeDaemonFrame(body);
        if (got.kind === 'refused') throw new Error(`Refused: ${got.text}`);
        if (got.kind === 'welcome') {
          shim.#open();
          resolve();
        }
        if (got.kind === 'ack') shim.#acked(got.durable);
      });
      const hello = { kind: 'hello', protocol: 1, ring: randomBytes(16).toString('hex'), freed: 0 };
      const process_ = { pid: process.pid, bits: 64, executable: 'load', shimVersion: '0' };
      const clocks = { timeUs: nowUs(), wallUs: Date.now() * 1000, clockResolutionUs: 1 };
      shim.#peer.send(encodeFrame({ ...hello, ...process_, ...clocks, memory: 1 }));
    });
    return shim;
  }

  #open() {
    const names = { attach: 3, flags: 1, provider: 'soak', callback: 0 };
    for (let at = 1; at <= Number(sessions); at++) {
      const seq = ++this.#seq;
      const store = `Mailbox ${at}`;
      const wallUs = Date.now() * 1000;
      this.#peer.send(encodeFrame({ kind: 'open', ...header(seq, seq), ...names, store, wallUs }));
    }
    const frames = [];
    let size = 0;
    for (let session = 1; session <= Number(sessions); session++) {
      const counts = { call: CALL_MARK, index: 30_000, max: 70_000, marks: 0 };
      const bytes = frame(
        encodeFrame({ kind: 'progress', ...header(1, session), ...counts, text }),
      );
      this.#places.push({ at: size, callAt: size + Buffer.from(bytes).indexOf('12345678', 'hex') });
      frames.push(bytes);
      size += bytes.length;
    }
    this.#round = Buffer.concat(frames);
    this.#call = CALL_MARK;
  }

  go() {
    this.#going = true;
    this.#send();
  }

  #acked(durable) {
    acked += durable - this.#durable;
    this.#durable = durable;
    if (this.#going) this.#send();
  }

  #send() {
    const mostFrames = Math.floor(WINDOW_BYTES / (this.#round.length / Number(sessions) + 4));
    while (this.#seq - this.#durable + Number(sessions) < mostFrames) {
      const round = Buffer.from(this.#round);
      const timeUs = BigInt(nowUs());
      this.#call += 1;
      for (const { at, callAt } of this.#places) {
        round.writeBigUInt64BE(BigInt(++this.#seq), at + SEQ_AT);
        round.writeBigUInt64BE(timeUs, at + TIME_AT);
        round.writeUInt32BE(this.#call, callAt);
      }
      this.#peer.socket.write(round);
      if (this.#seq % ERROR_EVERY < Number(sessions)) this.#sendError();
    }
  }

  #sendError() {
    const seq = ++this.#seq;
    const session = 1 + (seq % Number(sessions));
    const error = { call: seq, hresult: 0x80040115, marks: 0, text: 'The server is not there' };
    this.#peer.send(encodeFrame({ kind: 'error', ...header(seq, session), ...error }));
  }
}

process.on('message', ({ id }) => process.send({ id, acked, atMs: performance.now() }));
process.on('disconnect', () => process.exit());
const shims = [];
for (let at = 0; at < Number(connections); at++) shims.push(await Shim.start());
for (const shim of shims) shim.go();
process.send('ready');
