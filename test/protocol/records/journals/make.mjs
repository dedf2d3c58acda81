// Makes the kept journal of this version, once for each release: node test/protocol/records/journals/make.mjs
// A daemon as it ships takes some of the kept recordings; what names this machine is replaced.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const RECORDINGS = [
  ...['clean', 'broken-items', 'cancelled', 'crash-in-callback', 'done-then-more', 'odd-counts'],
  ...['failing-callback', 'killed', 'no-done', 'other-handle', 'silent-failure', 'slow-callback'],
];
const HOME = '/home/user/.local/state/mapisync';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const state = mkdtempSync(join(tmpdir(), 'mapisync-kept-'));
const args = (...given) => [
  join(root, 'dist', 'bin', 'mapisync.js'),
  ...given,
  '--state-dir',
  state,
];
const run = (...given) => {
  const { status, stderr } = spawnSync(process.execPath, args(...given), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Cannot ${given[0]}: ${stderr}`);
};
try {
  run('daemon', 'start');
  for (const name of RECORDINGS) {
    run('replay', join(root, 'test', 'recordings', `${name}.mapisync`), '--speed', 'max');
  }
  // A second daemon begins a second segment with a snapshot of it all.
  run('daemon', 'stop');
  const daemon = spawn(process.execPath, args('daemon', 'run'), {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise((resolve) => daemon.stderr.once('data', resolve));
  run('replay', join(root, 'test', 'recordings', 'clean.mapisync'), '--speed', 'max');
  run('daemon', 'stop');
  const kept = fileURLToPath(new URL(`${version}/`, import.meta.url));
  rmSync(kept, { recursive: true, force: true });
  mkdirSync(kept);
  for (const name of readdirSync(join(state, 'journal'))) {
    if (!name.endsWith('.jsonl')) continue;
    const text = readFileSync(join(state, 'journal', name), 'utf8');
    const plain = text.replaceAll(state, HOME).replaceAll(`"${hostname()}"`, '"bench"');
    writeFileSync(join(kept, name), plain);
  }
} finally {
  rmSync(state, { recursive: true, force: true });
}
