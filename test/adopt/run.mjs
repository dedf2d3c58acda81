/**
 * What the author of a provider does, from an empty folder: installs the package, copies the SDK, builds
 * the guide's example, runs it against the installed daemon, and tests it. On Linux, and on Windows as
 * Wine plays it; `--x86` as 32-bit Windows programs instead. `--tarball FILE` takes a package that was
 * packed before. Ends with `N passed, N failed`. Needs cmake, clang, mingw-w64 for x64 and x86, Wine.
 */
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { root } from '../../bin/places.mjs';
import { optionsOf } from '../options.mjs';
import { Adopted } from './adopted.mjs';
import { compileForMingw32, compileForMsvc } from './source.mjs';
import { Failed, linux, run, scratch, stay, windows, windows32, windowsBoth } from './systems.mjs';
import { makeDebian } from './wine32.mjs';

const MAX_PACKAGE_BYTES = 5 * 1000 * 1000;

const { values: options } = optionsOf('adopt', { x86: '', tarball: 'FILE' });
const say = (text) => process.stderr.write(`${text}\n`);
let passed = 0;
let failed = 0;

/** Runs a step and says how it went. @returns what it gave; undefined if it failed. */
async function step(name, action) {
  const begin = performance.now();
  try {
    const value = await action();
    passed++;
    say(`ok      ${name} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
    return value ?? true;
  } catch (error) {
    failed++;
    say(`FAILED  ${name}: ${error instanceof Failed ? error.message : error.stack}`);
    return undefined;
  }
}

/** Packs as a release does, with the scripts that build. */
async function pack() {
  if (options.tarball) return resolve(options.tarball);
  await run('npm', ['pack', '--pack-destination', scratch, '--loglevel=error'], { cwd: root });
  const name = readdirSync(scratch).find((file) => file.endsWith('.tgz'));
  const size = statSync(join(scratch, name)).size;
  if (size > MAX_PACKAGE_BYTES) throw new Failed(`the package has ${size} bytes`);
  say(`        ${size} bytes packed`);
  return join(scratch, name);
}

const publint = (tarball) =>
  run('npx', ['--no-install', 'publint', 'run', tarball, '--strict'], { cwd: root });

const install = (system, tarball) =>
  step(`${system.name}: npm install, scripts blocked`, () => Adopted.installed(system, tarball));

/** All that an author does. @returns the folder with the example built; undefined if it is not. */
async function adopt(system, tarball, arch = 'x64') {
  const adopted = await install(system, tarball);
  if (!adopted) return undefined;
  const take = (name, action) => step(`${system.name}: ${name}`, action);
  await take('sdk path', () => adopted.sdkPath());
  if (!(await take('sdk copy', () => adopted.sdkCopy()))) return undefined;
  await take('demo, without a compiler', () => adopted.demo());
  if (!(await take('CMake builds the example', () => adopted.buildExample()))) return undefined;
  if (system.exe) await take('imports and exports', () => adopted.checkTables());
  await take('the example against the installed daemon', () => adopted.runExample(adopted, arch));
  await take('test-provider', () => adopted.testProvider());
  return adopted;
}

/** The 32-bit example, built from what a 64-bit installation copied; wine32.mjs is where it can run. */
async function buildFor32(copied) {
  const other = new Adopted(windows32, copied.folder);
  other.build = join(copied.folder, 'build-x86');
  other.provider = join(other.build, windows32.provider);
  await other.buildExample();
  await other.checkTables();
}

async function onBothSystems(tarball) {
  // Side by side: each waits for its own processes most of the time.
  const [onLinux] = await Promise.all([adopt(linux, tarball), adopt(windows, tarball)]);
  if (!onLinux) return;
  await step('win-x86: CMake builds the example, imports and exports', () => buildFor32(onLinux));
}

/** 32-bit programs alone, and then with a daemon of the other bitness, as Windows x64 has them. */
async function on32(tarball) {
  const wine = await step('a Debian with 32-bit Wine', async () => {
    makeDebian();
    await run(...windows32.native('wineboot'), { env: windows32.env });
    stay(windows32);
  });
  if (!wine) return;
  const tests = join(root, 'dist', 'native', 'win-x86', 'tests');
  for (const name of readdirSync(tests)) {
    await step(`win-x86: ${name}`, async () => {
      const { stdout } = await run(...windows32.native(join(tests, name)), { env: windows32.env });
      if (!/passed, 0 failed/.test(stdout)) throw new Failed(stdout);
    });
  }
  const small = await adopt(windows32, tarball, 'x86');
  const large = await install(windowsBoth, tarball);
  if (!small || !large) return;
  await step('a 32-bit provider and host, a 64-bit daemon', () => large.runExample(small, 'x86'));
  await step('test-provider, 64-bit, with a 32-bit DLL', () => large.testProvider(small));
}

const begin = performance.now();
try {
  if (!options.x86) {
    await Promise.all([
      step('clang for x86_64-pc-windows-msvc', () => compileForMsvc('x86_64')),
      step('clang for i686-pc-windows-msvc', () => compileForMsvc('i686')),
      step('mingw for x86', compileForMingw32),
    ]);
  }
  const tarball = await step('npm pack', pack);
  if (tarball && options.x86) await on32(tarball);
  else if (tarball) {
    await step('publint', () => publint(tarball));
    await onBothSystems(tarball);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
say(`${((performance.now() - begin) / 1000).toFixed(0)} s in all`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
