/** The flag before the environment before the user's config before the machine's before the default. */
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Env } from '../render/theme.ts';
import { configPaths, type Layer, readLayer } from './files.ts';
import { flagName, type Key } from './keys.ts';

export interface Sources {
  readonly env: Env;
  readonly user: Layer | undefined;
  readonly machine: Layer | undefined;
}

export type Origin = 'flag' | 'env' | 'user' | 'machine' | 'enforced' | 'default';

export interface Found<T> {
  readonly origin: Origin;
  /** undefined: the default holds. */
  readonly value: T | undefined;
  readonly text: string | undefined;
}

/**
 * @param skipBad Take a config file that makes no sense for one that is not there: for commands that mend it.
 * @throws {CliError} exit 2
 */
export function openSources(io: Io, { skipBad = false } = {}): Sources {
  const paths = configPaths(io);
  const read = (path: string, isMachine: boolean): Layer | undefined => {
    try {
      return readLayer(path, isMachine);
    } catch (error) {
      if (!skipBad) throw error;
      return undefined;
    }
  };
  return { env: io.env, user: read(paths.user, false), machine: read(paths.machine, true) };
}

/** @throws {CliError} exit 2, naming where the value came from. */
export function find<T>(key: Key<T>, flag: string | undefined, sources: Sources): Found<T> {
  const { env, user, machine } = sources;
  const fixed = machine?.values.get(key.name);
  if (machine?.enforced.has(key.name)) {
    if (flag === undefined) return taken(key, 'enforced', fixed, machine.path);
    throw new CliError(
      EXIT.usage,
      `Cannot use ${flagName(key)}: ${machine.path} enforces ${key.name} = ${fixed}`,
    );
  }
  if (flag !== undefined) return taken(key, 'flag', flag, flagName(key)!);
  const variable = env[key.variable] || undefined;
  if (variable !== undefined) return taken(key, 'env', variable, key.variable);
  const own = user?.values.get(key.name);
  if (own !== undefined) return taken(key, 'user', own, user!.path);
  return taken(key, fixed === undefined ? 'default' : 'machine', fixed, machine?.path ?? '');
}

function taken<T>(key: Key<T>, origin: Origin, text: string | undefined, from: string): Found<T> {
  if (text === undefined) return { origin, value: undefined, text };
  const value = key.parse(text);
  if (value !== undefined) return { origin, value, text };
  throw new CliError(EXIT.usage, `Cannot read ${from}: expected ${key.expected}, got "${text}"`);
}
