/** The part of the command line about mapisync itself: its settings, its service, its health. */
import type { Command } from 'commander';
import type { Wiring } from './cli-sessions.ts';
import { CliError, EXIT } from './exit.ts';

export function addServiceCommands({ program, io, leaf, perform }: Wiring): void {
  const service = program
    .command('service')
    .summary('a daemon from logon on, without admin rights')
    .description(
      'A daemon from logon on, for this user, without admin rights: a user unit of systemd, or a task of the Task Scheduler, or the Run key.',
    );
  leaf(
    service.command('install'),
    [EXIT.timeout, EXIT.permission],
    'mapisync service install',
    'mapisync service install --dry-run',
  )
    .summary('start a daemon now, and at each logon')
    .description(
      'Start a daemon now, and at each logon. Installing again takes over a new version; nothing is lost meanwhile.',
    )
    .option('--dry-run', 'print exactly what would be done', false)
    .action((options: { dryRun: boolean }, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/service.ts')).serviceInstall(options, settings, io),
      ),
    );
  leaf(
    service.command('uninstall'),
    [EXIT.timeout, EXIT.permission],
    'mapisync service uninstall',
    'mapisync service uninstall --purge --dry-run',
  )
    .summary('undo that, and say what stays')
    .description('Undo what install did, stop the daemon, and say what stays on the disk.')
    .option('--dry-run', 'print exactly what would be done', false)
    .option('--purge', 'remove the journal too, but for rings of running processes', false)
    .action((options: { dryRun: boolean; purge: boolean }, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/service.ts')).serviceUninstall(options, settings, io),
      ),
    );
  leaf(service.command('status'), [], 'mapisync service status', 'mapisync service status --json')
    .summary('whether it is installed, and runs')
    .description(
      'Show whether the service is installed, and runs. Ends with 1 if it is not installed.',
    )
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/service.ts')).serviceStatus(settings, io),
      ),
    );

  leaf(
    program.command('doctor'),
    [EXIT.problems, EXIT.permission],
    'mapisync doctor',
    'mapisync doctor --bundle for-support.zip',
  )
    .summary('what is wrong here, and the command that mends it')
    .description(
      'Show what is wrong with this installation: what shows it, and the command that mends it. Changes and starts nothing.',
    )
    .option(
      '--bundle <file>',
      'a zip for somebody else: journal and findings, with tokens in place of texts',
    )
    .action((options: { bundle?: string }, command: Command) =>
      perform(
        command,
        async (settings) => (await import('./commands/doctor.ts')).doctor(options, settings, io),
        { skipBad: true },
      ),
    );

  const config = program
    .command('config')
    .summary('what is set, and where')
    .description(
      "Show the settings: a flag beats the environment beats the user's config file beats the machine's beats the default.",
    );
  leaf(
    config.command('list'),
    [],
    'mapisync config list --show-origin',
    'mapisync config list --json',
  )
    .summary('every setting and its value')
    .description('List every setting and its value.')
    .option('--show-origin', 'where each comes from', false)
    .action((options: { showOrigin: boolean }, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/config.ts')).configList(options, settings, io),
      ),
    );
  const skipBad = { skipBad: true };
  leaf(config.command('path'), [], 'mapisync config path', 'mapisync config path --json')
    .summary('where the config files lie')
    .description('Show where the config files lie.')
    .action((_: unknown, command: Command) =>
      perform(
        command,
        async (settings) => (await import('./commands/config.ts')).configPath(settings, io),
        skipBad,
      ),
    );
  leaf(
    config.command('validate').argument('[file]', "one to check as the machine's"),
    [],
    'mapisync config validate',
    'mapisync config validate ./for-the-fleet.json',
  )
    .summary('check the config files, or one')
    .description(
      'Check the config files, or one, and name every problem. Ends with 2 if there is one.',
    )
    .action((file: string | undefined, _: unknown, command: Command) =>
      perform(
        command,
        async (settings) =>
          (await import('./commands/config.ts')).configValidate(file, settings, io),
        skipBad,
      ),
    );
  leaf(
    config.command('schema'),
    [],
    'mapisync config schema',
    'mapisync config schema > config.schema.json',
  )
    .summary('the JSON Schema of a config file')
    .description('Print the JSON Schema of a config file.')
    .action((_: unknown, command: Command) =>
      perform(
        command,
        async () => (await import('./commands/config.ts')).configShowSchema(io),
        skipBad,
      ),
    );

  leaf(
    program.command('completion').argument('<shell>', 'bash, zsh, fish or powershell'),
    [],
    'source <(mapisync completion bash)',
    'mapisync completion fish > ~/.config/fish/completions/mapisync.fish',
  )
    .summary('a script that completes commands in your shell')
    .description('Print a script that completes commands and options in your shell.')
    .action((shell: string, _: unknown, command: Command) =>
      perform(
        command,
        async () => {
          const { completionScript, SHELLS } = await import('./completion.ts');
          const known = SHELLS.find((one) => one === shell);
          if (known === undefined) {
            const expected = `${SHELLS.slice(0, -1).join(', ')} or ${SHELLS.at(-1)}`;
            const text = `Cannot complete for "${shell}": expected ${expected}`;
            throw new CliError(EXIT.usage, text);
          }
          await io.stdout.write(completionScript(program, known));
          return EXIT.done;
        },
        { skipBad: true },
      ),
    );
}
