// The binary interface: what the header declares and the libraries export is what the kept list of its
// version says, and the Windows DLL asks for nothing that a provider's process may not have.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { amalgamate } from '../../bin/amalgamate.mjs';
import { root, systems } from '../e2e/systems.ts';

const MAX_DLL_BYTES = 64 * 1024;
const IMPORTS = ['advapi32.dll', 'bcrypt.dll', 'kernel32.dll', 'msvcrt.dll'];

const shim = join(root, 'native-shim');
const header = readFileSync(join(shim, 'include', 'mapisync.h'), 'utf8').replaceAll('\r\n', '\n');
const version = /^#define MAPISYNC_ABI (\d+)$/m.exec(header)![1];
const kept = readFileSync(join(shim, 'abi', `v${version}.txt`), 'utf8').split('\n');
const keptOf = (kind: string) => kept.filter((line) => line.startsWith(`${kind} `));

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-abi-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('mapisync.h declares what its version stands for', () => {
  const code = header.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\s+/g, ' ');

  test('functions', () => {
    const declared = [
      ...code.matchAll(/MAPISYNC_API ((?:void|int)\b[^;]*?\)) MAPISYNC_NOEXCEPT;/g),
    ];
    expect(declared.map(([, text]) => `function ${text}`)).toEqual(keptOf('function'));
  });

  test('COM tables', () => {
    const inCpp = [...code.matchAll(/struct (\w+)(?: : \w+)? \{([^}]*virtual[^}]*)\}/g)].map(
      ([, name, body]) =>
        `table ${name}: ${[...body!.matchAll(/MAPISYNC_CALL (\w+)\(/g)].map(([, is]) => is).join(' ')}`,
    );
    const inC = [...code.matchAll(/typedef struct (\w+_vtbl) \{([^}]*)\}/g)].map(
      ([, name, body]) =>
        `table ${name}: ${[...body!.matchAll(/\(MAPISYNC_CALL\* (\w+)\)/g)].map(([, is]) => is).join(' ')}`,
    );
    expect([...inCpp, ...inC]).toEqual(keptOf('table'));
  });

  test('structs: no field more or less', () => {
    const fields = (body: string) =>
      body
        .split(';')
        .flatMap((line) => line.split(','))
        .map((text) => /(\w+)\s*(?:\[\d+\])?\s*$/.exec(text.trim())?.[1])
        .filter((name) => name !== undefined);
    const declared = [...code.matchAll(/typedef struct (\w+) \{([^}]*)\} \1;/g)]
      .filter(([, name]) => !name!.endsWith('_vtbl'))
      .map(([, name, body]) => `${name}: ${fields(body!).join(' ')}`);
    const listed = keptOf('layout 64').map((line) =>
      line.replace(/^layout 64 (\w+) \d+:/, '$1:').replace(/@\d+/g, ''),
    );
    expect(declared).toEqual(listed);
  });

  // The compilers of each width say themselves where things lie.
  const asserts = (bits: number) =>
    [
      '#include "mapisync.h"',
      ...keptOf('constant')
        .map((line) => line.split(' '))
        .map(([, name, value]) => `static_assert(${name} == ${value}, "");`),
      ...keptOf(`layout ${bits}`).flatMap((line) => {
        const [, type, size, rest] = /^layout \d+ (\w+) (\d+): (.*)$/.exec(line)!;
        const places = rest!.split(' ').map((place) => place.split('@'));
        return [
          `static_assert(sizeof(${type}) == ${size}, "");`,
          ...places.map(
            ([field, at]) => `static_assert(offsetof(${type}, ${field}) == ${at}, "");`,
          ),
        ];
      }),
      '',
    ].join('\n');

  test.for<[string, number]>([
    ['g++', 64],
    ['x86_64-w64-mingw32-g++-posix', 64],
    ['i686-w64-mingw32-g++-posix', 32],
  ])('%s lays it out so (%i-bit)', ([compiler, bits], { skip }) => {
    const source = join(scratch, `layout${bits}.cc`);
    writeFileSync(source, asserts(bits));
    const args = ['-std=c++17', '-fsyntax-only', `-I${shim}/include`, source];
    const { error, status, stderr } = spawnSync(compiler, args, { encoding: 'utf8' });
    if (error && process.env.MAPISYNC_REQUIRE !== 'all') skip(`${compiler} is not installed`);
    expect([error, status, stderr]).toEqual([undefined, 0, '']);
  });
});

