/** What the doctor looks at. Changes nothing, and starts nothing. */
import { lstatSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { readEndpoint } from '../../daemon/platform/endpoint.ts';
import { tryLockRing } from '../../daemon/platform/locks.ts';
import { checkPrivateDir, type StatePaths, statePaths } from '../../daemon/platform/paths.ts';
import { PlatformError } from '../../daemon/platform/platform-error.ts';
import { posixCalls } from '../../daemon/platform/posix-calls.ts';
import { isElevated, isWine } from '../../daemon/platform/process.ts';
import { readRegistry } from '../../daemon/platform/registry.ts';
import { win32Calls } from '../../daemon/platform/win32-calls.ts';
import { RING_FILE_BYTES } from '../../protocol/wire/limits.ts';
import { readRing } from '../../protocol/wire/ring-file.ts';
import { configPaths, parseLayer, problemText, readText } from '../config/files.ts';
import { KEYS } from '../config/keys.ts';
import { find } from '../config/sources.ts';
import { Connection } from '../connection.ts';
import type { Io } from '../io.ts';
import { journalLines, parseRecord, segments } from '../journal.ts';
import { type Installed, installedService } from '../service/installed.ts';
import type { Settings } from '../settings.ts';
import { packageVersion } from '../version.ts';

export interface Facts {
  readonly version: string;
  readonly windows: boolean;
  readonly root: string;
  readonly dir:
    | { readonly kind: 'missing' }
    | { readonly kind: 'wrong'; readonly text: string; readonly mend: string }
    | { readonly kind: 'ok'; readonly fsType: number; readonly freeBytes: number };
  readonly daemon:
    | { readonly kind: 'none' }
    | { readonly kind: 'running'; readonly pid: number; readonly version: string }
    | {
        readonly kind: 'failed';
        /** As the endpoint file has it; 0 if it has none. */
        readonly pid: number;
        readonly reason: string;
        readonly text: string;
      };
  /** Only asked for where no daemon runs. */
  readonly liveRings: number;
  /** Whose they were. */
  readonly deadRings: readonly string[];
  readonly journal: JournalFacts;
  /** Where it says so. */
  readonly disabled: readonly string[];
  readonly elevated: boolean;
  readonly config: readonly { readonly file: string; readonly text: string }[];
  readonly service: Installed | undefined;
  /** Why it can't be loaded. */
  readonly koffi: string | undefined;
}

export interface JournalFacts {
  readonly bytes: number;
  readonly capBytes: number;
  /** Lines that are no record, among the newest that were looked through. */
  readonly damaged: number;
  readonly damagedIn: number;
  /** Frames that were lost in the last day. */
  readonly lost: number;
  /** The largest one of the last day, 0 if there is none. */
  readonly clockJumpMs: number;
  readonly clockJumpAt: string;
}

/** So much of the journal is looked through, newest first. */
const LOOKED_THROUGH_BYTES = 33_554_432;
const DAY_MS = 86_400_000;
const POLICY_KEY = 'Software\\Policies\\mapisync';

export async function gatherFacts(settings: Settings, io: Io): Promise<Facts> {
  const paths = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
  const koffi = koffiProblem();
  const daemon = koffi === undefined ? await askDaemon(settings, io) : ({ kind: 'none' } as const);
  const dir = lookAtDir(paths.root);
  const rings =
    daemon.kind === 'running' || koffi !== undefined || dir.kind !== 'ok'
      ? { live: 0, dead: [] }
      : lookAtRings(paths.rings);
  const size = find(KEYS.journalSize, undefined, settings.sources).value;
  return {
    version: packageVersion(),
    windows: io.platform === 'win32',
    root: paths.root,
    dir,
    daemon,
    liveRings: rings.live,
    deadRings: rings.dead,
    journal: lookAtJournal(paths, size ?? KEYS.journalSize.parse(KEYS.journalSize.fallback)!),
    disabled: koffi === undefined ? whereDisabled(io) : [],
    elevated: koffi === undefined && isElevated() && !isWine(),
    config: configProblems(io),
    service: koffi === undefined ? installedService(settings, io) : undefined,
    koffi,
  };
}

function koffiProblem(): string | undefined {
  try {
    if (process.platform === 'win32') win32Calls();
    else posixCalls();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}

async function askDaemon(settings: Settings, io: Io): Promise<Facts['daemon']> {
  try {
    const connection = await Connection.open({ stateDir: settings.stateDir, env: io.env });
    const { pid, version } = connection.daemon;
    connection.close();
    return { kind: 'running', pid, version };
  } catch (error) {
    const text = (error as Error).message;
    const reason = error instanceof PlatformError ? error.reason : 'refused';
    if (reason === 'not-running') return { kind: 'none' };
    return { kind: 'failed', pid: announcedPid(settings, io), reason, text };
  }
}

function announcedPid(settings: Settings, io: Io): number {
  try {
    return readEndpoint(statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv).endpoint).pid;
  } catch {
    return 0; // The finding says what is wrong with it.
  }
}

function lookAtDir(root: string): Facts['dir'] {
  if (lstatSync(root, { throwIfNoEntry: false }) === undefined) return { kind: 'missing' };
  try {
    checkPrivateDir(root);
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error;
    const text = error.message.replace(/^Cannot use .*?: /, '');
    const chmod = /: (chmod .*)$/.exec(text)?.[1];
    return { kind: 'wrong', text, mend: chmod ?? 'mapisync daemon start --state-dir ~/mapisync' };
  }
  const { type, bavail, bsize } = statfsSync(root);
  return { kind: 'ok', fsType: type >>> 0, freeBytes: bavail * bsize };
}

function lookAtRings(dir: string): { live: number; dead: string[] } {
  const dead: string[] = [];
  let live = 0;
  for (const name of list(dir).filter((one) => one.endsWith('.ring'))) {
    const path = join(dir, name);
    const lock = tryLockRing(path);
    if (!lock) live += 1;
    else dead.push(ownerOf(path));
    lock?.release();
  }
  return { live, dead };
}

function ownerOf(path: string): string {
  try {
    const bytes = readFileSync(path).subarray(0, RING_FILE_BYTES + 1);
    const { executable, pid } = readRing(bytes, { thisBoot: '' }).header;
    return `${executable} (pid ${pid})`;
  } catch {
    return 'one that cannot be read'; // The daemon says why when it adopts it.
  }
}

function lookAtJournal({ journal }: StatePaths, capBytes: number): JournalFacts {
  const sizes = new Map(
    segments(journal).map((segment) => {
      const path = join(journal, `mapisync.${String(segment).padStart(6, '0')}.jsonl`);
      return [segment, lstatSync(path, { throwIfNoEntry: false })?.size ?? 0] as const;
    }),
  );
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const since = Date.now() - DAY_MS;
  const jumps = new Jumps();
  let [looked, damaged, damagedIn, lost] = [0, 0, 0, 0];
  for (const [segment, size] of sizes) {
    if (looked > LOOKED_THROUGH_BYTES) break;
    looked += size;
    for (const { line } of journalLines(journal, segment)) {
      const record = parseRecord(line);
      if (!record) {
        damaged += 1;
        damagedIn ||= segment;
        continue;
      }
      if (Date.parse(record.observed_time ?? record.time) < since) continue;
      const kinds = record.event_name === 'frames.lost' ? record.lost?.by_kind : undefined;
      lost += Object.values(kinds ?? {}).reduce((sum, n) => sum + n, 0);
      if (record.event_name.startsWith('session.')) jumps.take(record);
    }
    jumps.nextSegment();
  }
  return {
    bytes,
    capBytes,
    damaged,
    damagedIn,
    lost,
    clockJumpMs: jumps.largestMs,
    clockJumpAt: jumps.at,
  };
}

/** How far the wall clock moved against the monotonic one between two records of one ring. */
class Jumps {
  largestMs = 0;
  at = '';
  readonly #offsets = new Map<string, number>();

  take({ ring, time, mono_us: monoUs }: { ring?: string; time: string; mono_us?: number }): void {
    if (ring === undefined || monoUs === undefined) return;
    const offset = Date.parse(time) - monoUs / 1000;
    const before = this.#offsets.get(ring);
    this.#offsets.set(ring, offset);
    if (before === undefined || Math.abs(offset - before) <= Math.abs(this.largestMs)) return;
    this.largestMs = Math.round(offset - before);
    this.at = time;
  }

  /** Segments come newest first, records oldest first. */
  nextSegment(): void {
    this.#offsets.clear();
  }
}

function whereDisabled(io: Io): string[] {
  const found =
    io.env.MAPISYNC_DISABLE === '1' ? ['MAPISYNC_DISABLE is 1 in this environment'] : [];
  if (io.platform !== 'win32') return found;
  for (const hive of ['HKCU', 'HKLM'] as const) {
    const value = readRegistry(hive, POLICY_KEY, 'Disable');
    if (typeof value === 'number' && value !== 0) {
      found.push(`${hive}\\${POLICY_KEY}\\Disable is ${value}`);
    }
  }
  return found;
}

function configProblems(io: Io): { file: string; text: string }[] {
  const { user, machine } = configPaths(io);
  return [user, machine].flatMap((file) => {
    try {
      const text = readText(file);
      if (text === undefined) return [];
      const { problems } = parseLayer(file, text, file === machine);
      return problems.map((one) => ({ file, text: problemText(one) }));
    } catch (error) {
      return [{ file, text: (error as Error).message }];
    }
  });
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return []; // What is wrong with the directory is a finding of its own.
  }
}
