// What the tests of the client build their scenes from, and an Io that keeps what was written.

import { type Io, type Output, OutputClosed } from '../../client/io.ts';
import { makeTheme } from '../../client/render/theme.ts';
import type { LiveSession, RecordDraft } from '../../protocol/records/record.ts';

export const unicode = makeTheme({ unicode: true, color: false });
export const ascii = makeTheme({ unicode: false, color: false });
export const colored = makeTheme({ unicode: true, color: true });

export const OPENED = '2026-02-03T10:00:00.000000Z';

type Progress = LiveSession['progress'];

export function live(
  id: number,
  { progress, ...rest }: Partial<Omit<LiveSession, 'progress'>> & { progress?: Partial<Progress> },
): LiveSession {
  return {
    id: id.toString(16).padStart(16, '0'),
    attach: 'tee',
    state: 'running',
    pid: 4711,
    executable: 'OUTLOOK.EXE',
    opened: OPENED,
    duration_us: 60_000_000,
    since_last_call_us: 1000,
    errors: 0,
    warnings: 0,
    ...rest,
    progress: { index: 0, max: 0, percent: null, calls: 1, ...progress },
  };
}

/** A progress with its percent worked out. */
export function at(index: number, max: number, more: Partial<Progress> = {}): Progress {
  const percent = max === 0 ? null : Math.round((1000 * index) / max) / 10;
  return { index, max, percent, calls: index + 1, ...more };
}

export function record(
  event_name: RecordDraft['event_name'],
  session: LiveSession,
  more: Partial<RecordDraft> & { readonly second?: number } = {},
): RecordDraft {
  const { second = 0, ...fields } = more;
  return {
    event_name,
    level: 'info',
    time: new Date(Date.parse(OPENED) + second * 1000).toISOString().replace('Z', '000Z'),
    msg: event_name,
    process: { pid: session.pid, executable: { name: session.executable } },
    session: {
      id: session.id,
      attach: 'tee',
      ...(session.provider === undefined ? {} : { provider: session.provider }),
      ...(session.store === undefined ? {} : { store: session.store }),
    },
    ...fields,
  };
}

export const networkError = (repeat: number, text?: string): NonNullable<RecordDraft['error']> => ({
  hresult: '0x80040115',
  name: 'MAPI_E_NETWORK_ERROR',
  severity: 'error',
  class: 'transient',
  repeat,
  ...(text === undefined ? {} : { text }),
});

export const totals = (progress: number, errors = 0): NonNullable<RecordDraft['totals']> => ({
  progress,
  errors,
  warnings: 0,
  merged: 0,
  lost: 0,
  checks: 0,
  inner_us: 0,
  inner_max_us: 0,
});

/** An output that keeps what was written, and can fail like a closed pipe or a full disk. */
export class Kept implements Output {
  readonly isTTY: boolean;
  columns: number;
  rows: number;
  text = '';
  failure: Error | undefined;

  constructor({ isTTY = false, columns = 0, rows = 0 } = {}) {
    this.isTTY = isTTY;
    this.columns = columns;
    this.rows = rows;
  }

  readonly write = async (text: string): Promise<void> => {
    if (this.failure) throw this.failure;
    this.text += text;
  };

  readonly onResize = (): (() => void) => () => {};
}

export const closedPipe = (): Error => new OutputClosed();

export function keptIo(given: Partial<Io> = {}): Io & { stdout: Kept; stderr: Kept } {
  const interruption = new AbortController();
  return {
    machineConfig: '/nowhere/config.json',
    platform: 'linux',
    stdout: new Kept(),
    stderr: new Kept(),
    entry: 'dist/bin/mapisync.js',
    nowMs: () => performance.now(),
    interrupted: () => interruption.signal,
    onSuspend: () => () => {},
    runDaemon: async () => 0,
    runExport: () => Promise.reject(new Error('Nothing exports here')),
    ...given,
    // What the user of this machine has set does not count here.
    env: { XDG_CONFIG_HOME: '/nowhere', ...(given.env ?? { LANG: 'C.UTF-8' }) },
  } as unknown as Io & { stdout: Kept; stderr: Kept };
}
