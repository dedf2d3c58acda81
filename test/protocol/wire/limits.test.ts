import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ATTACH, KIND, MARK, METHOD } from '../../../protocol/wire/frames.ts';
import * as limits from '../../../protocol/wire/limits.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const page = read('protocol/PROTOCOL.md');
const HEADER = 'native-shim/src/limits.h';

/** `PROTOCOL_VERSION` to `kProtocolVersion`. */
const camel = (name: string): string =>
  `k${name.toLowerCase().replace(/(^|_)(.)/g, (_, _bar, first: string) => first.toUpperCase())}`;

const inTypeScript = Object.entries(limits).sort();
const inTable = [...page.matchAll(/^\| ([A-Z][A-Z_]+) +\| (\d+) +\|$/gm)]
  .map(([, name, value]) => [name, Number(value)])
  .sort();

test('limits.ts has what the table of PROTOCOL.md has', () => {
  expect(inTable.length).toBeGreaterThan(10);
  expect(inTypeScript).toEqual(inTable);
});

test('limits.h has what limits.ts has, and the bits of marks', () => {
  expect(existsSync(new URL(`../../../${HEADER}`, import.meta.url))).toBe(true);
  const constants = [...read(HEADER).matchAll(/inline constexpr \S+ (k\w+) = (\d+);/g)]
    .map(([, name, value]) => [name, Number(value)])
    .sort();
  const marks = [
    ['kMarkCut', MARK.cut],
    ['kMarkReplaced', MARK.surrogates],
  ];
  const wanted = [...inTypeScript.map(([name, value]) => [camel(name), value]), ...marks];
  expect(constants).toEqual(wanted.sort());
});

test('kinds have the numbers of the tables', () => {
  const rows = [...page.matchAll(/^\| (\d+) +\| `(\w+)`/gm)].map(([, kind, name]) => [
    Number(kind) === KIND.daemonBye ? 'daemonBye' : name,
    Number(kind),
  ]);
  const ours = rows.filter(([, kind]) => Number(kind) < 64).sort();
  expect(ours).toEqual(Object.entries(KIND).sort());
});

test('limits.h numbers kinds, methods and ways to attach alike', () => {
  const header = read(HEADER);
  const enumOf = (name: string): unknown[] => {
    const body = new RegExp(`enum class ${name} : \\S+ \\{([^}]*)\\}`).exec(header)?.[1] ?? '';
    return [...body.matchAll(/k(\w+) = (\d+)/g)]
      .map(([, key, value]) => [`${key![0]!.toLowerCase()}${key!.slice(1)}`, Number(value)])
      .map(([key, value]) => [
        String(key).replace(/^daemon(?!Bye)(.)/, (_, c) => c.toLowerCase()),
        value,
      ])
      .sort();
  };
  expect(enumOf('Kind')).toEqual(Object.entries(KIND).sort());
  expect(enumOf('Method')).toEqual(Object.entries(METHOD).sort());
  expect(enumOf('Attach')).toEqual(Object.entries(ATTACH).sort());
});
