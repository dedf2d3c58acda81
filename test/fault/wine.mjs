/** Hosts and daemon of Windows, as Wine plays it. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/native.mjs';
import { buildProducer } from './build.mjs';

const prefix = join(root, '.cache', 'wine', 'prefix');
const windowsNode = join(root, '.cache', 'wine', 'node', 'bin', 'node.exe');
const env = { WINEPREFIX: prefix, WINEDEBUG: '-all', NODE_SKIP_PLATFORM_CHECK: '1' };
const windowsPath = (path) => `Z:${path.replaceAll('/', '\\')}`;
const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const START_MS = 30_000;

/** @returns what is missing; undefined if nothing is. */
export function whyNoWine() {
  if (spawnSync('wine', ['--version'], { stdio: 'ignore' }).status !== 0) {
    return 'Wine is missing: sudo apt-get install wine wine64';
  }
  if (!existsSync(join(root, 'dist', 'native', 'win-x64'))) {
    return 'mingw-w64 is missing: sudo apt-get install g++-mingw-w64-x86-64-posix';
  }
  if (!existsSync(windowsNode)) return 'the Windows build of Node is missing: npm test fetches it';
  return undefined;
}

/** Options for `runHostRound()`. */
export async function wineHosts() {
  const { path } = await buildProducer('plain', { windows: true });
  const cli = windowsPath(join(root, 'dist', 'bin', 'mapisync.js'));
  return {
    producer: ['wine', path],
    path: windowsPath,
    env,
    atOnce: 1,
    oneByOne: true,
    // Wine keeps files of a tmpfs from being shared as Windows does; a disk it is.
    onDisk: true,
    async startDaemon(state, errors) {
      const command = (...args) => [windowsNode, cli, ...args, '--state-dir', windowsPath(state)];
      const child = spawn('wine', command('daemon', 'run'), {
        stdio: ['ignore', errors, errors],
        env: { ...process.env, ...env },
      });
      let gone = false;
      child.on('exit', () => {
        gone = true;
      });
      return {
        async ready() {
          const until = performance.now() + START_MS;
          while (!existsSync(join(state, 'endpoint')) && performance.now() < until) await delay(50);
          return existsSync(join(state, 'endpoint'));
        },
        async stop() {
          spawnSync('wine', command('daemon', 'stop'), {
            stdio: ['ignore', errors, errors],
            env: { ...process.env, ...env },
          });
          const until = performance.now() + START_MS;
          while (!gone && performance.now() < until) await delay(50);
          return gone;
        },
        kill: () => child.kill('SIGKILL'),
      };
    },
  };
}
