/** Part `memory`: what the daemon holds, what the shim maps, and how large its libraries are. */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { hostTarget, root } from '../../bin/native.mjs';
import { feedOurs, openOurs } from './feed.mjs';
import { asOurs, chunks, session } from './frames.mjs';
import { compile, shimOf, start } from './native.mjs';
import { delay, round, statusOf, withDaemon, withFolder } from './support.mjs';

const SESSIONS = 1000;
const SESSIONS_PER_RING = 250;
const FRAMES = { smoke: 20_000, quick: 1_000_000, full: 10_000_000 };
const FRAMES_AT_ONCE = 1_000_000;
const SETTLE_MS = { smoke: 0, quick: 1000, full: 3000 };

const mib = (kib) => round(kib / 1024, 1);

/** A library without what only debuggers read, in bytes. */
function strippedBytes(folder, strip, library) {
  const out = join(folder, 'stripped');
  const { status } = spawnSync(strip, ['-s', '-o', out, library], { stdio: 'ignore' });
  return status === 0 ? statSync(out).size : undefined;
}

/** The 32-bit library is built for its size alone: everything else here is 64-bit. */
function sizes(folder, say) {
  const found = {};
  const x64 = shimOf('win-x64');
  if (x64) found.dll_x64_bytes = strippedBytes(folder, 'x86_64-w64-mingw32-strip', x64);
  const x86 = buildX86(folder);
  if (x86) found.dll_x86_bytes = strippedBytes(folder, 'i686-w64-mingw32-strip', x86);
  found.so_bytes = strippedBytes(folder, 'strip', shimOf(hostTarget));
  for (const [name, bytes] of Object.entries(found)) say(`  ${name} ${bytes}`);
  if (!x86) say('SKIPPED: size of the 32-bit library (no g++-mingw-w64-i686-posix)');
  return found;
}

function buildX86(folder) {
  const out = join(folder, 'mapisync-x86.dll');
  const shim = join(root, 'native-shim');
  const sources = spawnSync('git', ['ls-files', '--', 'native-shim/src/*.cc'], { cwd: root });
  const files = String(sources.stdout).split('\n').filter(Boolean);
  const flags = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-O2', '-DMAPISYNC_BUILD_SHARED'];
  const windows = ['-D_WIN32_WINNT=0x0601', '-DUNICODE', '-D_UNICODE', '-march=pentium4'];
  const link = ['-shared', '-static', join(shim, 'mapisync.def')];
  const libraries = ['-ladvapi32', '-lbcrypt', '-lshell32'];
  const args = [...flags, ...windows, `-I${shim}/include`, ...files, ...link, ...libraries];
  const built = spawnSync('i686-w64-mingw32-g++-posix', [...args, '-o', out], { cwd: root });
  return built.status === 0 ? out : undefined;
}

export async function run({ size, say }) {
  return withFolder(async (folder) => {
    const memory = {};
    await withDaemon(join(folder, 'state'), async ({ pid, state }) => {
      const settled = async (name) => {
        await delay(SETTLE_MS[size]);
        memory[name] = mib(statusOf(pid, 'VmRSS'));
        say(`  daemon ${name.replace('_mib', '')}: ${memory[name]} MiB`);
      };
      await settled('idle_mib');
      const rings = [];
      for (let i = 0; i < SESSIONS / SESSIONS_PER_RING; i++) {
        rings.push(await openOurs(state, SESSIONS_PER_RING));
      }
      await settled('sessions1000_mib');
      for (const ring of rings) ring.destroy();
      const at = Math.min(FRAMES[size], FRAMES_AT_ONCE);
      const made = chunks(session('progress', at), asOurs);
      for (let i = 0; i < FRAMES[size] / at; i++) await feedOurs(state, made);
      await settled('after_frames_mib');

      const host = compile('host', { quickly: size === 'smoke' });
      const running = start([host, shimOf(hostTarget), 'mapped'], state);
      memory.mapped_mib = round(JSON.parse(await running.line()).mapped_bytes / 1024 / 1024, 2);
      say(`  mapped by the shim: ${memory.mapped_mib} MiB`);
      await running.ended;
    });
    return { metrics: { memory, ...(size === 'smoke' ? {} : { size: sizes(folder, say) }) } };
  });
}
