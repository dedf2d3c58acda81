/**
 * Figures over records, since a daemon started: for systems that draw curves and wake people. Labels are
 * from closed lists, so that their number is bounded whatever a host does; no text of a host is among them.
 */
import type { RecordDraft } from './record.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Family {
  /** As Prometheus has it, with its unit. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly points: readonly Point[];
}

export interface Point {
  readonly labels: Labels;
  /** Of a histogram: the sum. */
  readonly value: number;
  /** Of a histogram: how many fell below each of `DURATION_BOUNDS_S`, and above the last. */
  readonly buckets?: readonly number[];
}

/** Seconds. A sync takes from a moment to a night. */
export const DURATION_BOUNDS_S: readonly number[] = [
  0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400,
];
/** Sessions that are known to run. Above that the oldest is taken for ended. */
const MAX_ACTIVE = 4096;

interface Series {
  readonly help: string;
  readonly type: 'counter' | 'histogram';
  readonly points: Map<string, { readonly labels: Labels; value: number; buckets?: number[] }>;
}

const counter = (help: string): Series => ({ help, type: 'counter', points: new Map() });
const histogram = (help: string): Series => ({ help, type: 'histogram', points: new Map() });

const makeSeries = () => ({
  mapisync_sessions_ended_total: counter('Syncs that ended, by outcome'),
  mapisync_session_duration_seconds: histogram('How long syncs took, by outcome'),
  mapisync_session_errors_total: counter('Calls of Error, by class and severity'),
  mapisync_session_checks_total: counter('Contract checks that fired, by severity'),
  mapisync_session_stalls_total: counter('Stalls, by kind'),
  mapisync_inner_slow_total: counter("Calls in Outlook's callback that failed or were slow"),
  mapisync_frames_lost_total: counter('Calls that were lost because a ring was full'),
  mapisync_processes_gone_total: counter('Provider processes that ended, by whether they crashed'),
  mapisync_exports_failed_total: counter('Times that an exporter could not go on, by cause'),
});

const COUNTED: ReadonlySet<RecordDraft['event_name']> = new Set([
  'session.opened',
  'session.ended',
  'session.error',
  'session.check',
  'session.stalled',
  'session.inner_slow',
  'frames.lost',
  'process.gone',
  'export.failed',
]);

export class Metrics {
  readonly #active = new Set<string>();
  readonly #series = makeSeries();
  /** What counts an error, by class and severity. */
  readonly #errors = new Map<string, () => void>();

  take(record: RecordDraft): void {
    this.effectOf(record)?.();
  }

  /** @returns What counts the record, for later, without the record itself where records are many. */
  effectOf(record: RecordDraft): (() => void) | undefined {
    const { event_name: name, error } = record;
    if (name === 'session.progress' || !COUNTED.has(name)) return undefined;
    if (name !== 'session.error') return () => this.#take(record);
    if (!error) return undefined;
    const { class: errorClass, severity } = error;
    const key = `${errorClass} ${severity}`;
    let effect = this.#errors.get(key);
    if (!effect) {
      let point: { value: number } | undefined;
      effect = () => {
        if (point) point.value += 1;
        else {
          point = this.#count('mapisync_session_errors_total', { class: errorClass, severity });
        }
      };
      this.#errors.set(key, effect);
    }
    return effect;
  }

  #take(record: RecordDraft): void {
    switch (record.event_name) {
      case 'session.opened':
        this.#open(record.session?.id);
        return;
      case 'session.ended':
        this.#end(record);
        return;
      case 'session.check':
        if (record.check) {
          this.#count('mapisync_session_checks_total', { severity: record.check.severity });
        }
        return;
      case 'session.stalled':
        if (record.stall) this.#count('mapisync_session_stalls_total', { kind: record.stall.kind });
        return;
      case 'session.inner_slow':
        if (record.inner) this.#count('mapisync_inner_slow_total', { method: record.inner.method });
        return;
      case 'frames.lost': {
        const lost = Object.values(record.lost?.by_kind ?? {});
        this.#count(
          'mapisync_frames_lost_total',
          {},
          lost.reduce((sum, count) => sum + count, 0),
        );
        return;
      }
      case 'process.gone':
        this.#count('mapisync_processes_gone_total', {
          crashed: String(record.exit?.crashed ?? false),
        });
        return;
      case 'export.failed':
        this.#count('mapisync_exports_failed_total', { cause: record.export?.cause ?? 'failed' });
    }
  }

  /** @param active Sessions that run, from whoever knows; else those that opened and did not end. */
  families(active = this.#active.size): Family[] {
    const running: Family = {
      name: 'mapisync_sessions_active',
      help: 'Syncs that run',
      type: 'gauge',
      points: [{ labels: {}, value: active }],
    };
    const others = Object.entries(this.#series).map(
      ([name, { help, type, points }]): Family => ({
        name,
        help,
        type,
        points: [...points.values()].map(({ labels, value, buckets }) => ({
          labels,
          value,
          ...(buckets ? { buckets: [...buckets] } : {}),
        })),
      }),
    );
    return [running, ...others.filter(({ points }) => points.length > 0)];
  }

  #open(id: string | undefined): void {
    if (id === undefined) return;
    if (this.#active.size >= MAX_ACTIVE) this.#active.delete(this.#active.values().next().value!);
    this.#active.add(id);
  }

  #end({ session, outcome = 'failed', duration_us = 0 }: RecordDraft): void {
    if (session) this.#active.delete(session.id);
    this.#count('mapisync_sessions_ended_total', { outcome });
    const seconds = duration_us / 1_000_000;
    const point = this.#count('mapisync_session_duration_seconds', { outcome }, seconds);
    point.buckets ??= new Array<number>(DURATION_BOUNDS_S.length + 1).fill(0);
    const at = DURATION_BOUNDS_S.findIndex((bound) => seconds <= bound);
    point.buckets[at < 0 ? DURATION_BOUNDS_S.length : at]! += 1;
  }

  #count(
    name: keyof ReturnType<typeof makeSeries>,
    labels: Labels,
    by = 1,
  ): { value: number; buckets?: number[] } {
    const { points } = this.#series[name];
    const key = JSON.stringify(labels);
    let point = points.get(key);
    if (!point) {
      point = { labels, value: 0 };
      points.set(key, point);
    }
    point.value += by;
    return point;
  }
}
