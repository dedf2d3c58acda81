/** The part of the command line about what leaves: exporters, and figures for other systems. */
import type { Command } from 'commander';
import type { Wiring } from './cli-sessions.ts';
import { EXIT } from './exit.ts';

export function addExportCommands({ program, io, leaf, perform }: Wiring): void {
  const exporter = program
    .command('export')
    .summary('where the log goes besides')
    .description(
      'What takes the log elsewhere: the settings `export.*` say what and where to (docs/fleet.md).',
    );
  leaf(
    exporter.command('status'),
    [EXIT.noDaemon, EXIT.timeout, EXIT.permission, EXIT.version],
    'mapisync export status',
    'mapisync export status --json',
  )
    .summary('how far each exporter is, and what is wrong')
    .description(
      'Show how far each exporter of the daemon is, and its last error. Ends with 1 if one fails.',
    )
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/export-status.ts')).exportStatus(settings, io),
      ),
    );

  leaf(
    program.command('metrics'),
    [EXIT.noDaemon, EXIT.timeout, EXIT.permission, EXIT.version],
    'mapisync metrics',
    'mapisync metrics > /var/lib/node_exporter/mapisync.prom',
  )
    .summary("the daemon's figures for Prometheus")
    .description(
      "Print the daemon's figures in the text format of Prometheus, for a textfile collector.\nThey begin anew with each daemon. Starts none.",
    )
    .action((_: unknown, command: Command) =>
      perform(command, async (settings) =>
        (await import('./commands/metrics.ts')).metrics(settings, io),
      ),
    );
}
