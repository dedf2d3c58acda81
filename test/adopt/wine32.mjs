/**
 * A Debian with 32-bit Wine beside 64-bit Wine, in a folder: most machines can have only the latter. It
 * is made once, takes about 1.5 GB, and is entered in a mount namespace of its own, so nothing stays
 * mounted. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../bin/places.mjs';

const SUITE = 'bookworm';
const folder = join(root, '.cache', 'wine32', 'debian');

// The folders after the first have their own paths inside, so that a path means the same on both sides.
const ENTER = `set -e
debian=$1; shift
mount -t proc proc "$debian/proc"
mount --rbind /dev "$debian/dev"
while [ "$1" != -- ]; do
  mkdir -p "$debian$1"; mount --bind "$1" "$debian$1"; shift
done; shift
exec chroot "$debian" env --chdir="$PWD" "$@"`;

/** @returns The command line that runs `words` in that Debian, where `folders` are seen too. */
export function enter(folders, words) {
  const args = ['--mount', 'sh', '-c', ENTER, 'enter', folder, ...folders, '--', ...words];
  return ['unshare', args];
}

/** The archive that this machine installs from: its main component alone has both architectures whole. */
function archive() {
  const wanted = ['Created-By: Packages', `Codename: ${SUITE}`, 'Component: main'];
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...wanted]);
  const [uri] = String(stdout ?? '').split('\n');
  return uri ? [`deb ${uri} ${SUITE} main`] : [];
}

/** Makes it unless it is there. @throws {Error} saying what it takes. */
export function makeDebian() {
  if (existsSync(folder)) return;
  if (process.getuid?.() !== 0) throw new Error('Cannot make a Debian: run this as root');
  const made = `${folder}.new`;
  rmSync(made, { recursive: true, force: true });
  mkdirSync(join(made, '..'), { recursive: true });
  const { status, error } = spawnSync(
    'mmdebstrap',
    [
      ...['--quiet', '--architectures=amd64,i386', '--variant=apt'],
      ...['--include=wine,wine64,wine32:i386', '--aptopt=Acquire::Languages "none"'],
      ...[SUITE, made, ...archive()],
    ],
    { stdio: ['ignore', 2, 2] },
  );
  if (error)
    throw new Error(`Cannot make a Debian: sudo apt-get install mmdebstrap (${error.message})`);
  if (status !== 0) throw new Error(`Cannot make a Debian: mmdebstrap ended with ${status}`);
  renameSync(made, folder);
}
