/**
 * Part `caller`: what a call costs the provider's thread. Compiles caller.cc, runs it without a daemon,
 * with one and with a stopped one, and prints the figures and their ratios within each run.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hostTarget } from '../../bin/native.mjs';
import { compile, shimOf, start } from './native.mjs';
import { median, ROUNDS, round, withDaemon, withFolder } from './support.mjs';

/** Bursts of a contender in a round. Without a daemon the ring must hold every call of the run. */
const BURSTS = { smoke: 20, quick: 300, full: 1000 };
const ABSENT_BURSTS = { smoke: 20, quick: 100, full: 250 };

export function spdlogFlags(say) {
  const found = spawnSync('pkg-config', ['--cflags', '--libs', 'spdlog'], { encoding: 'utf8' });
  if (found.status === 0) {
    const all = found.stdout.trim().split(/\s+/);
    return {
      flags: ['-DWITH_SPDLOG', ...all.filter((flag) => !flag.startsWith('-l'))],
      libraries: all.filter((flag) => flag.startsWith('-l')),
    };
  }
  const text = 'spdlog is missing: apt-get install libspdlog-dev pkg-config';
  if (process.env.MAPISYNC_REQUIRE === 'all') throw new Error(text);
  say(`SKIPPED: comparison with spdlog (${text})`);
  return undefined;
}

export async function measure(command, state, { rounds, bursts, mode, env, meanwhile }) {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const running = start([...command, String(rounds), String(bursts), mode], state, env);
  if (meanwhile) {
    await running.line();
    await meanwhile();
    running.child.stdin.write('\n');
  }
  const found = JSON.parse(await running.line());
  await running.ended;
  return found;
}

/** Median and spread over the rounds of how one contender's median, or mean, compares with another's. */
function share(found, one, other, { less, by = 'round_p50' } = {}) {
  const shares = found[one][by].map((value, at) => {
    const own = less ? value - found[less][by][at] : value;
    return own / found[other][by][at];
  });
  return { median: median(shares), low: Math.min(...shares), high: Math.max(...shares) };
}

export function print(say, title, found) {
  say(`${title} (ns a call; timer ${found.timer_ns} ns subtracted)`);
  say(
    `  ${'contender'.padEnd(18)}${'p50'.padStart(9)}${'mean'.padStart(9)}${'p99'.padStart(9)}${'p99.9'.padStart(10)}   p50 by round`,
  );
  for (const [name, figures] of Object.entries(found)) {
    if (figures.p50 === undefined) continue;
    const { p50, mean, p99, p999 } = figures;
    const columns = [p50, mean, p99, p999].map((ns, at) =>
      ns.toFixed(1).padStart(at === 3 ? 10 : 9),
    );
    const rounds = figures.round_p50.map((ns) => ns.toFixed(1)).join(' ');
    say(`  ${name.padEnd(18)}${columns.join('')}   ${rounds}`);
  }
  const { recorded, merged, lost } = found.measured;
  say(`  frames recorded while measuring: ${recorded}, merged ${merged}, lost ${lost}`);
}

const isSpoilt = ({ measured }) => measured.merged + measured.lost > 0;

/** Allocations, locks and system calls of a few thousand calls, by programs in front of the C library. */
async function costs(folder, say) {
  if (process.platform !== 'linux') return {};
  const state = join(folder, 'costs-state');
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const binary = compile('costs', { flags: ['-fno-builtin'] });
  const running = start([binary, shimOf(hostTarget)], state);
  const { control, calls } = JSON.parse(await running.line());
  await running.ended;
  if (control.allocs !== 1 || control.locks !== 1 || control.syscalls !== 1) {
    throw new Error(`The counters do not count: ${JSON.stringify(control)}`);
  }
  const { allocs, locks, syscalls } = calls;
  say(`  in the calling thread: ${allocs} allocations, ${locks} locks, ${syscalls} system calls`);
  return calls;
}

