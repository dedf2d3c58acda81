/** `config list`, `path`, `validate`, `schema`: what is set, and where. */
import { existsSync } from 'node:fs';
import { configPaths, HINT, parseLayer, problemText, readText } from '../config/files.ts';
import { ALL_KEYS } from '../config/keys.ts';
import { configSchema } from '../config/schema.ts';
import { find, type Origin } from '../config/sources.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';

export async function configList(
  { showOrigin }: { readonly showOrigin: boolean },
  settings: Settings,
  io: Io,
): Promise<number> {
  const { sources } = settings;
  const where = (origin: Origin, variable: string): string => {
    if (origin === 'env') return variable;
    if (origin === 'user') return sources.user!.path;
    if (origin === 'default') return 'default';
    return `${sources.machine!.path}${origin === 'enforced' ? ' (enforced)' : ''}`;
  };
  const rows = ALL_KEYS.map((key) => {
    const { origin, text } = find(key, undefined, sources);
    return {
      key: key.name,
      value: text ?? key.fallback,
      origin,
      from: where(origin, key.variable),
    };
  });
  if (settings.output === 'json') {
    const told = rows.map(({ key, value, origin, from }) => [key, { value, origin, from }]);
    await io.stdout.write(`${JSON.stringify(Object.fromEntries(told))}\n`);
    return EXIT.done;
  }
  const [names, values] = [
    Math.max(...rows.map(({ key }) => key.length)),
    Math.min(MAX_ALIGNED, Math.max(...rows.map(({ value }) => value.length))),
  ];
  const lines = rows.map(({ key, value, from }) =>
    showOrigin
      ? `${key.padEnd(names)}  ${value.padEnd(values)}  ${from}`
      : `${key.padEnd(names)}  ${value}`,
  );
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

/** One long value, such as a path, does not push the others' origins off the screen. */
const MAX_ALIGNED = 24;

export async function configPath(settings: Settings, io: Io): Promise<number> {
  const { user, machine } = configPaths(io);
  const facts = [
    { file: user, whose: 'user', exists: existsSync(user) },
    { file: machine, whose: 'machine', exists: existsSync(machine) },
  ];
  const text =
    settings.output === 'json'
      ? JSON.stringify({ user: facts[0], machine: facts[1] })
      : facts
          .map(
            ({ file, whose, exists }) => `${whose.padEnd(7)}  ${file}${exists ? '' : '  (absent)'}`,
          )
          .join('\n');
  await io.stdout.write(`${text}\n`);
  return EXIT.done;
}

/** @param file One to check as the machine's, which may say all that the user's may. */
export async function configValidate(
  file: string | undefined,
  settings: Settings,
  io: Io,
): Promise<number> {
  const { user, machine } = configPaths(io);
  const files = file === undefined ? [user, machine] : [file];
  const found = files.flatMap((path) => {
    const text = readText(path);
    if (text === undefined) return [];
    return [{ file: path, problems: parseLayer(path, text, path !== user).problems }];
  });
  if (file !== undefined && found.length === 0) {
    throw new CliError(EXIT.usage, `Cannot read ${file}: there is no such file`);
  }
  const bad = found.some(({ problems }) => problems.length > 0);
  if (settings.output === 'json') {
    await io.stdout.write(`${JSON.stringify({ valid: !bad, files: found })}\n`);
    return bad ? EXIT.usage : EXIT.done;
  }
  for (const { file: path, problems } of found) {
    if (problems.length === 0 && settings.verbosity >= 0) await io.stdout.write(`${path}: valid\n`);
    for (const problem of problems) await io.stdout.write(`${path}: ${problemText(problem)}\n`);
  }
  if (found.length === 0) await io.stdout.write('There is no config file: the defaults hold\n');
  if (bad) await io.stderr.write(`mapisync: ${HINT}\n`);
  return bad ? EXIT.usage : EXIT.done;
}

export async function configShowSchema(io: Io): Promise<number> {
  await io.stdout.write(`${JSON.stringify(configSchema(), null, 2)}\n`);
  return EXIT.done;
}
