/** Tokens in place of texts, by a key of this machine that lies in the state directory. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareStateDir, statePaths } from '../daemon/platform/paths.ts';
import { token } from '../protocol/records/token.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import type { Settings } from './settings.ts';

const KEY_BYTES = 32;

/** Makes the key if there is none. @throws {CliError} if the file holds something else. */
export function machineTokens(settings: Settings, io: Io): (text: string) => string {
  const paths = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
  prepareStateDir(paths);
  const path = join(paths.root, 'token-key');
  try {
    writeFileSync(path, randomBytes(KEY_BYTES), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const key = readFileSync(path);
  if (key.length === KEY_BYTES) return (text) => token(key, text);
  throw new CliError(
    EXIT.failed,
    `Cannot use ${path}: expected ${KEY_BYTES} bytes, got ${key.length}`,
    'Remove it: a new one is made, and tokens change',
  );
}
