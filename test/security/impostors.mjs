/**
 * Impostors at both ends: peers that are none towards the real daemon, and daemons that are none towards
 * the real client and the real shim. What an impostor hears beyond the handshake is counted at the
 * impostor; what a real peer needs to reach the real daemon after it left is measured.
 *
 *   npm run security -- impostors [--attempts 3000]
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { hostTarget } from '../../bin/native.mjs';
import {
  dist,
  load,
  median,
  openClient,
  percentile,
  scratch,
  startDaemon,
  status,
  until,
} from './peers.mjs';

const GREETING_BYTES = 48;
const CHALLENGE_BYTES = 80;
const ANSWER_BYTES = 32;
const HOSTS = 8;
const MAX_REACH_MS = 2000;

/** @param {Buffer} bytes @param {number} size */
const cutTo = (bytes, size) => Buffer.from(bytes.subarray(0, size));

/** What both sides of a genuine connection said, heard by somebody in between. */
async function record(endpointPath) {
  const { readEndpoint } = await load('daemon/platform/endpoint.js');
  const { pipe } = readEndpoint(endpointPath);
  const away = `${pipe}.real`;
  renameSync(pipe, away);
  const [up, down] = [[], []];
  const server = createServer((peer) => {
    const daemon = createConnection(away);
    peer.on('data', (bytes) => up.push(bytes) && daemon.write(bytes));
    daemon.on('data', (bytes) => down.push(bytes) && peer.write(bytes));
    for (const [one, other] of [
      [peer, daemon],
      [daemon, peer],
    ]) {
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  });
  await new Promise((resolve) => server.listen(pipe, resolve));
  await status(endpointPath);
  server.close();
  renameSync(away, pipe);
  return { up: Buffer.concat(up), down: Buffer.concat(down) };
}

/** Peers that are none: what each sends when the challenge is there. */
async function strangers({ recorded, old }) {
  const { makeAnswer, makeGreeting } = await load('protocol/wire/handshake.js');
  const greetingOf = (role) => Buffer.from(makeGreeting({ role, nonce: randomBytes(32) }));
  const after = recorded.up.subarray(GREETING_BYTES + ANSWER_BYTES);
  const withSecret = (role, secretOf) => ({
    greeting: greetingOf(role),
    answer(challenge, greeting, { pipe }) {
      const proving = { secret: secretOf(), pipe, greeting };
      return Buffer.concat([makeAnswer(proving, challenge), after]);
    },
  });
  const kinds = [
    [
      'replayed handshake',
      () => ({
        greeting: cutTo(recorded.up, GREETING_BYTES),
        answer: () => recorded.up.subarray(GREETING_BYTES),
      }),
    ],
    ['wrong secret, as a client', () => withSecret('client', () => randomBytes(32))],
    ['wrong secret, as a shim', () => withSecret('shim', () => randomBytes(32))],
    ['secret of an earlier start', () => withSecret('client', () => old.secret)],
    [
      'all at once, blindly',
      () => ({ greeting: Buffer.concat([greetingOf('client'), randomBytes(ANSWER_BYTES), after]) }),
    ],
  ];
  for (let size = 0; size < GREETING_BYTES; size++) {
    kinds.push([
      `greeting cut at ${size}`,
      () => ({ greeting: cutTo(greetingOf('shim'), size), leave: true }),
    ]);
  }
  for (let size = 0; size < ANSWER_BYTES; size++) {
    kinds.push([
      `answer cut at ${size}`,
      () => ({ greeting: greetingOf('shim'), answer: () => randomBytes(size), leave: true }),
    ]);
  }
  return kinds;
}

/** @returns bytes that the daemon sent beyond its challenge. */
async function tryDaemon(endpoint, { greeting, answer, leave }) {
  const socket = createConnection(endpoint.pipe);
  const heard = [];
  let size = 0;
  let answered = false;
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    heard.push(bytes);
    size += bytes.length;
    if (answered || size < CHALLENGE_BYTES || !answer) return;
    answered = true;
    const challenge = cutTo(Buffer.concat(heard), CHALLENGE_BYTES);
    socket.write(answer(challenge, greeting, endpoint));
    if (leave) socket.end();
  });
  socket.write(greeting);
  if (leave && !answer) socket.end();
  await once(socket, 'close');
  return Math.max(0, size - CHALLENGE_BYTES);
}

