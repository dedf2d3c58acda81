/** Records to lines: by pino, but for the many that a running session makes. */
import { pino } from 'pino';
import {
  escapeLine,
  finishRecord,
  isSureToFit,
  type LineContext,
} from '../protocol/records/line.ts';
import type { ErrorFields, RecordDraft } from '../protocol/records/record.ts';
import { SEVERITY_NUMBER } from '../protocol/records/record.ts';

/** What stands before the fields of one record, in this order, and its message, which stands behind. */
const PLACED: ReadonlySet<string> = new Set<keyof RecordDraft>([
  'level',
  'time',
  'observed_time',
  'event_name',
  'event_id',
  'group',
  'trace_id',
  'span_id',
  'trace_flags',
  'process',
  'ring',
  'session',
  'msg',
]);

/** Codes whose fields are kept as text. A sync has a few. */
const MAX_CODES = 256;

/** What JSON escapes in a string, and what it might. */
const ESCAPED = /["\\\u0000-\u001f\ud800-\udfff]/;
/** What plain ASCII does not have. */
const NOT_PLAIN = /[^\x20-\x7e]/;
/** The same, and what JSON escapes. */
const NOT_PLAIN_OR_ESCAPED = /["\\]|[^\x20-\x7e]/;

/** Turns drafts into lines of the journal, each with its newline. */
export class LineMaker {
  readonly #context: Omit<LineContext, 'counter'>;
  #counter = 0;
  #line = '';
  #isPlain = false;
  /** What is the same in all lines of a session, and whether that is plain. */
  readonly #ofSession = new WeakMap<object, { common: string; isPlain: boolean }>();
  /** What is the same in all errors of a code. */
  readonly #ofCode = new Map<string, string>();
  readonly #pino = pino(
    {
      // The record has all of this itself; the level is the label that the record gives.
      base: null,
      timestamp: false,
      level: 'debug',
      messageKey: 'msg',
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line) => {
        this.#line = line;
      },
    },
  );

  constructor(context: Omit<LineContext, 'counter'>) {
    this.#context = context;
  }

  /**
   * Whether the last line is known to be of plain ASCII, so that each of its units is a byte and nothing is to be
   * escaped. To look through each line for that took a twentieth of an error's time.
   */
  get isPlain(): boolean {
    return this.#isPlain;
  }

  line(draft: RecordDraft): string {
    this.#counter += 1;
    this.#isPlain = false;
    if (draft.mono_us !== undefined && draft.session !== undefined && isSureToFit(draft)) {
      return this.#sessionLine(draft, draft.session);
    }
    const { service, host } = this.#context;
    const record = finishRecord(draft, { service, host, counter: this.#counter });
    const { level, msg } = record;
    // pino says these two itself. It leaves out what has no value, and a copy without them is slow.
    Object.assign(record, { level: undefined, msg: undefined });
    this.#pino[level](record, msg);
    return escapeLine(this.#line);
  }

  /** The same as pino would make it, at about a third of the price: docs/performance.md has both. */
  #sessionLine(draft: RecordDraft, session: object): string {
    this.#isPlain = true;
    const { level, group } = draft;
    const id = draft.event_id ?? `${this.#context.service.instance_id}-${this.#counter}`;
    let line = `{"level":"${level}","v":1,"time":"${draft.time}"`;
    if (draft.observed_time !== undefined) line += `,"observed_time":"${draft.observed_time}"`;
    line += `,"severity_number":${SEVERITY_NUMBER[level]},"event_name":"${draft.event_name}","event_id":"${id}"`;
    if (group !== undefined) line += `,"group":{"n":${group.n},"of":${group.of}}`;
    let ofSession = this.#ofSession.get(session);
    if (ofSession === undefined) {
      const common = this.#commonOf(draft);
      ofSession = { common, isPlain: !NOT_PLAIN.test(common) };
      this.#ofSession.set(session, ofSession);
    }
    line += ofSession.common;
    if (!ofSession.isPlain) this.#isPlain = false;
    for (const key in draft) {
      if (PLACED.has(key)) continue;
      const value = draft[key as keyof RecordDraft];
      if (value === undefined) continue;
      line += `,"${key}":${typeof value === 'number' ? value : this.#json(key, value)}`;
    }
    line += `,"msg":${this.#quoted(draft.msg)}}\n`;
    return this.#isPlain ? line : escapeLine(line);
  }

  #json(key: string, value: unknown): string {
    if (key === 'thread') return `{"id":${(value as { id: number }).id}}`;
    if (key === 'error') return this.#errorOf(value as ErrorFields);
    this.#isPlain = false;
    return JSON.stringify(value);
  }

  #errorOf(error: ErrorFields): string {
    const { hresult, text, repeat } = error;
    let line = this.#ofCode.get(hresult);
    if (line === undefined) {
      // Plain: all of it comes from our tables.
      line = JSON.stringify({ ...error, text: undefined, repeat: undefined }).slice(0, -1);
      if (this.#ofCode.size >= MAX_CODES) this.#ofCode.clear();
      this.#ofCode.set(hresult, line);
    }
    if (text !== undefined) line += `,"text":${this.#quoted(text)}`;
    if (repeat !== undefined) line += `,"repeat":${repeat}`;
    return `${line}}`;
  }

  #commonOf({ trace_id, span_id, trace_flags, process, ring, session }: RecordDraft): string {
    const { service, host } = this.#context;
    const common = { trace_id, span_id, trace_flags, service, host: { name: host } };
    return `,${JSON.stringify({ ...common, process, ring, session }).slice(1, -1)}`;
  }

  /** JSON of a string. Nearly none has anything to escape, and to look is faster than `JSON.stringify`. */
  #quoted(text: string): string {
    if (!NOT_PLAIN_OR_ESCAPED.test(text)) return `"${text}"`;
    this.#isPlain = false;
    return ESCAPED.test(text) ? JSON.stringify(text) : `"${text}"`;
  }
}
