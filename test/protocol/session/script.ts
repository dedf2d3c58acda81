// Builders, so that a row reads as the transcript of one session.

import { expect } from 'vitest';
import { finishRecord, MAX_LINE_BYTES, toLine } from '../../../protocol/records/line.ts';
import type { RecordDraft } from '../../../protocol/records/record.ts';
import type { Origin } from '../../../protocol/session/state.ts';
import type { InnerTimes, SequencedFrame } from '../../../protocol/wire/frames.ts';
import { checkValid } from '../../valid-record.mjs';

export const RING = '00112233445566778899aabbccddeeff';
export const ORIGIN: Origin = {
  ring: RING,
  pid: 4242,
  arch: 'x64',
  executable: 'OUTLOOK.EXE',
  shimVersion: '0.1.0',
};
/** Monotonic time at which every session here opens, and the wall time of that. */
export const OPEN_US = 1_000_000_000;
export const OPEN_WALL_US = 1_750_000_000_000_000;
export const SECOND = 1_000_000;

export const S_OK = 0;
export const NETWORK = 0x80040115;
export const NOT_FOUND = 0x8004010f;
export const USER_CANCEL = 0x80040113;
export const PARTIAL = 0x00040680;

const zero = { progress: 0, errors: 0, dones: 0, merged: 0, lost: 0, innerUs: 0, innerMaxUs: 0 };
type Counts = Partial<typeof zero>;
const noTimes = {
  progressUs: 0,
  progressMaxUs: 0,
  errorUs: 0,
  errorMaxUs: 0,
  doneUs: 0,
  doneMaxUs: 0,
};
/** Left out: the shim does not count by method. */
const timed = (times?: Partial<InnerTimes>): { innerTimes?: InnerTimes } =>
  times === undefined ? {} : { innerTimes: { ...noTimes, ...times } };

/** Frames of one session, in order; `at()` sets the seconds since its `open`. */
export class Script {
  seq: number;
  readonly session: number;
  #atUs = 0;
  #calls = { progress: 0, errors: 0, dones: 0 };

  constructor(first = 1) {
    this.seq = first;
    this.session = first;
  }

  get nowUs(): number {
    return OPEN_US + this.#atUs;
  }

  at(seconds: number): this {
    this.#atUs = Math.round(seconds * SECOND);
    return this;
  }

  open(over: object = {}): SequencedFrame {
    return {
      kind: 'open',
      ...this.#header(),
      attach: 1,
      flags: 0x20000041,
      provider: 'contoso',
      store: 'Mailbox A',
      wallUs: OPEN_WALL_US,
      callback: 1,
      ...over,
    } as SequencedFrame;
  }

  progress(
    index: number,
    max: number,
    text: string | null = null,
    over: object = {},
  ): SequencedFrame {
    const call = ++this.#calls.progress;
    return {
      kind: 'progress',
      ...this.#header(),
      call,
      index,
      max,
      marks: 0,
      text,
      ...over,
    } as SequencedFrame;
  }

  error(hresult: number, text: string | null = null): SequencedFrame {
    const call = ++this.#calls.errors;
    return { kind: 'error', ...this.#header(), call, hresult, marks: 0, text };
  }

  done(hresult: number, handle = 2): SequencedFrame {
    return { kind: 'done', ...this.#header(), call: ++this.#calls.dones, hresult, handle };
  }

  inner(method: number, hresult: number, durationUs: number): SequencedFrame {
    return { kind: 'inner', ...this.#header(), method, call: 1, hresult, durationUs };
  }

  blocked(method: number, thread: number): SequencedFrame {
    const sinceUs = this.nowUs - 2 * SECOND;
    return { kind: 'blocked', ...this.#header(), thread, method, call: 1, sinceUs };
  }

  unblocked(method: number, thread: number, durationUs: number): SequencedFrame {
    const sinceUs = this.nowUs - durationUs;
    return { kind: 'unblocked', ...this.#header(), thread, method, call: 1, sinceUs, durationUs };
  }

  returned(hresult: number): SequencedFrame {
    return { kind: 'returned', ...this.#header(), hresult, durationUs: 1234, event: 1 };
  }

  note(key: string, value: string): SequencedFrame {
    return { kind: 'note', ...this.#header(), key, value };
  }

  merged(counts: Counts, newest: object = {}, times?: Partial<InnerTimes>): SequencedFrame {
    const call = { call: 0, timeUs: this.nowUs, index: 0, max: 0, marks: 0, text: null, ...newest };
    const counters = { ...zero, ...counts };
    return { kind: 'merged', ...this.#header(), counters, newest: call, ...timed(times) };
  }

  close(counts: Counts = {}, times?: Partial<InnerTimes>): SequencedFrame {
    const { progress, errors, dones } = this.#calls;
    return {
      kind: 'close',
      ...this.#header(),
      counters: { ...zero, progress, errors, dones, ...counts },
      ...timed(times),
    };
  }

  clock(wallUs: number): SequencedFrame {
    return { kind: 'clock', ...this.#header(), session: 0, wallUs };
  }

  #header() {
    return { seq: this.seq++, timeUs: this.nowUs, thread: 4711, session: this.session };
  }
}

let counter = 0;

/** Finishes a draft as the journal does, and holds its line to schema and size. */
export function checkRecord(draft: RecordDraft): void {
  const service = { name: 'mapisync', version: '0.1.0', instance_id: 'test' };
  const record = finishRecord(draft, { service, host: 'bench', counter: ++counter });
  const line = toLine(record);
  expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_LINE_BYTES);
  expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/);
  checkValid(JSON.parse(line));
}

/** Collects records, each of them held to the schema. */
export class Log {
  readonly records: RecordDraft[] = [];
  readonly emit = (draft: RecordDraft): void => {
    checkRecord(draft);
    this.records.push(draft);
  };

  names(): string[] {
    return this.records.map(({ event_name }) => event_name.replace(/^session\./, ''));
  }

  named(name: string): RecordDraft[] {
    return this.records.filter(({ event_name }) => event_name === name);
  }

  last(): RecordDraft {
    return this.records.at(-1) as RecordDraft;
  }
}
