/** What the parts share: rounds, processor time, a daemon beside us, a scratch folder. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../bin/native.mjs';

export const ROUNDS = 5;
const DAEMON_START_MS = 20_000;

export const cli = join(root, 'dist', 'bin', 'mapisync.js');
export const load = (path) => import(pathToFileURL(join(root, 'dist', path)).href);
export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
export const at = (sorted, share) => sorted[Math.floor(share * (sorted.length - 1))];
export const round = (value, digits = 1) => Math.round(value * 10 ** digits) / 10 ** digits;

/** Runs `body` with a folder that is gone afterwards. */
export async function withFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), 'mapisync-bench-'));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function until(what, look, timeoutMs) {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`${what} took longer than ${timeoutMs} ms`);
    await delay(5);
  }
}

/** Processor time of all threads that a process has now, in seconds. Linux only. */
export function cpuSeconds(pid) {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  }
  return ns / 1e9;
}

/** Our own, of a piece of work. */
export async function cpuSecondsOf(body) {
  const before = process.cpuUsage();
  await body();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

export function statusOf(pid, field) {
  const found = new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(
    readFileSync(`/proc/${pid}/status`, 'utf8'),
  );
  return Number(found?.[1]);
}

/** How long a fixed loop takes: tells how fast the machine was while a round ran. */
export function calibrate() {
  const start = performance.now();
  let value = 1;
  for (let i = 0; i < 5_000_000; i++) value = (Math.imul(value, 1664525) + 1013904223) | 0;
  return performance.now() - start + (value & 0);
}

/**
 * Runs all contenders in turns, in an order that changes from round to round, after one round to warm up.
 * @param contenders functions by name; each resolves with a number
 * @returns the numbers by name, one a round
 */
export async function interleave(contenders, { rounds = ROUNDS, warmUp = true } = {}) {
  const names = Object.keys(contenders);
  const found = Object.fromEntries([...names, 'calibration_ms'].map((name) => [name, []]));
  if (warmUp) for (const name of names) await contenders[name]();
  for (let turn = 0; turn < rounds; turn++) {
    found.calibration_ms.push(calibrate());
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + turn) % names.length];
      found[name].push(await contenders[name]());
    }
  }
  return found;
}

/** Prints each contender's median and spread; `base` is who the others are compared with, round by round. */
export function report(say, title, found, { base, unit = '', digits = 0 } = {}) {
  say(title);
  const { calibration_ms: loop, ...contenders } = found;
  for (const [name, values] of Object.entries(contenders)) {
    const [middle, low, high] = [median(values), Math.min(...values), Math.max(...values)];
    const shown = [middle, low, high].map((value) =>
      round(value, digits).toLocaleString('en', { maximumFractionDigits: digits }),
    );
    const ratio = base && found[base] && name !== base;
    const times = ratio
      ? `  ${base} is ${round(median(values.map((value, i) => found[base][i] / value)), 2)} times that`
      : '';
    say(
      `  ${name.padEnd(24)}${shown[0].padStart(13)} ${unit} (${shown[1]} to ${shown[2]})${times}`,
    );
  }
  const [fast, slow] = [Math.min(...loop), Math.max(...loop)].map((ms) => round(ms));
  say(`  A fixed loop before each round took ${fast} to ${slow} ms`);
}

/** Starts a daemon of its own beside us. `command`, `env` and `stderr`: for another system. */
export async function startDaemon(
  state,
  { command, args = [], env = {}, stderr = 'inherit' } = {},
) {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const run = ['daemon', 'run', '--state-dir', state];
  const [program, ...rest] = command ?? [process.execPath, ...args, cli, ...run];
  const child = spawn(program, rest, {
    stdio: ['ignore', 'ignore', stderr],
    env: { ...process.env, ...env },
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  const look = () => {
    if (child.exitCode !== null) throw new Error(`The daemon ended with ${child.exitCode}`);
    return existsSync(join(state, 'endpoint'));
  };
  await until('Starting the daemon', look, DAEMON_START_MS);
  return {
    pid: child.pid,
    state,
    ended,
    signal: (name) => child.kill(name),
    async stop() {
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

export async function withDaemon(state, body, options) {
  const daemon = await startDaemon(state, options);
  try {
    return await body(daemon);
  } finally {
    await daemon.stop();
  }
}
