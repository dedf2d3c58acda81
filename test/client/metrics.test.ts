// Figures for Prometheus: what a daemon counted, checked by Prometheus' own tool.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { Metrics } from '../../protocol/records/metrics.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import { has } from '../daemon/export/nats-server.ts';
import { REAL_LINES } from '../daemon/export/support.ts';
import { FakeShim, newRingId, Script, startDaemon, tempDir } from '../daemon/support.ts';
import { keptIo } from './builders.ts';

const hasPromtool = has('promtool');

const lineOf = (text: string, start: string): string | undefined =>
  text.split('\n').find((line) => line.startsWith(start));

test('metrics prints what the daemon counted, as promtool wants it', async () => {
  const stateDir = join(tempDir(), 'a "state"');
  await startDaemon({ stateDir });
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  let last = 0;
  for (const hresult of [0, 0x80004005, 0x8004011b]) {
    const script = new Script(last + 1, 'Jane');
    if (hresult !== 0) script.error('no', 0x8004010f);
    shim.send(...script.done(hresult).close().frames);
    last = script.seq;
  }
  const open = new Script(last + 1, 'Jane');
  shim.send(...open.frames);
  await shim.got('its acknowledgement', (frame) => frame.kind === 'ack' && frame.durable > last);
  const io = keptIo();
  expect(await run(['metrics', '--state-dir', stateDir], io)).toBe(0);
  const { text } = io.stdout;
  expect(lineOf(text, 'mapisync_sessions_active')).toBe('mapisync_sessions_active 1');
  expect(lineOf(text, 'mapisync_sessions_ended_total{outcome="ok"}')).toMatch(/ 1$/);
  expect(lineOf(text, 'mapisync_sessions_ended_total{outcome="failed"}')).toMatch(/ 2$/);
  expect(lineOf(text, 'mapisync_session_errors_total')).toBe(
    'mapisync_session_errors_total{class="not_found",severity="error"} 2',
  );
  const bucket = 'mapisync_session_duration_seconds_bucket{outcome="failed",le="+Inf"}';
  expect(lineOf(text, bucket)).toMatch(/ 2$/);
  expect(text).not.toContain('Jane');
  expect(JSON.stringify(text)).not.toContain(stateDir);
  if (!hasPromtool) return;
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  expect(checked).toMatchObject({ status: 0, stdout: '', stderr: '' });
});

test('the number of series is bounded, whatever records say', () => {
  const metrics = new Metrics();
  const records = REAL_LINES.map((line) => JSON.parse(line) as RecordDraft);
  for (let round = 0; round < 100; round++) {
    for (const record of records) {
      const { session } = record;
      const own = session && { session: { ...session, id: `${round}`.padStart(16, '0') } };
      metrics.take({ ...record, ...own });
    }
  }
  const families = metrics.families();
  const points = families.flatMap((family) => family.points);
  expect(points.length).toBeGreaterThan(10);
  expect(points.length).toBeLessThan(60);
});
