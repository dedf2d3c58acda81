/**
 * Part `otlp`: a receiver that refuses, is slow, hangs up, loses its answers and dawdles over them, and a
 * daemon that is killed; then each record has arrived, and what came again came with the same id.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Receiver } from '../daemon/export/receiver.mjs';
import { compare, Machine, random, scratch } from './machine.mjs';

/** What happens to a request out of ten; the rest is taken. A wait is in milliseconds. */
const FATES = [503, 'drop', 'lose', 200];

export async function run({ count, kills, seed, say }) {
  const { dir, remove } = scratch();
  const below = random(seed);
  const receiver = new Receiver();
  receiver.fate = async () => {
    const fate = FATES[below(10)];
    if (fate !== 200) return fate;
    await sleep(fate + below(2000));
    return undefined;
  };
  const url = await receiver.listen();
  const machine = new Machine(dir, { MAPISYNC_EXPORT_OTLP_URL: url });
  try {
    await machine.start();
    for (let at = 0; at < kills; at++) {
      const from = Math.floor((count * at) / kills);
      await machine.notes(Math.floor((count * (at + 1)) / kills) - from);
      await sleep(below(2000));
      await machine.end('SIGKILL');
      await machine.start();
    }
    say('All calls were made');
    await machine.settled();
    await machine.exported('otlp');
    const { ids, notes } = machine.records();
    const arrived = receiver.logs.map(({ attributes }) => attributes['log.record.uid']);
    const { twice: again, ...rest } = compare(ids, arrived);
    return { ...rest, again, requests: receiver.requests, notes, lost_notes: count - notes };
  } finally {
    await machine.end('SIGTERM');
    await receiver.close();
    remove();
  }
}
