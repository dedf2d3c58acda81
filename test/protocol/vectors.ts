// Reads the golden vectors: three keywords, so that C++ reads them without a JSON library too.
import { readFileSync } from 'node:fs';

export interface Vector {
  readonly name: string;
  /** The value that the bytes are. */
  readonly value: Record<string, unknown>;
  readonly bytes: Uint8Array;
}

export const vectorFile = (file: string): URL =>
  new URL(`../../protocol/vectors/${file}`, import.meta.url);

export function readVectors(file: string): Vector[] {
  const vectors: Vector[] = [];
  let name = '';
  let value: Record<string, unknown> = {};
  for (const line of readFileSync(vectorFile(file), 'utf8').split('\n')) {
    const [, keyword, rest = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    if (keyword === 'case') name = rest;
    else if (keyword === 'json') value = JSON.parse(rest, bytesFromHex);
    else if (keyword === 'hex') {
      vectors.push({ name, value, bytes: Buffer.from(rest.replaceAll(' ', ''), 'hex') });
    } else if (line !== '' && !line.startsWith('#')) {
      throw new Error(`Cannot read ${file}: ${line}`);
    }
  }
  return vectors;
}

/** JSON has no bytes: they stand there as hex. */
const bytesFromHex = (key: string, value: unknown): unknown =>
  key === 'bytes' ? Uint8Array.from(Buffer.from(String(value), 'hex')) : value;

/** A small seeded generator (mulberry32), so that a failure names what repeats it. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
