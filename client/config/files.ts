/** The user's and the machine's config file: where they lie, and what they say. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { homedir } from 'node:os';
import { posix, win32 } from 'node:path';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Env } from '../render/theme.ts';
import { nearest } from '../values.ts';
import { ALL_KEYS, type Key } from './keys.ts';

export interface Layer {
  readonly path: string;
  /** By the key's name, in the spelling of flags and variables. Whatever is here can be parsed. */
  readonly values: ReadonlyMap<string, string>;
  /** Keys that nothing else overrides. */
  readonly enforced: ReadonlySet<string>;
}

export interface Problem {
  /** A path in the file; empty: the file itself. */
  readonly key: string;
  readonly expected: string;
  readonly got: string;
}

/** More than anybody writes by hand. */
const MAX_CONFIG_BYTES = 65_536;

type Place = Pick<Io, 'env' | 'platform' | 'machineConfig'>;

export function configPaths({ env, platform, machineConfig }: Place): {
  readonly user: string;
  readonly machine: string;
} {
  if (platform === 'win32') {
    const roaming = env.APPDATA || win32.join(homedir(), 'AppData', 'Roaming');
    const shared = env.ProgramData || env.PROGRAMDATA || 'C:\\ProgramData';
    return {
      user: win32.join(roaming, 'mapisync', 'config.json'),
      machine: machineConfig ?? win32.join(shared, 'mapisync', 'config.json'),
    };
  }
  return {
    user: posix.join(configBase(env), 'mapisync', 'config.json'),
    machine: machineConfig ?? '/etc/mapisync/config.json',
  };
}

/** Where programs of a user keep their settings, elsewhere than on Windows. */
export function configBase(env: Env): string {
  // The XDG rule: a value that is not absolute is ignored.
  const given = env.XDG_CONFIG_HOME;
  if (given && posix.isAbsolute(given)) return given;
  return posix.join(env.HOME || homedir(), '.config');
}

/** @returns undefined if there is no such file. @throws {CliError} exit 2 for the first problem. */
export function readLayer(path: string, isMachine: boolean): Layer | undefined {
  const text = readText(path);
  if (text === undefined) return undefined;
  const { layer, problems } = parseLayer(path, text, isMachine);
  const [first] = problems;
  if (first) throw new CliError(EXIT.usage, `Cannot read ${path}: ${problemText(first)}`, HINT);
  return layer;
}

export const HINT = 'See what it may hold: mapisync config schema';

export const problemText = ({ key, expected, got }: Problem): string =>
  `${key === '' ? '' : `${key}: `}expected ${expected}, got ${got}`;

/** @returns undefined if there is no such file. @throws {CliError} if it can't be read. */
export function readText(path: string): string | undefined {
  let fd: number;
  try {
    // Without O_NONBLOCK a fifo in its place would hold us for ever.
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new CliError(EXIT.usage, `Cannot read ${path}: ${message}`, undefined, error);
  }
  try {
    const text = (what: string): CliError =>
      new CliError(EXIT.usage, `Cannot read ${path}: expected a file of JSON, got ${what}`);
    if (!fstatSync(fd).isFile()) throw text('something else');
    const bytes = Buffer.alloc(MAX_CONFIG_BYTES + 1);
    const size = readSync(fd, bytes, 0, bytes.length, 0);
    if (size > MAX_CONFIG_BYTES) throw text(`more than ${MAX_CONFIG_BYTES} bytes`);
    return bytes.toString('utf8', 0, size).replace(/^\ufeff/, '');
  } finally {
    closeSync(fd);
  }
}

/** Takes what makes sense, and tells what does not. */
export function parseLayer(
  path: string,
  text: string,
  isMachine: boolean,
): { layer: Layer; problems: Problem[] } {
  const values = new Map<string, string>();
  const enforced = new Set<string>();
  const problems: Problem[] = [];
  const layer = { path, values, enforced };
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    problems.push({ key: '', expected: 'JSON', got: `"${(error as Error).message}"` });
    return { layer, problems };
  }
  if (!isObject(root)) {
    problems.push({ key: '', expected: 'an object', got: shown(root) });
    return { layer, problems };
  }
  const { $schema: _, enforced: list, ...rest } = root;
  for (const [name, value] of leaves(rest, '')) {
    const key = ALL_KEYS.find((one) => one.name === name);
    const spelled = key && spelling(key, value);
    if (spelled !== undefined) values.set(name, spelled);
    else
      problems.push(key ? { key: name, expected: key.expected, got: shown(value) } : strange(name));
  }
  if (list !== undefined) problems.push(...enforce(list, isMachine, values, enforced));
  return { layer, problems };
}

function enforce(
  list: unknown,
  isMachine: boolean,
  values: ReadonlyMap<string, string>,
  enforced: Set<string>,
): Problem[] {
  const key = 'enforced';
  if (!isMachine) return [{ key, expected: "it in the machine's config alone", got: shown(list) }];
  if (!Array.isArray(list)) return [{ key, expected: 'a list of keys', got: shown(list) }];
  return list.flatMap((name): Problem[] => {
    const found = ALL_KEYS.find((one) => one.name === name);
    if (found?.ofDaemon && values.has(found.name)) {
      enforced.add(found.name);
      return [];
    }
    const expected = 'keys of the daemon that this file sets';
    return [{ key, expected, got: shown(name) }];
  });
}

/** Leaves by their path. An object where a key has its value is a leaf. */
function* leaves(object: Record<string, unknown>, prefix: string): Generator<[string, unknown]> {
  for (const [word, value] of Object.entries(object)) {
    const name = prefix + word;
    const isBranch = ALL_KEYS.some((one) => one.name.startsWith(`${name}.`));
    if (isBranch && isObject(value)) yield* leaves(value, `${name}.`);
    else yield [name, value];
  }
}

function spelling(key: Key<unknown>, value: unknown): string | undefined {
  const fits = key.schema.type === 'integer' ? Number.isInteger(value) : typeof value === 'string';
  const text = fits ? String(value) : undefined;
  return text !== undefined && key.parse(text) !== undefined ? text : undefined;
}

function strange(name: string): Problem {
  const branches = ALL_KEYS.filter((one) => one.name.startsWith(`${name}.`));
  if (branches.length > 0) return { key: name, expected: 'an object', got: 'something else' };
  const near = nearest(
    name,
    ALL_KEYS.map((one) => one.name),
  );
  const expected = near
    ? `a key such as ${near}`
    : `one of ${ALL_KEYS.map((one) => one.name).join(', ')}`;
  return { key: name, expected, got: 'an unknown one' };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const MAX_SHOWN = 60;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text;
}
