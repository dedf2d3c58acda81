/** Where things lie in the state directory, and the proof that it is the user's alone. */
import { lstatSync, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve, win32 } from 'node:path';
import { StateDirError } from './platform-error.ts';

export interface StatePaths {
  /** The state directory, absolute. */
  readonly root: string;
  readonly journal: string;
  readonly rings: string;
  readonly endpoint: string;
  /** Whoever holds its lock is the daemon. */
  readonly lock: string;
  /** What the daemon says of itself. */
  readonly log: string;
}

/** @param stateDir From `--state-dir`; wins over `MAPISYNC_STATE_DIR` and the system's place. */
export function statePaths(stateDir?: string, env: NodeJS.ProcessEnv = process.env): StatePaths {
  const root = resolve(stateDir || env.MAPISYNC_STATE_DIR || systemPlace(env));
  return {
    root,
    journal: join(root, 'journal'),
    rings: join(root, 'rings'),
    endpoint: join(root, 'endpoint'),
    lock: join(root, 'lock'),
    log: join(root, 'daemon.log'),
  };
}

function systemPlace(env: NodeJS.ProcessEnv): string {
  if (process.platform === 'win32') {
    const local = env.LOCALAPPDATA || win32.join(homedir(), 'AppData', 'Local');
    return win32.join(local, 'mapisync');
  }
  // The XDG rule: a value that is not absolute is ignored.
  const state = env.XDG_STATE_HOME;
  const base = state && isAbsolute(state) ? state : join(homedir(), '.local', 'state');
  return join(base, 'mapisync');
}

/**
 * Makes the state directory and its folders, or proves that those that are there are private.
 *
 * @throws {StateDirError}
 */
export function prepareStateDir(paths: StatePaths): void {
  // Parents are made with the user's own umask: they are not ours to restrict.
  make(resolve(paths.root, '..'), { recursive: true });
  for (const dir of [paths.root, paths.journal, paths.rings]) preparePrivateDir(dir);
}

/**
 * A directory that nobody but this user can enter. On Windows the profile's own access rules see to
 * that, and what lies in there is protected by the handshake besides.
 *
 * @throws {StateDirError}
 */
export function preparePrivateDir(dir: string): void {
  make(dir, { mode: 0o700 });
  checkPrivateDir(dir);
}

/** @throws {StateDirError} if the directory is missing or not this user's alone. */
export function checkPrivateDir(dir: string): void {
  const problem = privacyProblem(dir);
  if (problem) throw new StateDirError(`Cannot use ${dir}: ${problem}`);
}

function privacyProblem(dir: string): string | undefined {
  let stats: ReturnType<typeof lstatSync>;
  try {
    stats = lstatSync(dir);
  } catch (error) {
    return `${(error as Error).message}. Choose another place with --state-dir`;
  }
  if (stats.isSymbolicLink()) {
    return 'expected a directory, got a symbolic link. Give the real path with --state-dir';
  }
  if (!stats.isDirectory()) {
    return 'expected a directory, got a file. Move it away, or choose another --state-dir';
  }
  if (process.platform === 'win32') return undefined;
  const uid = process.getuid?.();
  if (stats.uid !== uid) {
    return `it belongs to user ${stats.uid}, and this is user ${uid}. Choose another --state-dir`;
  }
  if ((stats.mode & 0o077) !== 0) {
    const mode = (stats.mode & 0o777).toString(8);
    return `others may use it (mode ${mode}, expected 700). Mend it with: chmod 700 '${dir}'`;
  }
  return undefined;
}

function make(dir: string, options: { recursive?: boolean; mode?: number }): void {
  try {
    mkdirSync(dir, options);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EEXIST') return;
    if (code === 'EISDIR' && statSync(dir).isDirectory()) return;
    throw new StateDirError(
      `Cannot make ${dir}: ${(error as Error).message}. Choose a place that you may write to with --state-dir`,
      { cause: error },
    );
  }
}
