/** `sdk path`, `sdk copy`: what it takes to build the shim into a provider. */
import { cpSync, existsSync, readdirSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { sdkFolder } from '../package-root.ts';
import type { Settings } from '../settings.ts';
import { packageVersion } from '../version.ts';

async function tell(path: string, text: string, settings: Settings, io: Io): Promise<number> {
  const facts = { path, version: packageVersion() };
  await io.stdout.write(`${settings.output === 'json' ? JSON.stringify(facts) : text}\n`);
  return EXIT.done;
}

export async function sdkPath(settings: Settings, io: Io): Promise<number> {
  const path = sdkFolder();
  return tell(path, path, settings, io);
}

/** @throws {CliError} if the folder is not empty: what somebody changed in it would be lost. */
export async function sdkCopy(dir: string, settings: Settings, io: Io): Promise<number> {
  const from = sdkFolder();
  const to = resolve(dir);
  const isFree = !existsSync(to) || (statSync(to).isDirectory() && readdirSync(to).length === 0);
  if (!isFree) {
    const text = `Cannot copy the SDK: expected a folder that is new or empty, got "${dir}"`;
    throw new CliError(EXIT.usage, text, 'Remove it first, or name another');
  }
  cpSync(from, to, { recursive: true });
  return tell(to, `Copied the SDK of mapisync ${packageVersion()} to ${to}`, settings, io);
}
