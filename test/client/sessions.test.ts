// Commands about one session, against a real daemon and its journal: what they say, and what their
// files hold.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { EXIT } from '../../client/exit.ts';
import { sessionId } from '../../protocol/session/ids.ts';
import { encodeFrame } from '../../protocol/wire/encode.ts';
import { type Recording, RecordingWriter, readRecording } from '../../protocol/wire/recording.ts';
import {
  cleanUp,
  FakeShim,
  journalOf,
  named,
  newRingId,
  Script,
  startDaemon,
  until,
} from '../daemon/support.ts';
import { Kept, keptIo } from './builders.ts';

// Not under the temporary folder of the state directory: files go where the user is.
function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mapisync-files-'));
  cleanUp(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function mapisync(stateDir: string, ...args: string[]) {
  const io = keptIo({ stdout: new Kept({ columns: 80, rows: 24 }) });
  const code = await run([...args, '--state-dir', stateDir], io);
  return { code, out: io.stdout.text, err: io.stderr.text };
}

/** A shim that goes on from one script to the next. */
async function makeShim(stateDir: string) {
  const ring = newRingId();
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(ring);
  let seq = 1;
  const play = async (make: (script: Script) => unknown, store?: string): Promise<string> => {
    const script = new Script(seq, store);
    const id = sessionId(ring, seq);
    make(script);
    shim.send(...script.frames);
    await shim.acked(script.seq);
    seq = script.seq + 1;
    return id;
  };
  return { shim, play };
}

const clean = (script: Script): Script =>
  script
    .progress(0, 2, 'Inbox')
    .progress(1, 2)
    .progress(2, 2)
    .progress(0, 1, 'Sent')
    .done()
    .close();

/** Records what `make` sends, by the command. @returns the file. */
async function recordOne(
  stateDir: string,
  play: (make: (script: Script) => unknown) => Promise<string>,
  make: (script: Script) => unknown,
  ...flags: string[]
): Promise<{ file: string; id: string; err: string }> {
  const file = join(folder(), 'one.mapisync');
  const io = keptIo();
  const args = ['record', '--next', '--file', file, '--state-dir', stateDir, ...flags];
  const ended = run(args, io);
  await until('it waits', () => io.stderr.text.includes('Waiting for the next session'));
  const id = await play(make);
  expect([await ended, io.stderr.text]).toEqual([0, expect.stringContaining(`Recorded ${id} to`)]);
  return { file, id, err: io.stderr.text };
}

describe('record', () => {
  test('keeps what the shim sent, for its user alone', async () => {
    const { stateDir } = await startDaemon();
    const { play } = await makeShim(stateDir);
    await play(clean);
    const { file, id } = await recordOne(stateDir, play, (script) =>
      clean(script.error('no \x1b[31m')),
    );
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const recording = readRecording(readFileSync(file));
    expect(recording.how).toBe('closed');
    const [open] = recording.frames;
    expect(sessionId(recording.hello.ring, open.seq)).toBe(id);
    expect(recording.frames.map(({ kind }) => kind)).toEqual([
      ...['open', 'error', 'progress', 'progress', 'progress', 'progress', 'done', 'close'],
    ]);

    const decoded = await mapisync(stateDir, 'decode', file);
    expect(decoded).toMatchObject({ code: 0, err: '' });
    const lines = decoded.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toEqual({ kind: 'head', offset: 0, redacted: false });
    expect(lines.at(-1)).toMatchObject({ kind: 'end', how: 'closed', frames: 9 });
    expect(lines.slice(2, -1).map(({ offset: _, ...frame }) => frame)).toEqual(recording.frames);
    expect(decoded.out).not.toContain('\x1b');

    const again = await mapisync(stateDir, 'record', '--next', '--file', file);
    expect(again).toMatchObject({
      code: EXIT.usage,
      err: expect.stringMatching(/expected a new file, got one that is there\n {2}Remove it/),
    });
  });

  test('--redact leaves nothing that the host said', async () => {
    const { stateDir } = await startDaemon();
    const { play } = await makeShim(stateDir);
    const { file } = await recordOne(
      stateDir,
      play,
      (script) => clean(script.error('secret').progress(1, 1, '')),
      '--redact',
    );
    const bytes = readFileSync(file);
    for (const text of ['Inbox', 'Sent', 'secret', 'contoso', 'Mailbox']) {
      expect(bytes.includes(text), text).toBe(false);
    }
    const { redacted, frames } = readRecording(bytes);
    expect(redacted).toBe(true);
    const texts = frames.flatMap((frame) => (frame.kind === 'progress' ? [frame.text] : []));
    const token = expect.stringMatching(/^~[0-9a-f]{12}$/);
    expect(texts).toEqual(['', token, null, null, token]);
    expect(texts[1]).not.toBe(texts[4]);
  });

  test('a session that runs already is refused, with what to do', async () => {
    const { stateDir } = await startDaemon();
    const { play } = await makeShim(stateDir);
    const id = await play((script) => script.progress(1, 2));
    const { code, err } = await mapisync(stateDir, 'record', id.slice(0, 8));
    expect([code, err]).toEqual([
      EXIT.usage,
      expect.stringMatching(/got one that began before\n {2}Record the next one with --next/),
    ]);
  });

  test('stopped by --timeout, what it has is a recording', async () => {
    const { stateDir } = await startDaemon();
    const { play } = await makeShim(stateDir);
    const file = join(folder(), 'cut.mapisync');
    const io = keptIo();
    const args = ['record', '--next', '--file', file, '--timeout', '700ms'];
    const ended = run([...args, '--state-dir', stateDir], io);
    await until('it waits', () => io.stderr.text.includes('Waiting for the next session'));
    await play((script) => script.progress(1, 2));
    expect(await ended).toBe(EXIT.timeout);
    const recording = readRecording(readFileSync(file));
    expect([recording.how, recording.frames.length]).toEqual(['stopped', 2]);
  });

  test('stopped before anything came, it leaves no file', async () => {
    const { stateDir } = await startDaemon();
    const file = join(folder(), 'none.mapisync');
    const args = ['record', '--next', '--file', file, '--timeout', '200ms'];
    expect((await mapisync(stateDir, ...args)).code).toBe(EXIT.timeout);
    expect(() => statSync(file)).toThrow(/ENOENT/);
  });
});

/** What must differ between a recording and that of its replay. */
function comparable({ hello, frames }: Recording): unknown {
  const [open] = frames;
  const since = (timeUs: number): number => timeUs - open.timeUs;
  const { executable, bits, shimVersion } = hello;
  return [
    { executable, bits, shimVersion },
    ...frames.map((frame) => ({
      ...frame,
      seq: 0,
      session: frame.session === 0 ? 0 : 1,
      timeUs: since(frame.timeUs),
      ...('wallUs' in frame ? { wallUs: frame.wallUs - open.wallUs } : {}),
      ...('sinceUs' in frame ? { sinceUs: since(frame.sinceUs) } : {}),
    })),
  ];
}

describe('replay', () => {
  test('comes to the journal as the first one did', async () => {
    const { stateDir } = await startDaemon();
    const { play, shim } = await makeShim(stateDir);
    const { file, id } = await recordOne(stateDir, play, (script) =>
      clean(script.error('x', 0x80040115)),
    );
    shim.socket.destroy();
    const second = join(folder(), 'two.mapisync');
    const io = keptIo();
    const ended = run(['record', '--next', '--file', second, '--state-dir', stateDir], io);
    await until('it waits', () => io.stderr.text.includes('Waiting for the next session'));
    const replayed = await mapisync(stateDir, 'replay', file, '--speed', 'max', '--json');
    expect(replayed).toMatchObject({ code: 0, err: expect.stringContaining(`Replaying ${id} as`) });
    const { session } = JSON.parse(replayed.out);
    expect(session).not.toBe(id);
    expect(await ended).toBe(0);
    expect(comparable(readRecording(readFileSync(second)))).toEqual(
      comparable(readRecording(readFileSync(file))),
    );
    const ends = named(journalOf(stateDir), 'session.ended');
    const [one, two] = ends.map(({ outcome, outcome_reason, duration_us, totals, phases }) => {
      return { outcome, outcome_reason, duration_us, totals, phases };
    });
    expect(two).toEqual(one);
    expect(ends[0]?.session?.id).toBe(id);
  });

  test('keeps the pace that was asked for', async () => {
    const { stateDir } = await startDaemon();
    const file = join(folder(), 'slow.mapisync');
    writeFileSync(file, paced(2_000_000));
    const began = performance.now();
    expect((await mapisync(stateDir, 'replay', file, '--speed', '4x')).code).toBe(0);
    const took = performance.now() - began;
    expect(took).toBeGreaterThanOrEqual(490);
    const [end] = named(journalOf(stateDir), 'session.ended');
    expect(end).toMatchObject({ outcome: 'ok', duration_us: 2_000_000 });
    // Nothing is of the future.
    expect(Date.parse(end!.time)).toBeLessThanOrEqual(Date.now() + 50);
  });

  test('more than a window of frames arrives whole', async () => {
    const { stateDir } = await startDaemon();
    const file = join(folder(), 'large.mapisync');
    writeFileSync(file, paced(1_000_000, 500, 'x'.repeat(2000)));
    expect((await mapisync(stateDir, 'replay', file, '--speed', 'max')).code).toBe(0);
    const [end] = named(journalOf(stateDir), 'session.ended');
    expect(end?.totals).toMatchObject({ progress: 500, errors: 0 });
  });

  test('a file that is no recording is told so, with how to make one', async () => {
    const { code, err } = await mapisync(folder(), 'decode', 'package.json');
    expect(err).toMatch(
      /at byte 0, .*no recording\n {2}Make a recording with: mapisync record --next/,
    );
    expect(code).toBe(EXIT.failed);
  });

  test('a damaged file is told by its byte, and nothing is sent', async () => {
    const { stateDir } = await startDaemon();
    const file = join(folder(), 'damaged.mapisync');
    const bytes = Buffer.from(paced(1000));
    bytes[bytes.length - 30]! ^= 1;
    writeFileSync(file, bytes);
    for (const command of ['replay', 'check', 'decode']) {
      const { code, err } = await mapisync(stateDir, command, file);
      expect(err).toMatch(/Cannot read .*damaged.mapisync: .* at byte \d+/);
      expect(err).toMatch(
        command === 'decode'
          ? /\n {2}What stands before the damage was printed/
          : /\n {2}What stands before the damage is shown by: mapisync decode/,
      );
      expect(code).toBe(EXIT.failed);
    }
    expect(named(journalOf(stateDir), 'session.opened')).toEqual([]);
  });
});

/** A recording of a clean sync that took so long. */
function paced(spanUs: number, calls = 3, text = 'Inbox'): Buffer {
  const script = new Script();
  for (let call = 1; call <= calls; call += 1) script.progress(call, calls, text);
  const frames = script.done().close().frames;
  const writer = new RecordingWriter();
  const hello = {
    kind: 'hello',
    protocol: 1,
    ring: newRingId(),
    freed: 0,
    pid: 1,
    bits: 64,
  } as const;
  const more = { executable: 'OUTLOOK.EXE', shimVersion: '1', timeUs: 5, wallUs: 6 } as const;
  const parts = [
    writer.head(false),
    writer.frame(encodeFrame({ ...hello, ...more, clockResolutionUs: 1, memory: 0 })),
    ...frames.map((frame, at) => {
      const timeUs = 1_000_000 + Math.floor((spanUs * at) / (frames.length - 2));
      const placed = { timeUs: Math.min(timeUs, 1_000_000 + spanUs) };
      return writer.frame(encodeFrame(Object.assign({}, frame, placed)));
    }),
    writer.end('closed'),
  ];
  return Buffer.concat(parts);
}

describe('show, diff, check', () => {
  test('a session that ended, one that runs, and one of another journal', async () => {
    const { stateDir, stop } = await startDaemon();
    const { play } = await makeShim(stateDir);
    const bad = await play((script) =>
      script.progress(3, 9, 'Inbox').error('no', 0x80040115).done(0x80040115).close(),
    );
    const good = await play(clean);
    await play((script) => script.progress(1, 4, 'Up\x1b[2J\u202e'));

    const shown = await mapisync(stateDir, 'show', '^2');
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out).toMatch(/^x {3}contoso {2}Mailbox {2}failed: Done was called with/);
    expect(shown.out.replace(/\s+/g, ' ')).toContain(
      'The provider gave up: Done with MAPI_E_NETWORK_ERROR (0x80040115), a matter of the network or ' +
        'the server; its last call was 3/9 "Inbox"',
    );
    expect(shown.out.split('\n').length).toBeLessThanOrEqual(25);
    expect(Math.max(...shown.out.split('\n').map((line) => line.length))).toBeLessThan(80);

    const live = await mapisync(stateDir, 'show', '^0');
    expect(live.out).toMatch(/Runs since .*; its last call was 1\/4 "Up\\u\{1b\}\[2J\\u\{202e\}"/);
    expect(live.out).not.toMatch(/[\x00-\x09\x0b-\x1f\u202e]/);
    const story = JSON.parse((await mapisync(stateDir, 'show', '^0', '--json')).out);
    expect(story).toMatchObject({ state: 'running', verdict: { code: 'running' } });

    const { out } = await mapisync(stateDir, 'diff', bad.slice(0, 10), good);
    expect(out).toMatch(/\n {2}Inbox +[\d.]+ m?s 1 !1 +[\d.]+ m?s 3 +/);
    expect(out).toMatch(/\n {2}Sent +- +[\d.]+ m?s 1 +only B\n/);
    const both = JSON.parse((await mapisync(stateDir, 'diff', bad, good, '--json')).out);
    expect(both).toMatchObject({
      a: { outcome: 'failed' },
      b: { outcome: 'ok' },
      phases: [
        { text: 'Inbox', a: {}, b: {} },
        { text: 'Sent', b: {} },
      ],
    });

    expect(await mapisync(stateDir, 'check', good)).toMatchObject({
      code: 0,
      out: `${good}: no check fired\n`,
    });
    await stop();
    const brought = await mapisync('/nowhere', 'show', '^0', '--journal', stateDir);
    expect(brought.out).toMatch(/How it went on is not known: the daemon stopped at/);
  });
});
