/** The options that every command has, and where the others are looked up. */
import { KEYS } from './config/keys.ts';
import { find, openSources, type Sources } from './config/sources.ts';
import type { Io, Output } from './io.ts';
import { type ColorMode, makeTheme, speaksUtf8, type Theme, wantsColor } from './render/theme.ts';

export type OutputMode = 'tty' | 'plain' | 'json';

export interface Settings {
  /** As given; undefined means the system's place. */
  readonly stateDir: string | undefined;
  readonly output: OutputMode;
  /** -1 quiet, 0, 1 verbose. */
  readonly verbosity: number;
  /** What the command takes it for says its help. */
  readonly timeoutMs: number | undefined;
  readonly theme: Theme;
  /** For what only some commands have. */
  readonly sources: Sources;
}

/** As commander gives them. */
export interface GlobalFlags {
  readonly stateDir?: string;
  readonly output?: string;
  readonly json?: boolean;
  readonly color?: string;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly timeout?: string;
}

const themeFor = (io: Io, output: Output, color: ColorMode): Theme =>
  makeTheme({
    unicode: speaksUtf8(io.env, io.platform),
    color: wantsColor(color, io.env, output.isTTY),
    ...(io.env.TERM === undefined ? {} : { term: io.env.TERM }),
  });

/**
 * @param skipBad See `openSources()`.
 * @throws {CliError} exit 2 for a value that makes no sense.
 */
export function settle(flags: GlobalFlags, io: Io, { skipBad = false } = {}): Settings {
  const sources = openSources(io, { skipBad });
  const mode = flags.json ? 'json' : (find(KEYS.output, flags.output, sources).value ?? 'auto');
  const color = find(KEYS.color, flags.color, sources).value ?? 'auto';
  const live = io.stdout.isTTY && io.env.TERM !== 'dumb';
  return {
    stateDir: flags.stateDir ?? (io.env.MAPISYNC_STATE_DIR || undefined),
    output: mode === 'auto' ? (live ? 'tty' : 'plain') : mode,
    verbosity: (flags.verbose ? 1 : 0) - (flags.quiet ? 1 : 0),
    timeoutMs: find(KEYS.timeout, flags.timeout, sources).value,
    theme: themeFor(io, io.stdout, mode === 'json' ? 'never' : color),
    sources,
  };
}
