/** Why a peer is turned away: the numbers of `refused` on the wire, and counting what is refused. */
import type { RecordDraft } from '../protocol/records/record.ts';
import type { ProtocolReason } from '../protocol/wire/protocol-error.ts';

export const REFUSAL = {
  protocol: 1,
  tooMany: 2,
  malformed: 3,
  gap: 4,
  replaced: 5,
  limit: 6,
  stopping: 7,
  journal: 8,
} as const;

const BY_REASON: Record<ProtocolReason, number> = {
  oversize: REFUSAL.malformed,
  malformed: REFUSAL.malformed,
  'bad-field': REFUSAL.malformed,
  order: REFUSAL.malformed,
  proof: REFUSAL.malformed,
  timeout: REFUSAL.limit,
  limit: REFUSAL.limit,
  gap: REFUSAL.gap,
  version: REFUSAL.protocol,
  replaced: REFUSAL.replaced,
};

export const refusalOf = (reason: ProtocolReason): number => BY_REASON[reason];

/** A peer that is refused again and again is counted, and said once in this time. */
const REPEAT_MS = 60_000;

type RefusalEvent = 'peer.refused' | 'frame.rejected';

interface Tally {
  readonly event: RefusalEvent;
  readonly reason: string;
  /** Of the last one. */
  text: string;
  /** All of them. */
  count: number;
  /** Since the last record. */
  unsaid: number;
  saidMs: number;
}

/**
 * Refusals by event and reason. Both come from closed lists, so the memory is bounded.
 */
export class Refusals {
  readonly #tallies = new Map<string, Tally>();

  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#tallies].map(([key, { count }]) => [key, count]));
  }

  /** @returns a record, unless one with this reason was made a short while ago. */
  count(
    event: RefusalEvent,
    reason: string,
    text: string,
    nowMs: number,
    time: string,
  ): RecordDraft | undefined {
    const key = `${event} ${reason}`;
    let tally = this.#tallies.get(key);
    if (!tally) {
      tally = { event, reason, text, count: 0, unsaid: 0, saidMs: Number.NEGATIVE_INFINITY };
      this.#tallies.set(key, tally);
    }
    tally.text = text;
    tally.count += 1;
    tally.unsaid += 1;
    return nowMs - tally.saidMs < REPEAT_MS ? undefined : say(tally, nowMs, time);
  }

  /** Records of what was counted and not said. @param all Also what was said a short while ago. */
  rest(nowMs: number, time: string, all = false): RecordDraft[] {
    const due = [...this.#tallies.values()].filter(
      ({ unsaid, saidMs }) => unsaid > 0 && (all || nowMs - saidMs >= REPEAT_MS),
    );
    return due.map((tally) => say(tally, nowMs, time));
  }
}

function say(tally: Tally, nowMs: number, time: string): RecordDraft {
  const { event, reason, text, unsaid } = tally;
  tally.unsaid = 0;
  tally.saidMs = nowMs;
  const what = event === 'peer.refused' ? 'Refused a peer' : 'Rejected a frame';
  const times = unsaid === 1 ? '' : ` (${unsaid} times)`;
  const refusal = { reason, count: unsaid };
  return { event_name: event, level: 'warn', time, msg: `${what}: ${text}${times}`, refusal };
}
