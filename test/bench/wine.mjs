/** Part `wine`: the x64 DLL and the daemon of Windows, as Wine plays it, over a named pipe. */
import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/native.mjs';
import { whyNoWine } from '../fault/wine.mjs';
import { measure, print } from './caller.mjs';
import { compile, shimOf, start } from './native.mjs';
import { median, ROUNDS, round, startDaemon, withFolder } from './support.mjs';

const target = 'win-x64';
const SECONDS = { quick: 2, full: 5 };
const BURSTS = { quick: 100, full: 250 };
const env = {
  WINEPREFIX: join(root, '.cache', 'wine', 'prefix'),
  WINEDEBUG: '-all',
  NODE_SKIP_PLATFORM_CHECK: '1',
};
const windows = (path) => `Z:${path.replaceAll('/', '\\')}`;
const node = join(root, '.cache', 'wine', 'node', 'bin', 'node.exe');
const daemon = (...args) => [
  ...['wine', node, windows(join(root, 'dist', 'bin', 'mapisync.js')), 'daemon'],
  ...args,
];

export async function run({ size, say }) {
  const why = size === 'smoke' ? 'not in the smoke form' : whyNoWine();
  if (why) {
    if (process.env.MAPISYNC_REQUIRE === 'all' && size !== 'smoke') throw new Error(why);
    say(`SKIPPED: ${why}`);
    return { metrics: {} };
  }
  return withFolder(async (folder) => {
    const shim = windows(shimOf(target));
    const caller = compile('caller', { target });
    const alone = await measure(['wine', caller, shim, windows(folder)], join(folder, 'absent'), {
      rounds: ROUNDS,
      bursts: BURSTS[size],
      mode: 'absent',
      env: { ...env, MAPISYNC_STATE_DIR: windows(join(folder, 'absent')) },
    });
    print(say, 'No daemon, under Wine', alone);

    const state = join(folder, 'state');
    const host = compile('host', { target });
    const command = daemon('run', '--state-dir', windows(state));
    // Node under Wine cannot write to a pipe of this system, which our own may be.
    const stderr = openSync(join(folder, 'daemon.stderr'), 'w');
    const running = await startDaemon(state, { command, env, stderr });
    const rates = [];
    try {
      for (let i = 0; i < ROUNDS; i++) {
        const flood = start(
          ['wine', host, shim, 'flood', String(SECONDS[size])],
          windows(state),
          env,
        );
        rates.push(JSON.parse(await flood.line()).frames_per_s);
        await flood.ended;
      }
    } finally {
      const [program, ...args] = daemon('stop', '--state-dir', windows(state));
      spawnSync(program, args, { stdio: 'ignore', env: { ...process.env, ...env } });
      await running.ended;
    }
    say(`  over the named pipe: ${rates.join(', ')} frames a second`);
    const wine = {
      frames_per_s: median(rates),
      warm_p50_ns: alone.sink24.p50,
      xadd_p50_ns: alone.xadd.p50,
      full_p50_ns: alone.full.p50,
    };
    say(`  sink24 / xadd: ${round(alone.sink24.p50 / alone.xadd.p50, 2)}`);
    return { metrics: { wine } };
  });
}
