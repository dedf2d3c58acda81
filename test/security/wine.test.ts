/**
 * The Windows edge under Wine: Wine enforces no access rules on pipes, but it shows what it was asked
 * for, and it knows owners. So these tests see that the right things are asked, and `matrix.mjs` on a
 * real Windows sees that they hold.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';
import { newSecret } from '../../daemon/platform/endpoint.ts';
import { Bench, root, runProgram, systems, until } from '../e2e/systems.ts';
// @ts-expect-error: plain JavaScript of the fault harness.
import { edit } from '../fault/build.mjs';

const wine = systems.find(({ name }) => name === 'wine');
const node = join(root, '.cache', 'wine', 'node', 'bin', 'node.exe');
const TRACE = { WINEDEBUG: '-all,trace+sync,trace+file' };
const SLOW_MS = 60_000;

const FLAG_OVERLAPPED = 0x40000000;
const FLAG_FIRST_PIPE_INSTANCE = 0x00080000;
const SQOS_PRESENT = 0x00100000;
const SQOS_IDENTIFICATION = 0x00010000;
const REJECT_REMOTE = 8;
const DUPLEX = 3;

let bench: Bench | undefined;
afterEach(() => bench?.close());

const pipesMade = (trace: string): [number, number][] =>
  [...trace.matchAll(/CreateNamedPipeW \(L"[^"]*mapisync\.[0-9a-f]+", (\w+), (\w+),/g)].map(
    (found) => [Number(found[1]), Number(found[2])],
  );
const pipesOpened = (trace: string): number[] =>
  [...trace.matchAll(/CreateFileW L"[^"]*mapisync\.[0-9a-f]+" .*attributes (\w+)/g)].map((found) =>
    Number(found[1]),
  );

describe.skipIf(!wine)('under Wine', { timeout: 180_000 }, () => {
  test('the pipe is made for this machine alone and first of its name; peers lend no rights', async () => {
    bench = new Bench(wine!);
    const path = wine!.path(bench.state);
    const start = (args: string[]) =>
      wine!.mapisync([...args, '--state-dir', path], { scratch: bench!.scratch, env: TRACE });
    const daemon = start(['daemon', 'run']);
    const endpoint = join(bench.state, 'endpoint');
    await until('the daemon', () => readable(endpoint), SLOW_MS);
    const maildir = join(bench.scratch, 'maildir');
    makeMaildir({ dir: maildir, messages: 3, windowsNames: true });
    mkdirSync(join(bench.scratch, 'store'));
    const at = (name: string): string => wine!.path(join(bench!.scratch, name));
    const host = bench.host(
      ['--maildir', at('maildir'), '--store', at('store'), '--flush', '20000', '--quiet'],
      TRACE,
    );
    await host.ended;
    const client = start(['daemon', 'stop']);
    await client.ended;
    await daemon.ended;

    const made = pipesMade(daemon.stderr());
    // One for each peer, and the next one before that peer was served.
    expect(made.length).toBeGreaterThanOrEqual(3);
    expect(made[0]).toEqual([FLAG_OVERLAPPED | FLAG_FIRST_PIPE_INSTANCE | DUPLEX, REJECT_REMOTE]);
    for (const one of made.slice(1)) expect(one).toEqual([FLAG_OVERLAPPED | DUPLEX, REJECT_REMOTE]);
    for (const peer of [host, client]) {
      const opened = pipesOpened(peer.stderr());
      expect(opened.length).toBeGreaterThan(0);
      const wanted = FLAG_OVERLAPPED | SQOS_PRESENT | SQOS_IDENTIFICATION;
      for (const flags of opened) expect(flags).toBe(wanted);
    }
  });

  test('nobody says a byte to a pipe that belongs to somebody else', async () => {
    bench = new Bench(wine!);
    const pipe = `\\\\.\\pipe\\mapisync.${'7'.repeat(32)}`;
    const out = join(bench.scratch, 'impostor.out');
    writeFileSync(out, '');
    const script = join(root, 'test', 'security', 'windows', 'impostor.mjs');
    const impostor = runProgram(
      wine!,
      node,
      [wine!.path(script), '--pipe', pipe, '--owner', 'BA', '--out', wine!.path(out)],
      { scratch: bench.scratch },
    );
    await until('the impostor', () => readFileSync(out, 'utf8').includes('listening'), SLOW_MS);
    bench.makeState();
    const lines = ['protocol=1', `pipe=${pipe}`, 'pid=1', 'started=2026-01-01T00:00:00Z'];
    const secret = newSecret().toString('hex');
    writeFileSync(join(bench.state, 'endpoint'), `${lines.join('\n')}\nsecret=${secret}\n`);
    const status = await bench.mapisync('daemon', 'status').ended;
    const belongs = 'it belongs to S-1-5-32-544, and this is S-1-5-21-';
    expect(status).toMatchObject({ code: 8, stderr: expect.stringContaining(belongs) });
    const maildir = join(bench.scratch, 'maildir');
    makeMaildir({ dir: maildir, messages: 3, windowsNames: true });
    mkdirSync(join(bench.scratch, 'store'));
    const at = (name: string): string => wine!.path(join(bench!.scratch, name));
    const host = bench.host([
      '--maildir',
      at('maildir'),
      '--store',
      at('store'),
      '--flush',
      '1500',
      '--quiet',
    ]);
    await host.ended;
    impostor.child.kill('SIGKILL');
    await impostor.ended;
    const said = readFileSync(out, 'utf8');
    const peers = [...said.matchAll(/^peer heard (\d+)$/gm)].map((found) => Number(found[1]));
    // The client, and the shim more than once.
    expect(peers.length).toBeGreaterThanOrEqual(3);
    expect(Math.max(...peers)).toBe(0);
  });

  test('the access matrix runs as far as Wine goes', async () => {
    bench = new Bench(wine!);
    const script = wine!.path(join(root, 'test', 'security', 'windows', 'matrix.mjs'));
    const folder = join(bench.scratch, 'matrix');
    const ran = await runProgram(wine!, node, [script, wine!.path(folder)], {
      scratch: bench.scratch,
      env: { NODE_SKIP_PLATFORM_CHECK: '1' },
    }).ended;
    const table = readable(join(folder, 'table.txt')) ?? ran.stderr;
    expect(table).toContain('ok      same user: connected');
    expect(table).toContain('ok      elevated daemon is noticed: true');
    expect(table).not.toContain('FAILED');
    expect(ran.code).toBe(0);
  });

  test('an elevated daemon is refused: exit 8', async () => {
    // Wine runs everybody elevated, so the exception for Wine is taken out of a copy.
    bench = new Bench(wine!);
    const copy = join(bench.scratch, 'copy');
    cpSync(join(root, 'dist'), copy, {
      recursive: true,
      filter: (path) => !path.startsWith(join(root, 'dist', 'native')),
    });
    symlinkSync(join(root, 'node_modules'), join(bench.scratch, 'node_modules'));
    symlinkSync(join(root, 'package.json'), join(bench.scratch, 'package.json'));
    edit(copy, [{ file: 'daemon/run.js', find: 'isElevated() && !wine', put: 'isElevated()' }]);
    const main = wine!.path(join(copy, 'bin', 'mapisync.js'));
    const args = [main, 'daemon', 'run', '--state-dir', wine!.path(bench.state)];
    const ran = await runProgram(wine!, node, args, {
      scratch: bench.scratch,
      env: { NODE_SKIP_PLATFORM_CHECK: '1' },
    }).ended;
    expect(ran.code).toBe(8);
    expect(ran.stderr).toContain('Cannot run the daemon elevated');
  });
});

function readable(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
