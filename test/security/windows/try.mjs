/**
 * Tries to get to a daemon's pipe as whoever runs this, and writes one word to a file.
 *
 *   node try.mjs --out FILE --pipe NAME        opens the pipe: `opened`, or `error 5`, ...
 *   node try.mjs --out FILE --state-dir DIR    connects as a client does: `connected`, or why not
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '../../../dist/daemon/platform/connect.js';
import { INVALID_HANDLE, win32Calls } from '../../../dist/daemon/platform/win32-calls.js';

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    pipe: { type: 'string' },
    'state-dir': { type: 'string' },
  },
});

async function attempt() {
  if (values.pipe !== undefined) {
    const calls = win32Calls();
    const pipe = calls.openPipe(values.pipe);
    if (pipe === INVALID_HANDLE) return `error ${calls.getLastError()}`;
    calls.closeHandle(pipe);
    return 'opened';
  }
  try {
    const path = join(values['state-dir'], 'endpoint');
    const { socket } = await connect(path, { role: 'client', timeoutMs: 10_000 });
    socket.destroy();
    return 'connected';
  } catch (error) {
    return error.reason ?? error.message;
  }
}

writeFileSync(values.out, await attempt());
process.exit();
