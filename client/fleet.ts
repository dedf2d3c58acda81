/** What the commands share that read the records of all machines from a stream of NATS. */
import type { ConsumerConfig } from '@nats-io/jetstream';
import { type FleetStream, type NatsPlace, natsError, openFleet } from '../daemon/platform/nats.ts';
import { natsSettings } from './config/exports.ts';
import { CliError, EXIT } from './exit.ts';
import { type Io, OutputClosed } from './io.ts';
import { patience } from './patience.ts';
import type { Settings } from './settings.ts';
import type { FeedRecord } from './view.ts';

/**
 * Does `work` with the stream, until Ctrl-C or --timeout, and closes it.
 *
 * @param action As in "Cannot follow a fleet".
 * @throws {CliError} exit 2 if no server is set, exit 3 if there is none to be had.
 */
export async function withFleet(
  action: string,
  settings: Settings,
  io: Io,
  work: (fleet: FleetStream) => Promise<number>,
): Promise<number> {
  const nats = natsSettings(settings.sources);
  if (!nats) {
    throw new CliError(
      EXIT.usage,
      `Cannot ${action}: expected the setting export.nats.servers, got none`,
      'Say where the fleet exports to, such as MAPISYNC_EXPORT_NATS_SERVERS=nats://HOST:4222',
    );
  }
  const { stopped, signal } = patience(settings, io);
  const fleet = await openFleet(nats).catch((error: Error) => {
    throw new CliError(EXIT.noDaemon, error.message, undefined, error);
  });
  const close = (): void => void fleet.connection.close().catch(() => {}); // It is over anyway.
  signal.addEventListener('abort', close, { once: true });
  if (signal.aborted) close();
  try {
    return await work(fleet);
  } catch (error) {
    if (!signal.aborted) throw explained(error, nats);
    return stopped.aborted ? EXIT.interrupted : EXIT.timeout;
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
}

/** What the library says in our words; what is about our own output stays as it is. */
function explained(error: unknown, place: NatsPlace): unknown {
  const { syscall } = error as { syscall?: unknown };
  const isOurs = error instanceof CliError || error instanceof OutputClosed;
  if (isOurs || syscall === 'write') return error;
  return new CliError(EXIT.noDaemon, natsError(error, place).message, undefined, error);
}

/** Where a consumer begins; without a time with what comes from now on. */
export function startAt({ packages }: FleetStream, sinceMs?: number): Partial<ConsumerConfig> {
  const { DeliverPolicy } = packages;
  if (sinceMs === undefined) return { deliver_policy: DeliverPolicy.New };
  return {
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: new Date(sinceMs).toISOString(),
  };
}

export const serverGone = (action: string): CliError =>
  new CliError(EXIT.noDaemon, `Cannot ${action}: the server went away`);

/** The machine that a record comes from, as it calls itself there; empty if it does not say. */
export function hostOf(record: FeedRecord): string {
  const { host } = record as { host?: { name?: unknown } };
  return typeof host?.name === 'string' ? host.name : '';
}
