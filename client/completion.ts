/** Completion scripts for shells, from the tree of commands. Their scripts ask nobody: they hold the words. */
import type { Command } from 'commander';
import { ALL_KEYS, flagName } from './config/keys.ts';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;
export type Shell = (typeof SHELLS)[number];

interface Word {
  readonly text: string;
  readonly what: string;
}

interface Flag extends Word {
  readonly short: string | undefined;
  /** What may stand after it; `files` for a path or anything else. */
  readonly values: 'none' | 'files' | readonly string[];
}

interface Node {
  /** `/daemon/run`; empty for the program. */
  readonly path: string;
  readonly commands: readonly Word[];
  readonly flags: readonly Flag[];
  /** Of its arguments: `^0` for sessions. */
  readonly words: readonly Word[];
  readonly takesFiles: boolean;
}

const NEWEST: readonly Word[] = [
  { text: '^0', what: 'the newest session' },
  { text: '^1', what: 'the one before' },
];

function nodes(command: Command, path = ''): Node[] {
  const names = command.registeredArguments.map((argument) => argument.name());
  const isSession = names.some((name) => ['session', 'a', 'b', 'what'].includes(name));
  const node: Node = {
    path,
    commands: command.commands.map((one) => ({ text: one.name(), what: one.summary() })),
    flags: command.options.map((option) => ({
      text: option.long ?? '',
      short: option.short,
      what: option.description,
      values: valuesOf(option.long ?? '', option.required || option.optional),
    })),
    words: isSession ? NEWEST : command.name() === 'completion' ? shellWords() : [],
    takesFiles: names.some((name) => ['file', 'path', 'what'].includes(name)),
  };
  return [node, ...command.commands.flatMap((one) => nodes(one, `${path}/${one.name()}`))];
}

const shellWords = (): Word[] => SHELLS.map((text) => ({ text, what: 'shell' }));

function valuesOf(flag: string, takesOne: boolean): Flag['values'] {
  if (!takesOne) return 'none';
  const { schema } = ALL_KEYS.find((key) => flagName(key) === flag) ?? {};
  return Array.isArray(schema?.enum) ? (schema.enum as string[]) : 'files';
}

interface Tree {
  readonly nodes: readonly Node[];
  /** Of every command. */
  readonly shared: readonly Flag[];
}

export function completionScript(program: Command, shell: Shell): string {
  const all = nodes(program);
  const tree = { nodes: all, shared: all[0]!.flags };
  return { bash, zsh, fish, powershell }[shell](tree);
}

const flagsOf = ({ nodes: all, shared }: Tree, node: Node): readonly Flag[] =>
  node === all[0] ? shared : [...node.flags, ...shared];

const texts = (words: readonly Word[]): string => words.map(({ text }) => text).join(' ');

/** Spellings of the flags that take such values. */
function spellings(tree: Tree, wanted: (values: Flag['values']) => boolean): string[] {
  const found = tree.nodes.flatMap(({ flags }) => flags).filter(({ values }) => wanted(values));
  return [...new Set(found.flatMap(({ text, short }) => (short ? [text, short] : [text])))];
}

/** Flags with a closed list of values, by that list. */
const choices = (tree: Tree): Flag[] =>
  tree.shared.filter(({ values }) => values !== 'none' && values !== 'files');

const paths = ({ nodes: all }: Tree): string[] => all.slice(1).map(({ path }) => path);

const either = ({ text, short }: Flag): string => (short ? `${text}|${short}` : text);

const bash = (
  tree: Tree,
): string => `# bash completion for mapisync: source <(mapisync completion bash)
_mapisync() {
  local cur=\${COMP_WORDS[COMP_CWORD]} at= words i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at/\${COMP_WORDS[i]}" in
      ${paths(tree).join('|')}) at="$at/\${COMP_WORDS[i]}" ;;
    esac
  done
  case "\${COMP_WORDS[COMP_CWORD-1]}" in
${choices(tree)
  .map((flag) => `    ${either(flag)}) words="${(flag.values as string[]).join(' ')}" ;;`)
  .join('\n')}
    ${spellings(tree, (values) => values === 'files').join('|')}) COMPREPLY=(); return ;;
    *) case "$at" in
${tree.nodes
  .map((node) => {
    const words = texts([...node.commands, ...node.words, ...flagsOf(tree, node)]);
    return `      "${node.path}") words="${words}" ;;`;
  })
  .join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _mapisync mapisync
`;

