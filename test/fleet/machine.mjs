/** A machine of the fleet: a built daemon that is killed and started again, and a shim whose calls it gets. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readRecords } from '../fault/oracle.mjs';
import { load, root } from '../security/peers.mjs';

const { connect } = await load('daemon/platform/connect.js');
const { FrameReader } = await load('protocol/wire/frame-reader.js');
const { decodeDaemonFrame } = await load('protocol/wire/decode.js');
const { encodeFrame, frame: framed } = await load('protocol/wire/encode.js');

const nowUs = () => Number(process.hrtime.bigint() / 1000n);

/** For a machine that does much else besides. */
const PATIENCE_MS = 300_000;

export async function until(what, look, timeoutMs = PATIENCE_MS) {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`Waited ${timeoutMs} ms in vain until ${what}`);
    await sleep(20);
  }
}

/** The same numbers for the same seed: xorshift. */
export function random(seed) {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

export function scratch() {
  const dir = mkdtempSync(join(tmpdir(), 'mapisync-fleet-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export class Machine {
  state;
  #env;
  #child;
  #socket;
  #ring = randomBytes(16).toString('hex');
  /** Frames as bytes, the first with seq 1. */
  #frames = [];
  #durable = 0;
  #sent = 0;

  constructor(dir, env) {
    this.state = join(dir, 'state');
    this.#env = env;
  }

  async start() {
    const main = join(root, 'dist', 'bin', 'mapisync.js');
    const child = spawn(process.execPath, [main, 'daemon', 'run', '--state-dir', this.state], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.#env },
    });
    this.#child = child;
    let said = '';
    child.stderr.on('data', (bytes) => {
      said += bytes;
    });
    await until('the daemon is ready', () => {
      if (child.exitCode !== null) throw new Error(`The daemon ended: ${said}`);
      return existsSync(join(this.state, 'endpoint')) && said.includes('ready');
    });
    await this.#attach();
  }

  async end(signal) {
    const child = this.#child;
    this.#child = undefined;
    this.#socket?.destroy();
    this.#socket = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** A session with so many notes: each is a record. What no daemon takes now, the next one gets. */
  async notes(count) {
    if (this.#frames.length === 0) {
      this.#add({
        ...{ kind: 'open', attach: 3, flags: 7, provider: 'fleet', store: 'Mailbox' },
        ...{ wallUs: Date.now() * 1000, callback: 0 },
      });
    }
    for (let at = 0; at < count; at++) {
      this.#add({ kind: 'note', key: 'n', value: `note ${this.#frames.length}` });
    }
    await this.#send();
  }

  /** Resolves when the daemon has answered for everything. */
  async settled() {
    await until('the daemon has it all', () => this.#durable >= this.#frames.length);
  }

  /** Resolves when the exporter has brought everything: by its cursor, so that nobody has to be asked. */
  async exported(name) {
    const dir = join(this.state, 'journal');
    await until('all is exported', () => {
      const newest = readdirSync(dir)
        .filter((one) => one.endsWith('.jsonl'))
        .sort()
        .at(-1);
      const end = `${Number(/\d+/.exec(newest)[0])}:${statSync(join(dir, newest)).size}`;
      const cursors = join(this.state, 'cursors');
      if (!existsSync(cursors)) return false;
      // That of a directory has more behind its name.
      const own = readdirSync(cursors).find((one) => one.split('.')[0] === name);
      return own !== undefined && readFileSync(join(cursors, own), 'utf8').trim() === end;
    });
  }

  /** Ids of all records but snapshots, in order, and how many of them are notes. */
  records() {
    const fail = (text) => {
      throw new Error(`Cannot read the journal: ${text}`);
    };
    const found = [...readRecords([join(this.state, 'journal')], fail)].filter(
      (one) => !one.event_name.startsWith('snapshot.'),
    );
    return {
      ids: found.map((one) => one.event_id),
      notes: found.filter((one) => one.event_name === 'session.note').length,
    };
  }

  #add(frame) {
    const seq = this.#frames.length + 1;
    const header = { seq, timeUs: nowUs(), thread: 1, session: 1 };
    this.#frames.push(framed(encodeFrame({ ...frame, ...header })));
  }

  async #attach() {
    const { socket } = await connect(join(this.state, 'endpoint'), {
      role: 'shim',
      timeoutMs: 60_000,
    });
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on('error', () => {});
    await new Promise((resolve, reject) => {
      socket.on('close', () => reject(new Error('The daemon hung up')));
      socket.on('data', (bytes) => {
        for (const body of reader.push(bytes)) {
          const frame = decodeDaemonFrame(body);
          if (frame.kind !== 'welcome' && frame.kind !== 'ack') continue;
          this.#durable = frame.durable;
          if (frame.kind === 'welcome') {
            this.#sent = frame.durable;
            resolve();
          }
        }
      });
      socket.write(
        framed(
          encodeFrame({
            ...{
              kind: 'hello',
              protocol: 1,
              ring: this.#ring,
              freed: 0,
              pid: process.pid,
              bits: 64,
            },
            ...{ executable: 'fleet', shimVersion: '0.1.0', timeUs: nowUs(), memory: 1 },
            ...{ wallUs: Date.now() * 1000, clockResolutionUs: 1 },
          }),
        ),
      );
    });
    await this.#send();
  }

  async #send() {
    const socket = this.#socket;
    while (this.#socket === socket && socket && this.#sent < this.#frames.length) {
      const next = this.#frames.slice(this.#sent, this.#sent + 500);
      this.#sent += next.length;
      if (socket.write(Buffer.concat(next))) continue;
      await Promise.race([
        new Promise((resolve) => socket.once('drain', resolve)),
        new Promise((resolve) => socket.once('close', resolve)),
      ]);
    }
  }
}

/** What is wrong with ids that arrived, beside those of the journal. */
export function compare(own, arrived) {
  const wanted = new Set(own);
  const seen = new Set(arrived);
  return {
    records: own.length,
    arrived: arrived.length,
    missing: own.filter((id) => !seen.has(id)).length,
    strange: [...seen].filter((id) => !wanted.has(id)).length,
    twice: arrived.length - seen.size,
  };
}
