/**
 * Makes the recordings beside this file anew: `npm run build`, then `node test/recordings/make.mjs`. Each
 * is a sync of the sample host, through the real shim and a real daemon, recorded by `mapisync record`.
 * What is this machine's (ring, process, thread, time) is replaced by what is always the same; spans of
 * time stay as they were.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { encodeFrame } from '../../dist/protocol/wire/encode.js';
import { rebase } from '../../dist/protocol/wire/rebase.js';
import { RecordingWriter, readRecording } from '../../dist/protocol/wire/recording.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const native = join(root, 'dist', 'native', `${process.platform}-${process.arch}`);
const cli = join(root, 'dist', 'bin', 'mapisync.js');

/**
 * Name of the file, and how the host is run. `kill`: after so many milliseconds. `pause`: stopped after so
 * many, and for so many. `uneven`: its Maildir, instead of a small one.
 */
const RECORDINGS = [
  { name: 'clean', args: ['--scenario', '2'] },
  { name: 'one-count', args: ['--scenario', '1'] },
  { name: 'phase-marks', args: ['--scenario', '3'] },
  { name: 'odd-texts', args: ['--scenario', '5'] },
  { name: 'odd-counts', args: ['--scenario', '6'] },
  { name: 'odd-errors', args: ['--scenario', '7'] },
  { name: 'done-then-more', args: ['--scenario', '9'] },
  { name: 'no-done', args: ['--scenario', '9-no-done'] },
  { name: 'broken-items', args: ['--scenario', '2'], broken: 6 },
  { name: 'slow-callback', args: ['--scenario', '2', '--callback', 'slow=120'] },
  { name: 'failing-callback', args: ['--scenario', '2', '--callback', 'fail=0x80004005'] },
  { name: 'crash-in-callback', args: ['--scenario', '2', '--callback', 'crash'] },
  { name: 'stuck-in-callback', args: ['--scenario', '2', '--callback', 'hang'], kill: 3500 },
  { name: 'killed', args: ['--scenario', '2', '--calls-per-second', '10'], kill: 1000 },
  { name: 'cancelled', args: ['--scenario', '15'] },
  { name: 'silent-failure', args: ['--scenario', '16', '--attach', 'wrap'] },
  { name: 'other-handle', args: ['--scenario', '16'] },
  { name: 'odd-questions', args: ['--scenario', '17'] },
  { name: 'store-in-the-way', args: ['--scenario', '2'], store: 'a-file/store' },
  {
    name: 'paused',
    args: ['--scenario', '2', '--calls-per-second', '24'],
    pause: { after: 500, for: 31_000 },
  },
  ...[1, 2, 3, 4, 5].map((n) => uneven('a', n, [9, 4, 60, 2, 130, 25, 7, 70, 12, 90], 500)),
  ...[1, 2, 3].map((n) => uneven('b', n, [160, 3, 40, 90], 400)),
  uneven('b', 4, [160, 3, 40, 90], 160),
  ...[1, 2, 3].map((n) => uneven('c', n, [40, 15, 70, 5, 90], 600, '14-one-count')),
];
const OPEN_US = 1_000_000_000;
const CLOCK_OFFSET_US = 1_749_999_000_000_000;
const PID = 4242;
const FIRST_THREAD = 4711;

/** A sync of folders with so many messages, more or less, which are of many sizes. */
function uneven(store, n, folders, perSecond, scenario = '14') {
  const args = ['--scenario', scenario, '--calls-per-second', String(perSecond)];
  return { name: `uneven-${store}-${n}`, args, uneven: { store, seed: n, folders } };
}

