/**
 * The real daemon with faults under it. Loads everything, says `loaded`, and waits for a line with
 * the plan (JSON) on stdin, so that the next daemon is at hand when one was killed. Says `ready`,
 * `ack` at the first acknowledgement, and `stopped CODE`. The word `calm` on stdin ends the faults,
 * `stop` the daemon.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { arm, disarm } from './inject.mjs';

const say = (word) => writeSync(1, `${word}\n`);
const { runDaemon } = await import(pathToFileURL(process.argv[2]).href);
const abort = new AbortController();
say('loaded');

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'calm') disarm();
    else if (line === 'stop') abort.abort();
    else void run(JSON.parse(line));
  })
  .on('close', () => abort.abort());

async function run({ faults, ...options }) {
  let acknowledged = false;
  arm(faults, (event) => {
    if (acknowledged) return;
    acknowledged = true;
    say(event);
  });
  const code = await runDaemon({
    version: '0.0.0-fault',
    signal: abort.signal,
    ...options,
    say: (line) => (line.includes('is ready') ? say('ready') : writeSync(2, `${line}\n`)),
  });
  say(`stopped ${code}`);
  process.exit(code);
}
