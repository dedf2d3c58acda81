/** The folder of the package: beside `dist/` when built, beside `client/` in the sources. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CliError, EXIT } from './exit.ts';

/** @throws {Error} if the package is not whole. */
export function packageRoot(): string {
  for (const up of ['..', '../..']) {
    const root = fileURLToPath(new URL(up, import.meta.url));
    if (existsSync(join(root, 'package.json'))) return root;
  }
  throw new Error('Cannot find package.json: the package is not whole. Install it again');
}

/**
 * The SDK that the package brought, and that `npm run sdk` builds in a clone.
 *
 * @throws {CliError} if it is not there.
 */
export function sdkFolder(): string {
  const sdk = join(packageRoot(), 'dist', 'sdk');
  if (existsSync(join(sdk, 'include', 'mapisync.h'))) return sdk;
  const text = `Cannot find the SDK: expected it in ${sdk}, and it is not there`;
  throw new CliError(EXIT.failed, text, 'In a clone of the repository build it: npm run sdk');
}

/**
 * Where the native binaries of a system lie, such as `win-x64`: in a clone what was built, else the SDK's.
 *
 * @throws {CliError} if there are none for it.
 */
export function nativeFolder(target: string): string {
  const dist = join(packageRoot(), 'dist');
  const places = [join(dist, 'native', target), join(dist, 'sdk', 'bin', target)];
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return found;
  const text = `Cannot find binaries for ${target}: the package has some for win-x64, win-x86 and linux-x64`;
  throw new CliError(EXIT.failed, text, 'In a clone of the repository build them: npm run build');
}
