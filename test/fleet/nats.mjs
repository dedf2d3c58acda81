/** Part `nats`: a daemon and a real server, both killed again and again; then each record is stored once. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { load } from '../security/peers.mjs';
import { compare, Machine, random, scratch, until } from './machine.mjs';

const { openFleet } = await load('daemon/platform/nats.js');

class Server {
  #dir;
  #port = -1;
  #child;

  constructor(dir) {
    this.#dir = dir;
  }

  get url() {
    return `nats://127.0.0.1:${this.#port}`;
  }

  async start() {
    const args = ['-a', '127.0.0.1', '-p', String(this.#port), '-js', '-sd', join(this.#dir, 'js')];
    const child = spawn('nats-server', [...args, '--ports_file_dir', this.#dir], {
      stdio: 'ignore',
    });
    this.#child = child;
    const file = await until('the server is ready', () =>
      readdirSync(this.#dir).find((name) => name.endsWith(`_${child.pid}.ports`)),
    );
    const port = await until('its port', () =>
      /"nats:\/\/127\.0\.0\.1:(\d+)"/.exec(readFileSync(join(this.#dir, file), 'utf8')),
    );
    this.#port = Number(port[1]);
  }

  async kill() {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

export async function run({ count, kills, seed, say }) {
  const { dir, remove } = scratch();
  const server = new Server(dir);
  await server.start();
  const machine = new Machine(dir, { MAPISYNC_EXPORT_NATS_SERVERS: server.url });
  const below = random(seed);
  try {
    const before = await openFleet({ servers: [server.url] });
    // The shortest that the server takes: ids are forgotten at once, as after a week offline.
    await before.jsm.streams.update(before.stream, { duplicate_window: 100_000_000 });
    await before.connection.close();
    await machine.start();
    for (let at = 0; at < 2 * kills; at++) {
      const from = Math.floor((count * at) / (2 * kills));
      await machine.notes(Math.floor((count * (at + 1)) / (2 * kills)) - from);
      await sleep(below(400));
      if (at % 2 === 0) {
        await server.kill();
        await sleep(below(300));
        await server.start();
      } else {
        await machine.end('SIGKILL');
        await machine.start();
      }
    }
    say('All calls were made');
    await machine.settled();
    await machine.exported('nats');
    const { ids, notes } = machine.records();
    const stored = await storedIds(server.url);
    return { ...compare(ids, stored), notes, lost_notes: count - notes };
  } finally {
    await machine.end('SIGTERM');
    await server.kill();
    remove();
  }
}

async function storedIds(url) {
  const fleet = await openFleet({ servers: [url] });
  const { state } = await fleet.jsm.streams.info(fleet.stream);
  const ids = [];
  const consumer = await fleet.js.consumers.get(fleet.stream, { headers_only: true });
  for await (const message of await consumer.consume()) {
    ids.push(message.headers.get('Nats-Msg-Id'));
    if (message.seq >= state.last_seq) break;
  }
  await fleet.connection.close();
  return ids;
}
