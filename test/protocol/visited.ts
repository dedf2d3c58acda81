/** Which states were seen, with which budget of faults, and how each was reached first. */
export class Visited {
  /**
   * A table of a power of two places of three words: two hashes of the state, and a bit for each budget
   * that it needs not be looked at again with. No bits: free.
   */
  #places = new Uint32Array(3 << 20);
  #filled = 0;
  readonly #exact: Map<string, number> | undefined;
  #parents = new Uint32Array(1 << 16);
  #verbs = new Uint8Array(1 << 16);
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();
  size = 0;

  constructor(isHashed: boolean) {
    this.#exact = isHashed ? undefined : new Map();
  }

  /**
   * @param budget A bit for what is left of faults in this state.
   * @param covers The bits of all budgets that allow nothing that this one does not.
   * @param verb `$` in it stands for `who`.
   * @returns Whether it is new.
   */
  add(
    state: readonly number[],
    budget: number,
    covers: number,
    parent: number,
    verb: string,
    who: string,
  ): boolean {
    if (!this.#isNew(state, budget, covers)) return false;
    if (this.size === this.#verbs.length) this.#grow();
    const name = verb.replace('$', who);
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#names.push(name) - 1;
      this.#numbers.set(name, number);
    }
    this.#parents[this.size] = parent;
    this.#verbs[this.size] = number;
    this.size += 1;
    return true;
  }

  history(of: number): string[] {
    const words: string[] = [];
    for (let at = of; at > 0; at = this.#parents[at]!)
      words.unshift(this.#names[this.#verbs[at]!]!);
    return words;
  }

  #isNew(state: readonly number[], budget: number, covers: number): boolean {
    if (this.#exact !== undefined) {
      const key = String.fromCharCode.apply(null, state as number[]);
      const before = this.#exact.get(key) ?? 0;
      if ((before & budget) !== 0) return false;
      this.#exact.set(key, before | covers);
      return true;
    }
    let first = 0x9747b28c ^ state.length;
    let second = 0x3c6ef372 + state.length;
    for (let at = 0; at < state.length; at += 1) {
      const word = state[at]!;
      let mixed = Math.imul(word + 1, 0xcc9e2d51);
      mixed = Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
      first ^= mixed;
      first = (Math.imul((first << 13) | (first >>> 19), 5) + 0xe6546b64) | 0;
      second = Math.imul(second ^ word, 0x85ebca6b);
      second ^= second >>> 15;
      second = (Math.imul(second, 0xc2b2ae35) + 0x27d4eb2f) | 0;
      second ^= second >>> 13;
    }
    if (this.#filled * 6 > this.#places.length) this.#widen();
    const at = placeOf(this.#places, finish(first), finish(second));
    const before = this.#places[at + 2]!;
    if ((before & budget) !== 0) return false;
    if (before === 0) this.#filled += 1;
    this.#places[at] = finish(first);
    this.#places[at + 1] = finish(second);
    this.#places[at + 2] = before | covers;
    return true;
  }

  #widen(): void {
    const before = this.#places;
    const after = new Uint32Array(before.length * 2);
    for (let at = 0; at < before.length; at += 3) {
      if (before[at + 2] === 0) continue;
      const to = placeOf(after, before[at]!, before[at + 1]!);
      after.set(before.subarray(at, at + 3), to);
    }
    this.#places = after;
  }

  #grow(): void {
    const parents = new Uint32Array(this.#parents.length * 2);
    parents.set(this.#parents);
    this.#parents = parents;
    const verbs = new Uint8Array(this.#verbs.length * 2);
    verbs.set(this.#verbs);
    this.#verbs = verbs;
  }
}

function finish(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Where a state stands, or the free place for it. */
function placeOf(places: Uint32Array, first: number, second: number): number {
  const mask = places.length / 3 - 1;
  for (let place = first & mask; ; place = (place + 1) & mask) {
    const at = place * 3;
    if (places[at + 2] === 0) return at;
    if (places[at] === first && places[at + 1] === second) return at;
  }
}
