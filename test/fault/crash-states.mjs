/**
 * Crash states of the journal. The real hub, journal and recovery run over several lives of a daemon
 * while every write, sync, open, cut and unlink is recorded. Then the disk is put together as a power
 * failure may leave it, at each step of that record, with what was not synced lost or torn, and the
 * real recovery is tried on it.
 *
 * Runs as a process of its own, since it replaces functions of Node: `runCrashStates()` starts it.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildDaemon } from './build.mjs';
import { mix, random } from './random.mjs';
import { removeScratch, scratchFolder } from './round.mjs';

/** Small segments, so that a short record has many of them. */
export const SMALL = [
  { file: 'daemon/limits.ts', find: 'MAX_GROUP_BYTES = 131_072', put: 'MAX_GROUP_BYTES = 8_192' },
];

/**
 * @param {object} options `dist`: of a daemon with `SMALL` segments; made here if there is none
 * @returns {Promise<{states: number, bad: number}>}
 */
export async function runCrashStates({ seed, least, say, dist }) {
  const built = dist ?? (await buildDaemon('small', SMALL));
  return new Promise((resolve, reject) => {
    const self = fileURLToPath(import.meta.url);
    const child = spawn(process.execPath, [self, built, String(seed), String(least)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    // Files of dead daemons are closed by the collector, and Node says so.
    let errors = '';
    child.stderr.on('data', (data) => {
      errors += data;
    });
    child.on('error', reject);
    child.on('close', () => {
      const lines = text.trimEnd().split('\n');
      try {
        const result = JSON.parse(lines.pop());
        for (const line of lines) say(`       ${line}`);
        resolve(result);
      } catch {
        reject(new Error(`Cannot explore crash states: ${text}${errors}`));
      }
    });
  });
}

// The record.

/** @type {{op: string, name?: string, at?: number, bytes?: Buffer, size?: number}[]} */
const ops = [];
const real = { ...fs, promises: { ...fs.promises } };
let journalDir = '';
/** Which daemon lives. Calls of a dead one never come back. */
let life = 0;
/** After so many more recorded operations the living daemon dies. */
let operationsLeft = Number.POSITIVE_INFINITY;

const never = () => new Promise(() => {});
const isSegment = (path) => String(path).startsWith(journalDir) && /\.jsonl$/.test(String(path));

/** Counts an operation. @returns whether the daemon dies instead of doing it. */
function dies() {
  if (operationsLeft <= 0) return true;
  operationsLeft -= 1;
  return false;
}

async function replaceFunctions() {
  const owners = new WeakMap();
  const names = new WeakMap();
  const any = await real.promises.open(fileURLToPath(import.meta.url), 'r');
  const handle = Object.getPrototypeOf(any);
  await any.close();
  const original = { ...handle, write: handle.write, datasync: handle.datasync, sync: handle.sync };
  const { truncate } = handle;

  fs.promises.open = async (path, flags, mode) => {
    const mine = life;
    const segment = isSegment(path);
    if (mine !== life || (segment && dies())) return never();
    if (segment && flags === 'wx') ops.push({ op: 'make', name: basename(path) });
    const file = await real.promises.open(path, flags, mode);
    if (mine !== life) {
      await file.close();
      return never();
    }
    owners.set(file, mine);
    if (segment) names.set(file, basename(path));
    else if (String(path) === journalDir) names.set(file, '');
    return file;
  };
  handle.write = async function (bytes, from, size, at) {
    const name = names.get(this);
    if (name === undefined) return original.write.call(this, bytes, from, size, at);
    if (owners.get(this) !== life) return never();
    const torn = dies();
    const some = torn ? Math.floor(size / 2) : size;
    const part = Buffer.from(bytes.buffer, bytes.byteOffset + from, some);
    ops.push({ op: 'write', name, at, bytes: Buffer.from(part) });
    const done = await original.write.call(this, bytes, from, some, at);
    return torn ? never() : done;
  };
  const syncs = (method) =>
    async function () {
      const name = names.get(this);
      if (name === undefined) return original[method].call(this);
      if (owners.get(this) !== life || dies()) return never();
      ops.push({ op: name === '' ? 'syncDir' : 'sync', name });
      return undefined;
    };
  handle.datasync = syncs('datasync');
  handle.sync = syncs('sync');
  handle.truncate = async function (size) {
    const name = names.get(this);
    if (name !== undefined) ops.push({ op: 'cut', name, size });
    return truncate.call(this, size);
  };
  fs.promises.stat = async (path, options) => {
    const mine = life;
    const stats = await real.promises.stat(path, options);
    return mine === life ? stats : never();
  };
  fs.promises.rm = async (path, options) => {
    if (!isSegment(path)) return real.promises.rm(path, options);
    if (dies()) return never();
    ops.push({ op: 'unlink', name: basename(path) });
    return real.promises.rm(path, options);
  };

  // Recovery.
  const descriptors = new Map();
  fs.openSync = (path, ...rest) => {
    const fd = real.openSync(path, ...rest);
    if (isSegment(path)) descriptors.set(fd, basename(path));
    else if (String(path) === journalDir) descriptors.set(fd, '');
    else descriptors.delete(fd);
    return fd;
  };
  fs.truncateSync = (path, size) => {
    if (isSegment(path)) ops.push({ op: 'cut', name: basename(path), size });
    real.truncateSync(path, size);
  };
  fs.ftruncateSync = (fd, size) => {
    if (descriptors.has(fd)) ops.push({ op: 'cut', name: descriptors.get(fd), size });
    real.ftruncateSync(fd, size);
  };
  fs.unlinkSync = (path) => {
    if (isSegment(path)) ops.push({ op: 'unlink', name: basename(path) });
    real.unlinkSync(path);
  };
  for (const method of ['fsyncSync', 'fdatasyncSync']) {
    fs[method] = (fd) => {
      const name = descriptors.get(fd);
      if (name === undefined) return;
      ops.push({ op: name === '' ? 'syncDir' : 'sync', name });
    };
  }
  syncBuiltinESMExports();
}

// The lives that are recorded.

const RING = '00112233445566778899aabbccddeeff';

/** Frames of sessions one after the other; each made once, sent as often as it takes. */
function makeFrames(rand, count) {
  const frames = [];
  let session = 0;
  let calls;
  const base = { timeUs: 0, thread: 7 };
  for (let seq = 1; seq <= count; seq++) {
    base.timeUs += 1000;
    const header = { seq, ...base, session };
    if (session === 0) {
      session = seq;
      calls = { progress: 0, errors: 0 };
      const names = { flags: null, provider: 'p', store: null };
      frames.push({
        kind: 'open',
        ...header,
        session,
        attach: 3,
        ...names,
        wallUs: 1e15,
        callback: 0,
      });
      continue;
    }
    const what = rand();
    const padding = 'x'.repeat(Math.floor(rand() * 300));
    if (what < 0.3) {
      calls.progress += 1;
      const place = { index: calls.progress, max: 1000, marks: 0, text: `p${calls.progress % 5}` };
      frames.push({ kind: 'progress', ...header, call: calls.progress, ...place });
    } else if (what < 0.7) {
      calls.errors += 1;
      const text = `${calls.errors} ${padding}`;
      const error = { call: calls.errors, hresult: 0x80004005, marks: 0, text };
      frames.push({ kind: 'error', ...header, ...error });
    } else if (what < 0.85) frames.push({ kind: 'note', ...header, key: 'k', value: padding });
    else if (what < 0.92) {
      // Shows the newest call first: two records, one group.
      frames.push({ kind: 'done', ...header, call: 1, hresult: 0, handle: 0 });
    } else {
      const rest = { dones: 0, merged: 0, lost: 0, innerUs: 0, innerMaxUs: 0 };
      frames.push({ kind: 'close', ...header, counters: { ...calls, ...rest } });
      session = 0;
    }
  }
  return frames;
}

const REACH_MS = 10_000;
const isMust = ({ kind }) => kind !== 'progress';
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Waits for what a living daemon does, and not long for what one does that died meanwhile. */
async function reach(done) {
  const until = performance.now() + REACH_MS;
  for (let dead = 0; !done() && dead < 200 && performance.now() < until; ) {
    if (operationsLeft <= 0) dead += 1;
    await turn();
  }
}

/** @returns for each operation what was acknowledged before it. */
async function record(product, rand, frames, lives) {
  const { Hub, Fold, Journal, LineMaker, recover } = product;
  const acknowledged = [];
  let durable = 0;
  const service = { name: 'mapisync', version: '0', instance_id: '' };
  for (life = 1; life <= lives; life++) {
    const mine = life;
    const last = life === lives;
    // What a dead daemon had handed to the system gets done.
    await new Promise((resolve) => setTimeout(resolve, 20));
    operationsLeft = last ? Number.POSITIVE_INFINITY : 8 + Math.floor(rand() * 30);
    const fold = new Fold();
    const { nextSegment } = recover(journalDir, (line) => fold.take(line));
    const lines = new LineMaker({ service: { ...service, instance_id: `i${life}` }, host: 'h' });
    let hub;
    const journal = new Journal({
      dir: journalDir,
      lines,
      sync: 'disk',
      firstSegment: nextSegment,
      segmentBytes: 1,
      journalBytes: 60_000,
      journalDays: 9999,
      snapshot: () => hub.snapshot(),
      onDurable: () => {},
      onTrouble: (trouble) => {
        throw trouble.error;
      },
    });
    hub = new Hub({
      journal: () => journal,
      feed: () => ({ sessionChanged() {}, sessionMoved() {} }),
      hasRingFile: () => true,
    });
    hub.restore(fold.rings, fold.notes);
    let opened = false;
    journal.open().then(() => {
      opened = true;
    });
    await reach(() => opened);
    if (!opened) continue;
    let welcome;
    const peer = {
      acknowledge(seq) {
        if (mine !== life) return;
        while (acknowledged.length < ops.length) acknowledged.push(durable);
        durable = Math.max(durable, seq);
        welcome ??= seq;
      },
      refuse() {},
      farewell() {},
      pause() {},
      resume() {},
    };
    const clocks = { timeUs: 1, wallUs: 1e15, clockResolutionUs: 1 };
    const who = { pid: process.pid, bits: 64, executable: 'x', shimVersion: '0', memory: 0 };
    const entry = hub.hello(
      { kind: 'hello', protocol: 1, ring: RING, freed: durable, ...who, ...clocks },
      peer,
    );
    await reach(() => welcome !== undefined);
    if (welcome === undefined) continue;
    let at = welcome;
    for (let idle = 0; idle < 60 && (operationsLeft > 0 || at < frames.length); ) {
      const chunk = 1 + Math.floor(rand() * 6);
      const end = Math.min(at + chunk, frames.length, durable + 40);
      if (at < end) for (; at < end; at++) hub.take(entry, frames[at]);
      else {
        idle += 1;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      hub.turn(entry, peer, false);
      for (let n = Math.floor(rand() * 4); n >= 0; n--) await turn();
    }
    for (let n = 0; n < 20; n++) await turn();
  }
  while (acknowledged.length <= ops.length) acknowledged.push(durable);
  return acknowledged;
}

// The states.

/** The disk as it may be after a power failure: per file what is synced, and what is not. */
class Disk {
  files = new Map();

  apply({ op, name, at, bytes, size }) {
    if (op === 'syncDir') {
      for (const [other, file] of this.files) {
        if (file.unlinked) this.files.delete(other);
        else file.named = true;
      }
      return;
    }
    if (op === 'make') {
      this.files.set(name, { named: false, unlinked: false, safe: Buffer.alloc(0), loose: [] });
      return;
    }
    const file = this.files.get(name);
    if (op === 'unlink') file.unlinked = true;
    else if (op === 'write') file.loose.push({ at, bytes });
    else if (op === 'cut') file.loose.push({ size });
    else if (op === 'sync') {
      file.safe = replay(file.safe, file.loose);
      file.loose = [];
    }
  }
}

function replay(safe, loose) {
  let bytes = safe;
  for (const { at, bytes: part, size } of loose) {
    if (part === undefined) bytes = bytes.subarray(0, size);
    else {
      const end = Math.max(bytes.length, at + part.length);
      const grown = Buffer.alloc(end);
      bytes.copy(grown);
      part.copy(grown, at);
      bytes = grown;
    }
  }
  return bytes;
}

/** One way in which the disk can come back. `keep`: how many loose changes, the last one torn. */
function pickState(disk, rand, mode) {
  const state = new Map();
  for (const [name, file] of disk.files) {
    const { safe, loose, named, unlinked } = file;
    if (!named && (mode === 'none' || (mode === 'some' && rand() < 0.3))) continue;
    if (unlinked && (mode === 'all' || (mode === 'some' && rand() < 0.5))) continue;
    if (mode === 'none') state.set(name, safe);
    else if (mode === 'all') state.set(name, replay(safe, loose));
    else {
      const kept = loose.slice(0, Math.floor(rand() * (loose.length + 1)));
      const last = kept.at(-1);
      if (last?.bytes && rand() < 0.8) {
        const some = Math.floor(rand() * (last.bytes.length + 1));
        kept[kept.length - 1] = { at: last.at, bytes: last.bytes.subarray(0, some) };
      }
      state.set(name, replay(safe, kept));
    }
  }
  return state;
}

const known = new Map();
function parse(line) {
  let value = known.get(line);
  if (value !== undefined) return value;
  try {
    const { event_id: id, event_name: name, group } = JSON.parse(line);
    const [, seq, n] = new RegExp(`^${RING}-([0-9]+)-([0-9]+)$`).exec(id) ?? [];
    value = { id, name, group, seq: Number(seq ?? 0), n: Number(n ?? 0) };
  } catch {
    value = null;
  }
  if (line.length > 0) known.set(line, value);
  return value;
}

/** @returns what is wrong with a recovered journal. */
function judge(dir, rings, frames, acknowledged, trimmed) {
  const seen = new Set();
  const seqs = new Set();
  let highest = 0;
  for (const name of real.readdirSync(dir).sort()) {
    if (!name.endsWith('.jsonl')) continue;
    const lines = real.readFileSync(join(dir, name), 'utf8').split('\n');
    if (lines.pop() !== '') return `${name} has a torn last line`;
    let open;
    for (const line of lines) {
      const found = parse(line);
      if (!found) return `${name} has an unreadable line`;
      const { id, group, seq } = found;
      if (open && group?.n !== open.n + 1) return `${name} has a part of a group`;
      open = group && group.n < group.of ? group : undefined;
      if (found.name.startsWith('snapshot.')) continue;
      if (seen.has(id)) return `${id} stands there twice`;
      seen.add(id);
      seqs.add(seq);
      highest = Math.max(highest, seq);
    }
    if (open) return `${name} ends in a part of a group`;
  }
  const durable = rings.get(RING)?.durable ?? 0;
  if (durable < acknowledged) {
    // Progress without a record is freed in the ring, which says so in its hello.
    const lost = frames.slice(durable, acknowledged).find(isMust);
    if (lost)
      return `seq ${lost.seq} was acknowledged (${acknowledged}) and is forgotten (${durable})`;
  }
  if (highest > durable)
    return `seq ${highest} is there, and would be taken again after ${durable}`;
  for (let seq = 1; seq <= acknowledged; seq++) {
    if (isMust(frames[seq - 1]) && !seqs.has(seq) && !trimmed.has(seq)) {
      return `seq ${seq} of ${acknowledged} acknowledged is missing`;
    }
  }
  return undefined;
}

async function main(dist, seed, least) {
  const scratch = scratchFolder('states');
  process.on('exit', removeScratch);
  journalDir = join(scratch, 'journal');
  real.mkdirSync(journalDir);
  await replaceFunctions();
  const load = (path) => import(pathToFileURL(join(dist, path)).href);
  const { Hub, Fold } = await load('daemon/hub.js');
  const { Journal } = await load('daemon/journal.js');
  const { LineMaker } = await load('daemon/journal-lines.js');
  const { recover } = await load('daemon/recovery.js');
  const rand = random(mix(seed, 'crash-states'));
  const frames = makeFrames(rand, 1200);
  const acknowledged = await record({ Hub, Fold, Journal, LineMaker, recover }, rand, frames, 8);
  life = -1;

  const dir = join(scratch, 'state');
  real.mkdirSync(dir);
  journalDir = '/nowhere';
  const each = Math.max(3, Math.ceil(least / ops.length) + 1);
  let states = 0;
  let bad = 0;
  const disk = new Disk();
  const trimmed = new Set();
  for (let at = 0; at <= ops.length; at++) {
    for (let n = 0; n < each; n++) {
      const mode = n === 0 ? 'all' : n === 1 ? 'none' : 'some';
      for (const name of real.readdirSync(dir)) real.unlinkSync(join(dir, name));
      const state = pickState(disk, rand, mode);
      for (const [name, bytes] of state) real.writeFileSync(join(dir, name), bytes);
      states += 1;
      const fold = new Fold();
      let wrong;
      try {
        recover(dir, (line) => fold.take(line));
        wrong = judge(dir, fold.rings, frames, acknowledged[at], trimmed);
      } catch (error) {
        wrong = `recovery threw ${error.stack}`;
      }
      if (!wrong) continue;
      bad += 1;
      if (bad <= 5) process.stdout.write(`after ${at} operations, ${mode}: ${wrong}\n`);
    }
    const next = ops[at];
    if (!next) break;
    if (next.op === 'unlink') {
      const { safe, loose } = disk.files.get(next.name);
      for (const line of replay(safe, loose).toString().split('\n')) {
        const found = line && parse(line);
        if (found) trimmed.add(found.seq);
      }
    }
    disk.apply(next);
  }
  const kinds = {};
  for (const { op } of ops) kinds[op] = (kinds[op] ?? 0) + 1;
  process.stdout.write(`${ops.length} operations ${JSON.stringify(kinds)}, ${states} states\n`);
  process.stdout.write(`${JSON.stringify({ states, bad, operations: ops.length })}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [dist, seed, least] = process.argv.slice(2);
  await main(dist, Number(seed), Number(least));
  process.exit(0);
}
