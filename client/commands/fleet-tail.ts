/** `tail --fleet`: the records of all machines that export to a stream of NATS, live and from before. */
import { FLEET_SUBJECTS, openFleet } from '../../daemon/platform/nats.ts';
import { natsSettings } from '../config/exports.ts';
import { CliError, EXIT } from '../exit.ts';
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

export async function fleetTail(
  options: FleetTailOptions,
  settings: Settings,
  io: Io,
): Promise<number> {
  const nats = natsSettings(settings.sources);
  if (!nats) {
    throw new CliError(
      EXIT.usage,
      'Cannot follow a fleet: expected the setting export.nats.servers, got none',
      'Say where the fleet exports to, such as MAPISYNC_EXPORT_NATS_SERVERS=nats://HOST:4222',
    );
  }
  const stopped = io.interrupted();
  const late =
    settings.timeoutMs === undefined ? undefined : AbortSignal.timeout(settings.timeoutMs);
  const signal = late ? AbortSignal.any([stopped, late]) : stopped;
  const fleet = await openFleet(nats).catch((error: Error) => {
    throw new CliError(EXIT.noDaemon, error.message, undefined, error);
  });
  const close = (): void => void fleet.connection.close().catch(() => {}); // It is over anyway.
  signal.addEventListener('abort', close, { once: true });
  const show = new FleetLines(settings);
  try {
    const { DeliverPolicy } = fleet.packages;
    const { sinceMs } = options;
    const from =
      sinceMs === undefined
        ? { deliver_policy: DeliverPolicy.New }
        : {
            deliver_policy: DeliverPolicy.StartTime,
            opt_start_time: new Date(sinceMs).toISOString(),
          };
    const consumer = await fleet.js.consumers.get(fleet.stream, {
      filter_subjects: FLEET_SUBJECTS,
      ...from,
    });
    for await (const message of await consumer.consume()) {
      const line = message.string();
      const record = parseRecord(line);
      if (!record || (!options.all && record.session === undefined)) continue;
      const text = settings.output === 'json' ? line : show.line(record);
      if (text !== undefined) await io.stdout.write(`${text}\n`);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    close();
  }
  if (stopped.aborted) return EXIT.interrupted;
  if (signal.aborted) return EXIT.timeout;
  throw new CliError(EXIT.noDaemon, 'Cannot follow the fleet any longer: the server went away');
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
    const host = (record as { host?: { name?: unknown } }).host?.name;
    const name = typeof host === 'string' ? host : '';
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
