/** What the security harnesses share: the built daemon as a process, and peers by hand. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const dist = join(root, 'dist');

/** Loads a module of the built project, or of an edited copy of it. */
export const load = (module, folder = dist) => import(pathToFileURL(join(folder, module)).href);

export async function until(what, look, timeoutMs = 10_000) {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`Waited ${timeoutMs} ms in vain until ${what}`);
    await sleep(5);
  }
}

export function scratch() {
  const dir = mkdtempSync(join(tmpdir(), 'mapisync-security-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** Runs `daemon run` until it is ready. `stop()` ends it as a signal does and gives its exit code. */
export async function startDaemon(stateDir, { folder = dist } = {}) {
  const main = join(folder, 'bin', 'mapisync.js');
  const child = spawn(process.execPath, [main, 'daemon', 'run', '--state-dir', stateDir], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (bytes) => {
    said += bytes;
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until(
    'the daemon is ready',
    () => {
      if (child.exitCode !== null)
        throw new Error(`The daemon ended with ${child.exitCode}: ${said}`);
      return existsSync(join(stateDir, 'endpoint')) && said.includes('ready');
    },
    60_000,
  );
  const end = (signal) => {
    child.kill(signal);
    return ended;
  };
  return {
    pid: child.pid,
    endpoint: join(stateDir, 'endpoint'),
    said: () => said,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

/** A connection past the handshake, and its frames. */
export async function open(endpoint, role) {
  const { connect } = await load('daemon/platform/connect.js');
  const { FrameReader } = await load('protocol/wire/frame-reader.js');
  const { frame } = await load('protocol/wire/encode.js');
  const { socket } = await connect(endpoint, { role, timeoutMs: 60_000 });
  const reader = new FrameReader();
  socket.on('error', () => {});
  return {
    socket,
    send: (body) => socket.write(frame(body)),
    onBody: (take) =>
      socket.on('data', (bytes) => {
        for (const body of reader.push(bytes)) take(body);
      }),
  };
}

/** A client that asked for something: `frames` grows. */
export async function openClient(endpoint, take) {
  const { encodeClientFrame, decodeFeedFrame } = await load('protocol/wire/clients.js');
  const peer = await open(endpoint, 'client');
  peer.onBody((body) => take(decodeFeedFrame(body)));
  const send = (frame) => peer.send(encodeClientFrame(frame));
  send({ kind: 'hello', protocol: 1, version: '0', pid: process.pid });
  return { socket: peer.socket, send };
}

/** What `status` says. */
export async function status(endpoint) {
  let answer;
  const client = await openClient(endpoint, (frame) => {
    if (frame.kind === 'status') answer = frame.status;
  });
  client.send({ kind: 'status' });
  await until('the daemon answers', () => answer, 30_000);
  client.socket.destroy();
  return answer;
}

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

export const percentile = (values, percent) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * percent) / 100) - 1)];
};
