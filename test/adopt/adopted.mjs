/** An empty folder into which the author of a provider installed the package, and what is done there. */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/places.mjs';
import { expect, Failed, run, scratch } from './systems.mjs';

const WAIT_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const NO_COMPILER = '/nonexistent';
/** What the guide says that the DLL imports; msvcrt is the C runtime of mingw. */
const IMPORTS = ['advapi32.dll', 'bcrypt.dll', 'kernel32.dll', 'msvcrt.dll'];

/** What a Windows library imports from, and the names that it exports. */
async function tablesOf(file) {
  const { stdout } = await run('objdump', ['-p', file]);
  const all = (pattern) => [...stdout.matchAll(pattern)].map(([, name]) => name);
  return {
    imports: all(/DLL Name: (\S+)$/gm)
      .map((name) => name.toLowerCase())
      .sort(),
    exports: all(/^\t\[ *\d+\] ([A-Za-z_@\d]+)$/gm).sort(),
  };
}

/** The functions of the kept list of the binary interface. */
function functions() {
  const list = readFileSync(join(root, 'native-shim', 'abi', 'v1.txt'), 'utf8');
  return [...list.matchAll(/^function .*?(\w+)\(/gm)].map(([, name]) => name).sort();
}

/** What the two programs of the example say, in the journal. */
function checkJournal(records, arch) {
  const ended = records.filter(({ event_name: name }) => name === 'session.ended');
  const told = ended.map(({ session, process, outcome, totals }) => [
    ...[session.provider, session.store, process.arch, session.attach, outcome],
    ...[totals.progress, totals.errors + totals.warnings],
  ]);
  told.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  expect('sessions in the journal', told, [
    ['Minimal', 'Twenty messages', arch, 'tee', 'warned', 21, 1],
    ['Report in C', 'Five messages', arch, 'sink', 'ok', 6, 0],
  ]);
}

export class Adopted {
  /** @param system Of systems.mjs; `folder` is as `installed` gave it. */
  constructor(system, folder) {
    this.system = system;
    this.folder = folder;
    this.cli = join(folder, 'node_modules', 'mapisync', 'dist', 'bin', 'mapisync.js');
    this.sdk = join(folder, 'third_party', 'mapisync');
    this.build = join(folder, 'build');
    this.provider = join(this.build, system.provider);
  }

  /** `npm install TARBALL` in an empty folder, as for `system`, with the scripts of packages blocked. */
  static async installed(system, tarball) {
    const folder = join(scratch, system.name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{"private":true}');
    const how = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['install', tarball, ...how, ...system.install], { cwd: folder });
    const manifest = join(folder, 'node_modules', 'mapisync', 'package.json');
    const { scripts } = JSON.parse(readFileSync(manifest, 'utf8'));
    const atInstall = Object.keys(scripts).filter((name) => /install$|^prepare$/.test(name));
    expect('scripts at installation', atInstall, []);
    return new Adopted(system, folder);
  }

  mapisync(args, options) {
    const [command, first] = this.system.node(this.cli);
    const env = { ...this.system.env, ...options?.env };
    return run(command, [...first, ...args], { cwd: this.folder, ...options, env });
  }

  async sdkPath() {
    const told = JSON.parse((await this.mapisync(['sdk', 'path', '--json'])).stdout);
    expect('path', told.path, this.system.path(join(this.cli, '..', '..', 'sdk')));
  }

  async sdkCopy() {
    const to = this.system.path(this.sdk);
    await this.mapisync(['sdk', 'copy', to]);
    const again = await this.mapisync(['sdk', 'copy', to], { codes: [2] });
    expect('a second copy', /new or empty/.test(again.stderr), true);
  }

  /** The demo, with the binaries that the package brought. */
  async demo() {
    const { stdout } = await this.mapisync(
      ['demo', '--json', '--remove', '--calls-per-second', '0'],
      { env: { CXX: NO_COMPILER } },
    );
    const { consistent, sessions, messages } = JSON.parse(stdout);
    expect('consistent, sessions', [consistent, sessions, messages > 0], [true, 1, true]);
  }

  async buildExample() {
    const source = join(this.sdk, 'samples', 'minimal');
    const where = ['-S', source, '-B', this.build, `-DCMAKE_PREFIX_PATH=${this.sdk}`];
    await run('cmake', [...where, ...this.system.cmake]);
    await run('cmake', ['--build', this.build]);
  }

  /** A provider with the shim compiled in asks for no more than the DLL does; that has what is listed. */
  async checkTables() {
    const shim = await tablesOf(join(this.sdk, 'bin', this.system.name, this.system.shim));
    expect('the DLL', shim, { imports: IMPORTS, exports: functions() });
    const provider = await tablesOf(this.provider);
    expect('the provider', provider, { imports: IMPORTS, exports: ['MinimalCreate'] });
    const report = await tablesOf(join(this.build, `minimal-report${this.system.exe}`));
    expect('the import', report.imports.includes('mapisync.dll'), true);
  }

  /** Both programs of the example, against this installation's daemon: their sessions are in its journal. */
  async runExample(example = this, arch = 'x64') {
    const state = join(this.folder, `state-of-${example.system.name}`);
    checkJournal(await this.#withDaemon(state, () => example.#runPrograms(state)), arch);
  }

  /** Each in a way of its own: the source compiled in, and the DLL by its import library. */
  async #runPrograms(state) {
    const { system } = this;
    const env = { ...system.env, MAPISYNC_STATE_DIR: system.path(state) };
    const start = async (program, args = []) => {
      const [command, first] = system.native(program);
      await run(command, [...first, ...args], { env });
    };
    await start(join(this.build, `minimal-report${system.exe}`));
    const config = join(this.folder, 'config');
    writeFileSync(config, '');
    const provider = ['--provider', system.path(this.provider), '--entry', 'MinimalCreate'];
    const host = join(this.sdk, 'bin', system.name, `sample-host${system.exe}`);
    const how = ['--config', system.path(config), '--shim', 'none', '--quiet'];
    await start(host, [...provider, ...how]);
  }

  /** Runs `action` while the installed daemon runs. @returns the journal's records. */
  async #withDaemon(state, action) {
    const { system } = this;
    const [command, first] = system.node(this.cli);
    const logFile = join(this.folder, 'daemon.log');
    const log = openSync(logFile, 'w');
    const args = ['daemon', 'run', '--state-dir', system.path(state)];
    const daemon = spawn(command, [...first, ...args], {
      cwd: this.folder,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...system.env },
    });
    closeSync(log);
    const ended = new Promise((resolve) => daemon.once('close', resolve));
    try {
      const until = async (what, isSo) => {
        const deadline = Date.now() + WAIT_TIMEOUT_MS;
        while (!isSo()) {
          if (daemon.exitCode !== null || Date.now() > deadline) {
            throw new Failed(`no ${what}: ${readFileSync(logFile, 'utf8')}`);
          }
          await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        }
      };
      await until('daemon', () => existsSync(join(state, 'endpoint')));
      await action();
      // A host that ends right after its sync leaves its ring; it goes when all of it is in the journal.
      const isRing = (name) => name.endsWith('.ring');
      await until('adoption', () => !readdirSync(join(state, 'rings')).some(isRing));
      await this.mapisync(['daemon', 'stop', '--state-dir', system.path(state)]);
      expect('how the daemon ended', await ended, 0);
    } finally {
      daemon.kill('SIGKILL');
      await ended;
    }
    const journal = join(state, 'journal');
    return readdirSync(journal)
      .filter((name) => name.endsWith('.jsonl'))
      .flatMap((name) => readFileSync(join(journal, name), 'utf8').trim().split('\n'))
      .map((line) => JSON.parse(line));
  }

  /** `mapisync test-provider` with the example, of this system or another bitness. */
  async testProvider(example = this) {
    const { system } = this;
    const junit = join(this.folder, `junit-${example.system.name}.xml`);
    const { stdout } = await this.mapisync([
      ...['test-provider', '--dll', system.path(example.provider)],
      ...['--entry', 'MinimalCreate', '--junit', system.path(junit)],
    ]);
    const [last, count] = /^(\d{2,}) passed, 0 failed$/m.exec(stdout) ?? [];
    if (last === undefined) throw new Failed(`expected only passes, got\n${stdout}`);
    const suites = new RegExp(`<testsuites [^>]*tests="${count}" failures="0"`);
    expect('JUnit', suites.test(readFileSync(junit, 'utf8')), true);
  }
}
