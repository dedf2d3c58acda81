/** The part of the command line about what leaves: exporters, and figures for other systems. */
import { type Command, Option } from 'commander';
import type { Wiring } from './cli-sessions.ts';
import type { ExportRunFlags } from './commands/export-run.ts';
import { flagHelp, KEYS, type Key } from './config/keys.ts';
import { EXIT } from './exit.ts';

export function addExportCommands({ program, io, leaf, perform }: Wiring): void {
  const exporter = program
    .command('export')
    .summary('where the log goes besides')
    .description(
      'What takes the log elsewhere (docs/fleet.md): the daemon by the settings `export.*`, or a command.',
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

  for (const { kind, what, keys, shown } of EXPORTERS) {
    const command = leaf(
      exporter.command(kind),
      [EXIT.noDaemon, EXIT.timeout, EXIT.permission, EXIT.interrupted],
      ...shown,
    )
      .summary(what)
      .description(
        `${what[0]!.toUpperCase()}${what.slice(1)}.\n` +
          'Goes on behind the saved cursor, and with what comes until Ctrl-C. Needs no daemon, and ends with\n' +
          '1 where one does the same. What fails at first ends it; what fails later is said, and tried again.',
      );
    for (const key of keys) command.addOption(new Option(key.flag!, flagHelp(key)));
    command
      .option('--exit-on-done', 'end when all that is in the journal now is there', false)
      .action((flags: ExportRunFlags, own: Command) =>
        perform(own, async (settings) =>
          (await import('./commands/export-run.ts')).exportRun(kind, flags, settings, io),
        ),
      );
  }

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

interface ExporterWords {
  readonly kind: 'file' | 'nats' | 'otlp';
  readonly what: string;
  readonly keys: readonly Key<unknown>[];
  readonly shown: [string, string];
}

const EXPORTERS: readonly ExporterWords[] = [
  {
    kind: 'file',
    what: 'write the log as JSON lines into files for a shipper',
    keys: [KEYS.exportFileDir, KEYS.exportFileText, KEYS.exportFileSize],
    shown: [
      'mapisync export file --dir /var/log/mapisync-export',
      'mapisync export file --dir ./out --text plain --exit-on-done',
    ],
  },
  {
    kind: 'nats',
    what: 'send the log to the stream of export.nats.*',
    keys: [KEYS.exportNatsText],
    shown: ['mapisync export nats', 'mapisync export nats --exit-on-done --timeout 10m'],
  },
  {
    kind: 'otlp',
    what: 'send the log to the receiver of export.otlp.*',
    keys: [KEYS.exportOtlpText],
    shown: ['mapisync export otlp', 'mapisync export otlp --exit-on-done --timeout 10m'],
  },
];
