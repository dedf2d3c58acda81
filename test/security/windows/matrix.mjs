/**
 * Who gets to the daemon's pipe, tried on the system it runs on: the same user, another user, low
 * integrity, remote, elevated peers and an elevated daemon. Prints a table; exits with 1 if a row is not
 * as it must be. Rows that need a real Windows are left out under Wine, by name.
 *
 * Needs a runner that may make local users.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isElevated, isWine } from '../../../dist/daemon/platform/process.js';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..', '..');
const main = join(root, 'dist', 'bin', 'mapisync.js');
const scratch = process.argv[2] ?? join(root, '.cache', 'matrix');
const wine = isWine();
const rows = [];
const row = (name, got, wanted) =>
  rows.push({ name, got, wanted: String(wanted), ok: wanted.test?.(got) ?? got === wanted });
const leftOut = (name) =>
  rows.push({ name, got: 'left out: needs a real Windows', wanted: '', ok: wine });

async function until(what, look, timeoutMs = 60_000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`Waited ${timeoutMs} ms in vain until ${what}`);
    await sleep(50);
  }
}

const readFile = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);

/** Runs PowerShell. @throws with what it said. */
function powershell(script) {
  const { status, stdout, stderr } = spawnSync(
    'powershell',
    ['-NoProfile', '-NonInteractive', '-Command', `$ErrorActionPreference='Stop'; ${script}`],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`PowerShell ended with ${status}: ${stdout}${stderr}`);
  return stdout.trim();
}

/** A local user with a random password. */
function makeUser(name) {
  const password = `Aa1!${randomBytes(12).toString('hex')}`;
  powershell(
    `$p = ConvertTo-SecureString '${password}' -AsPlainText -Force; ` +
      `New-LocalUser -Name '${name}' -Password $p -PasswordNeverExpires | Out-Null`,
  );
  return { name, password };
}

/** Starts Node as somebody, or as ourselves; does not wait. */
function start(args, { user, node = process.execPath } = {}) {
  if (!user) {
    spawn(node, args, { stdio: 'ignore' });
    return;
  }
  const list = args.map((arg) => `'"${arg}"'`).join(',');
  powershell(
    `$p = ConvertTo-SecureString '${user.password}' -AsPlainText -Force; ` +
      `$c = New-Object System.Management.Automation.PSCredential('${user.name}', $p); ` +
      `Start-Process -FilePath '${node}' -ArgumentList ${list} -Credential $c ` +
      `-WorkingDirectory 'C:\\' -LoadUserProfile -WindowStyle Hidden`,
  );
}

let outs = 0;
/** What `try.mjs` says as somebody. */
async function tried(target, how) {
  const out = join(scratch, `out${++outs}`);
  start([join(here, 'try.mjs'), '--out', out, ...target], how);
  return until(`${target.join(' ')} was tried`, () => readFile(out) || undefined);
}

rmSync(scratch, { recursive: true, force: true });
mkdirSync(scratch, { recursive: true });
const users = wine ? {} : { owner: makeUser('mapisync-a'), other: makeUser('mapisync-b') };
if (!wine) {
  // Both users read the project and write their results here.
  powershell(`icacls '${root}' /grant '*S-1-5-32-545:(OI)(CI)M' /T /Q | Out-Null`);
}
const stateDir = join(scratch, 'state');
start([main, 'daemon', 'run', '--state-dir', stateDir], { user: users.owner });
const text = await until('the daemon is ready', () => readFile(join(stateDir, 'endpoint')));
const pipe = /^pipe=(.*)$/m.exec(text)?.[1].trim();
const remote = pipe.replace('\\\\.\\', '\\\\localhost\\');

row('same user', await tried(['--state-dir', stateDir], { user: users.owner }), 'connected');
if (wine) {
  for (const name of [
    'another user',
    'low integrity',
    'remote, same user',
    'elevated, same user',
  ]) {
    leftOut(name);
  }
  row('elevated daemon is noticed', String(isElevated()), 'true');
} else {
  row('another user', await tried(['--pipe', pipe], { user: users.other }), 'error 5');
  // A copy of Node with a low label runs at low integrity, whoever starts it.
  const low = join(scratch, 'low-node.exe');
  copyFileSync(process.execPath, low);
  powershell(`icacls '${low}' /setintegritylevel low | Out-Null`);
  powershell(`icacls '${scratch}' /setintegritylevel '(OI)(CI)low' | Out-Null`);
  const lowly = { user: users.owner, node: low };
  row('low integrity', await tried(['--pipe', pipe], lowly), 'error 5');
  row(
    'remote, same user',
    await tried(['--pipe', remote], { user: users.owner }),
    /^error (5|53|67)$/,
  );
  row('elevated, another user', await tried(['--pipe', pipe]), 'error 5');
  const ran = spawnSync(
    process.execPath,
    [main, 'daemon', 'run', '--state-dir', join(scratch, 'elevated')],
    { encoding: 'utf8', timeout: 30_000 },
  );
  row('elevated daemon', `exit ${ran.status}`, 'exit 8');
  // The same user with all rights: the daemon serves it, and notes it.
  powershell("Add-LocalGroupMember -Group 'Administrators' -Member 'mapisync-a'");
  const out = join(scratch, 'elevated.out');
  const command = `"${process.execPath}" "${join(here, 'try.mjs')}" --out "${out}" --state-dir "${stateDir}"`;
  const { name, password } = users.owner;
  const task = ['/Create', '/F', '/TN', 'mapisync-elevated', '/SC', 'ONCE', '/ST', '00:00'];
  const who = ['/RL', 'HIGHEST', '/RU', name, '/RP', password, '/TR', command];
  spawnSync('schtasks', [...task, ...who], { stdio: 'inherit' });
  spawnSync('schtasks', ['/Run', '/TN', 'mapisync-elevated'], { stdio: 'inherit' });
  row(
    'elevated, same user',
    await until('the task ran', () => readFile(out) || undefined),
    'connected',
  );
}

const table = rows
  .map(
    ({ ok, name, got, wanted }) =>
      `${ok ? 'ok    ' : 'FAILED'}  ${name}: ${got}${ok ? '' : `, expected ${wanted}`}`,
  )
  .join('\n');
writeFileSync(join(scratch, 'table.txt'), `${table}\n`);
process.stdout.write(`${table}\n`);
start([main, 'daemon', 'stop', '--state-dir', stateDir], { user: users.owner });
await until('the daemon ended', () => !existsSync(join(stateDir, 'endpoint')));
process.exit(rows.every(({ ok }) => ok) ? 0 : 1);
