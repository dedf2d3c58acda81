/**
 * Tails that never read, in a process of their own: half of them want records, and get to the end of
 * their empty picture; half want sessions too, and read nothing at all. Arguments: endpoint. Told how many there have to be
 * (`want`); `cut` says how many the daemon has cut since: so many of the oldest then read what they had
 * been sent, so that what they were told can be compared with what the daemon counted, and new ones
 * take their places.
 */
import { load, openClient } from './peers.mjs';

const [endpoint] = process.argv.slice(2);
const { WANT } = await load('protocol/wire/clients.js');

/** Fewer than the handshakes that the daemon takes at once. */
const AT_ONCE = 25;

let added = 0;
const tails = [];
/** Tails that were cut and read on; updates that they were told they missed; gaps in what they got. */
const totals = { told: 0, untold: 0, dropped: 0, records: 0, gaps: 0 };

async function add() {
  const wants = added++ % 2 === 0 ? WANT.records : WANT.records | WANT.sessions;
  const tail = { place: undefined, cut: false };
  tail.client = await openClient(endpoint, (frame) => {
    if (frame.kind === 'current' && !tail.reading) tail.client.socket.pause();
    if (frame.kind === 'record') {
      totals.records += 1;
      const [segment, offset] = frame.cursor.split(':').map(Number);
      const from = offset - Buffer.byteLength(frame.line) - 1;
      // Within one segment each record begins where the one before ended.
      if (tail.place?.segment === segment && tail.place.offset !== from) totals.gaps += 1;
      tail.place = { segment, offset };
    }
    if (frame.kind === 'cut') {
      tail.cut = true;
      totals.told += 1;
      totals.dropped += frame.dropped;
    }
  });
  tail.client.send({ kind: 'subscribe', wants, after: null });
  if (wants !== WANT.records) tail.client.socket.pause();
  tails.push(tail);
}

function finish(tail) {
  const { socket } = tail.client;
  tail.reading = true;
  return new Promise((resolve) => {
    socket.once('close', () => {
      if (!tail.cut) totals.untold += 1;
      resolve();
    });
    socket.resume();
  });
}

const reading = new Set();
let wanted = 0;
let filling;

async function fill() {
  while (tails.length > wanted) tails.shift().client.socket.destroy();
  while (tails.length < wanted) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, wanted - tails.length) }, add));
  }
  filling = undefined;
}

process.on('message', async ({ id, question: { want, cut } }) => {
  for (let count = 0; count < cut && tails.length > 0; count++) {
    const done = finish(tails.shift()).then(() => reading.delete(done));
    reading.add(done);
  }
  wanted = want;
  filling ??= fill();
  await filling;
  if (want === 0) await Promise.all(reading);
  if (id !== undefined) process.send({ id, tails: tails.length, ...totals });
});
process.on('disconnect', () => process.exit());
process.send('ready');
