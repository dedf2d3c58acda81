// What others build on: the schema, the types, the page and every released version say the same.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../../client/cli.ts';
import { keptIo } from '../../client/builders.ts';
import { root, startDaemon, tempDir } from '../../daemon/support.ts';
import { checkValid, schema } from '../../valid-record.mjs';

interface Node {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly items?: Node;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Node;
}
const whole = schema as Node & { readonly $defs: Readonly<Record<string, Node>> };

const resolved = (node: Node): Node =>
  node.$ref === undefined ? node : whole.$defs[node.$ref.replace('#/$defs/', '')]!;

/** The schema as a TypeScript type. */
function typeOf(given: Node): string {
  const node = resolved(given);
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(' | ');
  if ('const' in node) return JSON.stringify(node.const);
  if (typeof node.type === 'object') {
    return node.type.map((type) => typeOf({ type })).join(' | ');
  }
  switch (node.type) {
    case 'object':
      return objectType(node);
    case 'array':
      return `readonly (${typeOf(node.items!)})[]`;
    case 'integer':
      return 'number';
    default:
      return node.type ?? 'unknown';
  }
}

function objectType(node: Node): string {
  if (!node.properties) return `{ [name: string]: ${typeOf(node.additionalProperties!)} }`;
  const members = Object.entries(node.properties).map(([name, member]) => {
    const optional = node.required?.includes(name) ? '' : '?';
    return `readonly ${name}${optional}: ${typeOf(member)};`;
  });
  return `{ ${members.join(' ')} }`;
}

test('the types in record.ts and line.ts are the schema, member by member', () => {
  // Within the project, so that the compiler finds its packages.
  mkdirSync(join(root, '.cache'), { recursive: true });
  const dir = mkdtempSync(join(root, '.cache', 'contract-'));
  try {
    const { cursor: _, ...properties } = whole.properties!;
    const names = Object.keys(properties);
    const checks = names.map(
      (name) =>
        `export const is_${name}: Same<Schema['${name}'], FinishedRecord['${name}']> = true;`,
    );
    const lines = [
      "import type { FinishedRecord } from '../../protocol/records/line.ts';",
      `type Schema = ${objectType({ ...whole, properties })};`,
      'type Same<A, B> = [Flat<A>] extends [Flat<B>] ? [Flat<B>] extends [Flat<A>] ? true : false : false;',
      // Optional members become ones that may be undefined, so that leaving one out is a difference.
      "type Flat<T> = T extends readonly (infer I)[] ? Flat<I>[] : T extends object ? { [K in keyof Required<T>]: Flat<T[K]> | (undefined extends Required<T>[K] ? never : {} extends Pick<T, K> ? 'optional' : never) } : T;",
      ...checks,
      'export const all: Same<keyof Schema, keyof FinishedRecord> = true;',
    ];
    writeFileSync(join(dir, 'contract.ts'), `${lines.join('\n')}\n`);
    const config = {
      extends: '../../tsconfig.json',
      compilerOptions: { noEmit: true, rootDir: '../..' },
      files: ['contract.ts'],
      include: [],
      exclude: [],
    };
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    let said = '';
    try {
      execFileSync(process.execPath, [tsc, '-p', dir, '--pretty', 'false'], { encoding: 'utf8' });
    } catch (error) {
      said = (error as { stdout: string }).stdout;
    }
    expect(said).toBe('');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

/** Paths of all leaves, without marks for arrays. */
function leaves(given: Node, path: string): string[] {
  const node = resolved(given);
  if (node.items) return leaves(node.items, path);
  if (!node.properties) return [path];
  return Object.entries(node.properties).flatMap(([name, member]) =>
    leaves(member, path === '' ? name : `${path}.${name}`),
  );
}

/** `a.{b,c[]}` as `a.b` and `a.c`. */
function expand(text: string): string[] {
  const [, before = '', inside, after = ''] = /^([^{]*)\{([^}]*)\}(.*)$/.exec(text) ?? [];
  if (inside === undefined) return [text.replaceAll('[]', '')];
  return inside.split(',').flatMap((one) => expand(`${before}${one}${after}`));
}

test('docs/records.md names every field and every event of the schema, and no other', () => {
  const page = readFileSync(join(root, 'docs', 'records.md'), 'utf8');
  const column = (title: string): string[] => {
    const table = page.split(`| ${title} |`)[1]!.split('\n\n')[0]!;
    const cells = table
      .split('\n')
      .slice(2)
      .map((row) => row.split('|')[1] ?? '');
    return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
  };
  const fields = column('field').flatMap(expand);
  expect(fields.sort()).toEqual(leaves(whole, '').sort());
  const events = column('event_name');
  expect(events.sort()).toEqual(
    [...(resolved(whole.properties!.event_name!).enum as string[])].sort(),
  );
});

const journals = join(import.meta.dirname, 'journals');
const versions = readdirSync(journals, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

describe.for(versions)('the journal of %s', (version) => {
  const kept = join(journals, version);

  test('keeps the schema of today', () => {
    let count = 0;
    for (const name of readdirSync(kept)) {
      for (const line of readFileSync(join(kept, name), 'utf8').split('\n').slice(0, -1)) {
        checkValid(JSON.parse(line));
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(100);
  });

  test('is read by show, and a daemon goes on from it', async () => {
    const stateDir = join(tempDir(), 'state');
    mkdirSync(stateDir, { mode: 0o700 });
    mkdirSync(join(stateDir, 'journal'), { mode: 0o700 });
    cpSync(kept, join(stateDir, 'journal'), { recursive: true });
    const { stop } = await startDaemon({ stateDir });
    await stop();
    const io = keptIo();
    expect(await run(['show', '^0', '--json', '--state-dir', stateDir], io)).toBe(0);
    expect(JSON.parse(io.stdout.text)).toMatchObject({ outcome: 'ok' });
  });
});

test('there is a kept journal of the first version', () => {
  expect(versions).toContain('0.1.0');
});
