/**
 * Part `latency`: from an `Error` call in the host to its record at the end of a pipe from
 * `mapisync tail --json`, at 1,000 calls a second. Both ends read the machine's monotonic clock.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { hostTarget } from '../../bin/native.mjs';
import { compile, shimOf, start } from './native.mjs';
import { at, cli, ROUNDS, until, withDaemon, withFolder } from './support.mjs';

const PER_SECOND = 1000;
const SECONDS = { smoke: 0.2, quick: 1, full: 5 };
const CLIENT_START_MS = 10_000;
const LAST_RECORD_MS = 10_000;

/** @returns microseconds from each call to its record, sorted. */
async function measure(host, state, count) {
  const tail = spawn(process.execPath, [cli, 'tail', '--json', '--all', '--state-dir', state], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const samples = [];
  let said = '';
  let rest = '';
  tail.stdout.setEncoding('utf8').on('data', (part) => {
    const nowUs = Number(process.hrtime.bigint() / 1000n);
    const lines = (rest + part).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const record = JSON.parse(line);
      if (record.event_name === 'session.error') samples.push(nowUs - record.mono_us);
    }
  });
  tail.stderr.setEncoding('utf8').on('data', (part) => {
    said += part;
  });
  try {
    await until('The client', () => said.includes('Following'), CLIENT_START_MS);
    const args = ['errors', String(PER_SECOND), String(count)];
    await start([host, shimOf(hostTarget), ...args], state).ended;
    await until('The last record', () => samples.length >= count, LAST_RECORD_MS);
  } finally {
    tail.kill();
  }
  return samples.sort((a, b) => a - b);
}

export async function run({ size, say }) {
  const rounds = size === 'smoke' ? 1 : ROUNDS;
  return withFolder(async (folder) => {
    const host = compile('host', { quickly: size === 'smoke' });
    const all = [];
    await withDaemon(join(folder, 'state'), async ({ state }) => {
      if (size !== 'smoke') await measure(host, state, PER_SECOND);
      for (let i = 0; i < rounds; i++) {
        const samples = await measure(host, state, PER_SECOND * SECONDS[size]);
        say(
          `  p50 ${at(samples, 0.5)} us, p99 ${at(samples, 0.99)} us of ${samples.length} errors`,
        );
        all.push(...samples);
      }
    });
    all.sort((a, b) => a - b);
    return { metrics: { latency: { p50_us: at(all, 0.5), p99_us: at(all, 0.99) } } };
  });
}
