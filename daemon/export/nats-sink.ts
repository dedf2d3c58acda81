/**
 * Records as messages of NATS JetStream, each with its id as the message's. The server forgets ids after a
 * short while, so after a connection was lost it is asked what it has of this machine.
 */

import type { NatsExport } from '../../protocol/records/exports.ts';
import type { FinishedRecord } from '../../protocol/records/line.ts';
import {
  type FleetStream,
  NATS_TIMEOUT_MS,
  natsError,
  openFleet,
  subjectOf,
} from '../platform/nats.ts';
import type { OutRecord, Sink } from './sink.ts';

const LINGER_MS = 50;
/** No message of a batch arrives so long before its last one: each has `NATS_TIMEOUT_MS`. */
const BATCH_MS = 6 * NATS_TIMEOUT_MS;

/** @param host As it leaves: a token of its name, or the name. */
export async function openNatsSink(settings: NatsExport, host: string): Promise<Sink> {
  return new NatsSink(settings, host, await openFleet(settings));
}

class NatsSink implements Sink {
  readonly lingerMs = LINGER_MS;
  readonly #settings: NatsExport;
  readonly #ours: string;
  readonly #fleet: FleetStream;

  constructor(settings: NatsExport, host: string, fleet: FleetStream) {
    this.#settings = settings;
    this.#ours = subjectOf(host, '>');
    this.#fleet = fleet;
  }

  get isOpen(): boolean {
    return !this.#fleet.connection.isClosed();
  }

  /** Not the newest alone: a message in the middle of a batch may have been refused. */
  async stored(): Promise<ReadonlySet<string>> {
    const { stream, jsm, js, packages } = this.#fleet;
    const ids = new Set<string>();
    try {
      const newest = await jsm.streams.getMessage(stream, { last_by_subj: this.#ours });
      if (!newest) return ids;
      // By the server's clock alone: ours may be wrong by years.
      const since = new Date(newest.time.getTime() - BATCH_MS).toISOString();
      const consumer = await js.consumers.get(stream, {
        filter_subjects: this.#ours,
        deliver_policy: packages.DeliverPolicy.StartTime,
        opt_start_time: since,
        headers_only: true,
      });
      const messages = await consumer.consume();
      for await (const message of messages) {
        const id = message.headers?.get('Nats-Msg-Id');
        if (id) ids.add(id);
        if (message.seq >= newest.seq) break;
      }
      return ids;
    } catch (error) {
      throw natsError(error, this.#settings);
    }
  }

  async send(records: readonly OutRecord[]): Promise<void> {
    const { stream, js } = this.#fleet;
    const answers = await Promise.allSettled(
      records.map(({ record, line }) =>
        js.publish(subjectOf(hostOf(record), record.event_name), line, {
          msgID: record.event_id,
          timeout: NATS_TIMEOUT_MS,
          expect: { streamName: stream },
        }),
      ),
    );
    const failed = answers.find(({ status }) => status === 'rejected');
    if (failed) throw natsError((failed as PromiseRejectedResult).reason, this.#settings);
  }

  close(): Promise<void> {
    return this.#fleet.connection.close();
  }
}

const hostOf = ({ host }: FinishedRecord): string => host.name;
