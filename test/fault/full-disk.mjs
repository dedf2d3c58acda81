/**
 * A disk that is full for a while, for real: the journal lies on a small tmpfs in a mount namespace of its
 * own, which needs no rights where user namespaces are allowed, and something else takes its space while
 * the real shim goes on calling.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Hosts } from './hosts.mjs';
import { check, readRecords } from './oracle.mjs';
import { Daemon, LIVENESS_MS, LOAD_MS, scratchFolder } from './round.mjs';

const SELF = fileURLToPath(import.meta.url);
const NAMESPACE = ['--user', '--map-root-user', '--mount'];
/** Each with what it must show: whether all calls fit into the ring meanwhile. */
const RATES = [
  { rate: 1000, fits: true },
  { rate: 10_000, fits: false },
];
const DISK_MB = 48;
const WARM_MS = 1500;
/** From the event to the moment at which the user can know of it. */
const NOTICE_MS = 2000;
const POLL_MS = 20;
const FULL = /The disk is full/;

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @returns why it cannot be tried here; undefined if it can. */
export function whyNoFullDisk() {
  if (process.platform !== 'linux') return 'it needs the mount namespaces of Linux';
  const tried = spawnSync('unshare', [...NAMESPACE, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']);
  return tried.status === 0 ? undefined : 'this user may not make mount namespaces';
}

/**
 * @param {object} options `dist`, `producer`; `fullMs`: how long the disk is full
 * @returns {Promise<object[]>} one row for each rate of calls; `problems` is empty if all went well
 */
export function runFullDisk(options) {
  return new Promise((resolve, reject) => {
    const command = [...NAMESPACE, process.execPath, SELF, JSON.stringify(options)];
    const child = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(text));
      else reject(new Error(`Cannot try a full disk: the process ended with ${code}`));
    });
  });
}

async function tryRate({ dist, producer, fullMs }, { rate, fits }) {
  const scratch = scratchFolder('full-disk');
  const state = join(scratch, 'state');
  const journal = join(state, 'journal');
  mkdirSync(state, { mode: 0o700 });
  mkdirSync(journal, { mode: 0o700 });
  const options = ['-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=700`, 'tmpfs', journal];
  const mounted = spawnSync('mount', options, { encoding: 'utf8' });
  if (mounted.status !== 0) throw new Error(`Cannot mount a tmpfs: ${mounted.stderr}`);
  const errors = join(scratch, 'stderr');
  const hosts = new Hosts({ program: [producer], state, scratch });
  const daemon = new Daemon(dist, openSync(errors, 'w'));
  const problems = [];
  const row = { rate };
  /** Milliseconds until it is so; a problem if that takes too long. */
  const within = async (what, isSo) => {
    const since = performance.now();
    while (!(await isSo())) {
      if (performance.now() - since > 5 * NOTICE_MS) {
        problems.push(`${what}: not at all`);
        return null;
      }
      await delay(POLL_MS);
    }
    const ms = Math.round(performance.now() - since);
    if (ms > NOTICE_MS) problems.push(`${what}: after ${ms} ms`);
    return ms;
  };
  try {
    await daemon.hear('loaded', LOAD_MS);
    // Far less than the disk is full: a daemon that counts that time says "stalled".
    daemon.tell(JSON.stringify({ stateDir: state, quietMs: fullMs / 3, faults: {} }));
    if (!(await daemon.hear('ready', LIVENESS_MS))) throw new Error('The daemon is not ready');
    const client = await Client.connect(dist, state);
    hosts.start({ rate, tee: 0 });
    await delay(WARM_MS);

    const ballast = join(journal, 'ballast');
    fill(ballast);
    const until = performance.now() + fullMs;
    row.told_ms = await within('stderr says that the disk is full', () =>
      FULL.test(readFileSync(errors, 'utf8')),
    );
    row.status_ms = await within(
      'status says that the disk is full',
      async () => (await client.status()).journal.state === 'full',
    );
    await delay(until - performance.now());
    const { durable } = (await client.status()).processes[0];
    unlinkSync(ballast);
    row.resumed_ms = await within(
      'work goes on',
      async () => (await client.status()).processes[0].durable > durable,
    );
    await delay(WARM_MS);
    const { late, unflushed } = await hosts.stopAll(2 * LIVENESS_MS);
    if (late + unflushed > 0) problems.push('liveness: the host could not flush');
    client.close();
    daemon.tell('stop');
    if (!(await daemon.hear('stopped 0', LIVENESS_MS))) problems.push('liveness: no clean stop');
  } finally {
    hosts.close();
    daemon.kill();
    await daemon.ended;
  }
  const found = check([journal], hosts.sides);
  row.frames_must = found.frames_must;
  for (const key of ['missing', 'twice', 'out_of_order', 'unreadable_lines', 'wrong_totals']) {
    row[key] = found[key];
  }
  row.merged = found.merged;
  row.lost = found.lost;
  if (found.lost > 0) problems.push(`lost: ${found.lost} frames`);
  if (fits !== (found.merged === 0)) {
    problems.push(`merged: expected ${fits ? 'none' : 'some'}, got ${found.merged}`);
  }
  row.stalls = [...readRecords([journal], () => {})].filter(
    ({ event_name: name }) => name === 'session.stalled',
  ).length;
  if (row.stalls > 0) problems.push(`stalls: ${row.stalls} records`);
  spawnSync('umount', ['-l', journal]);
  rmSync(scratch, { recursive: true, force: true });
  return { ...row, problems: [...problems, ...found.problems] };
}

/** Takes all space that there is. */
function fill(path) {
  const fd = openSync(path, 'w');
  for (const size of [1_048_576, 65_536, 4096]) {
    try {
      for (;;) if (writeSync(fd, Buffer.alloc(size, 'ballast ')) < size) break;
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    }
  }
  closeSync(fd);
}

/** Asks for the daemon's status, as `mapisync status` does. */
class Client {
  #socket;
  #product;
  #waiting = [];

  static async connect(dist, state) {
    const load = (path) => import(pathToFileURL(join(dist, path)).href);
    const product = {
      ...(await load('daemon/platform/connect.js')),
      ...(await load('protocol/wire/clients.js')),
      ...(await load('protocol/wire/encode.js')),
      ...(await load('protocol/wire/frame-reader.js')),
    };
    const { socket } = await product.connect(join(state, 'endpoint'), { role: 'client' });
    return new Client(socket, product);
  }

  constructor(socket, product) {
    this.#socket = socket;
    this.#product = product;
    const reader = new product.FrameReader();
    socket.on('data', (chunk) => {
      for (const body of reader.push(chunk)) {
        const frame = product.decodeFeedFrame(body);
        if (frame.kind === 'status') this.#waiting.shift()?.(frame.status);
      }
    });
    this.#send({ kind: 'hello', protocol: 1, version: '0', pid: process.pid });
  }

  status() {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#send({ kind: 'status' });
    });
  }

  close() {
    this.#socket.destroy();
  }

  #send(one) {
    this.#socket.write(this.#product.frame(this.#product.encodeClientFrame(one)));
  }
}

if (process.argv[1] === SELF) {
  const rows = [];
  for (const one of RATES) rows.push(await tryRate(JSON.parse(process.argv[2]), one));
  process.stdout.write(JSON.stringify(rows));
  process.exit(0);
}
