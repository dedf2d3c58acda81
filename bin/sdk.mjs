/**
 * Puts together `dist/sdk`: what the author of a provider needs, as the package ships it and
 * `mapisync sdk copy` copies it. From nothing each time, so that it holds what was built now.
 *
 *   include/ src/       mapisync.h, and the shim in one file
 *   bin/TARGET/         the shim as a library, the sample provider and host, without debug information
 *   lib/TARGET/         import libraries, for MSVC and mingw alike
 *   lib/cmake/          find_package(mapisync)
 *   samples/minimal/    the guide's example
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { amalgamate } from './amalgamate.mjs';
import { toolOf } from './native.mjs';
import { root } from './places.mjs';

const shim = join(root, 'native-shim');
const sdk = join(root, 'dist', 'sdk');

/** What every package holds: a release is made where these compilers are. */
export const WANTED = ['win-x64', 'win-x86', 'linux-x64'];

export const ADVICE =
  'sudo apt-get install g++ g++-mingw-w64-x86-64-posix g++-mingw-w64-i686-posix llvm (on Linux x64)';

function run(command, args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`Cannot build the SDK: ${command}: ${error?.message ?? stderr.trim()}`);
}

/** An import library. The functions are cdecl, so their names are the same on x86 but for the `_`. */
function importLibrary(target, out) {
  const def = readFileSync(join(shim, 'mapisync.def'), 'utf8');
  const names = [...def.matchAll(/^ {2}(\w+)$/gm)].map(([line]) => `${line}\n`);
  const file = join(out, 'exports.def');
  writeFileSync(file, `LIBRARY mapisync.dll\nEXPORTS\n${names.join('')}`);
  const machine = target.name === 'win-x86' ? 'i386' : 'i386:x86-64';
  // LLVM's, since link.exe reads no others for sure; mingw's linker reads these too.
  run('llvm-dlltool', ['-m', machine, '-d', file, '-l', join(out, 'mapisync.lib')]);
  rmSync(file);
}

function takeTarget(target) {
  const from = join(root, 'dist', 'native', target.name);
  const bin = join(sdk, 'bin', target.name);
  mkdirSync(bin, { recursive: true });
  const { shim: library, provider, exe } = target.names;
  const strip = toolOf(target.compiler, 'strip') ?? 'strip';
  for (const name of [library, provider, `sample-host${exe}`]) {
    copyFileSync(join(from, name), join(bin, name));
    // Of a library that has its debug information beside it nothing is left to strip.
    if (!existsSync(join(from, `${name}.debug`))) run(strip, [join(bin, name)]);
  }
  if (exe === '') return;
  copyFileSync(join(from, `${library}.debug`), join(bin, `${library}.debug`));
  const lib = join(sdk, 'lib', target.name);
  mkdirSync(lib, { recursive: true });
  importLibrary(target, lib);
}

/** The guide as it lies in the SDK: with links to what is there alone. */
function guide() {
  const text = readFileSync(join(root, 'docs', 'provider-guide.md'), 'utf8');
  return text
    .replaceAll('](../native-shim/', '](')
    .replace(/\[([^\]]+)\]\((?:\.\.\/)?[\w-]+\.md\)/g, '$1');
}

/** @param targets Of native.mjs, built. @throws {Error} saying what could not be made. */
export function makeSdk(targets, version) {
  const missing = WANTED.filter((wanted) => !targets.some(({ name }) => name === wanted));
  if (missing.length > 0) {
    throw new Error(`Cannot build the SDK: no compiler for ${missing.join(', ')}: ${ADVICE}`);
  }
  rmSync(sdk, { recursive: true, force: true });
  for (const folder of ['include', 'src', 'lib/cmake/mapisync', 'samples']) {
    mkdirSync(join(sdk, ...folder.split('/')), { recursive: true });
  }
  copyFileSync(join(shim, 'include', 'mapisync.h'), join(sdk, 'include', 'mapisync.h'));
  writeFileSync(join(sdk, 'src', 'mapisync.cc'), amalgamate(shim));
  const cmake = join(sdk, 'lib', 'cmake', 'mapisync');
  const series = version.split('.').slice(0, 2).join('.');
  for (const name of readdirSync(join(shim, 'cmake'))) {
    const text = readFileSync(join(shim, 'cmake', name), 'utf8');
    const filled = text.replaceAll('@VERSION@', version).replaceAll('@SERIES@', series);
    writeFileSync(join(cmake, basename(name, '.in')), filled);
  }
  cpSync(join(shim, 'samples', 'minimal'), join(sdk, 'samples', 'minimal'), { recursive: true });
  writeFileSync(join(sdk, 'provider-guide.md'), guide());
  copyFileSync(join(root, 'LICENSE'), join(sdk, 'LICENSE'));
  for (const target of targets) if (WANTED.includes(target.name)) takeTarget(target);
}
