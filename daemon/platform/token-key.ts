/** The key of this machine by which tokens stand for texts. It lies in the state directory. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { token } from '../../protocol/records/token.ts';
import { StateDirError } from './platform-error.ts';

const KEY_BYTES = 32;
/** Texts whose tokens are remembered: a sync says the same few names again and again. */
const MAX_REMEMBERED = 4096;

/**
 * Makes the key if there is none.
 *
 * @param root The state directory, made already.
 * @throws {StateDirError} if the file holds something else.
 */
export function machineTokens(root: string): (text: string) => string {
  const path = join(root, 'token-key');
  try {
    writeFileSync(path, randomBytes(KEY_BYTES), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const key = readFileSync(path);
  if (key.length !== KEY_BYTES) {
    throw new StateDirError(
      `Cannot use ${path}: expected ${KEY_BYTES} bytes, got ${key.length}. Remove it: a new one is made, and tokens change`,
    );
  }
  const remembered = new Map<string, string>();
  return (text) => {
    const known = remembered.get(text);
    if (known !== undefined) return known;
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    const made = token(key, text);
    remembered.set(text, made);
    return made;
  };
}
