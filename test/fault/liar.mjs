/**
 * A producer that knows the secret and breaks the protocol: in its own rings in every way, and in those
 * of living hosts in every way but one. It never sends what the ring's owner alone could have sent next:
 * a frame with the next number, a `freed` above what was acknowledged, a slot. Nothing tells those from
 * the owner's own.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const WELCOME_MS = 1000;
const FLOOD_FRAMES = 600;
const FAR = 1_000_000_000;
/**
 * How often one may open many sessions that nobody ends. Daemons that are killed sooner than they give a
 * lost ring up keep them all, and above MAX_SESSIONS there would be none for the hosts.
 */
const MOST_HEAPS = 15;

export class Liar {
  /** Rings that are its own. */
  rings = [];
  lies = 0;
  #state;
  #rand;
  #stopping = false;
  #heaps = 0;
  #done;

  constructor({ dist, state, rand }) {
    this.#state = state;
    this.#rand = rand;
    this.#done = this.#run(dist);
  }

  async stop() {
    this.#stopping = true;
    await this.#done;
  }

  async #run(dist) {
    const load = (path) => import(pathToFileURL(join(dist, path)).href);
    const product = {
      ...(await load('daemon/platform/connect.js')),
      ...(await load('daemon/platform/endpoint.js')),
      ...(await load('protocol/wire/encode.js')),
    };
    while (!this.#stopping) {
      try {
        await this.#lie(product);
        this.lies += 1;
      } catch {
        // No daemon, or one that died.
      }
      await delay(5 + this.#rand() * 60);
    }
  }