export async function run({ size, say }) {
  const smoke = size === 'smoke';
  const spdlog = smoke ? undefined : spdlogFlags(say);
  const failures = [];
  return withFolder(async (folder) => {
    const binary = compile('caller', { ...spdlog, quickly: smoke });
    const command = [binary, shimOf(hostTarget), folder];
    const rounds = smoke ? 1 : ROUNDS;
    const few = { rounds, bursts: ABSENT_BURSTS[size] };

    const absent = await measure(command, join(folder, 'absent'), { ...few, mode: 'absent' });
    print(say, 'No daemon', absent);
    const state = join(folder, 'present');
    const [present, stopped] = await withDaemon(state, async (daemon) => [
      await measure(command, state, { rounds, bursts: BURSTS[size], mode: 'present' }),
      await measure(command, state, {
        ...few,
        mode: 'stopped',
        meanwhile: () => daemon.signal('SIGSTOP'),
      }),
    ]);
    print(say, 'Daemon stopped (SIGSTOP)', stopped);
    print(say, 'Daemon present, after a lap of the ring', present);
    for (const [name, found] of Object.entries({ absent, stopped, present })) {
      if (!smoke && isSpoilt(found))
        failures.push(`${name}: calls were merged: no measurement of frames`);
    }
    const counted = await costs(folder, say);

    const own = present.tee24.round_p50.map((ns, at) => ns - present.empty.round_p50[at]);
    const caller = {
      warm_p50_ns: present.sink24.p50,
      warm_p999_ns: present.sink24_single.p999,
      empty_p999_ns: present.empty_single.p999,
      warm40_p50_ns: present.sink40.p50,
      threads4_p50_ns: present.sink24_threads4.p50,
      tee_p50_ns: round(median(own), 2),
      error_p50_ns: present.error40.p50,
      idle_p50_ns: present.sink24_idle.p50,
      absent_p50_ns: absent.sink24.p50,
      stopped_p50_ns: stopped.sink24.p50,
      full_p50_ns: absent.full.p50,
      ...counted,
    };
    const peer = {
      xadd_p50_ns: present.xadd.p50,
      copy64_p50_ns: present.copy64.p50,
      write_p50_ns: present.write.p50,
    };
    const ratio = {
      xadd: share(present, 'sink24', 'xadd'),
      copy64: share(present, 'sink24', 'copy64'),
      write: share(present, 'sink24', 'write'),
    };
    if (spdlog) {
      ratio.spdlog = share(present, 'sink24', 'spdlog');
      ratio.spdlog_threads4 = share(present, 'sink24_threads4', 'spdlog_threads4');
      ratio.spdlog_threads4_mean = share(present, 'sink24_threads4', 'spdlog_threads4', {
        by: 'round_mean',
      });
      ratio.tee_spdlog = share(present, 'tee24', 'spdlog', { less: 'empty' });
      peer.spdlog_p50_ns = present.spdlog.p50;
      peer.spdlog_threads4_p50_ns = present.spdlog_threads4.p50;
    }
    // Of another process, so each by the fixed loop that ran beside it: a clock with steps of 10 ns
    // tells 20 `xadd` to a tenth only.
    const floor = (found, name) => found[name].p50 / found.calibration.p50;
    const normal = floor(present, 'sink24');
    for (const [name, found] of Object.entries({ absent, stopped, full: absent })) {
      const value = floor(found, name === 'full' ? 'full' : 'sink24') / normal;
      ratio[name] = { median: value, low: value, high: value };
    }
    for (const [name, { median: middle, low, high }] of Object.entries(ratio)) {
      const spread = low === high ? '' : ` (rounds ${low.toFixed(3)} to ${high.toFixed(3)})`;
      say(`  mapisync / ${name}: ${middle.toFixed(3)}${spread}`);
    }
    const ratios = Object.entries(ratio).map(([name, values]) => [name, round(values.median, 4)]);
    return { metrics: { caller, peer, ratio: Object.fromEntries(ratios) }, failures };
  });
}
