/** `service install`, `uninstall`, `status`: a daemon that is there from logon on, without admin. */
import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { statePaths } from '../../daemon/platform/paths.ts';
import { win32Calls } from '../../daemon/platform/win32-calls.ts';
import type { DaemonFacts } from '../../protocol/wire/clients.ts';
import { Connection, type Place } from '../connection.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { say } from '../messages.ts';
import { count, grouped } from '../render/numbers.ts';
import { carryOut } from '../service/carry-out.ts';
import { installedService, taskFile } from '../service/installed.ts';
import { purge, type Remains, remains } from '../service/remains.ts';
import { type Launch, type Step, stepLines } from '../service/steps.ts';
import { installUnit, uninstallUnit, unitPath } from '../service/systemd.ts';
import {
  installRunKey,
  installTask,
  MAX_RUN_KEY_CHARS,
  runKeyValue,
  taskName,
  uninstallTask,
} from '../service/task.ts';
import type { Settings } from '../settings.ts';
import { START_TIMEOUT_MS, startDaemon } from '../start.ts';

const POLL_MS = 50;
/** How long the Task Scheduler gets before the Run key has to do. */
const TASK_TIMEOUT_MS = 5000;

interface Plan {
  readonly steps: readonly Step[];
  /** If one of the steps fails, or nobody answers after them. */
  readonly otherwise?: readonly Step[];
}

export async function serviceInstall(
  { dryRun }: { readonly dryRun: boolean },
  settings: Settings,
  io: Io,
): Promise<number> {
  const plan = installPlan(settings, io);
  if (dryRun) return tell(plan, settings, io);
  let daemon: DaemonFacts;
  const waitMs = settings.timeoutMs ?? START_TIMEOUT_MS;
  try {
    daemon = await follow(plan.steps, plan.otherwise ? TASK_TIMEOUT_MS : waitMs, settings, io);
  } catch (error) {
    if (!plan.otherwise) {
      // Nothing stays half installed.
      if (io.platform !== 'win32') rmSync(unitPath(io.env), { force: true });
      throw hinted(error);
    }
    say(
      io,
      `The Task Scheduler does not do it, so the Run key has to: ${(error as Error).message}`,
    );
    daemon = await follow(plan.otherwise, waitMs, settings, io);
  }
  const installed = installedService(settings, io)!;
  if (settings.output === 'json') {
    await io.stdout.write(`${JSON.stringify({ installed, daemon: pick(daemon) })}\n`);
  } else if (settings.verbosity >= 0) {
    say(io, `Installed (${installed.where}); the daemon runs (pid ${daemon.pid})`);
  }
  return EXIT.done;
}

function installPlan(settings: Settings, io: Io): Plan {
  const { stateDir } = settings;
  const launch: Launch = {
    node: process.execPath,
    entry: resolve(io.entry),
    stateDir: stateDir === undefined ? undefined : resolve(stateDir),
  };
  if (io.platform !== 'win32') {
    if (io.platform !== 'linux') throw noService(io);
    return { steps: installUnit(launch, unitPath(io.env)) };
  }
  const { length } = runKeyValue(launch);
  if (length > MAX_RUN_KEY_CHARS) {
    throw new CliError(
      EXIT.failed,
      `Cannot install the service: expected at most ${MAX_RUN_KEY_CHARS} characters in its command, got ${length}`,
      'Install Node or mapisync in a shorter path',
    );
  }
  const [name, xml] = [taskName(io.env.USERNAME ?? 'user'), taskFile(settings, io)];
  return {
    steps: installTask(launch, name, win32Calls().userSid(), xml),
    otherwise: installRunKey(launch, name, xml),
  };
}

/** @returns What answers afterwards. */
async function follow(
  steps: readonly Step[],
  waitMs: number,
  settings: Settings,
  io: Io,
): Promise<DaemonFacts> {
  await carryOut(steps, io, daemonOf(settings, io));
  const until = performance.now() + waitMs;
  for (;;) {
    const daemon = await runningDaemon(settings, io);
    if (daemon) return daemon;
    if (performance.now() > until) {
      const { log } = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
      const text = 'Cannot see the daemon of the service: expected an answer, got none';
      throw new CliError(EXIT.timeout, text, `Look into ${log}`);
    }
    await sleep(POLL_MS);
  }
}

