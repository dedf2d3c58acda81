import { MAX_FRAME_ELEMENTS } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

/** Sequence numbers, and so sessions, stay below this. */
export const SEQ_LIMIT = 2 ** 45;
/** Every other integer stays below this. */
export const UINT_LIMIT = 2 ** 53;
export const U32_LIMIT = 2 ** 32;

/**
 * Reads the elements of one flat body in their order. Moves forward only and looks at each byte at
 * most once, so the work is bounded by the size of the body. Makes no object but the values asked for,
 * so one cursor serves any number of bodies.
 *
 * @throws {ProtocolError} From every method that reads: `malformed` where the shape is not flat
 * msgpack, `bad-field` where a value is out of its range.
 */
export class BodyCursor {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  #left = 0;

  /** Opens the body that stands from `start` to `end`. */
  open(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#left = MAX_FRAME_ELEMENTS;
    const tag = this.#byte('array');
    if (tag >= 0x90 && tag <= 0x9f) this.#left = tag & 0x0f;
    else if (tag === 0xdc) this.#left = this.#bigEndian(2);
    else if (tag === 0xdd) this.#left = this.#bigEndian(4);
    else throw malformed('an array', hex(tag));
    if (this.#left > MAX_FRAME_ELEMENTS) {
      throw malformed(`at most ${MAX_FRAME_ELEMENTS} elements`, String(this.#left));
    }
  }

  /** Where the next element begins. */
  get at(): number {
    return this.#at;
  }

  /** Elements not read yet. */
  get left(): number {
    return this.#left;
  }

  /** An unsigned integer below `limit`. */
  uint(name: string, limit: number = UINT_LIMIT): number {
    const value = this.#uint(this.#next(name), name);
    if (value >= limit) throw badField(name, `an integer below ${limit}`, String(value));
    return value;
  }

  /** An integer that PROTOCOL.md calls fixed: `tag` cf has 8 bytes, ce has 4. */
  fixed(name: string, tag: 0xcf | 0xce): number {
    const found = this.#next(name);
    if (found !== tag) throw malformed(`${name} to begin with ${hex(tag)}`, hex(found));
    return this.#uint(found, name);
  }

  /** Whether the next bytes could be a header of a sequenced kind. Reads nothing. */
  atHeader(): boolean {
    const at = this.#at;
    if (this.#left < 4 || at + 23 >= this.#end) return false;
    const session = this.#bytes[at + 23] as number;
    return (
      this.#bytes[at] === 0xcf &&
      this.#bytes[at + 9] === 0xcf &&
      this.#bytes[at + 18] === 0xce &&
      (session < 0x80 || (session >= 0xcc && session <= 0xcf))
    );
  }

  /** A string of at most `maxBytes`. Invalid UTF-8 becomes U+FFFD. */
  str(name: string, maxBytes: number): string {
    const tag = this.#next(name);
    const size = this.#strSize(tag);
    if (size < 0) throw malformed(`${name} to be a string`, hex(tag));
    return this.#text(name, size, maxBytes);
  }

  /** A string of at most `maxBytes`, or nil. */
  strOrNil(name: string, maxBytes: number): string | null {
    const tag = this.#next(name);
    if (tag === 0xc0) return null;
    const size = this.#strSize(tag);
    if (size < 0) throw malformed(`${name} to be a string or nil`, hex(tag));
    return this.#text(name, size, maxBytes);
  }

  /**
   * Steps over a string of at most `maxBytes`, or nil, without decoding it.
   *
   * @returns its size in bytes; -1 for nil. Its bytes end at `at`.
   */
  skipText(name: string, maxBytes: number): number {
    const tag = this.#next(name);
    if (tag === 0xc0) return -1;
    const size = this.#strSize(tag);
    if (size < 0) throw malformed(`${name} to be a string or nil`, hex(tag));
    this.#skip(name, size);
    if (size > maxBytes) throw badField(name, `at most ${maxBytes} bytes`, String(size));
    return size;
  }

  /** An unsigned integer below `limit`, or nil. */
  uintOrNil(name: string, limit: number): number | null {
    if (this.#left > 0 && this.#bytes[this.#at] === 0xc0 && this.#at < this.#end) {
      this.#next(name);
      return null;
    }
    return this.uint(name, limit);
  }

  /** `size` bytes of bin, as lower-case hex. */
  binHex(name: string, size: number): string {
    const tag = this.#next(name);
    const found = tag === 0xc4 ? this.#bigEndian(1) : -1;
    if (found < 0) throw malformed(`${name} to be bin`, hex(tag));
    this.#skip(name, found);
    if (found !== size) throw badField(name, `${size} bytes`, String(found));
    return asBuffer(this.#bytes).toString('hex', this.#at - size, this.#at);
  }

  /** Ignores the elements of a newer peer, but holds them to the flat shape too. */
  close(): void {
    while (this.#left > 0) {
      const tag = this.#next('element');
      if (tag < 0x80 || tag === 0xc0) continue;
      if (tag >= 0xcc && tag <= 0xcf) this.#uint(tag, 'element');
      else if (tag >= 0xc4 && tag <= 0xc6)
        this.#skip('element', this.#bigEndian(1 << (tag - 0xc4)));
      else {
        const size = this.#strSize(tag);
        if (size < 0) throw malformed('an integer, nil, string or bin', hex(tag));
        this.#skip('element', size);
      }
    }
    if (this.#at !== this.#end) {
      throw malformed('the body to end with its array', `${this.#end - this.#at} bytes more`);
    }
  }

  #next(name: string): number {
    if (this.#left === 0) throw malformed(`an element for ${name}`, 'the end of the array');
    this.#left -= 1;
    return this.#byte(name);
  }

  #byte(name: string): number {
    if (this.#at >= this.#end) throw malformed(`bytes of ${name}`, 'the end of the body');
    return this.#bytes[this.#at++] as number;
  }

  #uint(tag: number, name: string): number {
    if (tag < 0x80) return tag;
    if (tag < 0xcc || tag > 0xcf) throw malformed(`${name} to be an unsigned integer`, hex(tag));
    const value = this.#bigEndian(1 << (tag - 0xcc));
    if (value >= UINT_LIMIT) throw badField(name, 'an integer below 2^53', 'a larger one');
    return value;
  }

  /** @returns -1 if `tag` is no string's. */
  #strSize(tag: number): number {
    if (tag >= 0xa0 && tag <= 0xbf) return tag & 0x1f;
    if (tag >= 0xd9 && tag <= 0xdb) return this.#bigEndian(1 << (tag - 0xd9));
    return -1;
  }

  #bigEndian(size: number): number {
    const end = this.#at + size;
    if (end > this.#end) throw malformed('a whole integer', 'the end of the body');
    const value = bigEndian(this.#bytes, this.#at, end);
    this.#at = end;
    return value;
  }

  #skip(name: string, size: number): void {
    if (size > this.#end - this.#at) throw malformed(`all bytes of ${name}`, 'the end of the body');
    this.#at += size;
  }

  #text(name: string, size: number, maxBytes: number): string {
    this.#skip(name, size);
    if (size > maxBytes) throw badField(name, `at most ${maxBytes} bytes`, String(size));
    return decodeText(this.#bytes, this.#at - size, this.#at);
  }
}

function bigEndian(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  // Multiplied, not shifted: a shift would wrap at 32 bits.
  for (let at = start; at < end; at += 1) value = value * 256 + (bytes[at] as number);
  return value;
}

/** Invalid UTF-8 becomes U+FFFD; a byte order mark stays. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  return start === end ? '' : asBuffer(bytes).toString('utf8', start, end);
}

export function badField(name: string, wanted: string, got: string): ProtocolError {
  return new ProtocolError('bad-field', `Cannot read ${name}: expected ${wanted}, got ${got}`);
}

function malformed(wanted: string, got: string): ProtocolError {
  return new ProtocolError('malformed', `Cannot read frame: expected ${wanted}, got ${got}`);
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`;
}

/** Chunks from a socket are Buffers already, and a Buffer decodes text much faster. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
