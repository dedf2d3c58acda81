/** Where things lie: in a clone of the repository and in the installed package. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** `linux-x64`, `win-x64`, `win-x86`, ...: the folder of the native binaries that run on this system. */
export const hostTarget = `${process.platform === 'win32' ? 'win' : process.platform}-${
  process.arch === 'ia32' ? 'x86' : process.arch
}`;

/** The folder of this system's native binaries: what was built here, else what the package brought. */
export function nativeFolder() {
  const built = join(root, 'dist', 'native', hostTarget);
  return existsSync(built) ? built : join(root, 'dist', 'sdk', 'bin', hostTarget);
}
