// Every exit code there is, each brought about for real: a code without a row fails, and so does a row
// without a code.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { EXIT } from '../../client/exit.ts';
import { makeChallenge, STATUS } from '../../protocol/wire/handshake.ts';
import {
  FakeShim,
  journalOf,
  named,
  newRingId,
  root,
  Script,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';
import { keptIo } from './builders.ts';
import { impostor } from './impostor.ts';

interface Row {
  readonly what: string;
  readonly code: keyof typeof EXIT;
  readonly end: () => Promise<number>;
}

const mapisync = (args: readonly string[], io = keptIo()): Promise<number> => run(args, io);
const nowhere = (): string => join(tempDir(), 'state');
const NETWORK_ERROR = 0x80040115;
const USER_CANCEL = 0x80040113;

/** What `tail` says of a session that has ended. */
const ended = (plot: (script: Script) => Script) => async (): Promise<number> => {
  const { stateDir } = await startDaemon();
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId());
  const script = plot(new Script()).close();
  shim.send(...script.frames);
  await shim.acked(script.seq);
  return mapisync(['tail', '^0', '--exit-on-done', '--state-dir', stateDir]);
};

async function abandoned(): Promise<number> {
  const { stateDir } = await startDaemon();
  const { pid } = spawnSync(process.execPath, ['--version']);
  const shim = await FakeShim.connect(stateDir);
  await shim.hello(newRingId(), { pid });
  const script = new Script().progress(1, 2);
  shim.send(...script.frames);
  await shim.acked(script.seq - 1);
  shim.socket.destroy();
  await until('it is abandoned', () => named(journalOf(stateDir), 'session.ended').length === 1);
  return mapisync(['wait', '^0', '--state-dir', stateDir]);
}

async function anotherVersion(): Promise<number> {
  const { endpoint } = impostor((greeting, { secret, pipe }) =>
    makeChallenge({
      ...{ secret, pipe, greeting, nonce: new Uint8Array(32) },
      status: STATUS.version,
      protocol: 99,
    }),
  );
  return mapisync(['status', '--state-dir', endpoint]);
}

async function openToOthers(): Promise<number> {
  const state = nowhere();
  mkdirSync(state);
  chmodSync(state, 0o755);
  return mapisync(['daemon', 'start', '--state-dir', state]);
}

async function interrupted(): Promise<number> {
  const end = new AbortController();
  const io = keptIo({ interrupted: () => end.signal });
  const code = mapisync(['logs', '--follow', '--state-dir', nowhere()], io);
  end.abort();
  return code;
}

const damaged = join(root, 'package.json');
const broken = join(root, 'test', 'recordings', 'done-then-more.mapisync');
const at = (...args: string[]) => {
  return (): Promise<number> => mapisync([...args, '--state-dir', nowhere()]);
};

const ROWS: readonly Row[] = [
  { what: 'an empty list', code: 'done', end: at('sessions') },
  { what: 'a session that ended ok', code: 'done', end: ended((script) => script.done()) },
  { what: 'a file that is no recording', code: 'failed', end: at('decode', damaged) },
  { what: 'a word that is no command', code: 'usage', end: at('tial') },
  { what: 'nobody to ask', code: 'noDaemon', end: at('status') },
  { what: '--timeout', code: 'timeout', end: at('logs', '-f', '--timeout', '20ms') },
  { what: 'a fault of the provider', code: 'syncFailed', end: at('check', broken) },
  {
    what: 'a session that failed',
    code: 'syncFailed',
    end: ended((script) => script.done(NETWORK_ERROR)),
  },
  {
    what: 'a session with errors',
    code: 'syncWithErrors',
    end: ended((script) => script.error('x').done()),
  },
  { what: 'a session whose process ended', code: 'syncStalled', end: abandoned },
  { what: 'a state directory that others may use', code: 'permission', end: openToOthers },
  { what: 'a daemon of another protocol', code: 'version', end: anotherVersion },
  { what: 'no state directory', code: 'problems', end: at('doctor') },
  {
    what: 'a session that was cancelled',
    code: 'syncCancelled',
    end: ended((script) => script.done(USER_CANCEL)),
  },
  { what: 'Ctrl-C', code: 'interrupted', end: interrupted },
];

describe('exit codes', () => {
  test('each has a row here', () => {
    expect(new Set(ROWS.map(({ code }) => code))).toEqual(new Set(Object.keys(EXIT)));
  });

  test('each has a row in the docs', () => {
    const page = readFileSync(join(root, 'docs', 'cli.md'), 'utf8');
    const [, table] = /\n## Exit codes\n([\s\S]*?)\n## /.exec(page) ?? [];
    const codes = [...table!.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
    expect(codes).toEqual(Object.values(EXIT));
  });

  test.for(ROWS)('$what: $code', async ({ code, end }) => expect(await end()).toBe(EXIT[code]));
});
