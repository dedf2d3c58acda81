/** The command line: what there is to type, and how it ends. Commands are loaded when they run. */
import { Command, CommanderError, Option } from 'commander';
import { addExportCommands } from './cli-export.ts';
import { addJournalCommands, checkCursor } from './cli-journal.ts';
import { addSdkCommands } from './cli-sdk.ts';
import { addServiceCommands } from './cli-service.ts';
import { addSessionCommands } from './cli-sessions.ts';
import { addWaitCommands } from './cli-wait.ts';
import { flagHelp, KEYS, type Key } from './config/keys.ts';
import { find, openSources } from './config/sources.ts';
import { CliError, EXIT, type ExitCode, exitCodesHelp } from './exit.ts';
import { type Io, OutputClosed } from './io.ts';
import { complain } from './messages.ts';
import { type GlobalFlags, type Settings, settle } from './settings.ts';
import { nearest, readTime } from './values.ts';
import { packageVersion } from './version.ts';

/** @returns The exit code. Throws nothing but what is a bug of ours. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  let code: number = EXIT.done;
  const program = buildProgram(io, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    return report(error, args, program, io);
  }
}

type Action = (settings: Settings) => Promise<number>;

function buildProgram(io: Io, ended: (code: number) => void): Command {
  const program = new Command('mapisync');
  let help = '';
  const perform = async (command: Command, action: Action, how = {}): Promise<void> => {
    ended(await action(settle(command.optsWithGlobals<GlobalFlags>(), io, how)));
  };
  program
    .summary('see what background syncs of MAPI store providers are doing')
    .description(
      'See what background syncs of MAPI store providers are doing: live, after a crash, and in one log.',
    )
    .option('--state-dir <dir>', 'where daemon and shim meet (env: MAPISYNC_STATE_DIR)')
    .addOption(flagOf(KEYS.output))
    .option('--json', 'the same as --output json')
    .addOption(flagOf(KEYS.color))
    .option('-q, --quiet', 'only what matters')
    .option('-v, --verbose', 'everything that there is')
    .addOption(flagOf(KEYS.timeout))
    .version(packageVersion(), '-V, --version', 'the version alone')
    .helpOption('-h, --help', 'this text')
    .helpCommand('help [command]', 'the text of a command')
    .configureHelp({ showGlobalOptions: true, minWidthToWrap: MIN_HELP_COLUMNS })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        help += text;
      },
      writeErr: () => {}, // report() says it, in our words.
      getOutHelpWidth: () => io.stdout.columns || 80,
      getOutHasColors: () => false,
    })
    .allowExcessArguments()
    .addHelpText('after', examples('mapisync tail', 'mapisync hresult 0x8004010F'))
    .addHelpText('after', () => exitCodesHelp(ALL_CODES))
    .action(async () => {
      const [word] = program.args;
      if (word !== undefined) throw unknownCommand(program, word);
      await perform(program, async (settings) =>
        (await import('./commands/overview.ts')).overview(settings, io),
      );
    });
  pendingHelp.set(program, () => help);

  const leaf = (
    command: Command,
    exits: readonly ExitCode[],
    ...shown: [string, string]
  ): Command => {
    firstExample.set(command, shown[0]);
    return command
      .allowExcessArguments(false) // The program allows them, to say it better than commander.
      .addHelpText('after', () => examples(...shown))
      .addHelpText('after', () => exitCodesHelp([EXIT.done, EXIT.failed, EXIT.usage, ...exits]));
  };

  leaf(
    program.command('tail').argument('[session]', 'an id, a unique prefix, or ^0 for the newest'),
    [
      ...DAEMON_CODES,
      EXIT.syncFailed,
      EXIT.syncWithErrors,
      EXIT.syncStalled,
      EXIT.permission,
      EXIT.version,
      EXIT.syncCancelled,
      EXIT.interrupted,
    ],
    'mapisync tail --store "Mailbox*"',
    'mapisync tail --json --exit-on-done --timeout 10m',
  )
    .summary('follow sessions: bars in a terminal, lines in a pipe, records with --json')
    .description(
      "Follow sessions: bars in a terminal, one line a change in a pipe, the journal's records with --json.\nStarts a daemon if there is none. --timeout ends the whole command.",
    )
    .option('--all', 'also what is about no session: processes, the daemon', false)
    .option('--provider <glob>', 'only sessions of providers with such a name')
    .option('--store <glob>', 'only sessions of stores with such a label')
    .option('--since <time>', 'from then on: RFC 3339, 10m (ago), today')
    .addOption(
      new Option('--after <cursor>', 'from the record on that comes after this cursor').conflicts(
        'since',
      ),
    )
    .option(
      '--exit-on-done',
      'end when the sessions have ended, and say how by the exit code',
      false,
    )
    .option('--fleet', 'all machines that export to the stream of export.nats.*', false)
    .option('--no-start', 'do not start a daemon')
    .action(async (session: string | undefined, options: TailFlags, command: Command) => {
      const sinceMs = options.since === undefined ? undefined : readTime('--since', options.since);
      if (options.after !== undefined) checkCursor(options.after);
      const { since: _, fleet, ...given } = options;
      if (fleet) {
        refuseForFleet(session, options);
        const sinceGiven = sinceMs === undefined ? {} : { sinceMs };
        await perform(command, async (settings) =>
          (await import('./commands/fleet-tail.ts')).fleetTail(
            { all: options.all, ...sinceGiven },
            settings,
            io,
          ),
        );
        return;
      }
      await perform(command, async (settings) =>
        (await import('./commands/tail.ts')).tail(
          {
            ...given,
            ...(session === undefined ? {} : { session }),
            ...(sinceMs === undefined ? {} : { sinceMs }),
          },
          settings,
          io,
        ),
      );
    });

  const asksStatus = [...DAEMON_CODES, EXIT.permission, EXIT.version];
  leaf(program.command('status'), asksStatus, 'mapisync status', 'mapisync status --json')
    .summary('the daemon, its processes and sessions')
    .description('Show the daemon, its processes and its sessions. Starts no daemon.')
    .action(async (_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/status.ts')).status({ withSessions: true }, settings, io),
      ),
    );

  addJournalCommands({ program, io, leaf, perform });
  addSessionCommands({ program, io, leaf, perform });
  addWaitCommands({ program, io, leaf, perform });

  leaf(
    program.command('recover').argument('<path>', 'a ring file, or a directory of them'),
    [],
    'mapisync recover ./rings',
    'mapisync recover ./rings --json > recovered.jsonl',
  )
    .summary('what rings copied from another machine hold')
    .description(
      'Read ring files (*.ring) copied from another machine: how each session ended and its last words, or its records with --json. Needs no daemon, and changes no file.',
    )
    .action(async (path: string, _: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/recover.ts')).recover(path, settings, io),
      ),
    );

  leaf(
    program.command('hresult').argument('<code...>', 'a name, or hex, decimal or 64-bit form'),
    [],
    'mapisync hresult 0x8004010F',
    'mapisync hresult -2147221233 MAPI_E_NETWORK_ERROR',
  )
    .summary('what result codes mean')
    .description('Show name, meaning, class and aliases of result codes. Needs no daemon.')
    .action(async (codes: string[], _: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/hresult.ts')).hresult(codes, settings, io),
      ),
    );

  const daemon = program
    .command('daemon')
    .summary('run, start, stop the daemon, or ask for it')
    .description('The daemon that records. One runs per state directory.')
    .addHelpText('after', examples('mapisync daemon start', 'mapisync daemon status'));
  leaf(
    daemon.command('run'),
    [EXIT.permission],
    'mapisync daemon run',
    'mapisync daemon run --state-dir /tmp/try',
  )
    .summary('run in the foreground until Ctrl-C')
    .description(
      'Run the daemon in the foreground until Ctrl-C, SIGTERM or `mapisync daemon stop`.',
    )
    .addOption(flagOf(KEYS.recordKeep))
    .addOption(flagOf(KEYS.quietAfter))
    .action((options: { recordKeep?: string; quietAfter?: string }, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/daemon.ts')).daemonRun(options, settings, io),
      ),
    );
  leaf(
    daemon.command('start'),
    [EXIT.timeout, EXIT.permission, EXIT.version],
    'mapisync daemon start',
    'mapisync daemon start --timeout 30s',
  )
    .summary('start in the background, if none runs')
    .description('Start the daemon in the background, if none runs, and wait until it answers.')
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/daemon.ts')).daemonStart(settings, io),
      ),
    );
  leaf(
    daemon.command('stop'),
    asksStatus,
    'mapisync daemon stop',
    'mapisync daemon stop --state-dir /tmp/try',
  )
    .summary('stop it when all is written')
    .description('Stop the daemon, and wait until everything is written.')
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/daemon.ts')).daemonStop(settings, io),
      ),
    );
  leaf(
    daemon.command('status'),
    asksStatus,
    'mapisync daemon status',
    'mapisync daemon status --json',
  )
    .summary('what it says of itself')
    .description('Show what the daemon says of itself. Starts none.')
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/status.ts')).status({ withSessions: false }, settings, io),
      ),
    );

  addSdkCommands({ program, io, leaf, perform });
  addServiceCommands({ program, io, leaf, perform });
  addExportCommands({ program, io, leaf, perform });

  leaf(program.command('version'), [], 'mapisync version', 'mapisync version --json')
    .summary('this program, its protocol, its platform')
    .description('Show the versions of this program and its protocol, and the platform.')
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/version.ts')).version(settings, io),
      ),
    );
  return program;
}

interface TailFlags {
  readonly all: boolean;
  readonly fleet: boolean;
  readonly provider?: string;
  readonly store?: string;
  readonly since?: string;
  readonly after?: string;
  readonly exitOnDone: boolean;
  readonly start: boolean;
}

/** For what an option does; where even that is not left, the terminal breaks the lines. */
const MIN_HELP_COLUMNS = 12;

