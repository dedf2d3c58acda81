/** Lines of the journal that are written together: as bytes, since text and records would live too long. */
import type { Cursor } from './platform/journal-files.ts';

export interface DurableLine {
  /** Without its newline. */
  readonly line: string;
  /** The place behind the line. */
  readonly cursor: Cursor;
}

/** Lines that became durable together. */
export interface DurableLines {
  readonly count: number;
  /** With their newlines. */
  readonly bytes: number;
  /** The place behind the last. */
  readonly end: Cursor;
  /** To be called before `onDurable()` returns: then the bytes make room for others. */
  lines(): DurableLine[];
}

const FIRST_BYTES = 65_536;

export class JournalBatch {
  /** What runs, in this order, once all lines are durable. */
  readonly after: (() => void)[] = [];
  /** Where each line ends. */
  readonly #ends: number[] = [];
  #buffer: Buffer;
  #size = 0;

  /** @param buffer Of a batch that is over, to be used again. */
  constructor(buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)) {
    this.#buffer = buffer;
  }

  get count(): number {
    return this.#ends.length;
  }

  /** Bytes of all lines. */
  get size(): number {
    return this.#size;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#size);
  }

  /** The room for another batch, once this one is over. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /**
   * @param text With its newline.
   * @param isPlain Whether it is known that each of its units is a byte.
   * @returns its bytes.
   */
  add(text: string, isPlain: boolean): number {
    const bytes = isPlain ? text.length : Buffer.byteLength(text);
    const end = this.#size + bytes;
    if (end > this.#buffer.length) this.#grow(end);
    this.#buffer.write(text, this.#size, bytes === text.length ? 'latin1' : 'utf8');
    this.#size = end;
    this.#ends.push(end);
    return bytes;
  }

  /** @param start Where the batch stands in its segment. */
  durable(segment: number, start: number): DurableLines {
    return {
      count: this.count,
      bytes: this.#size,
      end: { segment, offset: start + this.#size },
      lines: () => {
        let from = 0;
        return this.#ends.map((end) => {
          const line = this.#buffer.toString('utf8', from, end - 1);
          from = end;
          return { line, cursor: { segment, offset: start + end } };
        });
      },
    };
  }

  #grow(size: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#size);
    this.#buffer = larger;
  }
}
