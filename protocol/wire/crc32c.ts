/** CRC-32C (Castagnoli), one table. Adoption only: nothing on the pipe is checked with it. */

const REFLECTED_POLYNOMIAL = 0x82f63b78;

const table = new Uint32Array(256);
for (let byte = 0; byte < table.length; byte += 1) {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    value = (value >>> 1) ^ (value & 1 ? REFLECTED_POLYNOMIAL : 0);
  }
  table[byte] = value;
}

/** @param seed The CRC of the bytes before these. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  let crc = ~seed;
  for (let at = start; at < end; at += 1) {
    crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] as number)) & 0xff] as number);
  }
  return ~crc >>> 0;
}
