/** What the terminal can show: colours, Unicode, its task bar. Decided once, from outside facts. */

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const SGR: Record<Style, readonly [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

export interface Theme {
  /** Glyphs and host text beyond ASCII. */
  readonly unicode: boolean;
  /** The filled and the empty part of a bar differ without colour too. */
  readonly bar: { readonly filled: string; readonly empty: string };
  readonly paint: (style: Style, text: string) => string;
}

export type ColorMode = 'auto' | 'always' | 'never';
export type Env = Readonly<Record<string, string | undefined>>;

/** The flag first, then FORCE_COLOR, then NO_COLOR, then what the output is. */
export function wantsColor(mode: ColorMode, env: Env, isTTY: boolean): boolean {
  if (mode !== 'auto') return mode === 'always';
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false';
  if (env.NO_COLOR) return false;
  return isTTY && env.TERM !== 'dumb';
}

/** Whether bytes of UTF-8 arrive as characters. Windows consoles get UTF-16 from Node. */
export function speaksUtf8(env: Env, platform: NodeJS.Platform): boolean {
  if (platform === 'win32') return true;
  return /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '');
}

/** Whether OSC 9;4 shows in a task bar; others print it, or pop up a notification. */
export function knowsTaskbar(env: Env): boolean {
  if (env.TMUX || env.STY) return false;
  return Boolean(env.WT_SESSION) || env.ConEmuANSI === 'ON' || env.TERM_PROGRAM === 'ghostty';
}

export function makeTheme(options: { unicode: boolean; color: boolean; term?: string }): Theme {
  // The Linux console draws both line glyphs alike.
  const lines = options.unicode && options.term !== 'linux';
  return {
    unicode: options.unicode,
    bar: lines ? { filled: '━', empty: '─' } : { filled: '#', empty: '.' },
    paint: (style, text) => {
      if (!options.color || text === '') return text;
      const [on, off] = SGR[style];
      return `\x1b[${on}m${text}\x1b[${off}m`;
    },
  };
}