/** For single quotes of zsh; `:` parts word and description. */
const zshWord = ({ text, what }: Word): string =>
  `'${`${text.replaceAll(':', '\\:')}:${what}`.replaceAll("'", "'\\''")}'`;

const zsh = (tree: Tree): string => `#compdef mapisync
# zsh completion for mapisync: source <(mapisync completion zsh)
_mapisync() {
  local at= word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at/$word" in
      ${paths(tree).join('|')}) at="$at/$word" ;;
    esac
  done
  case "\${words[CURRENT-1]}" in
${choices(tree)
  .map((flag) => `    ${either(flag)}) compadd ${(flag.values as string[]).join(' ')}; return ;;`)
  .join('\n')}
    ${spellings(tree, (values) => values === 'files').join('|')}) _files; return ;;
  esac
  case "$at" in
${tree.nodes
  .map((node) => {
    const words = [...node.commands, ...node.words, ...flagsOf(tree, node)].map(zshWord).join(' ');
    return `    '${node.path}') found=(${words})${node.takesFiles ? '; _files' : ''} ;;`;
  })
  .join('\n')}
  esac
  _describe mapisync found
}
if [ "$funcstack[1]" = _mapisync ]; then _mapisync "$@"; else compdef _mapisync mapisync; fi
`;

const fishText = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;

function fish(tree: Tree): string {
  const at = (path: string): string => `-n ${fishText(`__mapisync_at "${path}"`)}`;
  const flagLine = (path: string | undefined, { text, short, what, values }: Flag): string => {
    const taken =
      values === 'none'
        ? ''
        : values === 'files'
          ? ' -r -F'
          : ` -x -a ${fishText(values.join(' '))}`;
    const letter = short ? ` -s ${short.slice(1)}` : '';
    const where = path === undefined ? '' : ` ${at(path)}`;
    return `complete -c mapisync${where} -l ${text.slice(2)}${letter}${taken} -d ${fishText(what)}`;
  };
  const lines = tree.nodes.flatMap((node) => [
    ...[...node.commands, ...node.words].map(
      ({ text, what }) =>
        `complete -c mapisync ${at(node.path)} -a ${fishText(text)} -d ${fishText(what)}`,
    ),
    ...(node.takesFiles ? [`complete -c mapisync ${at(node.path)} -F`] : []),
    ...(node.path === '' ? [] : node.flags.map((flag) => flagLine(node.path, flag))),
  ]);
  return `# fish completion for mapisync: mapisync completion fish | source
function __mapisync_at
  set -l at
  for word in (commandline -opc)[2..]
    switch "$at/$word"
      case ${paths(tree).join(' ')}
        set at "$at/$word"
    end
  end
  test "$at" = "$argv[1]"
end
complete -c mapisync -f
${[...tree.shared.map((flag) => flagLine(undefined, flag)), ...lines].join('\n')}
`;
}

const psText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function powershell(tree: Tree): string {
  const list = (words: readonly string[]): string => `@(${words.map(psText).join(', ')})`;
  const rows = tree.nodes.map((node) => {
    const words = [...node.commands, ...node.words, ...flagsOf(tree, node)];
    return `    ${psText(node.path)} = ${list(words.map(({ text }) => text))}`;
  });
  const values = choices(tree).flatMap((flag) =>
    [flag.text, ...(flag.short ? [flag.short] : [])].map(
      (name) => `    ${psText(name)} = ${list(flag.values as string[])}`,
    ),
  );
  return `# PowerShell completion for mapisync: mapisync completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName mapisync -ScriptBlock {
  param($word, $line, $position)
  $words = @{
${rows.join('\n')}
  }
  $values = @{
${values.join('\n')}
  }
  $given = @($line.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
  if ($word -ne '' -and $given.Count -gt 0) { $given = @($given | Select-Object -SkipLast 1) }
  $at = ''
  foreach ($one in $given) { if ($words.ContainsKey("$at/$one")) { $at = "$at/$one" } }
  $last = if ($given.Count -gt 0) { $given[-1] } else { '' }
  $found = if ($values.ContainsKey($last)) { $values[$last] } else { $words[$at] }
  $found | Where-Object { $_.StartsWith($word) } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}
`;
}
