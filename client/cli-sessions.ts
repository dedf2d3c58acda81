/** The part of the command line that looks at one session after another: shown, compared, recorded. */
import { type Command, Option } from 'commander';
import { EXIT, type ExitCode } from './exit.ts';
import type { Io } from './io.ts';
import type { Settings } from './settings.ts';

/** What `cli.ts` gives its parts. */
export interface Wiring {
  readonly program: Command;
  readonly io: Io;
  readonly leaf: (
    command: Command,
    exits: readonly ExitCode[],
    ...shown: [string, string]
  ) => Command;
  readonly perform: (
    command: Command,
    action: (settings: Settings) => Promise<number>,
    how?: { readonly skipBad?: boolean },
  ) => Promise<void>;
}

export const SESSION = 'an id, a unique prefix, or ^0 for the newest';
const RECORDING = 'a recording; - is stdin';
export const journal = (): Option =>
  new Option('--journal <path>', "somebody else's journal, or a bundle of the doctor");

interface JournalFlag {
  readonly journal?: string;
}

export function addSessionCommands({ program, io, leaf, perform }: Wiring): void {
  const daemonCodes = [EXIT.noDaemon, EXIT.timeout, EXIT.permission, EXIT.version] as const;

  leaf(
    program.command('show').argument('<session>', SESSION),
    [EXIT.permission],
    'mapisync show ^0',
    'mapisync show 3fa9 --json --journal ./from-the-customer',
  )
    .summary('one session in full, and a verdict in one sentence')
    .description(
      'Show one session: what it did, where its time went, what went wrong, and whose it was.\nReads the journal; needs no daemon. --verbose shows what does not fit on the screen.',
    )
    .addOption(journal())
    .action((session: string, options: JournalFlag, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/show.ts')).show(session, options, settings, io),
      ),
    );

  leaf(
    program.command('diff').argument('<a>', SESSION).argument('<b>', SESSION),
    [EXIT.permission],
    'mapisync diff ^1 ^0',
    'mapisync diff 3fa9 77c0 --json',
  )
    .summary('two sessions side by side, by phase')
    .description(
      'Show two sessions side by side: phases with the same text are aligned.\nReads the journal; needs no daemon.',
    )
    .addOption(journal())
    .action((a: string, b: string, options: JournalFlag, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/diff.ts')).diff([a, b], options, settings, io),
      ),
    );

  leaf(
    program.command('check').argument('<what>', `a recording, or a session: ${SESSION}`),
    [EXIT.syncFailed, EXIT.permission],
    'mapisync check ^0',
    'mapisync check 3fa90c1d2e4b5f60.mapisync --json',
  )
    .summary('contract checks of a recording or a session')
    .description(
      'Show which contract checks fired, in a recording or in a session of the journal.\nEnds with 5 if one of them is a fault. Needs no daemon.',
    )
    .addOption(journal())
    .action((what: string, options: JournalFlag, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/check.ts')).check(what, options, settings, io),
      ),
    );

  leaf(
    program.command('record').argument('[session]', `of those that the daemon keeps: ${SESSION}`),
    [...daemonCodes, EXIT.interrupted],
    'mapisync record --next',
    'mapisync record --next --redact --file for-the-vendor.mapisync',
  )
    .summary('the raw frames of a session, as a file')
    .description(
      'Record the frames of a session from its beginning on. Starts a daemon if there is none.\n--timeout ends the recording.',
    )
    .option('--next', 'the next session that begins')
    .option('--file <file>', 'where to; - is stdout (default: SESSION.mapisync)')
    .option('--redact', 'tokens in place of texts, by a key of this machine', false)
    .option('--no-start', 'do not start a daemon')
    .action((session: string | undefined, options: RecordFlags, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/record.ts')).record(
          { ...options, ...(session === undefined ? {} : { session }) },
          settings,
          io,
        ),
      ),
    );

  leaf(
    program.command('replay').argument('<file>', RECORDING),
    [...daemonCodes, EXIT.interrupted],
    'mapisync replay 3fa90c1d2e4b5f60.mapisync',
    'mapisync replay 3fa90c1d2e4b5f60.mapisync --speed max',
  )
    .summary('feed a recording to the daemon, as a shim would')
    .description(
      'Feed a recording to the daemon as a shim would, so that it can be watched with tail.\nIt becomes a new session. Starts a daemon if there is none.',
    )
    .option('--speed <factor>', '1x to 1000x, or max', '1x')
    .option('--no-start', 'do not start a daemon')
    .action((file: string, options: { speed: string; start: boolean }, command: Command) =>
      perform(command, async (settings) => {
        const { parseSpeed, replay } = await import('./commands/replay.ts');
        return replay(file, { ...options, speed: parseSpeed(options.speed) }, settings, io);
      }),
    );

  leaf(
    program.command('decode').argument('<file>', RECORDING),
    [EXIT.permission],
    'mapisync decode 3fa90c1d2e4b5f60.mapisync',
    'mapisync record --next --file - | mapisync decode -',
  )
    .summary('a recording as JSON lines')
    .description(
      'Print a recording as JSON lines, one a frame, also what is whole of a damaged one.',
    )
    .action((file: string, _: unknown, command: Command) =>
      perform(command, async () => (await import('./commands/decode.ts')).decode(file, io)),
    );
}

interface RecordFlags {
  readonly next?: boolean;
  readonly file?: string;
  readonly redact: boolean;
  readonly start: boolean;
}