describe('the libraries', () => {
  const functions = keptOf('function')
    .map((line) => /(\w+)\(/.exec(line)![1]!)
    .sort();

  test('mapisync.def lists the functions', () => {
    const def = readFileSync(join(shim, 'mapisync.def'), 'utf8');
    expect([...def.matchAll(/^ {2}(\w+)$/gm)].map(([, name]) => name!).sort()).toEqual(functions);
  });

  const so = systems.find(({ name }) => name === 'linux');
  test.skipIf(!so)('libmapisync.so exports them and nothing else', () => {
    const file = join(so!.native, so!.names.shim);
    const { stdout } = spawnSync('nm', ['-D', '--defined-only', file], { encoding: 'utf8' });
    expect([...stdout.matchAll(/ [A-Z] (\w+)$/gm)].map(([, name]) => name!).sort()).toEqual(
      functions,
    );
  });

  const dlls = ['win-x64', 'win-x86']
    .map((target) => [target, join(root, 'dist', 'native', target, 'mapisync.dll')] as const)
    .filter(([, file]) => existsSync(file));
  test.for(dlls)('mapisync.dll for %s', ([target, file]) => {
    const { stdout } = spawnSync('objdump', ['-p', file], { encoding: 'utf8', maxBuffer: 1 << 26 });
    expect(stdout, 'objdump of binutils').toContain('Export Tables');
    const matches = (pattern: RegExp) => [...stdout.matchAll(pattern)].map(([, name]) => name!);
    expect(matches(/^\t\[ *\d+\] ([A-Za-z_@\d]+)$/gm).sort()).toEqual(functions);
    const imports = matches(/DLL Name: (\S+)$/gm).map((name) => name.toLowerCase());
    expect(imports.sort()).toEqual(IMPORTS);
    const flags = target === 'win-x64' ? ['HIGH_ENTROPY_VA'] : [];
    expect(stdout.match(/HIGH_ENTROPY_VA|DYNAMIC_BASE|NX_COMPAT/g)).toEqual([
      ...flags,
      'DYNAMIC_BASE',
      'NX_COMPAT',
    ]);
    const bytes = readFileSync(file);
    const named = Buffer.from('ProductVersion\0', 'utf16le');
    const said = /MAPISYNC_VERSION "([^"]+)"/.exec(header)![1]!;
    const at = bytes.indexOf(named);
    expect(at, 'it has a version resource').toBeGreaterThan(0);
    expect(bytes.toString('utf16le', at + named.length, at + named.length + 64)).toContain(said);
    expect(existsSync(`${file}.debug`), 'debug information lies beside it').toBe(true);
    if (target === 'win-x64') expect(statSync(file).size).toBeLessThanOrEqual(MAX_DLL_BYTES);
  });
});

describe('mapisync.cc in one file', () => {
  test('is the same each time, and has each source once', () => {
    const text = amalgamate(shim);
    expect(amalgamate(shim)).toBe(text);
    const parts = [...text.matchAll(/^\/\/ ---- (\S+) ----$/gm)].map(([, name]) => name);
    expect(new Set(parts).size).toBe(parts.length);
    expect(parts).toEqual(expect.arrayContaining(['recorder.cc', 'ring.h', 'pipe_win32.cc']));
    expect([...text.matchAll(/^#include "(.*)"$/gm)].map(([, name]) => name)).toEqual([
      'mapisync.h',
    ]);
  });

  // For x86 `npm run adopt` does.
  test.for(['g++', 'x86_64-w64-mingw32-g++-posix'])(
    '%s compiles it without a warning',
    { timeout: 60_000 },
    (compiler, { skip }) => {
      const source = join(scratch, 'mapisync.cc');
      writeFileSync(source, amalgamate(shim));
      const { error, status, stderr } = spawnSync(
        compiler,
        [
          ...['-std=c++17', '-fno-exceptions', '-fno-rtti', '-fsyntax-only'],
          ...['-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Werror', '-fPIC'],
          ...[`-I${shim}/include`, source],
        ].filter((arg) => arg !== '-fPIC' || compiler === 'g++'),
        { encoding: 'utf8' },
      );
      if (error && process.env.MAPISYNC_REQUIRE !== 'all') skip(`${compiler} is not installed`);
      expect([error, status, stderr]).toEqual([undefined, 0, '']);
    },
  );
});
