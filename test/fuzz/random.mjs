/** xoshiro128** as 32-bit integers: fast, and the same seed gives the same numbers. */
export class Random {
  #a;
  #b;
  #c;
  #d;

  /** @param {number} seed @param {number} part another stream of the same seed */
  constructor(seed, part = 0) {
    let state = (seed ^ Math.imul(part + 1, 0x9e3779b9)) | 0;
    const next = () => {
      state = (state + 0x9e3779b9) | 0;
      let z = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    };
    [this.#a, this.#b, this.#c, this.#d] = [next(), next(), next(), next() | 1];
  }

  /** 32 bits. */
  u32() {
    const m = Math.imul(this.#b, 5);
    const result = Math.imul((m << 7) | (m >>> 25), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** From 0 to `count - 1`. */
  below(count) {
    return Math.floor((this.u32() / 2 ** 32) * count);
  }
}
