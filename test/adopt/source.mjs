/** The shim in one file, as compilers for other systems see it. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { amalgamate } from '../../bin/amalgamate.mjs';
import { root } from '../../bin/places.mjs';
import { run, scratch } from './systems.mjs';

const shim = join(root, 'native-shim');

async function compile(compiler, name, flags) {
  const source = join(scratch, `${name}.cc`);
  writeFileSync(source, amalgamate(shim));
  const warnings = ['-Wall', '-Wextra', '-Werror', '-fno-exceptions', '-fno-rtti'];
  const include = `-I${join(shim, 'include')}`;
  await run(compiler, ['-std=c++17', '-fsyntax-only', ...warnings, include, ...flags, source]);
}

export const compileForMingw32 = () =>
  compile('i686-w64-mingw32-g++-posix', 'mingw32', ['-Wconversion', '-Wshadow']);

const ask = (question) =>
  String(spawnSync('x86_64-w64-mingw32-g++-posix', [question]).stdout ?? '').trim();

/**
 * The calling conventions, sizes and names of MSVC. Its headers cannot be had here; mingw's stand in for
 * them, and these flags tell them who compiles.
 *
 * @param machine `x86_64` or `i686`.
 */
export function compileForMsvc(machine) {
  const library = join(ask('-print-file-name=include'), 'c++');
  const sizes = [
    'BOOL',
    'CHAR',
    'CHAR16_T',
    'CHAR32_T',
    'WCHAR_T',
    'SHORT',
    'INT',
    'LONG',
    'LLONG',
  ];
  const atomics = [...sizes, 'POINTER'].map((name) => `-D__GCC_ATOMIC_${name}_LOCK_FREE=2`);
  return compile('clang++', machine, [
    ...[`--target=${machine}-pc-windows-msvc`, '-pedantic', '-Wgnu', '-Wno-#warnings'],
    ...[
      `-fgnuc-version=${Number.parseInt(ask('-dumpversion'), 10)}`,
      '-U_MSC_VER',
      '-D__MINGW32__=1',
      '-nostdinc++',
    ],
    machine === 'x86_64' ? '-D__MINGW64__=1' : '-D_X86_=1',
    ...['-D__GCC_ATOMIC_TEST_AND_SET_TRUEVAL=1', ...atomics],
    ...['-isystem', library, '-isystem', join(library, 'x86_64-w64-mingw32')],
    ...['-isystem', '/usr/share/mingw-w64/include'],
  ]);
}
