/**
 * A block of lines at the foot of a terminal that is drawn in place, at most ten times a second. What
 * is printed above it scrolls up and stays. Writes each change as a whole.
 */
import { width } from './text.ts';

export interface Terminal {
  readonly columns: number;
  readonly rows: number;
  readonly write: (text: string) => void;
}

export const REDRAW_MS = 100;

// Wrapping is off while the block stands, so that a line measured too short can't push it down.
const BEGIN = '\x1b[?25l\x1b[?7l';
const END = '\x1b[?7h\x1b[?25h';
const ERASE_BELOW = '\x1b[J';
const ERASE_LINE_END = '\x1b[K';
const CONTROL_SEQUENCES = /\x1b\[[0-9;?]*[a-zA-Z]/g;

export class Screen {
  readonly #terminal: Terminal;
  /** Columns that each line of the block took when it was drawn. */
  #widths: number[] = [];
  #begun = false;
  #last = '';

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Prints `above` for good, and the block below it. */
  draw(above: readonly string[], block: readonly string[]): void {
    const lines = block.join('\n');
    if (above.length === 0 && lines === this.#last) return;
    const text = [...above, ...block].map((line) => `${line}${ERASE_LINE_END}`).join('\r\n');
    this.#terminal.write(`${this.#begun ? '' : BEGIN}${this.#toTop()}${text}${ERASE_BELOW}`);
    this.#begun = true;
    this.#last = lines;
    // What was too wide for the terminal is not there.
    const most = this.#terminal.columns;
    this.#widths = block.map((line) => Math.min(most, width(line.replace(CONTROL_SEQUENCES, ''))));
  }

  /** Draws the block again next time, even if it is the same. */
  invalidate(): void {
    this.#last = '';
  }

  /** Leaves the block where it stands, and the cursor below it. Safe to call twice. */
  end(): void {
    if (!this.#begun) return;
    this.#terminal.write(`${END}\r\n`);
    this.#forget();
  }

  /** Removes the block. */
  clear(): void {
    if (!this.#begun) return;
    this.#terminal.write(`${this.#toTop()}${ERASE_BELOW}${END}`);
    this.#forget();
  }

  #forget(): void {
    this.#begun = false;
    this.#widths = [];
    this.#last = '';
  }

  /** Moves to the block's first column. A narrower terminal has broken its lines since. */
  #toTop(): string {
    const { columns } = this.#terminal;
    let up = -1;
    for (const line of this.#widths) up += Math.max(1, Math.ceil(line / Math.max(1, columns)));
    return up > 0 ? `\r\x1b[${up}A` : '\r';
  }
}

/** What a task bar shows: nothing, a part, or that something goes on. */
export type TaskbarState =
  | { kind: 'none' }
  | { kind: 'busy' }
  | { kind: 'part'; percent: number; warn: boolean };

/** OSC 9;4. */
export function taskbar(state: TaskbarState): string {
  switch (state.kind) {
    case 'none':
      return '\x1b]9;4;0;0\x07';
    case 'busy':
      return '\x1b]9;4;3;0\x07';
    case 'part':
      return `\x1b]9;4;${state.warn ? 4 : 1};${state.percent}\x07`;
  }
}
