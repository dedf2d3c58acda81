/** `demo`: a sync through the shim in processes of its own; bin/demo.mjs runs them. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { packageRoot } from '../package-root.ts';
import type { Settings } from '../settings.ts';

export async function demo(
  options: Readonly<Record<string, string | boolean>>,
  settings: Settings,
  io: Io,
): Promise<number> {
  const script = join(packageRoot(), 'bin', 'demo.mjs');
  if (!existsSync(script)) {
    const text = `Cannot run the demo: expected ${script}, and it is not there`;
    throw new CliError(EXIT.failed, text, 'The package is not whole: install it again');
  }
  const args = Object.entries(options).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [flag] : [flag, String(value)];
  });
  if (settings.output === 'json') args.push('--json');
  // It sees Ctrl-C itself, as we are one process group; we wait for how it ends.
  const signal = io.interrupted();
  const child = spawn(process.execPath, [script, ...args], { stdio: 'inherit', windowsHide: true });
  const end = (): void => {
    child.kill();
  };
  signal.addEventListener('abort', end);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      signal.removeEventListener('abort', end);
      resolve(code ?? EXIT.interrupted);
    });
  });
}