export async function serviceUninstall(
  options: { readonly dryRun: boolean; readonly purge: boolean },
  settings: Settings,
  io: Io,
): Promise<number> {
  const steps =
    io.platform === 'win32'
      ? uninstallTask(taskName(io.env.USERNAME ?? 'user'), taskFile(settings, io))
      : uninstallUnit(unitPath(io.env));
  const paths = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
  if (options.dryRun) {
    const what = `Purge ${paths.root}, but for rings of living processes`;
    return tell({ steps }, settings, io, options.purge ? [what] : []);
  }
  const installed = installedService(settings, io);
  if (installed) await carryOut(steps, io, daemonOf(settings, io));
  if (options.purge) purge(paths);
  const left = remains(paths);
  if (settings.output === 'json') {
    const facts = { uninstalled: installed !== undefined, state_dir: paths.root, ...snake(left) };
    await io.stdout.write(`${JSON.stringify(facts)}\n`);
    return EXIT.done;
  }
  const what = installed ? `Uninstalled (${installed.where})` : 'No service was installed';
  await io.stdout.write(`${what}\n${leftText(left, paths.root, options.purge)}\n`);
  return EXIT.done;
}

function leftText(left: Remains, root: string, purged: boolean): string {
  const { journalBytes, segments, liveRings, deadRings } = left;
  if (segments + liveRings + deadRings === 0) return `Nothing of it stays in ${root}`;
  const parts = [
    segments > 0 ? `${count(segments, 'journal segment')} (${grouped(journalBytes)} bytes)` : '',
    liveRings > 0 ? `${count(liveRings, 'ring')} of running processes, which record on` : '',
    deadRings > 0 ? `${count(deadRings, 'ring')} that no daemon has read` : '',
  ].filter(Boolean);
  const hint = purged ? '' : '\nRemove that too: mapisync service uninstall --purge';
  return `Stays in ${root}: ${parts.join('; ')}${hint}`;
}

export async function serviceStatus(settings: Settings, io: Io): Promise<number> {
  const installed = installedService(settings, io);
  const daemon = await runningDaemon(settings, io);
  if (settings.output === 'json') {
    const facts = { installed: installed ?? null, daemon: daemon ? pick(daemon) : null };
    await io.stdout.write(`${JSON.stringify(facts)}\n`);
    return installed ? EXIT.done : EXIT.failed;
  }
  const lines = installed
    ? [
        `Installed   ${installed.manager}, ${installed.where}`,
        `Starts      ${installed.command.join(' ')}`,
        ...installed.missing.map((path) => `Missing     ${path}: mapisync service install`),
      ]
    : ['Not installed: mapisync service install'];
  lines.push(
    daemon ? `Daemon      pid ${daemon.pid}, version ${daemon.version}` : 'Daemon      none runs',
  );
  await io.stdout.write(`${lines.join('\n')}\n`);
  return installed ? EXIT.done : EXIT.failed;
}

async function tell(
  { steps, otherwise }: Plan,
  settings: Settings,
  io: Io,
  more: readonly string[] = [],
): Promise<number> {
  if (settings.output === 'json') {
    await io.stdout.write(`${JSON.stringify({ steps, ...(otherwise ? { otherwise } : {}) })}\n`);
    return EXIT.done;
  }
  const lines = [...stepLines(steps), ...more];
  if (otherwise) lines.push('', 'If that does not work:', ...stepLines(otherwise));
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

const placeOf = (settings: Settings, io: Io): Place => ({
  stateDir: settings.stateDir,
  env: io.env,
});

/** undefined if none runs. @throws what else keeps us from asking. */
async function runningDaemon(settings: Settings, io: Io): Promise<DaemonFacts | undefined> {
  try {
    const connection = await Connection.open(placeOf(settings, io));
    connection.close();
    return connection.daemon;
  } catch (error) {
    if ((error as { exitCode?: number }).exitCode === EXIT.noDaemon) return undefined;
    throw error;
  }
}

const daemonOf = (settings: Settings, io: Io) => ({
  async stop(): Promise<void> {
    if (!(await runningDaemon(settings, io))) return;
    const { daemonStop } = await import('./daemon.ts');
    await daemonStop({ ...settings, output: 'plain', verbosity: -1 }, io);
  },
  async start(): Promise<void> {
    const { timeoutMs } = settings;
    const place = { ...placeOf(settings, io), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    (await startDaemon(io, place)).close();
  },
});

const pick = ({ pid, version, stateDir }: DaemonFacts): object => ({
  pid,
  version,
  state_dir: stateDir,
});

const snake = ({ journalBytes, segments, liveRings, deadRings }: Remains): object => ({
  journal_bytes: journalBytes,
  segments,
  live_rings: liveRings,
  dead_rings: deadRings,
});

const noService = (io: Io): CliError =>
  new CliError(
    EXIT.failed,
    `Cannot install a service on ${io.platform}: expected Linux with systemd, or Windows`,
    'Start it by hand: mapisync daemon start',
  );

function hinted(error: unknown): unknown {
  if (!(error instanceof CliError) || error.hint !== undefined) return error;
  const hint = 'Without systemd for users, start it from your session: mapisync daemon start';
  return new CliError(error.exitCode, error.message, hint, error);
}
