// Whether every part of the bench still runs and says its figures; no figure is held to anything here.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mapisync-bench-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const shim = join(root, 'dist', 'native', `linux-${process.arch}`, 'libmapisync.so');
const isHere = process.platform === 'linux' && existsSync(shim);

const WANTED =
  'caller.warm_p50_ns caller.warm_p999_ns caller.empty_p999_ns caller.threads4_p50_ns ' +
  'caller.tee_p50_ns caller.idle_p50_ns caller.absent_p50_ns caller.stopped_p50_ns ' +
  'caller.full_p50_ns caller.allocs caller.locks caller.syscalls ' +
  'peer.xadd_p50_ns peer.copy64_p50_ns peer.write_p50_ns ' +
  'ingest.frames_per_cpu_s ingest.errors_per_cpu_s ingest.decoder_per_cpu_s ' +
  'ingest.msgpack_decode_per_cpu_s ingest.msgpack_per_cpu_s ingest.jsonl_per_cpu_s ' +
  'journal.records_per_s journal.pino_sync_per_s latency.p50_us latency.p99_us ' +
  'memory.idle_mib memory.sessions1000_mib memory.mapped_mib idle.worker_wakeups_per_s ' +
  'idle.worker_silent_session_wakeups_per_s idle.daemon_wakeups_per_s start.empty_ms start.pino_ms ' +
  'start.status_times_node start.status_alone_times_node';

test.skipIf(!isHere)('npm run bench', { timeout: 120_000 }, async () => {
  const file = join(folder, 'figures.json');
  const args = [join(root, 'test/bench/run.mjs'), '--smoke', '--json', file];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (bytes) => {
    said += bytes;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code, said).toBe(0);
  const found = JSON.parse(readFileSync(file, 'utf8'));
  const numbers = Object.entries(found).flatMap(([group, metrics]) =>
    Object.entries(metrics as object).flatMap(([name, value]) =>
      typeof value === 'number' ? [`${group}.${name}`] : [],
    ),
  );
  expect(numbers).toEqual(expect.arrayContaining(WANTED.split(' ')));
  expect(found.caller).toMatchObject({ allocs: 0, locks: 0, syscalls: 0 });
});
