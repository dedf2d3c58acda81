/**
 * Listens on a pipe as an impostor would, and tells how many bytes each peer says.
 *
 *   node impostor.mjs --pipe NAME --out FILE [--owner SID]
 */
import { appendFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import {
  ERROR_IO_PENDING,
  FILE_FLAG_OVERLAPPED,
  INVALID_HANDLE,
  PIPE_ACCESS_DUPLEX,
  win32Calls,
} from '../../../dist/daemon/platform/win32-calls.js';

const { values } = parseArgs({
  options: {
    pipe: { type: 'string' },
    out: { type: 'string' },
    owner: { type: 'string' },
  },
});
const calls = win32Calls();
const say = (line) => appendFileSync(values.out, `${line}\n`);
const owner = values.owner ?? calls.userSid();
const attributes = calls.securityAttributes(`O:${owner}G:${owner}D:P(A;;GA;;;WD)`);
const POLL_MS = 10;

function next() {
  const mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
  const pipe = calls.createNamedPipe(values.pipe, mode, 0, attributes);
  if (pipe === INVALID_HANDLE) {
    say(`cannot listen: Windows error ${calls.getLastError()}`);
    process.exit(1);
  }
  const connected = calls.newEvent();
  const wait = calls.newConnectWait(connected);
  const arrived = () => {
    next();
    let heard = 0;
    const socket = new Socket({ fd: calls.toDescriptor(pipe), readable: true, writable: true });
    socket.on('data', (bytes) => {
      heard += bytes.length;
    });
    socket.on('error', () => {});
    socket.on('close', () => say(`peer heard ${heard}`));
  };
  const started = wait.start(pipe);
  if (started !== 0 && started !== ERROR_IO_PENDING) {
    calls.closeHandle(pipe);
    say('peer heard 0'); // It came and went before we looked.
    setTimeout(next, POLL_MS);
    return;
  }
  const look = () => {
    if (started === 0 || calls.waitAny([connected], 0) === 0) arrived();
    else setTimeout(look, POLL_MS);
  };
  look();
}

next();
say('listening');
