/** `tail` in a terminal: the live table, and what scrolls up from it. */
import type { Renderer } from '../commands/tail.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';
import type { FeedRecord, View, Watched } from '../view.ts';
import type { Layout } from './columns.ts';
import { PlainLines } from './plain.ts';
import { REDRAW_MS, Screen, type TaskbarState, taskbar } from './screen.ts';
import { endedLines } from './session-row.ts';
import { overall, renderTable } from './table.ts';
import { cut } from './text.ts';
import { knowsTaskbar } from './theme.ts';

/** Clocks go on while nothing else does. */
const CLOCK_MS = 1000;
/** Where the terminal does not say. */
const DEFAULT_SIZE = { columns: 80, rows: 24 };

export class Dashboard implements Renderer {
  readonly #settings: Settings;
  readonly #io: Io;
  readonly #screen: Screen;
  readonly #lines: PlainLines;
  readonly #hasTaskbar: boolean;
  readonly #offResize: () => void;
  readonly #offSuspend: () => void;
  #view: View | undefined;
  #layout: Layout | undefined;
  #failure: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasEnded = false;
  #drawnMs = Number.NEGATIVE_INFINITY;
  #taskbar = '';
  /** What scrolls up with the next redraw, in its order: lines, and sessions that have ended. */
  #above: (string | Watched)[] = [];

  constructor(settings: Settings, io: Io) {
    this.#settings = settings;
    this.#io = io;
    this.#hasTaskbar = io.stdout.isTTY && knowsTaskbar(io.env);
    this.#lines = new PlainLines({ unicode: settings.theme.unicode, verbosity: 0 });
    const write = (text: string): void => this.#write(text);
    const size = (): typeof DEFAULT_SIZE => this.#size();
    this.#screen = new Screen({
      get columns() {
        return size().columns;
      },
      get rows() {
        return size().rows;
      },
      write,
    });
    this.#offResize = io.stdout.onResize(() => {
      this.#layout = undefined;
      this.#schedule(0);
    });
    this.#offSuspend = io.onSuspend(
      () => {
        this.#screen.end();
        this.#showTaskbar({ kind: 'none' });
      },
      () => this.#draw(),
    );
  }

  current(view: View): void {
    this.changed(view);
  }

  changed(view: View): void {
    if (this.#failure) throw this.#failure;
    this.#view = view;
    if (view.isCurrent || view.isLost) this.#schedule(REDRAW_MS);
  }

  record(record: FeedRecord, _: unknown, view: View): void {
    const ended = view.record(record, this.#io.nowMs());
    if (ended) this.#above.push(ended);
    else if (!record.session) {
      const line = this.#lines.record(record);
      if (line !== undefined) this.#above.push(line);
    }
    this.changed(view);
  }

  message(text: string): void {
    // The foot says how it is now, and this stays.
    if (this.#settings.verbosity >= 0) this.#above.push(text);
  }

  end(view: View): void {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    this.#offResize();
    this.#offSuspend();
    this.#view = view;
    if (this.#failure) return;
    // What still runs stays to be read; a table of nothing would only be in the way. Drawn anew, since
    // the terminal may have written the user's ^C into it.
    this.#screen.invalidate();
    this.#draw();
    if (view.sessions.size > 0) this.#screen.end();
    else this.#screen.clear();
    this.#showTaskbar({ kind: 'none' });
  }

  #schedule(stepMs: number): void {
    const dueMs = this.#drawnMs + Math.max(stepMs, REDRAW_MS);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#draw(), Math.max(0, dueMs - this.#io.nowMs()));
  }

  #draw(): void {
    const view = this.#view;
    if (!view) return;
    const { theme } = this.#settings;
    this.#drawnMs = this.#io.nowMs();
    const above = this.#above.splice(0);
    const table = renderTable({
      view,
      ending: above.filter((item) => typeof item !== 'string'),
      size: this.#size(),
      nowMs: this.#drawnMs,
      theme,
      daemon: view.isLost ? 'daemon lost, waiting for it' : `daemon ${view.daemon?.pid ?? ''}`,
      ...(this.#layout ? { before: this.#layout } : {}),
    });
    this.#layout = table.layout;
    const lines = above.flatMap((item) =>
      typeof item === 'string'
        ? cut(item, table.layout.room, theme.unicode)
        : endedLines(item, table.layout, theme),
    );
    this.#screen.draw(lines, table.lines);
    const { percent, stalled } = overall(view);
    if (view.sessions.size === 0) this.#showTaskbar({ kind: 'none' });
    else if (percent === undefined) this.#showTaskbar({ kind: 'busy' });
    else this.#showTaskbar({ kind: 'part', percent, warn: stalled });
    clearTimeout(this.#timer);
    if (!this.#hasEnded) this.#timer = setTimeout(() => this.#draw(), CLOCK_MS);
  }

  #size(): typeof DEFAULT_SIZE {
    const { columns, rows } = this.#io.stdout;
    return { columns: columns || DEFAULT_SIZE.columns, rows: rows || DEFAULT_SIZE.rows };
  }

  #showTaskbar(state: TaskbarState): void {
    const text = taskbar(state);
    if (!this.#hasTaskbar || text === this.#taskbar) return;
    if (this.#taskbar === '' && state.kind === 'none') return;
    this.#taskbar = text;
    this.#write(text);
  }

  #write(text: string): void {
    this.#io.stdout.write(text).catch((error: Error) => {
      this.#failure ??= error;
    });
  }
}
