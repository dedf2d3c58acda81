/** Parts `rsyslog` and `syslog-ng`: shippers as Debian has them, with the configurations of the docs. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../security/peers.mjs';
import { compare, Machine, scratch, until } from './machine.mjs';

/** Debian lets one of the two be installed: the other may lie unpacked here. */
const UNPACKED = join(root, '.cache', 'syslog-ng');
const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/syslog-ng', 'lib/x86_64-linux-gnu'];

const SHIPPERS = {
  rsyslog: {
    command: 'rsyslogd',
    args: (dir, config) => ['-n', '-f', config, '-i', join(dir, 'pid')],
    env: {},
  },
  'syslog-ng': existsSync(UNPACKED)
    ? {
        command: join(UNPACKED, 'usr', 'sbin', 'syslog-ng'),
        args: (dir, config) => [
          ...['-F', '-f', config, '-R', join(dir, 'persist'), '-p', join(dir, 'pid')],
          ...['-c', join(dir, 'control'), `--module-path=${UNPACKED}/usr/lib/syslog-ng/3.38`],
        ],
        env: { LD_LIBRARY_PATH: libraries.map((one) => join(UNPACKED, one)).join(':') },
      }
    : {
        command: 'syslog-ng',
        args: (dir, config) => [
          ...['-F', '-f', config, '-R', join(dir, 'persist'), '-p', join(dir, 'pid')],
          ...['-c', join(dir, 'control')],
        ],
        env: {},
      },
};

export const has = (name) => {
  const { command, env } = SHIPPERS[name];
  const found = spawnSync(command, ['--version'], {
    stdio: 'ignore',
    env: { ...process.env, ...env },
  });
  return found.error === undefined;
};

/** The docs' configuration with the places of this run. */
function configure(name, dir) {
  const text = readFileSync(join(root, 'docs', 'integrations', `${name}.conf`), 'utf8');
  const config = join(dir, `${name}.conf`);
  const own = text
    .replaceAll('/var/log/mapisync-export', join(dir, 'out'))
    .replaceAll('/var/spool/rsyslog', join(dir, 'work'))
    .replaceAll('/var/log/mapisync.jsonl', join(dir, 'got.jsonl'));
  writeFileSync(config, own);
  return config;
}

export const part = (name) => ({
  async run({ count, say }) {
    const { dir, remove } = scratch();
    const out = join(dir, 'out');
    mkdirSync(join(dir, 'work'));
    mkdirSync(out);
    const got = join(dir, 'got.jsonl');
    const { command, args, env } = SHIPPERS[name];
    const config = configure(name, dir);
    let child;
    let said = '';
    const start = () => {
      child = spawn(command, args(dir, config), {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (bytes) => {
          said += bytes;
        });
      }
    };
    const stop = async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    };
    const machine = new Machine(dir, {
      MAPISYNC_EXPORT_FILE_DIR: out,
      // Just enough for all: the smaller, the more often a new file begins while the shipper reads.
      MAPISYNC_EXPORT_FILE_SIZE: `${Math.max(4, Math.ceil(count / 900))}MiB`,
    });
    const lines = () => (existsSync(got) ? readFileSync(got, 'utf8').split('\n').slice(0, -1) : []);
    try {
      await machine.start();
      start();
      // It stops in the middle, once while there is nothing new and once while files change.
      for (let round = 0; round < 4; round++) {
        const before = lines().length;
        await machine.notes(Math.floor(count / 4));
        await until(`${name} takes some (${said})`, () => lines().length > before);
        await stop();
        if (round % 2 === 0) await machine.notes(10);
        start();
      }
      await machine.settled();
      await machine.exported('file');
      say('All calls were made');
      const { ids } = machine.records();
      await until(`${name} has it all (${said})`, () => lines().length >= ids.length);
      await stop();
      const arrived = lines().map((line) => JSON.parse(line).event_id);
      return { ...compare(ids, arrived), files: readdirSync(out).length };
    } finally {
      child?.kill('SIGKILL');
      await machine.end('SIGTERM');
      remove();
    }
  },
});