const DAEMON_CODES = [EXIT.noDaemon, EXIT.timeout] as const;
const ALL_CODES: readonly ExitCode[] = Object.values(EXIT);

/** Help that commander printed; it goes out through the Io, like everything else. */
const pendingHelp = new WeakMap<Command, () => string>();

/** Shown to whoever leaves out what a command needs. */
const firstExample = new WeakMap<Command, string>();

const flagOf = (key: Key<unknown>): Option => new Option(key.flag!, flagHelp(key));

const examples = (first: string, second: string): string => `\nExamples:\n  ${first}\n  ${second}`;

/** What `tail` can only tell of its own daemon. @throws {CliError} exit 2 */
function refuseForFleet(session: string | undefined, options: TailFlags): void {
  const { provider, store, after, exitOnDone } = options;
  const given = [
    session === undefined ? undefined : 'SESSION',
    provider === undefined ? undefined : '--provider',
    store === undefined ? undefined : '--store',
    after === undefined ? undefined : '--after',
    exitOnDone ? '--exit-on-done' : undefined,
  ].find((name) => name !== undefined);
  if (given === undefined) return;
  throw new CliError(
    EXIT.usage,
    `Cannot follow a fleet with ${given}: expected --all, --since or --json beside --fleet`,
  );
}

function unknownCommand(program: Command, word: string): CliError {
  const near = nearest(
    word,
    program.commands.map((command) => command.name()),
  );
  const hint = near ? `Did you mean "mapisync ${near}"?` : 'See what there is: mapisync --help';
  return new CliError(EXIT.usage, `Cannot run "${word}": there is no such command`, hint);
}