  #pick(list) {
    return list[Math.floor(this.#rand() * list.length)];
  }

  #below(limit) {
    return Math.floor(this.#rand() * limit);
  }

  async #lie(product) {
    if (this.#rand() < 0.1) return this.#loiter(product);
    const others = readdirSync(join(this.#state, 'rings'))
      .map((name) => /^([0-9a-f]{32})\.ring$/.exec(name)?.[1])
      .filter(Boolean);
    const theirs = others.length > 0 && this.#rand() < 0.4 ? this.#pick(others) : undefined;
    const { socket } = await product.connect(join(this.#state, 'endpoint'), { role: 'shim' });
    socket.on('error', () => {});
    const line = new Line(socket, product);
    try {
      if (theirs) await this.#lieOf(line, theirs);
      else await this.#lieOfOwn(line);
      await delay(this.#rand() ** 3 * 400);
    } finally {
      if (this.#rand() < 0.5) socket.destroy();
      else {
        socket.end();
        setTimeout(() => socket.destroy(), 100).unref();
      }
    }
  }

  /** Connects and does not shake hands, or only half. */
  async #loiter({ readEndpoint }) {
    const socket = createConnection(readEndpoint(join(this.#state, 'endpoint')).pipe);
    socket.on('error', () => {});
    socket.write(randomBytes(this.#below(60)));
    await delay(this.#rand() * 300);
    socket.destroy();
  }

  /** As the owner of a ring that somebody else has. */
  async #lieOf(line, ring) {
    const durable = await line.hello(ring, 0);
    const seq = 1 + this.#below(durable);
    switch (durable === undefined ? 0 : this.#below(6)) {
      case 1:
        // What was acknowledged, with other content.
        if (durable > 0) line.send(error(seq, 1, 'not what it said'), open(seq));
        break;
      case 2:
        line.send(error(durable + FAR, 1, 'a gap'));
        break;
      case 3:
        this.#half(line, error(durable + FAR, 1, 'half'));
        break;
      case 4:
        line.junk(this.#below(3000));
        break;
      case 5:
        line.sendHello(ring, 0);
        break;
    }
  }

  async #lieOfOwn(line) {
    const known = this.rings.length > 0 && this.#rand() < 0.3;
    const ring = known ? this.#pick(this.rings) : randomBytes(16).toString('hex');
    if (!known) this.rings.push(ring);
    if (this.#rand() < 0.05) return line.send(error(1, 1, 'no hello before'));
    const freed = this.#pick([0, 0, 0, this.#below(1000), FAR]);
    const durable = await line.hello(ring, freed);
    if (durable === undefined) return;
    const first = durable + 1;
    const text = (n) => error(first + n, first, `lie ${n}`, n);
    const some = Array.from({ length: 2 + this.#below(30) }, (_, n) => text(n + 1));
    line.send(open(first));
    switch (this.#below(this.#heaps < MOST_HEAPS ? 9 : 8)) {
      case 0:
        line.send(...some.sort(() => this.#rand() - 0.5));
        break;
      case 1:
        line.send(...some, text(some.length + 2 + this.#below(FAR)));
        break;
      case 2:
        line.send(...some);
        await delay(this.#rand() * 50);
        for (let n = 0; n < 20; n++) {
          line.send(error(first + this.#below(some.length), first, `other ${n}`, n));
        }
        break;
      case 3: {
        // Counters that go back, in all frames that have some.
        line.send(...some.slice(0, 2), slot(first, 1000), slot(first, 3));
        line.send(lost(first + 3, 900), lost(first + 4, 2), error(first + 5, first, 'call 1', 1));
        line.send(merged(first + 6, first, 500), merged(first + 7, first, 1));
        line.send(close(first + 8, first, 2), error(first + 9, first, 'after its end', 9));
        break;
      }
      case 4:
        line.send(...some);
        line.junk(1 + this.#below(200_000));
        break;
      case 5:
        line.send(...some);
        this.#half(line, text(some.length + 1));
        break;
      case 6: {
        // More than anybody may wait for, and nobody reads the answers.
        line.socket.pause();
        const long = 'x'.repeat(4000);
        for (let n = 1; n < FLOOD_FRAMES; n++) line.send(error(first + n, first, long, n));
        break;
      }
      case 7:
        line.send({ kind: 'bye', reason: 1 }, ...some);
        break;
      case 8:
        // Sessions without an end, and calls of sessions that nobody opened.
        this.#heaps += 1;
        for (let n = 1; n < 40; n++) line.send(open(first + n));
        line.send(error(first + 40, FAR, 'of no session'));
        break;
    }
  }

  #half(line, frame) {
    const bytes = line.bytesOf(frame);
    line.socket.write(bytes.subarray(0, 1 + this.#below(bytes.length - 1)));
  }
}

/** A connection past the handshake. */
class Line {
  constructor(socket, { encodeFrame, frame }) {
    this.socket = socket;
    this.bytesOf = (one) => frame(encodeFrame(one));
  }

  send(...frames) {
    this.socket.write(Buffer.concat(frames.map(this.bytesOf)));
  }

  junk(bytes) {
    this.socket.write(randomBytes(bytes));
  }

  sendHello(ring, freed) {
    this.send({
      kind: 'hello',
      protocol: 1,
      ring,
      freed,
      pid: process.pid,
      bits: 64,
      executable: 'liar',
      shimVersion: '0',
      timeUs: Math.floor(performance.now() * 1000),
      wallUs: Date.now() * 1000,
      clockResolutionUs: 1000,
      memory: 0,
    });
  }

  /** @returns what `welcome` says; undefined if there is none. */
  hello(ring, freed) {
    this.sendHello(ring, freed);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, WELCOME_MS);
      let bytes = Buffer.alloc(0);
      this.socket.on('data', (chunk) => {
        if (bytes === undefined) return;
        bytes = Buffer.concat([bytes, chunk]);
        if (bytes.length < 4 || bytes.length < 4 + bytes.readUInt32BE()) return;
        const durable = readWelcome(bytes.subarray(4));
        bytes = undefined;
        clearTimeout(timer);
        resolve(durable);
      });
      this.socket.on('close', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
  }
}

/** `[32, 1, durable]`, its numbers in their shortest forms. */
function readWelcome(body) {
  if (body[0] !== 0x93 || body[1] !== 32) return undefined;
  const tag = body[3];
  if (tag < 0x80) return tag;
  if (tag === 0xcc) return body[4];
  if (tag === 0xcd) return body.readUInt16BE(4);
  if (tag === 0xce) return body.readUInt32BE(4);
  return Number(body.readBigUInt64BE(4));
}

const header = (seq, session) => ({ seq, timeUs: 1_000_000 + seq, thread: 1, session });
const open = (seq) => ({
  kind: 'open',
  ...header(seq, seq),
  attach: 3,
  flags: null,
  provider: 'liar',
  store: null,
  wallUs: Date.now() * 1000,
  callback: 0,
});
const error = (seq, session, text, call = 1) => ({
  kind: 'error',
  ...header(seq, session),
  call,
  hresult: 0x80004005,
  marks: 0,
  text,
});
const counters = (n) => ({
  progress: n,
  errors: n,
  dones: n,
  merged: n,
  lost: n,
  innerUs: n,
  innerMaxUs: n,
});
const newest = (call) => ({ call, timeUs: call, index: call, max: 9, marks: 0, text: 'newest' });
const slot = (session, n) => ({
  kind: 'slot',
  session,
  timeUs: n,
  counters: counters(n),
  newest: newest(n),
});
const merged = (seq, session, n) => ({
  kind: 'merged',
  ...header(seq, session),
  counters: counters(n),
  newest: newest(n),
});
const close = (seq, session, n) => ({
  kind: 'close',
  ...header(seq, session),
  counters: counters(n),
});
const lost = (seq, n) => ({
  kind: 'lost',
  ...header(seq, 0),
  opens: n,
  progress: n,
  errors: n,
  dones: n,
  others: n,
});
