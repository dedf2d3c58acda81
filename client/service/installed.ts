/** Which service is installed for this user, and what it starts. Asks files and the registry only. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { statePaths } from '../../daemon/platform/paths.ts';
import { readRegistry } from '../../daemon/platform/registry.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';
import { RUN_KEY, RUN_NAME } from './steps.ts';
import { unitCommand, unitPath } from './systemd.ts';
import { quotedWords, taskCommand } from './task.ts';

export interface Installed {
  readonly manager: 'systemd' | 'task-scheduler' | 'run-key';
  /** The file or registry key that says it. */
  readonly where: string;
  /** Node, its script, and the words after them. */
  readonly command: readonly string[];
  /** Files of the command that are not there. */
  readonly missing: readonly string[];
}

/** The task as it was registered; in the state directory. */
export const taskFile = (settings: Settings, io: Io): string =>
  join(statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv).root, 'service.xml');

export function installedService(settings: Settings, io: Io): Installed | undefined {
  if (io.platform !== 'win32') {
    const path = unitPath(io.env);
    const text = textOf(path, 'utf8');
    return text === undefined ? undefined : installed('systemd', path, unitCommand(text));
  }
  const path = taskFile(settings, io);
  const xml = textOf(path, 'utf16le');
  if (xml !== undefined) return installed('task-scheduler', path, taskCommand(xml));
  const value = readRegistry('HKCU', RUN_KEY, RUN_NAME);
  if (typeof value !== 'string') return undefined;
  return installed('run-key', `HKCU\\${RUN_KEY}`, quotedWords(value));
}

const installed = (
  manager: Installed['manager'],
  where: string,
  command: readonly string[],
): Installed => ({
  manager,
  where,
  command,
  missing: command.slice(0, 2).filter((path) => !existsSync(path)),
});

function textOf(path: string, encoding: BufferEncoding): string | undefined {
  try {
    return readFileSync(path, encoding);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
