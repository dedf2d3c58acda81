import type { RecordDraft } from '../records/record.ts';
import { ProtocolError } from '../wire/protocol-error.ts';
import type { RingImage } from '../wire/ring-file.ts';
import type { RingState } from './ring.ts';
import {
  closeBySlot,
  goneDraft,
  newRing,
  onHello,
  originOf,
  ringGone,
  takeFrame,
  takeLostCounts,
  takeSlot,
  wallUsOf,
} from './ring.ts';
import type { GoneFacts } from './session.ts';

/**
 * The records that a daemon which knows nothing of this ring makes of it. Those of frames have the ids that
 * adoption gives them, so that nobody who has both counts one twice.
 *
 * @returns Besides, the ring as it was left: `orphans` are frames of sessions whose `open` is not in it.
 */
export function recordsOfRing(image: RingImage): { records: RecordDraft[]; ring: RingState } {
  const { header, freed, frames, slots, inCalls, lost } = image;
  const { timeUs, wallUs, lastSeenUs } = header;
  const records: RecordDraft[] = [];
  const emit = (draft: RecordDraft): void => void records.push(draft);
  const ring = newRing(originOf(header));
  onHello(ring, { freed, timeUs, wallUs });
  for (const frame of frames) {
    try {
      takeFrame(ring, frame, emit);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      ring.received = frame.seq;
      ring.orphans += 1;
    }
  }
  for (const slot of slots) {
    takeSlot(ring, slot);
    if (slot.closing) closeBySlot(ring, slot, lastSeenUs, emit);
  }
  const facts: GoneFacts = { wallUs: wallUsOf(ring, lastSeenUs) };
  takeLostCounts(ring, lost, facts.wallUs, emit);
  ringGone(ring, facts, inCalls, emit, () => {});
  records.push(goneDraft(ring.origin, facts, inCalls));
  return { records, ring };
}
