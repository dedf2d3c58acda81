import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeMaildir } from '../../bin/make-maildir.mjs';

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-maildir-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Every file below a folder, links included, with its bytes; a folder in place of a message has none. */
function contents(dir: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()) {
    const stats = lstatSync(join(dir, name));
    if (stats.isFile()) found.set(name, readFileSync(join(dir, name), 'latin1'));
    else if (stats.isSymbolicLink() || /example/.test(name)) found.set(name, '');
  }
  return found;
}

test('makeMaildir() says what it made, and made it', () => {
  const dir = join(scratch, 'counts');
  const made = makeMaildir({ dir, messages: 21, folders: 9, broken: 7, windowsNames: false });
  expect(made).toEqual({
    folders: [
      'INBOX',
      'Archive',
      'Lists',
      'Sent',
      'Receipts',
      'Travel',
      'Drafts',
      'Archive/7',
      'Lists/8',
    ],
    messages: 28,
    good: 21,
    broken: { dangling: 2, directory: 2, noHeader: 1, nulByte: 1, badUtf8: 1 },
    errors: { '0x8004010F': 2, '0x80070005': 2, '0x8004011B': 3 },
  });
  const names = [...contents(dir).keys()];
  expect(names).toHaveLength(28);
  // Both styles of subfolders, read and unread messages.
  expect(names.some((name) => name.startsWith('.Archive.7'))).toBe(true);
  expect(names.some((name) => name.startsWith(join('Lists', '8')))).toBe(true);
  expect(names.some((name) => name.endsWith(':2,S'))).toBe(true);
  expect(names.some((name) => /[\\/]new[\\/]/.test(name))).toBe(true);
});

test('the same options make the same bytes, another seed makes others', () => {
  const make = (name: string, seed: number) => {
    const dir = join(scratch, name);
    makeMaildir({ dir, messages: 12, broken: 5, seed, windowsNames: false });
    return contents(dir);
  };
  const one = make('seed-a', 7);
  expect(make('seed-b', 7)).toEqual(one);
  expect(make('seed-c', 8)).not.toEqual(one);
});

test('with Windows names there are no colons and no links', () => {
  const dir = join(scratch, 'windows');
  const made = makeMaildir({ dir, messages: 10, broken: 8, windowsNames: true });
  expect(made.broken).toEqual({ directory: 2, noHeader: 2, nulByte: 2, badUtf8: 2 });
  for (const name of contents(dir).keys()) {
    expect(name).not.toContain(':');
    expect(lstatSync(join(dir, name)).isSymbolicLink()).toBe(false);
  }
});

test.for([
  ['messages', { messages: -1 }],
  ['folders', { folders: 0 }],
  ['broken', { broken: 1.5 }],
  ['seed', { seed: Number.NaN }],
] as const)('refuses %s that make no sense', ([name, wrong]) => {
  expect(() => makeMaildir({ dir: join(scratch, 'refused'), ...wrong })).toThrow(
    new RegExp(`^${name} must be a whole number`),
  );
});