/** A command that only has others beneath it was asked for alone. */
function needsWord(name: string, program: Command): Explained {
  const group = program.commands.find((command) => command.name() === name);
  const words = (group?.commands ?? [])
    .map((command) => command.name())
    .filter((word) => word !== 'help');
  const expected = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  const message = `Cannot run "${name}": expected ${expected}, got nothing`;
  return { message, hint: `See: mapisync ${name} --help`, exitCode: EXIT.usage };
}

async function report(
  error: unknown,
  args: readonly string[],
  program: Command,
  io: Io,
): Promise<number> {
  if (error instanceof OutputClosed) return EXIT.done;
  if (error instanceof CommanderError && error.exitCode === 0) {
    // Help or version: commander ends by throwing.
    try {
      await io.stdout.write(pendingHelp.get(program)!());
      return EXIT.done;
    } catch (failure) {
      return report(failure, args, program, io);
    }
  }
  const { message, hint, exitCode } = explain(error, program);
  const text = wantsJson(args, io)
    ? JSON.stringify({ error: { message, ...(hint ? { hint } : {}), exit_code: exitCode } })
    : `mapisync: ${message}${hint ? `\n  ${hint}` : ''}`;
  await complain(io, text);
  return exitCode;
}

interface Explained {
  readonly message: string;
  readonly hint: string | undefined;
  readonly exitCode: number;
}

