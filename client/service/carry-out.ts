/** Carries out the steps of an installation. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { deleteRegistryValue, writeRegistryText } from '../../daemon/platform/registry.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { RUN_KEY, RUN_NAME, type Step } from './steps.ts';

/** @throws {CliError} exit 1 with what a program said that failed, or 8. */
export async function carryOut(
  steps: readonly Step[],
  io: Io,
  daemon: { readonly stop: () => Promise<void>; readonly start: () => Promise<void> },
): Promise<void> {
  for (const step of steps) {
    switch (step.do) {
      case 'write':
        mkdirSync(dirname(step.path), { recursive: true });
        writeFileSync(step.path, encoded(step.content, step.encoding), { mode: 0o600 });
        break;
      case 'remove':
        rmSync(step.path, { force: true });
        break;
      case 'run':
        runProgram(step.command, step.mayFail === true, io);
        break;
      case 'set-run-key':
        writeRegistryText('HKCU', RUN_KEY, RUN_NAME, step.value);
        break;
      case 'delete-run-key':
        deleteRegistryValue('HKCU', RUN_KEY, RUN_NAME);
        break;
      case 'stop-daemon':
        await daemon.stop();
        break;
      case 'start-daemon':
        await daemon.start();
        break;
    }
  }
}

/** schtasks wants its UTF-16 marked. */
const encoded = (text: string, encoding: 'utf8' | 'utf16le'): Buffer =>
  Buffer.from(encoding === 'utf16le' ? `\ufeff${text}` : text, encoding);

const MAX_RUN_MS = 60_000;

function runProgram(command: readonly string[], mayFail: boolean, io: Io): void {
  const [program = '', ...args] = command;
  const { status, error, stderr, stdout } = spawnSync(program, args, {
    encoding: 'utf8',
    env: io.env as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: MAX_RUN_MS,
    windowsHide: true,
  });
  if (status === 0 || mayFail) return;
  const said = error?.message ?? (stderr.trim() || stdout.trim() || `it ended with ${status}`);
  throw new CliError(EXIT.failed, `Cannot run ${command.join(' ')}: ${said}`);
}
