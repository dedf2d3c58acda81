/** What tests of the daemon share: places, daemons in this process and beside it, peers by hand. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, inject } from 'vitest';
import { connect } from '../../daemon/platform/connect.ts';
import { type RunOptions, runDaemon } from '../../daemon/run.ts';
import type { RecordDraft } from '../../protocol/records/record.ts';
import {
  type ClientFrame,
  decodeFeedFrame,
  encodeClientFrame,
  type FeedFrame,
} from '../../protocol/wire/clients.ts';
import { decodeDaemonFrame } from '../../protocol/wire/decode.ts';
import { encodeFrame, frame as framed } from '../../protocol/wire/encode.ts';
import { FrameReader } from '../../protocol/wire/frame-reader.ts';
import type { DaemonFrame, Hello, ShimFrame, Unknown } from '../../protocol/wire/frames.ts';
import { checkValid } from '../valid-record.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Run after each test, newest first. */
const cleanups: (() => unknown)[] = [];
export const cleanUp = (run: () => unknown): void => void cleanups.push(run);
afterEach(async () => {
  for (const run of cleanups.splice(0).reverse()) await run();
});

export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mapisync-daemon-'));
  cleanUp(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export async function until<T>(
  what: string,
  look: () => T | undefined | false,
  timeoutMs = 8000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`Waited in vain until ${what}`);
    await sleep(5);
  }
}

// Daemons.

export interface RunningDaemon {
  readonly stateDir: string;
  readonly said: string[];
  /** @returns the exit code. */
  stop(): Promise<number>;
}

/** A daemon in this process, ready for peers. */
export async function startDaemon(options: Partial<RunOptions> = {}): Promise<RunningDaemon> {
  const stateDir = options.stateDir ?? join(tempDir(), 'state');
  const said: string[] = [];
  const end = new AbortController();
  const exit = runDaemon({
    version: '0.0.1',
    say: (line) => void said.push(line),
    signal: end.signal,
    ...options,
    stateDir,
  });
  const stop = async (): Promise<number> => {
    end.abort();
    const code = await exit;
    expectWholeLines(join(stateDir, 'journal'));
    return code;
  };
  cleanUp(stop);
  const early = await Promise.race([
    exit,
    until('the daemon is ready', () => existsSync(join(stateDir, 'endpoint'))),
  ]);
  if (early !== true) throw new Error(`The daemon ended with ${early}: ${said.join('\n')}`);
  return { stateDir, said, stop };
}

/** The project compiled, for what must run in a process of its own. Readable by any user. */
export const compiled = (): string => inject('compiled');

/** Runs a few lines of JavaScript beside us; `built` stands for the compiled project. */
export function runScript(
  script: string,
  args: readonly string[] = [],
  spawnOptions: { uid?: number; gid?: number; env?: NodeJS.ProcessEnv } = {},
): ChildProcess & { said: () => string } {
  const code = script.replaceAll('built/', `${compiled()}/`);
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, '--', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    ...spawnOptions,
  });
  let text = '';
  child.stdout.on('data', (bytes) => {
    text += String(bytes);
  });
  child.stderr.on('data', (bytes) => {
    text += String(bytes);
  });
  cleanUp(() => child.kill('SIGKILL'));
  return Object.assign(child, { said: () => text });
}

const DAEMON_SCRIPT = `
  import { runDaemon } from 'built/daemon/run.js';
  const [stateDir, options] = process.argv.slice(1);
  process.exitCode = await runDaemon({ version: '0.0.1', stateDir, ...JSON.parse(options) });
`;

/** A daemon beside us, ready for peers: one that can be killed. */
export async function spawnDaemon(
  stateDir: string,
  options: Partial<RunOptions> = {},
  spawnOptions: Parameters<typeof runScript>[2] = {},
): Promise<ReturnType<typeof runScript>> {
  const child = runScript(DAEMON_SCRIPT, [stateDir, JSON.stringify(options)], spawnOptions);
  await until('the daemon is ready', () => {
    if (child.exitCode !== null) throw new Error(`The daemon died: ${child.said()}`);
    return child.said().includes('ready');
  });
  return child;
}

export async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'exit');
}

// Peers.

export const nowUs = (): number => Math.floor(Number(process.hrtime.bigint()) / 1000);

/** A connection past the handshake. */
class Peer<In, Out> {
  readonly socket: Socket;
  readonly frames: In[] = [];
  readonly #reader = new FrameReader();
  readonly #encode: (frame: Out) => Uint8Array;

