// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they stand in the sources that are edited.
/**
 * Deliberate weakenings of pipe and handshake. Each is an edit of a copy of the sources; the test that
 * has to notice it then runs in that copy, and must fail. In the unedited copy all of them must pass.
 *
 *   npm run security -- weakenings [--only NAME]
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { edit } from '../fault/build.mjs';
import { root } from './peers.mjs';

const PLATFORM = 'test/daemon/platform.test.ts';
const HANDSHAKE = 'test/protocol/wire/handshake.test.ts';
const STRANGERS = 'test/security/strangers.test.ts';
const WINE = 'test/security/wine.test.ts';

const FLAGS = 'the pipe is made for this machine alone and first of its name; peers lend no rights';
const IMPOSTOR = 'sends nothing to an impostor that it could use';
const MINE = 'accepts what we asked for';

/** `wine`: its test runs the built project under Wine. */
export const WEAKENINGS = [
  {
    name: 'pipe without an owner',
    file: 'daemon/platform/pipe-security.ts',
    find: '`O:${userSid}G:${userSid}D:P',
    put: '`D:P',
    test: [PLATFORM, MINE],
  },
  {
    name: 'pipe open to Everyone',
    file: 'daemon/platform/pipe-security.ts',
    find: '(A;;GA;;;${userSid})S:',
    put: '(A;;GA;;;WD)S:',
    test: [PLATFORM, MINE],
  },
  {
    name: 'pipe without an integrity label',
    file: 'daemon/platform/pipe-security.ts',
    find: '${userSid})S:(ML;;NWNR;;;ME)`',
    put: '${userSid})`',
    test: [PLATFORM, MINE],
  },
  {
    name: 'remote clients not rejected',
    file: 'daemon/platform/pipe-waiter.ts',
    find: 'mode, PIPE_REJECT_REMOTE_CLIENTS,',
    put: 'mode, PIPE_REJECT_REMOTE_CLIENTS & 0,',
    test: [WINE, FLAGS],
    wine: true,
  },
  {
    name: 'not the first instance of the name',
    file: 'daemon/platform/pipe-waiter.ts',
    find: 'instance(FILE_FLAG_FIRST_PIPE_INSTANCE)',
    put: 'instance(FILE_FLAG_FIRST_PIPE_INSTANCE & 0)',
    test: [WINE, FLAGS],
    wine: true,
  },
  {
    name: 'no identification level at the pipe',
    file: 'daemon/platform/win32-calls.ts',
    find: 'FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION',
    put: 'FILE_FLAG_OVERLAPPED',
    test: [WINE, FLAGS],
    wine: true,
  },
  {
    name: "pipe's owner not compared",
    file: 'daemon/platform/connect.ts',
    find: 'if (owner === user) {',
    put: 'if (owner !== undefined) {',
    test: [WINE, 'nobody says a byte to a pipe that belongs to somebody else'],
    wine: true,
  },
  {
    name: 'client proves itself first',
    file: 'daemon/platform/connect.ts',
    find: '  const { status, protocol } = checkChallenge(proving, challenge);',
    put:
      '  socket.write(makeAnswer(proving, challenge));\n' +
      '  const { status, protocol } = checkChallenge(proving, challenge);',
    test: [PLATFORM, IMPOSTOR],
  },
  {
    name: "daemon's proof not checked",
    file: 'protocol/wire/handshake.ts',
    find: "if (!timingSafeEqual(proof('daemon', proving, challenge), challenge.subarray(STATED_BYTES))) {",
    put: 'if (challenge.length === 0) {',
    test: [PLATFORM, IMPOSTOR],
  },
  {
    name: 'only the first byte of a proof compared',
    file: 'protocol/wire/handshake.ts',
    find: "timingSafeEqual(proof('peer', proving, challenge), answer)",
    put: "proof('peer', proving, challenge)[0] === answer[0]",
    test: [HANDSHAKE, 'with any bit of an answer flipped, or another size'],
  },
  {
    name: 'role not in the proof',
    file: 'protocol/wire/handshake.ts',
    find: '.update(`mapisync/1 ${by}\\n`)',
    put: '.update(by.slice(0, 0))',
    test: [HANDSHAKE, 'when the proofs of both sides are swapped'],
  },
  {
    name: 'secret kept from start to start',
    file: 'daemon/platform/endpoint.ts',
    find: 'randomBytes(32);',
    put: 'randomBytes(32).fill(7);',
    test: [PLATFORM, 'does not get in with the secret of another start'],
  },
  {
    name: 'nonce of the daemon used again',
    file: 'daemon/connection.ts',
    find: 'nonce: randomBytes(NONCE_BYTES)',
    put: 'nonce: randomBytes(NONCE_BYTES).fill(7)',
    test: [STRANGERS, 'a recorded handshake opens nothing'],
  },
  {
    name: 'endpoint file with mode 0644',
    file: 'daemon/platform/endpoint.ts',
    find: 'mode: 0o600',
    put: 'mode: 0o644',
    test: [PLATFORM, 'says what was written, to this user alone'],
  },
  {
    name: 'endpoint file read through a link',
    file: 'daemon/platform/endpoint.ts',
    find: '(constants.O_NOFOLLOW ?? 0) | ',
    put: '',
    test: [PLATFORM, 'that is a link is told apart'],
  },
  {
    name: 'socket with the modes of the umask',
    file: 'daemon/platform/listen.ts',
    find: '  chmodSync(temporary, 0o600);\n',
    put: '',
    test: [PLATFORM, 'may be deeper than a socket can be'],
  },
  {
    name: 'user of a peer not compared',
    file: 'daemon/platform/listen.ts',
    find: 'const problem = peerProblem(socket);',
    put: 'const problem = peerProblem(socket) && undefined;',
    test: [STRANGERS, 'who gets to the socket is turned away before a byte, and counted'],
  },
  {
    name: 'user of the daemon not compared',
    file: 'daemon/platform/connect.ts',
    find: 'const problem = peerProblem(socket);',
    put: 'const problem = peerProblem(socket) && undefined;',
    test: [STRANGERS, 'who listens where the daemon should hears nothing'],
  },
];

