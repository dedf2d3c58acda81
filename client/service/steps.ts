/** What `service install` and `uninstall` do, as data: printed with `--dry-run`, else carried out. */

export type Step =
  | {
      readonly do: 'write';
      readonly path: string;
      readonly content: string;
      readonly encoding: 'utf8' | 'utf16le';
    }
  | { readonly do: 'remove'; readonly path: string }
  /** `mayFail`: there may be nothing to undo. */
  | { readonly do: 'run'; readonly command: readonly string[]; readonly mayFail?: boolean }
  | { readonly do: 'set-run-key'; readonly value: string }
  | { readonly do: 'delete-run-key' }
  /** As `mapisync daemon stop` does; nothing if none runs. */
  | { readonly do: 'stop-daemon' }
  /** As `mapisync daemon start` does. */
  | { readonly do: 'start-daemon' };

/** What is started at logon. */
export interface Launch {
  readonly node: string;
  readonly entry: string;
  /** Absolute; undefined: the system's place. */
  readonly stateDir: string | undefined;
}

export const launchArgs = ({ entry, stateDir }: Launch, word: 'run' | 'start'): string[] => [
  entry,
  'daemon',
  word,
  ...(stateDir === undefined ? [] : ['--state-dir', stateDir]),
];

export const RUN_KEY = 'Software\\Microsoft\\Windows\\CurrentVersion\\Run';
export const RUN_NAME = 'mapisync';

/** Steps as a person reads them. */
export const stepLines = (steps: readonly Step[]): string[] => steps.flatMap(linesOf);

function linesOf(step: Step): string[] {
  switch (step.do) {
    case 'write': {
      const lines = step.content.trimEnd().split('\n');
      return [`Write ${step.path}:`, ...lines.map((line) => (line ? `    ${line}` : ''))];
    }
    case 'remove':
      return [`Remove ${step.path}`];
    case 'run':
      return [`Run ${step.command.map(shown).join(' ')}`];
    case 'set-run-key':
      return [`Set HKCU\\${RUN_KEY} ${RUN_NAME} = ${step.value}`];
    case 'delete-run-key':
      return [`Delete HKCU\\${RUN_KEY} ${RUN_NAME}`];
    case 'stop-daemon':
      return ['Stop the daemon that runs, if one does; nothing is lost meanwhile'];
    case 'start-daemon':
      return ['Start a daemon'];
  }
}

const shown = (word: string): string => (/\s/.test(word) ? `"${word}"` : word);