  constructor(
    socket: Socket,
    encode: (frame: Out) => Uint8Array,
    decode: (body: Uint8Array) => In,
  ) {
    this.socket = socket;
    this.#encode = encode;
    socket.on('data', (chunk: Buffer) => {
      for (const body of this.#reader.push(chunk)) this.frames.push(decode(body));
    });
    socket.on('error', () => {});
    cleanUp(() => socket.destroy());
  }

  send(...frames: Out[]): void {
    this.socket.write(Buffer.concat(frames.map((frame) => framed(this.#encode(frame)))));
  }

  /** The newest frame that fits, once there is one. */
  got(what: string, fits: (frame: In) => boolean): Promise<In> {
    return until(`a peer got ${what}`, () => this.frames.findLast(fits));
  }

  closed(): Promise<unknown> {
    return until('a connection closed', () => this.socket.closed);
  }
}

export class FakeShim extends Peer<DaemonFrame | Unknown, Exclude<ShimFrame, Unknown>> {
  static async connect(stateDir: string): Promise<FakeShim> {
    const { socket } = await connect(join(stateDir, 'endpoint'), { role: 'shim' });
    return new FakeShim(socket, encodeFrame, decodeDaemonFrame);
  }

  /** @returns what `welcome` says. */
  async hello(ring: string, more: Partial<Hello> = {}): Promise<number> {
    this.send(hello(ring, more));
    const welcome = await this.got('welcome', ({ kind }) => kind === 'welcome');
    return welcome.kind === 'welcome' ? welcome.durable : Number.NaN;
  }

  acked(seq: number): Promise<unknown> {
    return this.got(`ack ${seq}`, (frame) => frame.kind === 'ack' && frame.durable >= seq);
  }

  async refused(): Promise<{ reason: number; text: string }> {
    const frame = await this.got('refused', ({ kind }) => kind === 'refused');
    return frame as { kind: 'refused'; reason: number; text: string };
  }
}

export class FakeClient extends Peer<FeedFrame | Unknown, ClientFrame> {
  static async connect(stateDir: string): Promise<FakeClient> {
    const { socket } = await connect(join(stateDir, 'endpoint'), { role: 'client' });
    const client = new FakeClient(socket, encodeClientFrame, decodeFeedFrame);
    client.send({ kind: 'hello', protocol: 1, version: '0.0.1', pid: process.pid });
    await client.got('welcome', ({ kind }) => kind === 'welcome');
    return client;
  }

  /** Records that it got so far. */
  records(): RecordDraft[] {
    return this.frames.flatMap((frame) =>
      frame.kind === 'record' ? [JSON.parse(frame.line) as RecordDraft] : [],
    );
  }
}

export const newRingId = (): string => randomBytes(16).toString('hex');

export const hello = (ring: string, more: Partial<Hello> = {}): Hello => ({
  kind: 'hello',
  protocol: 1,
  ring,
  freed: 0,
  pid: process.pid,
  bits: 64,
  executable: 'OUTLOOK.EXE',
  shimVersion: '0.0.1',
  timeUs: nowUs(),
  wallUs: Date.now() * 1000,
  clockResolutionUs: 1000,
  memory: 0,
  ...more,
});

/** Frames of one session, `open` first, in the order of their ring. */
export class Script {
  readonly frames: Exclude<ShimFrame, Unknown>[] = [];
  #seq: number;
  readonly #session: number;
  readonly #calls = { progress: 0, error: 0, done: 0 };

  /** @param agoUs It was opened before its first call: what came between calls is real time, and short. */
  constructor(firstSeq = 1, store = 'Mailbox', agoUs = 0) {
    this.#seq = firstSeq;
    this.#session = firstSeq;
    this.frames.push({
      kind: 'open',
      ...this.#header(),
      timeUs: nowUs() - agoUs,
      attach: 1,
      flags: 3,
      provider: 'contoso',
      store,
      wallUs: Date.now() * 1000 - agoUs,
      callback: 1,
    });
  }

  get seq(): number {
    return this.#seq - 1;
  }

  #header() {
    return { seq: this.#seq++, timeUs: nowUs(), thread: 7, session: this.#session };
  }

  progress(index: number, max: number, text: string | null = null): this {
    const call = ++this.#calls.progress;
    this.frames.push({ kind: 'progress', ...this.#header(), call, index, max, marks: 0, text });
    return this;
  }

  error(text: string | null, hresult = 0x8004010f): this {
    const call = ++this.#calls.error;
    this.frames.push({ kind: 'error', ...this.#header(), call, hresult, marks: 0, text });
    return this;
  }

  done(hresult = 0): this {
    const call = ++this.#calls.done;
    this.frames.push({ kind: 'done', ...this.#header(), call, hresult, handle: 0 });
    return this;
  }

  close(): this {
    const { progress, error: errors, done: dones } = this.#calls;
    const counters = { progress, errors, dones, merged: 0, lost: 0, innerUs: 0, innerMaxUs: 0 };
    this.frames.push({ kind: 'close', ...this.#header(), counters });
    return this;
  }

  /** The frames behind a sequence number: what a shim sends again. */
  after(durable: number): Exclude<ShimFrame, Unknown>[] {
    return this.frames.filter((frame) => 'seq' in frame && frame.seq > durable);
  }
}

// The journal, read by other means than the daemon's.

function expectWholeLines(dir: string): void {
  for (const name of existsSync(dir) ? readdirSync(dir) : []) {
    if (!name.endsWith('.jsonl')) continue;
    const text = readFileSync(join(dir, name), 'utf8');
    expect(text === '' || text.endsWith('\n'), `${name} ends with a whole line`).toBe(true);
  }
}

/**
 * Every record, each held to the schema. Snapshots are left out, and so is a last line that is being
 * written: a reader may see a part of a write.
 */
export function journalOf(stateDir: string): RecordDraft[] {
  const dir = join(stateDir, 'journal');
  const records: RecordDraft[] = [];
  for (const name of readdirSync(dir).sort()) {
    if (!name.endsWith('.jsonl')) continue;
    const text = readFileSync(join(dir, name), 'utf8');
    for (const line of text.split('\n').slice(0, -1)) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(16_384);
      const record = JSON.parse(line);
      checkValid(record);
      if (!record.event_name.startsWith('snapshot.')) records.push(record);
    }
  }
  return records;
}

export const named = (records: readonly RecordDraft[], name: string): RecordDraft[] =>
  records.filter((record) => record.event_name === name);
