/** The daemon's status for people. What a newer daemon says besides is in `status --json`. */
import type { LiveSession } from '../../protocol/records/record.ts';
import { glance } from '../view.ts';
import { layOut, renderRow } from './columns.ts';
import { clock, count, grouped } from './numbers.ts';
import { endedRow, errorLines, liveRow } from './session-row.ts';
import { printable, width } from './text.ts';
import type { Theme } from './theme.ts';

type Facts = Readonly<Record<string, unknown>>;

/** Looks into what the daemon sent: another version may leave things out. */
class Look {
  readonly #facts: Facts;

  constructor(facts: unknown) {
    this.#facts = typeof facts === 'object' && facts !== null ? (facts as Facts) : {};
  }

  in(key: string): Look {
    return new Look(this.#facts[key]);
  }

  list(key: string): Look[] {
    const list = this.#facts[key];
    return Array.isArray(list) ? list.map((one) => new Look(one)) : [];
  }

  text(key: string): string | undefined {
    const value = this.#facts[key];
    return ['string', 'number', 'boolean'].includes(typeof value) ? String(value) : undefined;
  }

  number(key: string): number {
    const value = this.#facts[key];
    return typeof value === 'number' ? value : 0;
  }

  get entries(): [string, unknown][] {
    return Object.entries(this.#facts);
  }
}

export function statusLines(facts: Facts, theme: Theme, now: Date): string[] {
  const status = new Look(facts);
  const daemon = status.in('daemon');
  const journal = status.in('journal');
  const upUs = (now.getTime() - Date.parse(daemon.text('started') ?? '')) * 1000;
  const rows: [string, string | undefined][] = [
    [
      'Daemon',
      join([
        daemon.text('state'),
        labelled('pid', daemon.text('pid')),
        labelled('version', daemon.text('version')),
        Number.isNaN(upUs) ? undefined : `up ${clock(upUs)}`,
      ]),
    ],
    ['Directory', daemon.text('state_dir')],
    ['Endpoint', status.in('endpoint').text('pipe')],
    [
      'Journal',
      join([
        journal.text('state'),
        labelled('segment', journal.text('segment')),
        journal.number('backlog_bytes') > 0
          ? `${grouped(journal.number('backlog_bytes'))} bytes wait`
          : undefined,
        journal.text('trouble'),
      ]),
    ],
    ...exportRows(status),
    ...processRows(status),
    ['Clients', status.in('peers').text('clients')],
    [
      'Refused',
      join(
        status
          .in('counts')
          .in('refused')
          .entries.map(([why, n]) => `${why} x${n}`),
      ),
    ],
  ];
  const shown = rows.filter((row): row is [string, string] => Boolean(row[1]));
  const columns = Math.max(...shown.map(([key]) => width(key)));
  return shown.map(([key, value]) => {
    const name = theme.paint('dim', key) + ' '.repeat(columns - width(key));
    return `${name}  ${printable(value, theme.unicode)}`;
  });
}

/** Of what has ended, the newest: the rest is what `sessions` is for. */
const MAX_ENDED_ROWS = 4;

/** Sessions as `tail` shows them: one row each, errors beneath. */
export function liveLines(
  sessions: readonly LiveSession[],
  theme: Theme,
  nowMs: number,
  columns: number,
): string[] {
  if (sessions.length === 0) return ['No session is running'];
  const ended = sessions.filter(({ state }) => state === 'ended');
  const left = new Set(ended.slice(0, -MAX_ENDED_ROWS));
  const watched = sessions.filter((one) => !left.has(one)).map((live) => glance(live, nowMs));
  const rows = watched.map((one) =>
    one.live.state === 'ended' ? endedRow(one, theme) : liveRow(one, nowMs, theme),
  );
  const layout = layOut(rows, columns);
  const lines = watched.flatMap((one, index) => [
    renderRow(rows[index]!, layout, theme),
    ...errorLines(one, layout.room, theme),
  ]);
  if (left.size > 0) lines.push(`and ${left.size} more that ended: see mapisync sessions`);
  return lines;
}

function exportRows(status: Look): [string, string | undefined][] {
  return status
    .list('exports')
    .map((one) => [
      `Export ${one.text('name')}`,
      join([
        one.text('state'),
        one.number('backlog_bytes') > 0
          ? `${grouped(one.number('backlog_bytes'))} bytes behind`
          : undefined,
        one.text('error'),
      ]),
    ]);
}

function processRows(status: Look): [string, string | undefined][] {
  const processes = status.list('processes');
  if (processes.length === 0) return [['Processes', 'none']];
  return processes.map((one, index) => [
    index === 0 ? 'Processes' : '',
    join([
      [one.text('executable'), one.text('pid'), one.text('arch')].filter(Boolean).join(' '),
      one.text('connected') === 'false' ? 'not connected' : undefined,
      count(one.number('sessions'), 'session'),
      labelled('shim', one.text('shim_version')),
      one.number('lost') > 0 ? `${grouped(one.number('lost'))} lost` : undefined,
    ]),
  ]);
}

const join = (parts: readonly (string | undefined)[]): string => parts.filter(Boolean).join(', ');

const labelled = (label: string, value: string | undefined): string | undefined =>
  value === undefined ? undefined : `${label} ${value}`;