/** What can be left out of a copy. */
const LEFT_OUT = new Set(['.git', '.cache', 'dist', 'node_modules', 'docs']);

function copySources(name) {
  const folder = join(root, '.cache', 'security', name.replaceAll(/[^a-z0-9]+/gi, '-'));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, '.cache'), { recursive: true });
  for (const part of readdirSync(root)) {
    if (!LEFT_OUT.has(part)) cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  for (const shared of ['node_modules', '.cache/wine']) {
    if (existsSync(join(root, shared))) symlinkSync(join(root, shared), join(folder, shared));
  }
  return folder;
}

function run(args, cwd) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes) => {
        text += bytes;
      });
    }
    child.on('close', (code) => resolve({ code, text }));
  });
}

const tool = (path) => join(root, 'node_modules', path);
const exactly = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

async function build(folder) {
  mkdirSync(join(folder, 'dist'), { recursive: true });
  symlinkSync(join(root, 'dist', 'native'), join(folder, 'dist', 'native'));
  const flags = ['-p', 'bin/tsconfig.build.json', '--incremental', 'false'];
  const none = ['--tsBuildInfoFile', 'null'];
  const { code, text } = await run([tool('typescript/bin/tsc'), ...flags, ...none], folder);
  if (code !== 0) throw new Error(`Cannot build the copy: ${text}`);
}

/** @returns whether the named test ran, and passed. */
async function passes(folder, [file, name]) {
  const only = ['--config', 'test/vitest.config.ts', file, '-t', exactly(name)];
  const { code, text } = await run([tool('vitest/vitest.mjs'), 'run', ...only], folder);
  const plain = text.replaceAll(/\u001b\[[0-9;]*m/g, '');
  if (!/Tests .*[1-9]\d* (passed|failed)/.test(plain)) {
    throw new Error(`Cannot try "${name}": the test did not run\n${plain}`);
  }
  return code === 0;
}

/** @param {{only?: string, withWine?: boolean, say?: (text: string) => void}} options */
export async function weakenings({ only, withWine = true, say = () => {} }) {
  const wanted = WEAKENINGS.filter(
    ({ name, wine }) => (only === undefined || name.includes(only)) && (withWine || !wine),
  );
  const problems = [];
  const rows = [];
  const sound = copySources('sound');
  if (wanted.some(({ wine }) => wine)) await build(sound);
  const tried = new Set();
  for (const { name, file, find, put, test, wine } of wanted) {
    if (!tried.has(test.join())) {
      tried.add(test.join());
      if (!(await passes(sound, test))) problems.push(`"${test[1]}" fails without a weakening`);
    }
    const folder = copySources(name);
    edit(folder, [{ file, find, put }]);
    if (wine) await build(folder);
    const caught = !(await passes(folder, test));
    if (!caught) problems.push(`"${name}" is not caught by "${test[1]}"`);
    say(`${caught ? 'caught' : 'MISSED'}  ${name}  by "${test[1]}"`);
    rows.push({ weakening: name, caughtBy: `${test[0]}: ${test[1]}`, caught });
    rmSync(folder, { recursive: true, force: true });
  }
  rmSync(sound, { recursive: true, force: true });
  return { caught: rows.filter(({ caught }) => caught).length, of: rows.length, rows, problems };
}