function makeUneven(dir, { seed, folders }) {
  let drawn = 0;
  const draw = () => {
    drawn += 1;
    const hash = createHash('sha256').update(`${seed} ${drawn}`).digest();
    return hash.readUInt32BE() / 2 ** 32;
  };
  folders.forEach((usual, number) => {
    const path = join(dir, number === 0 ? '' : `.Folder ${number}`);
    for (const part of ['cur', 'new', 'tmp']) mkdirSync(join(path, part), { recursive: true });
    const messages = Math.max(1, Math.round(usual * (0.85 + 0.3 * draw())));
    for (let message = 0; message < messages; message += 1) {
      // Most are small, and a few a hundred times as large.
      const bytes = Math.round(300 * Math.exp(4.5 * draw() ** 3) * (1 + (number % 3)));
      const text = `From: a@example.org\nSubject: ${message}\n\n${'x'.repeat(bytes)}\n`;
      writeFileSync(join(path, 'cur', `${1_700_000_000 + message}.M${number}P1.example:2,S`), text);
    }
  });
}

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-recordings-'));
const env = { ...process.env, MAPISYNC_STATE_DIR: join(scratch, 'state') };

function start(command, args) {
  const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.on('data', (bytes) => {
    text += bytes;
  });
  const ended = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
  return { child, ended, said: () => text };
}

async function until(what, look) {
  for (let tries = 0; !look(); tries += 1) {
    if (tries > 500) throw new Error(`Waited in vain until ${what}`);
    await sleep(20);
  }
}

const mapisync = (...args) => start(process.execPath, [cli, ...args]);

async function record({ name, args, broken = 0, kill, pause, uneven: sizes, store }) {
  const maildir = join(scratch, sizes ? `${name}/Mailbox ${sizes.store}` : `mail-${broken}`);
  if (sizes) makeUneven(maildir, sizes);
  else if (!existsSync(maildir)) {
    makeMaildir({ dir: maildir, messages: 24, folders: 3, broken, seed: 7 });
  }
  const file = join(scratch, `${name}.mapisync`);
  const recorder = mapisync('record', '--next', '--file', file, '--timeout', '90s');
  await until('it waits', () => recorder.said().includes('Waiting'));
  const given = [
    '--maildir',
    maildir,
    '--store',
    join(scratch, store ?? `store-${name}`),
    '--quiet',
  ];
  const host = start(join(native, 'sample-host'), [...given, '--flush', '3000', ...args]);
  if (kill !== undefined) setTimeout(() => host.child.kill('SIGKILL'), kill);
  if (pause) {
    await sleep(pause.after);
    host.child.kill('SIGSTOP');
    await sleep(pause.for);
    host.child.kill('SIGCONT');
  }
  await host.ended;
  const code = await recorder.ended;
  if (code !== 0) throw new Error(`Cannot record ${name}: ${recorder.said()}`);
  writeFileSync(join(here, `${name}.mapisync`), steady(name, readRecording(readFileSync(file))));
}

/** The same recording as it would be on any machine. */
function steady(name, recording) {
  const ring = createHash('sha256').update(name).digest('hex').slice(0, 32);
  const { hello, frames } = rebase(
    { ...recording, hello: { ...recording.hello, ring } },
    { salt: '', pid: PID, openUs: OPEN_US, clockOffsetUs: CLOCK_OFFSET_US },
  );
  const threads = new Map([[0, 0]]);
  const thread = (id) => {
    if (!threads.has(id)) threads.set(id, FIRST_THREAD + threads.size - 1);
    return threads.get(id);
  };
  const writer = new RecordingWriter();
  return Buffer.concat([
    writer.head(false),
    writer.frame(encodeFrame({ ...hello, memory: recording.hello.memory })),
    ...frames.map((frame) => writer.frame(encodeFrame({ ...frame, thread: thread(frame.thread) }))),
    writer.end(recording.how),
  ]);
}

const only = process.argv.slice(2);
writeFileSync(join(scratch, 'a-file'), '');
const daemon = mapisync('daemon', 'run');
try {
  await until('the daemon is ready', () => daemon.said().includes('ready'));
  for (const one of RECORDINGS) {
    if (only.length > 0 && !only.includes(one.name)) continue;
    await record(one);
    process.stdout.write(`${one.name}\n`);
  }
} finally {
  daemon.child.kill('SIGTERM');
  await daemon.ended;
  rmSync(scratch, { recursive: true, force: true });
}
