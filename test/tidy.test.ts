// House rules a machine can check. Keep this file short: a rule that needs a clever check belongs in
// review instead.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Folders that each folder may import from, besides itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  protocol: [],
  daemon: ['protocol'],
  client: ['protocol', 'daemon/platform'],
  bin: ['daemon', 'client', 'protocol'],
};

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

/** Paths from the root, with forward slashes, of what a file imports of ours; packages by name. */
function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/(?:from|import\(|require\()\s*'([^']+)'/g)].map(([, name]) =>
    name!.startsWith('.')
      ? relative(root, join(root, dirname(file), name!))
          .split(sep)
          .join('/')
      : name!,
  );
}

test.for(Object.entries(MAY_IMPORT))('%s/ imports only what it may', ([folder, allowed]) => {
  const files = sources(folder);
  expect(files).not.toHaveLength(0);
  const wrong = files.flatMap((file) =>
    imports(file)
      .filter((name) => /^(protocol|daemon|client|bin|test|native-shim)\//.test(name))
      .filter(
        (name) =>
          ![folder, ...allowed].some((from) => name === from || name.startsWith(`${from}/`)),
      )
      .map((name) => `${file} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});

test('only daemon/platform/ knows koffi', () => {
  const knowing = Object.keys(MAY_IMPORT)
    .flatMap(sources)
    .filter((file) => imports(file).includes('koffi'))
    .map((file) => file.split(sep).join('/'));
  expect(knowing).not.toHaveLength(0);
  expect(knowing.filter((file) => !file.startsWith('daemon/platform/'))).toEqual([]);
});

test('what nobody exports is not loaded: exporters and their packages come by import() alone', () => {
  const eager = (file: string): string[] =>
    [
      ...readFileSync(join(root, file), 'utf8').matchAll(
        /^(import|export) (?!type )[^;]*? from '([^']+)'/gm,
      ),
    ]
      .map(([, , name]) => name!)
      .filter((name) => /\/export\/|-sink\.ts$|^@(nats-io|opentelemetry)\//.test(name));
  const apart = /^daemon\/(export|platform)\/(nats|otlp)/;
  const wrong = Object.keys(MAY_IMPORT)
    .flatMap(sources)
    .map((file) => file.split(sep).join('/'))
    .filter((file) => !apart.test(file))
    .flatMap((file) => eager(file).map((name) => `${file} imports ${name}`));
  expect(wrong).toEqual([]);
});
