/** Makes a new input out of good ones: knows where msgpack has its tags, lengths and integers. */

/** Integers at both sides of each limit, as msgpack has them. */
const EDGES = [
  '00', '7f', 'cc80', 'ccff', 'cd0100', 'cdffff', 'ce00010000', 'ceffffffff', 'cf0000000100000000',
  'cf00001fffffffffff', 'cf0000200000000000', 'cf001fffffffffffff', 'cf0020000000000000',
  'cfffffffffffffffff', 'c0', 'a0', 'a141', 'bf', 'd900', 'd9ff', 'da0400', 'da0401', 'da3000',
  'da3001', 'dbffffffff', 'c400', 'c5ffff', 'c6ffffffff', 'e0', 'ff', 'd0ff', 'cb3ff8000000000000',
  'c2', 'c3', 'd40000', '80', '8f', '90', '9f', 'dc0020', 'dc0021', 'dcffff', 'dd00000001',
  'ddffffffff', 'c1', 'a4f09f9880', 'a2c328', 'a3efbbbf',
].map((hex) => Buffer.from(hex, 'hex')); // biome-ignore format: a table of bytes

const TAGS = Uint8Array.from([
  0x00, 0x7f, 0x80, 0x90, 0x9a, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc5, 0xc6, 0xcc, 0xcd, 0xce,
  0xcf, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xe0, 0xff,
]);

/** Where the elements of a flat array begin; as far as its bytes make sense. */
function elementsOf(bytes) {
  const starts = [];
  let at = bytes[0] === 0xdc ? 3 : bytes[0] === 0xdd ? 5 : 1;
  while (at < bytes.length && starts.length < 64) {
    starts.push(at);
    const tag = bytes[at++];
    if (tag >= 0xcc && tag <= 0xcf) at += 1 << (tag - 0xcc);
    else if (tag >= 0xa0 && tag <= 0xbf) at += tag & 0x1f;
    else if (tag === 0xd9 || tag === 0xc4) at += 1 + bytes[at];
    else if (tag === 0xda || tag === 0xc5) at += 2 + bytes[at] * 256 + bytes[at + 1];
  }
  return starts;
}

/** Good inputs with what a mutation wants to know of them. */
export const prepare = (inputs) =>
  inputs.map((bytes) => ({ bytes: Uint8Array.from(bytes), elements: elementsOf(bytes) }));

/**
 * Writes a mutated input to the start of `out`.
 *
 * @param {import('./random.mjs').Random} random
 * @param {ReturnType<typeof prepare>} seeds
 * @param {Uint8Array} out has room for the largest seed and 1024 bytes more
 * @returns {number} its size in bytes
 */
export function mutate(random, seeds, out) {
  const { bytes, elements } = seeds[random.below(seeds.length)];
  out.set(bytes);
  let size = bytes.length;
  const most = out.length - 32;
  const splice = (at, remove, put) => {
    const end = Math.min(size, at + remove);
    if (size + put.length - (end - at) > most) return;
    out.copyWithin(at + put.length, end, size);
    out.set(put, at);
    size += put.length - (end - at);
  };
  const place = () => {
    const nth = elements.length > 0 && random.below(4) > 0 ? random.below(elements.length) : -1;
    return Math.min(nth < 0 ? random.below(size + 1) : elements[nth], size);
  };
  // Some of one kind more often than many of all: a deep field is reached only by a body that is else good.
  for (let times = 1 << random.below(3); times > 0; times -= 1) {
    const at = place();
    switch (random.below(10)) {
      case 0:
        if (at < size) out[at] ^= 1 << random.below(8);
        break;
      case 1:
        if (at < size) out[at] = TAGS[random.below(TAGS.length)];
        break;
      case 2:
        if (at < size) out[at] = random.below(256);
        break;
      case 3: // Another element in the place of this one, with the rest where it was.
      case 4: {
        const n = elements.indexOf(at);
        const end = n >= 0 ? (elements[n + 1] ?? size) : at + 1;
        splice(at, Math.max(0, end - at), EDGES[random.below(EDGES.length)]);
        break;
      }
      case 5:
        size = random.below(size + 1);
        break;
      case 6:
        splice(at, 1 + random.below(8), EDGES[random.below(EDGES.length)].subarray(0, 0));
        break;
      case 7: // One element more, and the count with it.
        splice(size, 0, EDGES[random.below(EDGES.length)]);
        if (out[0] >= 0x90 && out[0] < 0x9f) out[0] += 1;
        break;
      case 8: {
        const other = seeds[random.below(seeds.length)].bytes;
        const from = random.below(other.length + 1);
        splice(at, random.below(16), other.subarray(from, from + random.below(64)));
        break;
      }
      case 9: {
        // The same number of elements in a longer form, or nested headers in front.
        const form = random.below(3);
        if (form === 0 && out[0] >= 0x90 && out[0] <= 0x9f) {
          splice(0, 1, Uint8Array.of(0xdc, 0, out[0] & 0x0f));
        } else if (form === 1) {
          splice(0, 0, Uint8Array.of(0xdd, 0, 0, 0, 1));
        } else if (at + 4 <= size) {
          out.set(EDGES[random.below(EDGES.length)].subarray(0, size - at), at);
        }
        break;
      }
    }
  }
  return size;
}
