import { MAX_FRAME_BYTES } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

/** The size of a body stands in this many bytes before it, big-endian. */
export const PREFIX_BYTES = 4;

/**
 * Takes one whole body: `bytes` from `start` to `end`. Must not keep `bytes` beyond the call.
 *
 * @returns Where the next frame begins: `end`, or behind what it took of those that follow.
 */
export type TakeBody = (bytes: Uint8Array, start: number, end: number) => number;

/**
 * Cuts a byte stream into frame bodies. Does no I/O and has no clock.
 *
 * Errors are sticky: after the first one `error` is set, every further byte is ignored, and the
 * caller hangs up. A stream framed by length has no way to find the next frame after a bad one.
 *
 * Invariant: between calls it holds less than one frame, so its memory is bounded by
 * `PREFIX_BYTES + MAX_FRAME_BYTES`.
 */
export class FrameReader {
  #error: ProtocolError | undefined;
  #frames = 0;
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  #prefixBytes = 0;
  /** The body that a chunk's end cut; its size is known. */
  #body: Uint8Array | undefined;
  #bodyBytes = 0;

  /** Why the stream cannot be read on; `undefined` while it can. */
  get error(): ProtocolError | undefined {
    return this.#error;
  }

  /** Whole frames so far; what `take` took at once counts as one. */
  get frames(): number {
    return this.#frames;
  }

  /**
   * Bytes of a frame that is not whole yet. A caller with a clock enforces `FRAME_TIMEOUT_MS`: more
   * than 0 bytes pending while `frames` did not move for that long means that the peer is stuck.
   */
  get pending(): number {
    return this.#prefixBytes + this.#bodyBytes;
  }

  /**
   * Takes what arrived and returns the bodies that are whole now, in order. They alias `chunk`, but
   * for the first one if an earlier chunk's end had cut it. Check `error` afterwards.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const bodies: Uint8Array[] = [];
    this.read(chunk, (bytes, start, end) => {
      bodies.push(bytes.subarray(start, end));
      return end;
    });
    return bodies;
  }

  /** Like `push()`, without an object per frame. `take` may throw; the stream is then unusable. */
  read(chunk: Uint8Array, take: TakeBody): void {
    if (this.#error !== undefined) return;
    let at = this.pending > 0 ? this.#finishPending(chunk, take) : 0;
    const size = chunk.length;
    while (this.#error === undefined && at + PREFIX_BYTES <= size) {
      const bodySize = this.#bodySize(chunk, at);
      if (bodySize === 0) return;
      const end = at + PREFIX_BYTES + bodySize;
      if (end > size) break;
      this.#frames += 1;
      at = take(chunk, at + PREFIX_BYTES, end);
    }
    if (this.#error === undefined && at < size) this.#keep(chunk, at);
  }

  /** @returns 0 with `error` set if the size is out of range. */
  #bodySize(bytes: Uint8Array, at: number): number {
    const size =
      (bytes[at] as number) * 0x1000000 +
      (((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number));
    if (size > 0 && size <= MAX_FRAME_BYTES) return size;
    const want = `a body of 1 to ${MAX_FRAME_BYTES} bytes`;
    this.#error = new ProtocolError('oversize', `Cannot read frame: expected ${want}, got ${size}`);
    return 0;
  }

  /** @returns where the bytes after the pending frame begin. */
  #finishPending(chunk: Uint8Array, take: TakeBody): number {
    let at = 0;
    if (this.#body === undefined) {
      while (this.#prefixBytes < PREFIX_BYTES) {
        if (at === chunk.length) return at;
        this.#prefix[this.#prefixBytes++] = chunk[at++] as number;
      }
      const bodySize = this.#bodySize(this.#prefix, 0);
      if (bodySize === 0) return at;
      const end = at + bodySize;
      if (end <= chunk.length) {
        this.#settle();
        return take(chunk, at, end);
      }
      this.#body = new Uint8Array(bodySize);
    }
    const body = this.#body;
    const part = chunk.subarray(at, at + body.length - this.#bodyBytes);
    body.set(part, this.#bodyBytes);
    this.#bodyBytes += part.length;
    at += part.length;
    if (this.#bodyBytes === body.length) {
      this.#settle();
      take(body, 0, body.length);
    }
    return at;
  }

  #settle(): void {
    this.#prefixBytes = 0;
    this.#bodyBytes = 0;
    this.#body = undefined;
    this.#frames += 1;
  }

  /** Copies what a chunk's end cut: the caller may reuse the chunk. */
  #keep(chunk: Uint8Array, from: number): void {
    let at = from;
    while (this.#prefixBytes < PREFIX_BYTES && at < chunk.length) {
      this.#prefix[this.#prefixBytes++] = chunk[at++] as number;
    }
    if (this.#prefixBytes < PREFIX_BYTES) return;
    const bodySize = this.#bodySize(this.#prefix, 0);
    if (bodySize === 0) return;
    this.#body = new Uint8Array(bodySize);
    this.#body.set(chunk.subarray(at));
    this.#bodyBytes = chunk.length - at;
  }
}
