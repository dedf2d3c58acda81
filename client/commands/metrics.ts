/** `metrics`: the daemon's figures in the text format of Prometheus. */
import type { ExportStatus } from '../../protocol/records/exports.ts';
import { DURATION_BOUNDS_S, type Family, type Labels } from '../../protocol/records/metrics.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';
import { askStatus } from './status.ts';

export async function metrics(settings: Settings, io: Io): Promise<number> {
  const { facts } = await askStatus(settings, io);
  const families = [...ownFamilies(facts), ...((facts.metrics ?? []) as readonly Family[])];
  if (settings.output === 'json') await io.stdout.write(`${JSON.stringify(families)}\n`);
  else await io.stdout.write(families.map(familyText).join(''));
  return EXIT.done;
}

/** What `status` says, as figures. */
function ownFamilies(facts: Readonly<Record<string, unknown>>): Family[] {
  const daemon = (facts.daemon ?? {}) as { version?: string; started?: string };
  const journal = (facts.journal ?? {}) as { backlog_bytes?: number };
  const exports = (facts.exports ?? []) as readonly ExportStatus[];
  const gauge = (name: string, help: string, points: Family['points']): Family => ({
    name,
    help,
    type: 'gauge',
    points,
  });
  const families = [
    gauge('mapisync_daemon_info', 'Always 1', [
      { labels: { version: daemon.version ?? '' }, value: 1 },
    ]),
    gauge('mapisync_daemon_start_time_seconds', 'When the daemon started, since the epoch', [
      { labels: {}, value: Date.parse(daemon.started ?? '') / 1000 },
    ]),
    gauge('mapisync_journal_backlog_bytes', 'Records that wait for the disk', [
      { labels: {}, value: journal.backlog_bytes ?? 0 },
    ]),
    gauge(
      'mapisync_export_backlog_bytes',
      'The part of the journal that an exporter has still to bring',
      exports.map(({ name, backlog_bytes: value }) => ({ labels: { export: name }, value })),
    ),
    gauge(
      'mapisync_export_failing',
      'Whether an exporter fails now',
      exports.map(({ name, state }) => ({
        labels: { export: name },
        value: state === 'failing' ? 1 : 0,
      })),
    ),
  ];
  return families.filter(({ points }) => points.length > 0);
}

function familyText({ name, help, type, points }: Family): string {
  const lines = [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`];
  for (const { labels, value, buckets } of points) {
    if (!buckets) {
      lines.push(`${name}${labelText(labels)} ${value}`);
      continue;
    }
    let below = 0;
    buckets.forEach((count, at) => {
      below += count;
      const le = at < DURATION_BOUNDS_S.length ? String(DURATION_BOUNDS_S[at]) : '+Inf';
      lines.push(`${name}_bucket${labelText({ ...labels, le })} ${below}`);
    });
    lines.push(`${name}_sum${labelText(labels)} ${value}`);
    lines.push(`${name}_count${labelText(labels)} ${below}`);
  }
  return `${lines.join('\n')}\n`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`,
  );
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}
