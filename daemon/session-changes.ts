/**
 * Which sessions changed, in the order of their last change: one list for all clients. A client keeps
 * the number of the last change that it was sent, so one that does not read costs nothing but its place.
 */
import type { LiveSession } from '../protocol/records/record.ts';

export interface SessionChange {
  /** Grows with each change. */
  readonly number: number;
  readonly id: string;
  /** How the session ended. Kept until every client has it: its owner may forget it before. */
  readonly end: LiveSession | undefined;
  /** Of the frame, made when the first client needs it. */
  bytes: Uint8Array | undefined;
}

export class SessionChanges {
  /** Sorted by number. A change that a newer one of its session replaced is passed over. */
  #list: SessionChange[] = [];
  readonly #newest = new Map<string, SessionChange>();
  #number = 0;

  /** Number of the last change. */
  get last(): number {
    return this.#number;
  }

  /** Changes that some client may still need. */
  get size(): number {
    return this.#list.length;
  }

  /** An end is the last change of its session. */
  add(id: string, end: LiveSession | undefined): void {
    if (end === undefined && this.#newest.get(id)?.end !== undefined) return;
    const change = { number: ++this.#number, id, end, bytes: undefined };
    this.#list.push(change);
    this.#newest.set(id, change);
  }

  /** The changes after one, oldest first, each session's newest only. */
  *after(number: number): Generator<SessionChange> {
    for (let at = this.#indexAfter(number); at < this.#list.length; at += 1) {
      const change = this.#list[at] as SessionChange;
      if (this.#newest.get(change.id) === change) yield change;
    }
  }

  /** Forgets what every client has. @returns how many ends have to be kept. */
  forgetTo(number: number): number {
    this.#list = this.#list.filter((change) => {
      const newest = this.#newest.get(change.id) === change;
      if (newest && change.number <= number) this.#newest.delete(change.id);
      return newest && change.number > number;
    });
    return this.#list.reduce((ends, { end }) => (end === undefined ? ends : ends + 1), 0);
  }

  #indexAfter(number: number): number {
    let [low, high] = [0, this.#list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#list[middle] as SessionChange).number <= number) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
