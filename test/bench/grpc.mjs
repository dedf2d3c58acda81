/** The same calls as a stream of Protocol Buffers over gRPC. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));

/** Installs the peers of the bench's own package, once. `npm ci` without scripts: none is needed. */
export function installPeers() {
  if (existsSync(new URL('node_modules/@grpc/grpc-js', import.meta.url))) return;
  const flags = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const [command, ...args] = npm ? [process.execPath, npm, ...flags] : ['npm', ...flags];
  const { status } = spawnSync(command, args, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`Cannot install the peers: npm ci in ${folder} failed`);
}

export async function loadGrpc() {
  const require = createRequire(import.meta.url);
  const library = require('@grpc/grpc-js');
  const { loadSync } = require('@grpc/proto-loader');
  const definition = loadSync(fileURLToPath(new URL('calls.proto', import.meta.url)), {
    keepCase: true,
    longs: Number,
    oneofs: true,
  });
  const { service } = library.loadPackageDefinition(definition).bench.Calls;
  return { library, service, Client: library.loadPackageDefinition(definition).bench.Calls };
}

/** Sends all frames in one call; resolves with the last seq that the server took. */
export function feedGrpc({ library, Client }, path, frames) {
  const client = new Client(`unix:${path}`, library.credentials.createInsecure());
  return new Promise((resolve, reject) => {
    const call = client.report((error, answer) => {
      client.close();
      if (error) reject(error);
      else resolve(answer.seq);
    });
    const each = frames[Symbol.iterator]();
    const send = () => {
      for (;;) {
        const { value, done } = each.next();
        if (done) {
          call.end();
          return;
        }
        const { kind, seq, timeUs, thread, session, ...rest } = value;
        if (!call.write({ seq, timeUs, thread, session, [kind]: rest })) break;
      }
      call.once('drain', send);
    };
    send();
  });
}