function explain(error: unknown, program: Command): Explained {
  if (error instanceof CliError) return error;
  if (error instanceof CommanderError) {
    if (error.code === 'commander.help') {
      return needsWord(program.args[0] ?? '', program);
    }
    const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
    const suggestion = rest.join(' ').replace(/^\((.*)\)$/, '$1');
    const hint = suggestion || usageHint(error, program);
    return { message: `Cannot read the command line: ${first}`, hint, exitCode: EXIT.usage };
  }
  const { message, exitCode, code, syscall } = error as Error & {
    exitCode?: unknown;
    code?: string;
    syscall?: string;
  };
  // The platform's errors say what to do themselves.
  if (typeof exitCode === 'number') return { message, hint: undefined, exitCode };
  if (code === 'ENOSPC' && syscall === 'write') {
    const text = 'Cannot write the output: no space is left there';
    return { message: text, hint: 'Make room, or write somewhere else', exitCode: EXIT.failed };
  }
  if (error instanceof Error && error.name === 'ProtocolError') {
    const text = `Cannot understand the daemon: ${message}`;
    return { message: text, hint: 'Run the same version of both', exitCode: EXIT.version };
  }
  if (code === 'EACCES' || code === 'EPERM') {
    const hint = 'Run it as the user whose daemon it is, or choose another --state-dir';
    return { message: `Cannot go on: ${message}`, hint, exitCode: EXIT.permission };
  }
  if (code === undefined) throw error;
  return { message: `Cannot go on: ${message}`, hint: undefined, exitCode: EXIT.failed };
}

/** What to type instead: an example where something is missing, and where more is said. */
function usageHint(error: CommanderError, program: Command): string {
  let command = program;
  const path = [program.name()];
  for (const word of program.args) {
    const inner = command.commands.find((one) => one.name() === word);
    if (!inner) break;
    command = inner;
    path.push(word);
  }
  const example = firstExample.get(command);
  const help = `See: ${path.join(' ')} --help`;
  return error.code === 'commander.missingArgument' && example
    ? `Such as: ${example}\n  ${help}`
    : help;
}

/** Also for a command line that can't be read. */
function wantsJson(args: readonly string[], io: Io): boolean {
  const end = args.indexOf('--');
  const words = end < 0 ? args : args.slice(0, end);
  const at = words.findIndex((word) => word === '-o' || word === '--output');
  return (
    words.some((word) => ['--json', '-ojson', '-o=json', '--output=json'].includes(word)) ||
    (at >= 0 && words[at + 1] === 'json') ||
    (at < 0 && isJsonByDefault(io))
  );
}

/** Without a flag. A value that makes no sense is the error that is being told. */
function isJsonByDefault(io: Io): boolean {
  try {
    return find(KEYS.output, undefined, openSources(io, { skipBad: true })).value === 'json';
  } catch {
    return false;
  }
}