/** Daemons that are none: what each says to a greeting. */
async function fakeDaemons({ recorded, old }) {
  const { makeChallenge } = await load('protocol/wire/handshake.js');
  const challenge = (pipe, greeting, more = {}) =>
    Buffer.from(
      makeChallenge({
        secret: randomBytes(32),
        pipe,
        greeting,
        nonce: randomBytes(32),
        status: 0,
        ...more,
      }),
    );
  const replay = cutTo(recorded.down, CHALLENGE_BYTES);
  const kinds = [
    ['name taken first, wrong secret', (pipe, greeting) => challenge(pipe, greeting)],
    [
      'stale file, secret of an earlier start',
      (pipe, greeting) => challenge(pipe, greeting, { secret: old.secret }),
    ],
    ['replayed handshake', () => replay],
    ['replayed handshake and what followed', () => recorded.down],
    ['greeting sent back', (_, greeting) => Buffer.concat([greeting, greeting.subarray(-32)])],
    ['refusal without a proof', (pipe, greeting) => challenge(pipe, greeting, { status: 1 })],
    ['proof of zeros', (pipe, greeting) => challenge(pipe, greeting).fill(0, GREETING_BYTES)],
  ];
  for (let size = 0; size < CHALLENGE_BYTES; size++) {
    kinds.push([`challenge cut at ${size}`, () => cutTo(replay, size)]);
  }
  return kinds;
}

/** Listens where a daemon would, and tries one kind after the other. */
async function startImpostor(pipe, kinds) {
  const tally = { attempts: 0, payloadBytes: 0, heardOf: new Set() };
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const [name, says] = kinds[tally.attempts++ % kinds.length];
    const heard = [];
    let size = 0;
    let spoken = false;
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('end', () => socket.destroy());
    socket.on('data', (bytes) => {
      heard.push(bytes);
      size += bytes.length;
      if (size > GREETING_BYTES) {
        tally.payloadBytes += bytes.length;
        tally.heardOf.add(name);
      }
      if (spoken || size < GREETING_BYTES) return;
      spoken = true;
      const words = says(pipe, cutTo(Buffer.concat(heard), GREETING_BYTES));
      if (words.length > 0) socket.write(words);
      // Half of it only: what the peer has to say is still heard.
      if (words.length < CHALLENGE_BYTES) socket.end();
    });
  });
  await new Promise((resolve) => server.listen(pipe, resolve));
  return {
    tally,
    async leave() {
      for (const socket of sockets) socket.destroy();
      server.close();
      rmSync(pipe, { force: true });
    },
  };
}

