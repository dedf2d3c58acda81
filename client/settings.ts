/** The options that every command has: the flag before the environment before the default. */
import { CliError, EXIT } from './exit.ts';
import type { Io, Output } from './io.ts';
import { type ColorMode, makeTheme, speaksUtf8, type Theme, wantsColor } from './render/theme.ts';
import { parseDuration } from './values.ts';

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

interface Source {
  readonly flag: string | undefined;
  readonly name: string;
  readonly variable: string;
}

/** @throws {CliError} naming where the value came from. */
function choose<T>(
  io: Io,
  { flag, name, variable }: Source,
  expected: string,
  parse: (text: string) => T | undefined,
): T | undefined {
  const text = flag ?? (io.env[variable] || undefined);
  if (text === undefined) return undefined;
  const value = parse(text);
  if (value !== undefined) return value;
  const from = flag === undefined ? variable : name;
  throw new CliError(EXIT.usage, `Cannot read ${from}: expected ${expected}, got "${text}"`);
}

const oneOf =
  <T extends string>(...values: readonly T[]) =>
  (text: string): T | undefined =>
    values.find((value) => value === text);

const themeFor = (io: Io, output: Output, color: ColorMode): Theme =>
  makeTheme({
    unicode: speaksUtf8(io.env, io.platform),
    color: wantsColor(color, io.env, output.isTTY),
    ...(io.env.TERM === undefined ? {} : { term: io.env.TERM }),
  });

/** @throws {CliError} exit 2 for a value that makes no sense. */
export function settle(flags: GlobalFlags, io: Io): Settings {
  const modes = ['auto', 'tty', 'plain', 'json'] as const;
  const mode = flags.json
    ? 'json'
    : (choose(
        io,
        { flag: flags.output, name: '--output', variable: 'MAPISYNC_OUTPUT' },
        'auto, tty, plain or json',
        oneOf(...modes),
      ) ?? 'auto');
  const color =
    choose(
      io,
      { flag: flags.color, name: '--color', variable: 'MAPISYNC_COLOR' },
      'auto, always or never',
      oneOf('auto', 'always', 'never'),
    ) ?? 'auto';
  const timeoutMs = choose(
    io,
    { flag: flags.timeout, name: '--timeout', variable: 'MAPISYNC_TIMEOUT' },
    'a duration such as 500ms, 30s, 10m or 2h',
    parseDuration,
  );
  const live = io.stdout.isTTY && io.env.TERM !== 'dumb';
  return {
    stateDir: flags.stateDir ?? (io.env.MAPISYNC_STATE_DIR || undefined),
    output: mode === 'auto' ? (live ? 'tty' : 'plain') : mode,
    verbosity: (flags.verbose ? 1 : 0) - (flags.quiet ? 1 : 0),
    timeoutMs,
    theme: themeFor(io, io.stdout, mode === 'json' ? 'never' : color),
  };
}
