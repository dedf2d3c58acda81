/** A record of the journal as a line for people: `TIME LEVEL EVENT MESSAGE`. */
import type { FeedRecord } from '../view.ts';
import { printable } from './text.ts';
import { makeTheme, type Style, type Theme } from './theme.ts';

const STYLES: Record<string, Style> = { debug: 'dim', info: 'green', warn: 'yellow', error: 'red' };

/** What --grep looks through, wherever it is shown. */
const PLAIN = makeTheme({ unicode: true, color: false });

/** The message begins with whom it is about: provider and store, or a process. */
export function logLine(record: FeedRecord, { unicode, paint }: Theme = PLAIN): string {
  const { time, level, event_name: event, msg = '' } = record;
  const fields = [
    printable(`${time.slice(0, 23)}Z`, unicode),
    paint(STYLES[level] ?? 'dim', printable(level, unicode).padEnd(5)),
    printable(event, unicode),
    printable(msg, unicode),
  ];
  return fields.join(' ').trimEnd();
}
