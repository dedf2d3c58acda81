/** The journal of systemd as our stderr: systemd.exec(5) says how to know it, sd-daemon(3) how lines get a level. */
import { fstatSync } from 'node:fs';

/** Priorities of syslog(3). */
const PRIORITY = { error: 3, warn: 4, info: 6 } as const;
export type SayLevel = keyof typeof PRIORITY;

const STDERR = 2;

/**
 * Whether a descriptor is the one that systemd connected to its journal. The variable alone does not tell: it
 * stays when stderr is sent elsewhere, and children have it too.
 */
export function isSystemJournal(
  env: Readonly<Record<string, string | undefined>>,
  fd = STDERR,
): boolean {
  const [, device, inode] = /^(\d+):(\d+)$/.exec(env.JOURNAL_STREAM ?? '') ?? [];
  if (device === undefined || inode === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === BigInt(device) && ino === BigInt(inode);
  } catch {
    return false; // It is closed.
  }
}

/** Lines as the journal takes them, each with its level. Whose they are stands there already. */
export const forSystemJournal = (text: string, level: SayLevel): string =>
  text
    .replace(/^mapisync: /, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `<${PRIORITY[level]}>${line}\n`)
    .join('');
