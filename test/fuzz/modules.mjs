/** The readers of a build: the project's own, or a copy with a bug. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const FILES = {
  decode: 'protocol/wire/decode.js',
  encode: 'protocol/wire/encode.js',
  clients: 'protocol/wire/clients.js',
  frames: 'protocol/wire/frames.js',
  reader: 'protocol/wire/frame-reader.js',
  ringFile: 'protocol/wire/ring-file.js',
  recording: 'protocol/wire/recording.js',
  handshake: 'protocol/wire/handshake.js',
  crc: 'protocol/wire/crc32c.js',
  errors: 'protocol/wire/protocol-error.js',
  endpoint: 'daemon/platform/endpoint.js',
  recovery: 'daemon/recovery.js',
  hub: 'daemon/hub.js',
  lines: 'daemon/journal-lines.js',
  ring: 'protocol/session/ring.js',
};

/** @param {string} dist folder of the build @returns the modules by the names above */
export async function load(dist) {
  const found = {};
  for (const [name, file] of Object.entries(FILES)) {
    found[name] = await import(pathToFileURL(join(dist, file)).href);
  }
  return found;
}
