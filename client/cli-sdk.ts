/** The part of the command line for authors of providers: the SDK, the demo, the tests of a provider. */
import type { Command } from 'commander';
import type { Wiring } from './cli-sessions.ts';
import { EXIT } from './exit.ts';

export function addSdkCommands({ program, io, leaf, perform }: Wiring): void {
  const sdk = program
    .command('sdk')
    .summary('what it takes to build mapisync into a provider')
    .description(
      'Headers, source, libraries, a CMake package and an example, to build mapisync into a provider.\nHow: provider-guide.md in it.',
    );
  leaf(sdk.command('path'), [], 'mapisync sdk path', 'mapisync sdk path --json')
    .summary('where the SDK lies')
    .description('Show where the SDK lies, which the package brought.')
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/sdk.ts')).sdkPath(settings, io),
      ),
    );
  leaf(
    sdk.command('copy').argument('<dir>', 'a folder that is new or empty'),
    [EXIT.permission],
    'mapisync sdk copy third_party/mapisync',
    'mapisync sdk copy ../mapisync-sdk --json',
  )
    .summary('copy the SDK into a folder')
    .description('Copy the SDK into a folder, to keep it beside the sources of a provider.')
    .action((dir: string, _: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/sdk.ts')).sdkCopy(dir, settings, io),
      ),
    );

  leaf(program.command('demo'), [EXIT.interrupted], 'mapisync demo', 'mapisync demo --kill')
    .summary('a real sync through the shim, without Outlook')
    .description(
      'Sync a Maildir through the sample provider and the shim, with a daemon of its own, and compare at the end.\nNeeds no compiler.',
    )
    .option('--maildir <dir>', 'a Maildir to sync; default: one is made, with some broken messages')
    .option('--calls-per-second <n>', "pace of the provider's calls; default: it takes about 8 s")
    .option('--stores <n>', 'several syncs at once')
    .option('--remove', 'remove the journal as well at the end')
    .option('--kill', 'kill the host in the middle; a daemon that starts afterwards tells the rest')
    .action((options: Record<string, string | boolean>, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/demo.ts')).demo(options, settings, io),
      ),
    );

  leaf(
    program.command('test-provider'),
    [EXIT.timeout, EXIT.syncFailed],
    'mapisync test-provider --dll build/provider.dll --entry CreateSync',
    'mapisync test-provider --dll ./provider.so --entry CreateSync --config test.cfg --junit out.xml',
  )
    .summary("run the contract checks on a provider's sync, without Outlook")
    .description(
      "Run a provider's sync in a host that plays Outlook, with callbacks that behave, are slow, fail or are\nabsent, and hold it to the contract. The provider exports a factory: see mapisync_test_entry in mapisync.h.\n--timeout is for each sync (default: 60s). Ends with 5 if a test fails.",
    )
    .requiredOption('--dll <file>', "the provider's library: .dll, or .so on Linux")
    .requiredOption('--entry <name>', 'the factory that it exports')
    .option(
      '--config <file>',
      'text for the factory; {n} in it becomes 1, and 2 for a second store',
    )
    .option('--junit <file>', 'write the results as JUnit XML too')
    .action((options: TestProviderFlags, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/test-provider.ts')).testProvider(options, settings, io),
      ),
    );
}

interface TestProviderFlags {
  readonly dll: string;
  readonly entry: string;
  readonly config?: string;
  readonly junit?: string;
}
