import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { writeEndpoint } from '../../daemon/platform/endpoint.ts';
import { GREETING_BYTES } from '../../protocol/wire/handshake.ts';
import { cleanUp, tempDir } from '../daemon/support.ts';

/** Something that listens where an endpoint file says that a daemon does. */
export function impostor(
  answer: (
    greeting: Uint8Array,
    endpoint: { secret: Buffer; pipe: string },
  ) => Uint8Array | undefined,
): { endpoint: string } {
  const state = mkdtempSync(join(tempDir(), 's'));
  const endpoint = {
    protocol: 1,
    pipe: join(state, 'socket'),
    pid: process.pid,
    started: '2026-01-01T00:00:00Z',
    secret: Buffer.alloc(32, 7),
  };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes: Buffer) => {
      const bytesBack = answer(new Uint8Array(bytes.subarray(0, GREETING_BYTES)), endpoint);
      if (bytesBack) socket.write(bytesBack);
    });
    cleanUp(() => socket.destroy());
  });
  server.listen(endpoint.pipe);
  cleanUp(() => server.close());
  writeEndpoint(join(state, 'endpoint'), endpoint);
  return { endpoint: state };
}
