import { MAX_FRAME_BYTES } from './limits.ts';

/**
 * Writes one msgpack array in shortest forms, into memory that it uses again for the next body. Inputs
 * are our own values, so one out of range is a bug and throws a RangeError.
 */
export class BodyWriter {
  readonly #bytes = Buffer.allocUnsafe(MAX_FRAME_BYTES);
  #at = 0;

  /** Begins a body of `elements` elements. */
  open(elements: number): this {
    this.#at = 0;
    if (elements < 16) return this.#bigEndian(0x90 | elements, 1);
    return this.#bigEndian(0xdc, 1).#bigEndian(elements, 2);
  }

  /** @returns the body, copied out. */
  close(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, 0, this.#at);
  }

  uint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Not a uint: ${value}`);
    if (value < 0x80) return this.#bigEndian(value, 1);
    if (value <= 0xff) return this.#bigEndian(0xcc, 1).#bigEndian(value, 1);
    if (value <= 0xffff) return this.#bigEndian(0xcd, 1).#bigEndian(value, 2);
    if (value <= 0xffffffff) return this.fixed32(value);
    return this.fixed64(value);
  }

  fixed32(value: number): this {
    return this.#bigEndian(0xce, 1).#bigEndian(value, 4);
  }

  fixed64(value: number): this {
    return this.#bigEndian(0xcf, 1)
      .#bigEndian(Math.floor(value / 0x100000000), 4)
      .#bigEndian(value % 0x100000000, 4);
  }

  /** A string, or nil for null. A lone surrogate becomes U+FFFD. */
  str(text: string | null): this {
    if (text === null) return this.#bigEndian(0xc0, 1);
    const size = Buffer.byteLength(text, 'utf8');
    if (size < 0x20) this.#bigEndian(0xa0 | size, 1);
    else if (size <= 0xff) this.#bigEndian(0xd9, 1).#bigEndian(size, 1);
    else if (size <= 0xffff) this.#bigEndian(0xda, 1).#bigEndian(size, 2);
    this.#need(size);
    this.#bytes.write(text, this.#at, 'utf8');
    this.#at += size;
    return this;
  }

  uintOrNil(value: number | null): this {
    return value === null ? this.#bigEndian(0xc0, 1) : this.uint(value);
  }

  bin(bytes: Uint8Array): this {
    return this.#bigEndian(0xc4, 1).#bigEndian(bytes.length, 1).raw(bytes);
  }

  /** One element that is msgpack already. */
  raw(bytes: Uint8Array): this {
    this.#need(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  #bigEndian(value: number, size: number): this {
    this.#need(size);
    this.#at = this.#bytes.writeUIntBE(value, this.#at, size);
    return this;
  }

  #need(size: number): void {
    if (this.#at + size > MAX_FRAME_BYTES) {
      throw new RangeError(`A body has at most ${MAX_FRAME_BYTES} bytes`);
    }
  }
}
