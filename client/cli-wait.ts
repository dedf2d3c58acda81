/** The part of the command line that waits, for scripts and CI: its exit code is the answer. */
import { type Command, Option } from 'commander';
import { SESSION, type Wiring } from './cli-sessions.ts';
import type { RunOptions } from './commands/run.ts';
import type { WaitOptions } from './commands/wait.ts';
import { CliError, EXIT } from './exit.ts';
import { readTime } from './values.ts';

/** How a sync ended that somebody waited for. */
const SYNC_CODES = [
  EXIT.syncFailed,
  EXIT.syncWithErrors,
  EXIT.syncStalled,
  EXIT.syncCancelled,
] as const;

export function addWaitCommands({ program, io, leaf, perform }: Wiring): void {
  leaf(
    program.command('wait').argument('[session]', SESSION),
    [EXIT.noDaemon, EXIT.timeout, ...SYNC_CODES, EXIT.permission, EXIT.version, EXIT.interrupted],
    'mapisync wait --timeout 10m',
    'mapisync wait --for opened --since 1m --timeout 30s',
  )
    .summary('return when sessions have ended, and say how by the exit code')
    .description(
      'Wait for a session, or for all that run now, to end. Returns at once when one fails.\n' +
        '--for idle waits until none runs, --for opened until one begins.\n' +
        'With --since those since then count too, and there must be one.\n' +
        'Starts a daemon if there is none. --timeout ends the whole command: with 7 if one is stalled.',
    )
    .option('--any', 'the first that ends is enough', false)
    .addOption(new Option('--all', 'all that run now (default)').conflicts('any'))
    .addOption(
      new Option('--for <condition>', 'what to wait for')
        .choices(['ended', 'idle', 'opened'])
        .default('ended'),
    )
    .option('--since <time>', 'from then on: RFC 3339, 10m (ago), today')
    .option('--junit <file>', 'write a JUnit report: a case for each session and each check')
    .option('--no-start', 'do not start a daemon')
    .action((session: string | undefined, flags: WaitFlags, command: Command) => {
      const { all, since, ...options } = flags;
      const sinceMs = since === undefined ? {} : { sinceMs: readTime('--since', since) };
      const chosen = session ?? (options.any ? '--any' : all ? '--all' : undefined);
      if (options.for !== 'ended' && chosen !== undefined) {
        const text = `Cannot wait for ${chosen} to be ${options.for}: expected --for ended`;
        throw new CliError(EXIT.usage, text, 'Leave one of the two out');
      }
      if (session !== undefined && (options.any || all)) {
        const text = `Cannot wait for ${session} and others: expected one session, --any or --all`;
        throw new CliError(EXIT.usage, text);
      }
      return perform(command, async (settings) =>
        (await import('./commands/wait.ts')).wait(
          { ...options, ...sinceMs, ...(session === undefined ? {} : { session }) },
          settings,
          io,
        ),
      );
    });

  leaf(
    program.command('run').argument('<command...>', 'a program and its arguments, after --'),
    [EXIT.noDaemon, EXIT.timeout, ...SYNC_CODES, EXIT.permission, EXIT.interrupted],
    'mapisync run -- ./sync-test --store Mailbox',
    'mapisync run --junit report.xml --timeout 10m -- ./sync-test',
  )
    .summary('a program with a daemon of its own, and how its syncs ended')
    .description(
      'Run a program with a daemon of its own around it, and wait for its sessions. The exit code is that\n' +
        'of the worst session; 1 if all went well and the program failed, or if it opened none.\n' +
        'Its output passes through; with --json it goes to stderr. --timeout ends the program too.\n' +
        'The journal stays with --state-dir only.',
    )
    .option('--junit <file>', 'write a JUnit report: a case for each session and each check')
    .action((words: [string, ...string[]], options: RunOptions, command: Command) => {
      // Not that of the environment: this daemon is for this run alone.
      const { stateDir } = command.optsWithGlobals<{ stateDir?: string }>();
      return perform(command, async (settings) =>
        (await import('./commands/run.ts')).runAround(
          words,
          { ...options, ...(stateDir === undefined ? {} : { stateDir }) },
          settings,
          io,
        ),
      );
    });
}

type WaitFlags = Omit<WaitOptions, 'session' | 'sinceMs'> & {
  readonly all?: boolean;
  readonly since?: string;
};
