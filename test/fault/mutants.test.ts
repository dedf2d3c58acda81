/** A rename must not leave a seeded bug without a place: it would count as caught, or as survived, for nothing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
// @ts-expect-error: plain JavaScript without types
import { EAGER, HESITANT } from './build.mjs';
// @ts-expect-error: plain JavaScript without types
import { SMALL } from './crash-states.mjs';
// @ts-expect-error: plain JavaScript without types
import { MUTANTS } from './mutants.mjs';

const root = join(import.meta.dirname, '..', '..');
type Edit = { file: string; find: string; put: string };
const inShim = (edits: Edit[]): Edit[] =>
  edits.map((edit) => ({ ...edit, file: join('native-shim', 'src', edit.file) }));
const rows: [string, Edit[]][] = [
  ['a shim that comes back at once', inShim(EAGER)],
  ['a shim that hesitates', inShim(HESITANT)],
  ['small segments', SMALL],
  ...MUTANTS.map((mutant: { name: string; daemon?: Edit[]; shim?: Edit[] }) => [
    mutant.name,
    [...(mutant.daemon ?? []), ...inShim(mutant.shim ?? [])],
  ]),
];

test.for(rows)('finds what to edit once: %s', ([, edits]) => {
  expect(edits).not.toEqual([]);
  for (const { file, find, put } of edits) {
    const text = readFileSync(join(root, file), 'utf8');
    expect(text.split(find).length - 1, `"${find}" in ${file}`).toBe(1);
    expect(text.replace(find, () => put)).not.toBe(text);
  }
});
