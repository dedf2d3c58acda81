import { ProtocolError } from './protocol-error.ts';

/** Size in bytes of the value, or of its length field, for the tags that have one. */
const WIDTH: Readonly<Record<number, number>> = {
  196: 1,
  197: 2,
  198: 4, // bin
  202: 4,
  203: 8, // float
  204: 1,
  205: 2,
  206: 4,
  207: 8, // unsigned
  208: 1,
  209: 2,
  210: 4,
  211: 8, // signed
  217: 1,
  218: 2,
  219: 4, // string
  220: 2,
  221: 4, // array
  222: 2,
  223: 4, // map
};

/**
 * Bounds what a general msgpack decoder would do with `bytes`: one value, at most `maxDepth` levels of
 * arrays and maps, no count that the bytes cannot hold, no extension. Looks at each byte at most once.
 *
 * @throws {ProtocolError} `malformed`.
 */
export function checkShape(bytes: Uint8Array, maxDepth: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  /** Values still to come, per level. */
  const left = [1];
  let at = 0;
  const nest = (count: number): void => {
    // Every value has a byte at least, so a larger count is a lie.
    if (count > bytes.length - at) throw unshaped('as many values as its counts say');
    if (left.length > maxDepth) throw unshaped(`at most ${maxDepth} levels`);
    left.push(count);
  };
  for (let level = 0; level >= 0; level = left.length - 1) {
    if (left[level] === 0) {
      left.pop();
      continue;
    }
    left[level] = (left[level] as number) - 1;
    if (at >= bytes.length) throw unshaped('whole values');
    const tag = bytes[at++] as number;
    const width = WIDTH[tag] ?? 0;
    if (width > bytes.length - at) throw unshaped('whole values');
    const isNumber = tag >= 0xca && tag <= 0xd3;
    const length = width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at) : 0;
    const size = width === 4 && !isNumber ? view.getUint32(at) : length;
    at += width;
    if (tag < 0x80 || tag >= 0xe0 || isNumber || tag === 0xc0 || tag === 0xc2 || tag === 0xc3)
      continue;
    if (tag < 0x90) nest(2 * (tag & 0x0f));
    else if (tag < 0xa0) nest(tag & 0x0f);
    else if (tag < 0xc0) at += tag & 0x1f;
    else if (width === 0) throw unshaped('no extension');
    else if (tag >= 0xde) nest(2 * size);
    else if (tag >= 0xdc) nest(size);
    else at += size;
    if (at > bytes.length) throw unshaped('whole values');
  }
  if (at !== bytes.length) throw unshaped('nothing after the value');
}

function unshaped(wanted: string): ProtocolError {
  return new ProtocolError('malformed', `Cannot read frame: expected ${wanted}`);
}
