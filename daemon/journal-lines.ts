/** Records to lines, by pino. */
import { pino } from 'pino';
import { escapeLine, finishRecord, type LineContext } from '../protocol/records/line.ts';
import type { RecordDraft } from '../protocol/records/record.ts';

/** Turns drafts into lines of the journal, each with its newline. */
export class LineMaker {
  readonly #context: Omit<LineContext, 'counter'>;
  #counter = 0;
  #line = '';
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

  line(draft: RecordDraft): string {
    const { service, host } = this.#context;
    const record = finishRecord(draft, { service, host, counter: ++this.#counter });
    const { level, msg } = record;
    // pino says these two itself. It leaves out what has no value, and a copy without them is slow.
    Object.assign(record, { level: undefined, msg: undefined });
    this.#pino[level](record, msg);
    return escapeLine(this.#line);
  }
}
