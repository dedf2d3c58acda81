/** `tail --fleet`: the records of all machines that export to a stream of NATS, live and from before. */
import { FLEET_SUBJECTS } from '../../daemon/platform/nats.ts';
import { hostOf, serverGone, startAt, withFleet } from '../fleet.ts';
import type { Io } from '../io.ts';
import { parseRecord } from '../journal.ts';
import { PlainLines } from '../render/plain.ts';
import { printable } from '../render/text.ts';
import type { Settings } from '../settings.ts';
import type { FeedRecord } from '../view.ts';

export interface FleetTailOptions {
  readonly sinceMs?: number;
  /** Also what is about no session. */
  readonly all: boolean;
}

export function fleetTail(options: FleetTailOptions, settings: Settings, io: Io): Promise<number> {
  const show = new FleetLines(settings);
  return withFleet('follow a fleet', settings, io, async (fleet) => {
    const consumer = await fleet.js.consumers.get(fleet.stream, {
      filter_subjects: FLEET_SUBJECTS,
      ...startAt(fleet, options.sinceMs),
    });
    for await (const message of await consumer.consume()) {
      const line = message.string();
      const record = parseRecord(line);
      if (!record || (!options.all && record.session === undefined)) continue;
      const text = settings.output === 'json' ? line : show.line(record);
      if (text !== undefined) await io.stdout.write(`${text}\n`);
    }
    throw serverGone('follow the fleet any longer');
  });
}

/** As `tail` in a pipe, with the machine before each line. Progress is judged for each machine alone. */
class FleetLines {
  readonly #settings: Settings;
  readonly #hosts = new Map<string, PlainLines>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  line(record: FeedRecord): string | undefined {
    const { unicode } = this.#settings.theme;
    const name = hostOf(record);
    let lines = this.#hosts.get(name);
    if (!lines) {
      if (this.#hosts.size >= MAX_HOSTS) this.#hosts.clear();
      lines = new PlainLines({ unicode, verbosity: this.#settings.verbosity });
      this.#hosts.set(name, lines);
    }
    const line = lines.record(record);
    return line === undefined ? undefined : `${printable(name, unicode)} ${line}`;
  }
}

/** Machines whose progress is remembered. */
const MAX_HOSTS = 1024;
