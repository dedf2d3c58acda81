/**
 * Faults for a daemon, put under it: the functions of Node that its product code calls are replaced
 * before that code is loaded, so that not a line of it knows. Inactive until `arm()`.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import { basename, join } from 'node:path';
import { random } from './random.mjs';

/** Where a daemon can be killed: named after what is about to happen, or has just happened. */
export const POINTS = [
  'write.before',
  'write.torn',
  'write.after',
  'sync.before',
  'sync.after',
  'ack.before',
  'ack.after',
  'rotate.close',
  'rotate.open',
  'rotate.before',
  'rotate.torn',
  'rotate.after',
  'trim.before',
  'trim.after',
  'adopt.read',
  'adopt.delete',
  'adopt.after',
  'recover.cut',
  'recover.after',
  'recover.unlink',
  'endpoint.before',
  'endpoint.after',
];

let plan = {};
let rand = random(1);
let report = () => {};
let full = false;

/**
 * @param {object} faults `kill`: {point, nth}. `short`, `slow`, `eio`, `full`, `drop`, `clock`:
 *   probabilities for each chance. `slowMs`, `fullMs`. `archive`: where deleted segments go.
 * @param {(event: string) => void} tell hears `ack` whenever one is sent.
 */
export function arm(faults, tell) {
  plan = { ...faults };
  rand = random(faults.seed ?? 1);
  report = tell;
  if (plan.clock) setInterval(jump, 20).unref();
}

/** No more faults; what was delayed goes on. */
export function disarm() {
  plan = { archive: plan.archive };
  full = false;
}

const chance = (p) => p > 0 && rand() < p;
const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const die = () => process.kill(process.pid, 'SIGKILL');
const due = (point) => plan.kill?.point === point && --plan.kill.nth <= 0;
const hit = (point) => {
  if (due(point)) die();
};
const failure = (code) => Object.assign(new Error(`${code}: injected`), { code });
const isSegment = (path) => /^mapisync\.[0-9]+\.jsonl$/.test(basename(String(path)));
const isRing = (path) => /\.ring$/.test(String(path));

// Files that are read and written asynchronously: the journal.

const paths = new WeakMap();
const real = { open: fs.promises.open, rm: fs.promises.rm };
const anyFile = await real.open(new URL(import.meta.url), 'r');
const handle = Object.getPrototypeOf(anyFile);
await anyFile.close();
const { write, datasync, close } = handle;

fs.promises.open = async (path, flags, mode) => {
  if (isSegment(path)) {
    if (full) throw failure('ENOSPC');
    if (chance(plan.eio)) throw failure('EIO');
  }
  const file = await real.open(path, flags, mode);
  paths.set(file, String(path));
  if (isSegment(path) && flags === 'wx') hit('rotate.open');
  return file;
};

fs.promises.rm = async (path, options) => {
  if (!isSegment(path)) return real.rm(path, options);
  hit('trim.before');
  if (plan.archive) fs.renameSync(path, join(plan.archive, basename(path)));
  else await real.rm(path, options);
  hit('trim.after');
};

handle.write = async function (bytes, from, size, at) {
  if (!isSegment(paths.get(this)) || !(bytes instanceof Uint8Array)) {
    return write.call(this, bytes, from, size, at);
  }
  const what = at === 0 ? 'rotate' : 'write';
  hit(`${what}.before`);
  if (due(`${what}.torn`)) {
    await write.call(this, bytes, from, Math.floor(rand() * size), at);
    die();
  }
  if (chance(plan.slow)) await delay(rand() * plan.slowMs);
  if (chance(plan.full)) {
    full = true;
    setTimeout(() => {
      full = false;
    }, plan.fullMs).unref();
  }
  if (full || chance(plan.eio)) {
    // Both kinds leave a part behind.
    if (chance(0.5)) await write.call(this, bytes, from, Math.floor(rand() * size), at);
    throw failure(full ? 'ENOSPC' : 'EIO');
  }
  const some = size > 1 && chance(plan.short) ? 1 + Math.floor(rand() * (size - 1)) : size;
  const done = await write.call(this, bytes, from, some, at);
  hit(`${what}.after`);
  return done;
};

handle.datasync = async function () {
  hit('sync.before');
  if (chance(plan.slow)) await delay(rand() * plan.slowMs);
  if (chance(plan.eio)) throw failure('EIO');
  await datasync.call(this);
  hit('sync.after');
};

handle.close = async function () {
  if (isSegment(paths.get(this))) hit('rotate.close');
  return close.call(this);
};

// Files that are read and written at once: dead rings, the endpoint, recovery.

const opened = new Map();
const sync = { ...fs };

fs.openSync = (path, ...rest) => {
  const fd = sync.openSync(path, ...rest);
  opened.set(fd, String(path));
  return fd;
};
fs.readSync = (fd, ...rest) => {
  const size = sync.readSync(fd, ...rest);
  if (size > 0 && isRing(opened.get(fd))) hit('adopt.read');
  return size;
};
fs.unlinkSync = (path) => {
  if (isRing(path)) hit('adopt.delete');
  if (isSegment(path)) hit('recover.unlink');
  sync.unlinkSync(path);
  if (isRing(path)) hit('adopt.after');
};
const cut =
  (name) =>
  (path, ...rest) => {
    hit('recover.cut');
    sync[name](path, ...rest);
    hit('recover.after');
  };
fs.truncateSync = cut('truncateSync');
fs.ftruncateSync = cut('ftruncateSync');
fs.renameSync = (from, to) => {
  const endpoint = basename(String(to)) === 'endpoint';
  if (endpoint) hit('endpoint.before');
  sync.renameSync(from, to);
  if (endpoint) hit('endpoint.after');
};

// Sockets: an acknowledgement is `[33, durable]`, a welcome `[32, protocol, durable]`.

const socketWrite = net.Socket.prototype.write;
net.Socket.prototype.write = function (bytes, ...rest) {
  const kind = bytes instanceof Uint8Array && bytes.length < 32 ? bytes[5] : 0;
  const acknowledges = (kind === 33 && bytes[4] === 0x92) || (kind === 32 && bytes[4] === 0x93);
  if (!acknowledges) return socketWrite.call(this, bytes, ...rest);
  hit('ack.before');
  if (chance(plan.drop)) {
    this.destroy();
    return false;
  }
  const drained = socketWrite.call(this, bytes, ...rest);
  if (kind === 33) report('ack');
  hit('ack.after');
  return drained;
};

// The wall clock.

const RealDate = Date;
let aheadMs = 0;
function jump() {
  if (chance(plan.clock)) aheadMs = Math.floor((rand() - 0.5) * 2 * 86_400_000);
}
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + aheadMs);
    else super(...args);
  }
  static now() {
    return RealDate.now() + aheadMs;
  }
};

syncBuiltinESMExports();
