/**
 * Tails that never read, in a process of their own: half of them want records, and get to the end of
 * their empty picture; half want sessions too, and read nothing at all. Arguments: endpoint.
 *
 * Told how many there have to be (`want`). One that the daemon cuts does not know it, since it does not
 * read, and stays. With `want` 0 all read on: one that was cut finds that it was told, and what it was told
 * can be compared with what the daemon counted; one that was not leaves once it has caught up.
 */
import { load, openClient } from './peers.mjs';

const [endpoint] = process.argv.slice(2);
const { WANT } = await load('protocol/wire/clients.js');

/** Fewer than the handshakes that the daemon takes at once. */
const AT_ONCE = 25;

let added = 0;
/** Those that do not read, oldest first. */
const silent = [];
/** Tails that were cut, with a word and without; updates that they were told they missed; gaps in what they got. */
const totals = { told: 0, untold: 0, dropped: 0, records: 0, gaps: 0 };

class Tail {
  #client;
  #place;
  #wasTold = false;
  #isGone = false;
  /** Ends the reading on; whether the tail was cut. */
  #ended;
  #sinceMs;

  static async start() {
    const tail = new Tail();
    const both = added++ % 2 === 1;
    tail.#client = await openClient(endpoint, (frame) => tail.#take(frame));
    tail.#client.send({
      kind: 'subscribe',
      wants: both ? WANT.records | WANT.sessions : WANT.records,
      after: null,
    });
    const { socket } = tail.#client;
    socket.once('close', () => {
      totals[tail.#wasTold ? 'told' : 'untold'] += 1;
      // It may have been cut before it was current, while it still read.
      tail.#isGone = true;
      tail.#ended?.(true);
    });
    if (both) socket.pause();
    return tail;
  }

  #take(frame) {
    if (frame.kind === 'current' && !this.#ended) this.#client.socket.pause();
    if (frame.kind === 'record') this.#record(frame);
    if (frame.kind === 'cut') {
      this.#wasTold = true;
      totals.dropped += frame.dropped;
    }
  }

  #record({ cursor, line }) {
    totals.records += 1;
    const [segment, offset] = cursor.split(':').map(Number);
    const from = offset - Buffer.byteLength(line) - 1;
    // Within one segment each record begins where the one before ended.
    if (this.#place?.segment === segment && this.#place.offset !== from) totals.gaps += 1;
    this.#place = { segment, offset };
    if (this.#ended && Date.parse(JSON.parse(line).time) > this.#sinceMs) this.#ended(false);
  }

  /** @returns whether it was cut; if not, it has caught up and reads no more. */
  async readOn() {
    if (this.#isGone) return true;
    this.#sinceMs = Date.now();
    const { socket } = this.#client;
    const wasCut = await new Promise((resolve) => {
      this.#ended = resolve;
      socket.resume();
    });
    if (!wasCut) {
      this.#ended = undefined;
      socket.pause();
    }
    return wasCut;
  }

  leave() {
    const { socket } = this.#client;
    socket.removeAllListeners('close');
    socket.destroy();
  }
}

async function add(want) {
  while (silent.length < want) {
    const count = Math.min(AT_ONCE, want - silent.length);
    silent.push(...(await Promise.all(Array.from({ length: count }, () => Tail.start()))));
  }
}

async function leave() {
  const reading = silent.splice(0).map(async (tail) => {
    // At once: silent again it could be cut, and nobody would see.
    if (!(await tail.readOn())) tail.leave();
  });
  await Promise.all(reading);
}

process.on('message', async ({ id, question: { want } }) => {
  if (want === 0) await leave();
  else await add(want);
  process.send({ id, tails: silent.length, ...totals });
});
process.on('disconnect', () => process.exit());
process.send('ready');
