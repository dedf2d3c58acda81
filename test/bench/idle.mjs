/**
 * Part `idle`: how often the threads of a daemon and of a host wake while nothing happens. Each wake-up is
 * a context switch that the thread asked for, by waiting; being preempted by others is none.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostTarget } from '../../bin/native.mjs';
import { compile, shimOf, start } from './native.mjs';
import { delay, round, withDaemon, withFolder } from './support.mjs';

const WATCH_MS = { smoke: 300, quick: 10_000, full: 60_000 };
/** V8 collects once, some 10 s after a start. */
const SETTLE_MS = { smoke: 100, quick: 3000, full: 15_000 };

function switches(pid) {
  let count = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
    for (const [, n] of status.matchAll(/^voluntary_ctxt_switches:\s+(\d+)/gm)) {
      count += Number(n);
    }
  }
  return count;
}

export async function run({ size, say }) {
  return withFolder(async (folder) => {
    const host = compile('host', { quickly: size === 'smoke' });
    const command = (mode) => [host, shimOf(hostTarget), mode];
    /** Wake-ups a second of each process, watched side by side. */
    const watch = async (pids) => {
      await delay(SETTLE_MS[size]);
      const before = pids.map(switches);
      const begin = performance.now();
      await delay(WATCH_MS[size]);
      const seconds = (performance.now() - begin) / 1000;
      return pids.map((pid, i) => round((switches(pid) - before[i]) / seconds, 2));
    };
    const found = {};
    await withDaemon(join(folder, 'state'), async ({ pid, state }) => {
      const idle = start(command('idle'), state);
      await idle.line();
      const silentState = join(folder, 'silent');
      await withDaemon(silentState, async () => {
        const silent = start(command('silent'), silentState);
        await silent.line();
        // The daemon that is watched has a shim with no session.
        const rates = await watch([idle.child.pid, silent.child.pid, pid]);
        [
          found.worker_wakeups_per_s,
          found.worker_silent_session_wakeups_per_s,
          found.daemon_wakeups_per_s,
        ] = rates;
        silent.child.stdin.end();
        await silent.ended;
      });
      idle.child.stdin.end();
      await idle.ended;
    });
    for (const [name, rate] of Object.entries(found)) say(`  ${name.padEnd(40)}${rate}`);
    return { metrics: { idle: found } };
  });
}
