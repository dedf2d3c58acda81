/**
 * Part `ingest`: frames a second of processor time into the daemon, journal and checks on, beside what
 * others would use: the same calls, the same reducer, the same records, other bytes.
 */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { feedOurs, feedPeer } from './feed.mjs';
import { asJsonLine, asMsgpack, asOurs, chunks, session } from './frames.mjs';
import { feedGrpc, installPeers, loadGrpc } from './grpc.mjs';
import {
  cpuSeconds,
  cpuSecondsOf,
  interleave,
  load,
  median,
  ROUNDS,
  report,
  withDaemon,
  withFolder,
} from './support.mjs';

/** Calls of a contender in a round. */
const CALLS = {
  smoke: { ours: 20_000, errors: 2000, peer: 2000, grpc: 500 },
  quick: { ours: 400_000, errors: 20_000, peer: 60_000, grpc: 5000 },
  full: { ours: 2_000_000, errors: 100_000, peer: 300_000, grpc: 30_000 },
};
const PRODUCERS = 8;

async function startPeer(kind, folder) {
  const path = join(folder, `${kind}.sock`);
  const args = [kind, path, join(folder, `${kind}.log`)];
  const child = fork(new URL('peer.mjs', import.meta.url), args);
  await new Promise((resolve, reject) => {
    child.on('message', resolve);
    child.on('exit', (code) => reject(new Error(`The ${kind} peer ended with ${code}`)));
  });
  child.removeAllListeners('exit');
  return { path, pid: child.pid, stop: () => child.kill('SIGKILL') };
}

/** Calls a second of the processor time that `pid` spends while `feed` runs. */
const perCpuSecond = (pid, calls, feed) => async () => {
  const before = cpuSeconds(pid);
  await feed();
  return calls / (cpuSeconds(pid) - before);
};

/** Decoders alone, in this process, each text made a string. */
async function decoders(calls) {
  const { decode } = await import('@msgpack/msgpack');
  const { FrameReader } = await load('protocol/wire/frame-reader.js');
  const { ProgressView, readProgress } = await load('protocol/wire/decode.js');
  const progress = [...session('progress', calls)].filter(({ kind }) => kind === 'progress');
  const bytes = Buffer.concat(progress.map(asOurs));
  const alone = (take) => async () => {
    let units = 0;
    const seconds = await cpuSecondsOf(() => {
      new FrameReader().read(bytes, (body, start, end) => {
        units += take(body, start, end);
        return end;
      });
    });
    if (units === 0) throw new Error('Nothing was decoded');
    return progress.length / seconds;
  };
  const view = new ProgressView();
  return {
    decoder: alone((body, start, end) => {
      readProgress(body, start, end, view);
      return view.text.length;
    }),
    msgpack_decode: alone((body, start, end) => decode(body.subarray(start, end)).at(-1).length),
  };
}

export async function run({ size, say }) {
  const count = CALLS[size];
  const { encode } = await import('@msgpack/msgpack');
  const hasGrpc = size !== 'smoke';
  if (hasGrpc) installPeers();
  const made = {
    one: chunks(session('progress', count.ours), asOurs),
    share: chunks(session('progress', count.ours / PRODUCERS), asOurs),
    errors: chunks(session('errors', count.errors), asOurs),
    msgpack: chunks(session('progress', count.peer), asMsgpack(encode)),
    jsonl: chunks(session('progress', count.peer), asJsonLine),
  };
  return withFolder((folder) =>
    withDaemon(join(folder, 'state'), async ({ state, pid }) => {
      const peers = [];
      const peer = async (kind) => {
        const started = await startPeer(kind, folder);
        peers.push(started);
        return started;
      };
      try {
        const msgpack = await peer('msgpack');
        const jsonl = await peer('jsonl');
        const contenders = {
          frames: perCpuSecond(pid, count.ours, () => feedOurs(state, made.one)),
          frames_8_producers: perCpuSecond(pid, count.ours, () =>
            Promise.all(Array.from({ length: PRODUCERS }, () => feedOurs(state, made.share))),
          ),
          errors: perCpuSecond(pid, count.errors, () => feedOurs(state, made.errors)),
          msgpack: perCpuSecond(msgpack.pid, count.peer, () =>
            feedPeer(msgpack.path, made.msgpack),
          ),
          jsonl: perCpuSecond(jsonl.pid, count.peer, () => feedPeer(jsonl.path, made.jsonl)),
        };
        if (hasGrpc) {
          const grpc = await peer('grpc');
          const loaded = await loadGrpc();
          contenders.grpc = perCpuSecond(grpc.pid, count.grpc, () =>
            feedGrpc(loaded, grpc.path, session('progress', count.grpc)),
          );
        }
        Object.assign(contenders, await decoders(count.peer));
        const rounds = size === 'smoke' ? 1 : ROUNDS;
        const found = await interleave(contenders, { rounds, warmUp: size !== 'smoke' });
        const options = { base: 'frames', unit: 'a CPU second' };
        report(say, 'Calls into the daemon, and decoders alone', found, options);
        const metrics = Object.fromEntries(
          Object.keys(contenders).map((name) => [`${name}_per_cpu_s`, median(found[name])]),
        );
        return { metrics: { ingest: metrics } };
      } finally {
        for (const { stop } of peers) stop();
      }
    }),
  );
}
