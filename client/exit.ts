/** Exit codes, and the one error that a command ends with. A number never changes its meaning. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  noDaemon: 3,
  timeout: 4,
  syncFailed: 5,
  syncWithErrors: 6,
  syncStalled: 7,
  permission: 8,
  version: 9,
  problems: 10,
  syncCancelled: 11,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What each code says to a person, for the help of the commands that can end with it. */
const MEANING: ReadonlyMap<ExitCode, string> = new Map([
  [EXIT.done, 'done'],
  [EXIT.failed, 'other failure'],
  [EXIT.usage, 'wrong usage, or a config file that makes no sense'],
  [EXIT.noDaemon, 'no daemon'],
  [EXIT.timeout, '--timeout passed'],
  [EXIT.syncFailed, 'a watched sync failed, or a contract check found a fault'],
  [EXIT.syncWithErrors, 'one ended ok_with_errors or warned'],
  [EXIT.syncStalled, 'one was abandoned, or was stalled when --timeout passed'],
  [EXIT.permission, 'permission, or the state directory belongs to somebody else'],
  [EXIT.version, 'versions do not fit'],
  [EXIT.problems, 'doctor found problems'],
  [EXIT.syncCancelled, 'one was cancelled'],
  [EXIT.interrupted, 'interrupted'],
]);

/** The help's list of exit codes. */
export function exitCodesHelp(codes: readonly ExitCode[]): string {
  const lines = codes.map((code) => `  ${String(code).padStart(3)}  ${MEANING.get(code)}`);
  return `\nExit codes:\n${lines.join('\n')}`;
}

/** Ends a command. The message is `Cannot ...: expected ..., got ...`; the hint says how to mend it. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: number;
  readonly hint: string | undefined;

  constructor(exitCode: number, message: string, hint?: string, cause?: unknown) {
    super(message, { cause });
    this.exitCode = exitCode;
    this.hint = hint;
  }
}
