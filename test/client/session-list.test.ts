// `sessions`, from journals of real daemons: which, in what order, in each form.
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { width } from '../../client/render/text.ts';
import { FakeShim, newRingId, Script, startDaemon, tempDir } from '../daemon/support.ts';
import { Kept, keptIo } from './builders.ts';

async function mapisync(stateDir: string, args: readonly string[], columns = 0) {
  const io = keptIo({ stdout: new Kept({ isTTY: columns > 0, columns, rows: 24 }) });
  const code = await run([...args, '--state-dir', stateDir], io);
  return { code, out: io.stdout.text, err: io.stderr.text };
}

const json = (out: string): Record<string, unknown>[] =>
  out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

async function listed(stateDir: string, ...args: string[]): Promise<unknown[]> {
  const { out } = await mapisync(stateDir, ['sessions', '--json', ...args]);
  return json(out).map(({ store }) => store);
}

/** Five sessions of one shim, the second of which still runs and the third of which failed. */
async function scene() {
  const daemon = await startDaemon();
  const shim = await FakeShim.connect(daemon.stateDir);
  await shim.hello(newRingId());
  let seq = 1;
  const play = async (store: string, plot: (script: Script) => Script): Promise<Script> => {
    const script = plot(new Script(seq, store));
    shim.send(...script.frames);
    await shim.acked(script.seq);
    seq = script.seq + 1;
    return script;
  };
  await play('One', (script) => script.progress(9, 9, 'Inbox').done().close());
  await play('Two', (script) => script.progress(1, 4, 'Übersicht').error('x'));
  await play('Three', (script) => script.error('no', 0x80040115).done(0x80040115).close());
  await play('Four', (script) => script.done(0x80040113).close());
  await play('受信トレイ', (script) => script.progress(3, 0).done().close());
  return daemon;
}

describe('sessions', () => {
  test('running and finished, the newest first, as ^N counts them', async () => {
    const { stateDir, stop } = await scene();
    const all = ['受信トレイ', 'Four', 'Three', 'Two', 'One'];
    expect(await listed(stateDir)).toEqual(all);
    expect(await listed(stateDir, '--limit', '2')).toEqual(all.slice(0, 2));
    expect(await listed(stateDir, '--limit', '0')).toEqual([]);
    expect(await listed(stateDir, '--outcome', 'failed', '--outcome', 'running')).toEqual([
      ...['Three', 'Two'],
    ]);
    expect(await listed(stateDir, '--store', 't*')).toEqual(['Three', 'Two']);
    expect(await listed(stateDir, '--provider', 'nobody')).toEqual([]);
    expect(await listed(stateDir, '--since', '1h', '--outcome', 'ok')).toEqual([all[0], all[4]]);
    const future = new Date(Date.now() + 60_000).toISOString();
    expect(await listed(stateDir, '--since', future)).toEqual(['Two']); // It runs on.

    const { out } = await mapisync(stateDir, ['sessions', '--json']);
    for (const [n, { id }] of json(out).entries()) {
      const shown = await mapisync(stateDir, ['show', `^${n}`, '--json']);
      expect(json(shown.out)).toMatchObject([{ session: { id } }]);
    }
    expect(json(out)[3]).toMatchObject({
      state: 'running',
      errors: 1,
      progress: { text: 'Übersicht', index: 1, max: 4, percent: 25, calls: 1 },
    });
    expect(json(out)[3]).not.toHaveProperty('ended');
    expect(json(out)[2]).toMatchObject({
      state: 'ended',
      outcome: 'failed',
      ended: expect.stringMatching(/^20.*Z$/),
    });

    await stop();
    expect(json((await mapisync(stateDir, ['sessions', '--json'])).out)[3]).toMatchObject({
      state: 'unknown',
    });
    const plain = (await mapisync(stateDir, ['sessions'])).out.trimEnd().split('\n');
    expect(plain.map((line) => line.replace(/^\S+ [0-9a-f]{16} "contoso" /, ''))).toEqual([
      '"受信トレイ" ended ok in 0:00, calls 1, errors 0, warnings 0 (Done was called with S_OK (0x00000000))',
      expect.stringMatching(/^"Four" ended cancelled in 0:00/),
      expect.stringMatching(/^"Three" ended failed in 0:00/),
      '"Two" no end, last 25% 1/4 "Übersicht"',
      expect.stringMatching(/^"One" ended ok in 0:00/),
    ]);
  });

  test.for([40, 80, 200])('in a terminal of %i columns', async (columns) => {
    const { stateDir } = await scene();
    const { out } = await mapisync(stateDir, ['sessions'], columns);
    const lines = out.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    for (const line of lines) expect(width(line.replace(/\x1b\[\d+m/g, ''))).toBeLessThan(columns);
    expect(lines[2]).toMatch(/^(\x1b\[2m)?[0-9a-f]{4,8}(\x1b\[22m)? {2}.*x/);
    expect(lines[2]).toContain('failed');
  });

  test('an empty list is no failure', async () => {
    expect(await mapisync(join(tempDir(), 'state'), ['sessions'])).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/^mapisync: No such session in /),
    });
    const quiet = await mapisync(join(tempDir(), 'state'), ['sessions', '-q', '--json']);
    expect(quiet).toEqual({ code: 0, out: '', err: '' });
  });

  test('over several segments: each session once, whatever segment it ended in', async () => {
    const daemon = await scene();
    const { stateDir } = daemon;
    await daemon.stop();
    // A daemon that starts opens a new segment with a snapshot of what runs.
    for (let again = 0; again < 2; again++) await (await startDaemon({ stateDir })).stop();
    expect(
      readdirSync(join(stateDir, 'journal')).filter((name) => name.endsWith('l')),
    ).toHaveLength(3);
    expect(await listed(stateDir)).toEqual(['受信トレイ', 'Four', 'Three', 'Two', 'One']);
    const elsewhere = join(tempDir(), 'brought');
    mkdirSync(elsewhere);
    for (const name of readdirSync(join(stateDir, 'journal'))) {
      copyFileSync(join(stateDir, 'journal', name), join(elsewhere, name));
    }
    expect(await listed('/nowhere', '--journal', elsewhere, '--outcome', 'unknown')).toEqual([
      'Two',
    ]);
  });
});