/** Runs `work` so many times, some at once. */
async function inTurns(times, work, atOnce = 8) {
  let next = 0;
  const one = async () => {
    while (next < times) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

/** Real shims in real hosts, whose endpoint file leads to an impostor, then to the daemon. */
async function tryShims({ place, daemon, endpoint, kinds, attempts }) {
  const { writeEndpoint } = await load('daemon/platform/endpoint.js');
  const pipe = join(place.dir, 'taken');
  const impostor = await startImpostor(pipe, kinds);
  const genuine = `${daemon.endpoint}.genuine`;
  copyFileSync(daemon.endpoint, genuine);
  writeEndpoint(daemon.endpoint, { ...endpoint, pipe });
  const native = join(dist, 'native', hostTarget);
  const maildir = join(place.dir, 'maildir');
  makeMaildir({ dir: maildir, folders: 1, messages: 20 });
  const before = (await status(genuine)).processes.length;
  const hosts = Array.from({ length: HOSTS }, (_, at) => {
    const store = join(place.dir, `store${at}`);
    mkdirSync(store);
    return spawn(
      join(native, 'sample-host'),
      ['--maildir', maildir, '--store', store, '--hold', '600000', '--quiet'],
      {
        stdio: 'ignore',
        env: { ...process.env, MAPISYNC_STATE_DIR: join(place.dir, 'state') },
      },
    );
  });
  try {
    await until('shims tried', () => impostor.tally.attempts >= attempts, 120_000);
    await impostor.leave();
    const leftMs = performance.now();
    renameSync(genuine, daemon.endpoint);
    const reachMs = [];
    while (reachMs.length < HOSTS) {
      const { processes } = await status(daemon.endpoint);
      const connected = processes.filter((one) => one.connected).length - before;
      while (reachMs.length < connected) reachMs.push(performance.now() - leftMs);
      if (performance.now() - leftMs > 15_000) throw new Error('Shims do not find the real daemon');
      await sleep(5);
    }
    return { ...impostor.tally, reachMs };
  } finally {
    for (const host of hosts) host.kill('SIGKILL');
    await Promise.all(hosts.map((host) => host.exitCode ?? host.signalCode ?? once(host, 'exit')));
    if (existsSync(genuine)) renameSync(genuine, daemon.endpoint);
  }
}

/**
 * @param {{attempts: number, shims?: boolean, folder?: string, say?: (text: string) => void}} options
 *   `shims`: also with real shims; `folder`: of the built project, or of an edited copy
 */
export async function impostors({ attempts, shims = true, say = () => {} }) {
  const place = scratch();
  const stateDir = join(place.dir, 'state');
  const { readEndpoint, writeEndpoint } = await load('daemon/platform/endpoint.js');
  const { connect } = await load('daemon/platform/connect.js');
  const earlier = await startDaemon(stateDir);
  const old = readEndpoint(earlier.endpoint);
  await earlier.kill();
  const stale = readFileSync(earlier.endpoint); // A killed daemon leaves its file.
  const daemon = await startDaemon(stateDir);
  try {
    const endpoint = readEndpoint(daemon.endpoint);
    const recorded = await record(daemon.endpoint);
    const problems = [];
    const reachMs = [];
    const reach = async () => {
      const fromMs = performance.now();
      const { socket } = await connect(daemon.endpoint, { role: 'client', timeoutMs: 10_000 });
      reachMs.push(performance.now() - fromMs);
      socket.destroy();
    };
    if (stale.equals(readFileSync(daemon.endpoint))) problems.push('the secret did not change');

    let shim = { attempts: 0, payloadBytes: 0, heardOf: new Set(), reachMs: [] };
    const fakes = await fakeDaemons({ recorded, old });
    if (shims) {
      const given = { place, daemon, endpoint, kinds: fakes };
      shim = await tryShims({ ...given, attempts: Math.min(HOSTS * 7, Math.ceil(attempts / 10)) });
      say(`${shim.attempts} at shims: ${shim.payloadBytes} payload bytes`);
    }
    const left = attempts - shim.attempts;

    const people = await strangers({ recorded, old });
    const atDaemon = { attempts: 0, payloadBytes: 0 };
    await inTurns(Math.ceil(left / 2), async (turn) => {
      const [name, make] = people[turn % people.length];
      const bytes = await tryDaemon(endpoint, make());
      atDaemon.attempts += 1;
      atDaemon.payloadBytes += bytes;
      if (bytes > 0) problems.push(`the daemon told ${bytes} bytes to: ${name}`);
      await reach();
    });
    say(`${atDaemon.attempts} at the daemon: ${atDaemon.payloadBytes} payload bytes`);

    const fakeDir = join(place.dir, 'fake');
    mkdirSync(fakeDir, { mode: 0o700 });
    const pipe = join(fakeDir, 'taken');
    const fakePath = join(fakeDir, 'endpoint');
    const impostor = await startImpostor(pipe, fakes);
    writeEndpoint(fakePath, { ...endpoint, pipe });
    let believed = 0;
    await inTurns(Math.floor(left / 2), async () => {
      try {
        const client = await openClient(fakePath, () => {});
        client.socket.destroy();
        believed += 1;
      } catch {
        // As it must be.
      }
      await reach();
    });
    await impostor.leave();
    say(`${impostor.tally.attempts} at clients: ${impostor.tally.payloadBytes} payload bytes`);
    if (believed > 0) problems.push(`${believed} clients believed an impostor`);

    const tallies = [shim, atDaemon, impostor.tally];
    for (const { heardOf } of [shim, impostor.tally]) {
      for (const name of heardOf) problems.push(`a peer told more than its greeting to: ${name}`);
    }
    const sum = (of) => tallies.reduce((total, tally) => total + tally[of], 0);
    const all = [...reachMs, ...shim.reachMs];
    const result = {
      attempts: sum('attempts'),
      atDaemon: atDaemon.attempts,
      atClients: impostor.tally.attempts,
      atShims: shim.attempts,
      payloadBytes: sum('payloadBytes'),
      reachMs: {
        median: Math.round(median(all)),
        p99: Math.round(percentile(all, 99)),
        max: Math.round(Math.max(...all)),
        ofShims: shim.reachMs.map(Math.round),
      },
    };
    const slowest = Math.max(0, ...shim.reachMs);
    if (slowest > MAX_REACH_MS) problems.push(`${Math.round(slowest)} ms of a shim to the daemon`);
    if (result.reachMs.p99 > MAX_REACH_MS)
      problems.push(`p99 ${result.reachMs.p99} ms to the daemon`);
    return { ...result, problems };
  } finally {
    await daemon.stop();
    place.remove();
  }
}
