/**
 * Part `caller`: what a Progress call costs the provider's thread. Compiles caller.cc, runs it without a
 * daemon and with one, and prints the figures and their ratios within each run.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostTarget, root, targets } from '../../bin/native.mjs';

/** Progress through the sink may cost at most this share of spdlog's asynchronous logger. */
const MAX_SHARE_OF_SPDLOG = 0.3;
const ROUNDS = 5;
/** Bursts of a contender in a round. Without a daemon the ring must hold every call of the run. */
const BURSTS = { quick: 300, full: 2000 };
const ABSENT_BURSTS = { quick: 100, full: 300 };
const DAEMON_START_MS = 10_000;

const source = join(root, 'test', 'bench', 'caller.cc');
const daemon = join(root, 'dist', 'bin', 'mapisync.js');

function spdlogFlags() {
  const { status, stdout } = spawnSync('pkg-config', ['--cflags', '--libs', 'spdlog'], {
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim().split(/\s+/) : undefined;
}

function compile(folder, spdlog) {
  const target = targets().find(({ name }) => name === hostTarget);
  const binary = join(folder, 'caller');
  const flags = [
    '-std=c++17',
    '-O2',
    '-Wall',
    '-Wextra',
    `-I${join(root, 'native-shim', 'include')}`,
  ];
  const peer = spdlog ? ['-DWITH_SPDLOG', ...spdlog.filter((flag) => !flag.startsWith('-l'))] : [];
  const libraries = spdlog ? spdlog.filter((flag) => flag.startsWith('-l')) : [];
  const args = [
    ...flags,
    ...peer,
    source,
    ...libraries,
    ...target.system,
    '-pthread',
    '-o',
    binary,
  ];
  const { status, stderr } = spawnSync(target.compiler, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Cannot compile ${source}:\n${stderr}`);
  return binary;
}

async function waitFor(what, isThere, child) {
  const deadline = Date.now() + DAEMON_START_MS;
  while (!isThere()) {
    if (child.exitCode !== null) throw new Error(`The daemon ended with ${child.exitCode}`);
    if (Date.now() > deadline) throw new Error(`${what} took longer than ${DAEMON_START_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs `body` beside a daemon of its own. */
async function withDaemon(state, body) {
  const child = spawn(process.execPath, [daemon, 'daemon', 'run', '--state-dir', state], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  try {
    await waitFor('Starting the daemon', () => existsSync(join(state, 'endpoint')), child);
    return await body();
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
}

function measure(binary, folder, mode, bursts) {
  const state = join(folder, mode);
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const shim = join(root, 'dist', 'native', hostTarget, 'libmapisync.so');
  return async () => {
    const args = [shim, folder, String(ROUNDS), String(bursts), mode];
    // Asynchronous, so that this process keeps watching the daemon.
    const child = spawn(binary, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, MAPISYNC_STATE_DIR: state, MAPISYNC_DISABLE: '' },
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
    const code = await new Promise((resolve) => child.on('close', resolve));
    if (code !== 0) throw new Error(`The benchmark without its result ended with ${code}`);
    return JSON.parse(text);
  };
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Median and spread over the rounds of how one contender's median compares with another's. */
function share(found, one, other) {
  const shares = found[one].round_p50.map((value, at) => value / found[other].round_p50[at]);
  return { median: median(shares), low: Math.min(...shares), high: Math.max(...shares) };
}

function report(say, title, found) {
  say(`${title} (ns a call, means of 20; timer ${found.timer_ns} ns a burst subtracted)`);
  say(
    `  ${'contender'.padEnd(18)}${'p50'.padStart(9)}${'p99'.padStart(9)}${'p99.9'.padStart(10)}   p50 by round`,
  );
  for (const [name, figures] of Object.entries(found)) {
    if (figures.p50 === undefined) continue;
    const columns = [figures.p50, figures.p99, figures.p999].map((ns, at) =>
      ns.toFixed(1).padStart(at === 2 ? 10 : 9),
    );
    const rounds = figures.round_p50.map((ns) => ns.toFixed(1)).join(' ');
    say(`  ${name.padEnd(18)}${columns.join('')}   ${rounds}`);
  }
  const { recorded, merged, lost } = found.measured;
  say(`  frames recorded while measuring: ${recorded}, merged ${merged}, lost ${lost}`);
}

export async function run({ quick, say }) {
  const size = quick ? 'quick' : 'full';
  const spdlog = spdlogFlags();
  if (!spdlog) {
    const text = 'spdlog is missing: apt-get install libspdlog-dev pkg-config';
    if (process.env.MAPISYNC_REQUIRE === 'all') throw new Error(text);
    say(`SKIPPED: comparison with spdlog (${text})`);
  }
  const folder = mkdtempSync(join(tmpdir(), 'mapisync-bench-'));
  const failures = [];
  try {
    const binary = compile(folder, spdlog);
    const absent = await measure(binary, folder, 'absent', ABSENT_BURSTS[size])();
    report(say, 'No daemon', absent);
    const full = absent.full_measured;
    say(`  ring full: ${absent.full.p50} ns, merged ${full.merged}, lost ${full.lost}`);
    if (absent.measured.merged + absent.measured.lost > 0) {
      failures.push(
        'The ring was full while measuring without a daemon: not a measurement of frames',
      );
    }

    const caller = { absent_p50_ns: absent.sink24.p50, full_p50_ns: absent.full.p50 };
    const peer = { xadd_p50_ns: absent.xadd.p50, copy64_p50_ns: absent.copy64.p50 };
    let compared = absent;
    if (existsSync(daemon) && statSync(daemon).isFile()) {
      const state = join(folder, 'present');
      const measured = measure(binary, folder, 'present', BURSTS[size]);
      const present = await withDaemon(state, measured);
      report(say, 'Daemon present, after a lap of the ring', present);
      if (present.measured.merged + present.measured.lost > 0) {
        failures.push('Calls were merged or lost with a daemon: not a measurement of frames');
      }
      Object.assign(caller, {
        warm_p50_ns: present.sink24.p50,
        warm_p99_ns: present.sink24.p99,
        warm_p999_ns: present.sink24.p999,
        warm40_p50_ns: present.sink40.p50,
        empty_p999_ns: present.empty.p999,
        threads4_p50_ns: present.sink24_threads4.p50,
      });
      Object.assign(peer, { xadd_p50_ns: present.xadd.p50, copy64_p50_ns: present.copy64.p50 });
      compared = present;
    } else {
      say('SKIPPED: measurement with a daemon (dist/bin/mapisync.js is not built)');
    }

    const ratio = {
      xadd: share(compared, 'sink24', 'xadd'),
      copy64: share(compared, 'sink24', 'copy64'),
    };
    if (spdlog) {
      ratio.spdlog = share(compared, 'sink24', 'spdlog');
      peer.spdlog_p50_ns = compared.spdlog.p50;
      if (compared.spdlog_threads4) {
        ratio.spdlog_threads4 = share(compared, 'sink24_threads4', 'spdlog_threads4');
        peer.spdlog_threads4_p50_ns = compared.spdlog_threads4.p50;
      }
      // A quick run shows that the bench works; too few bursts to judge by.
      if (!quick && ratio.spdlog.median > MAX_SHARE_OF_SPDLOG) {
        failures.push(
          `Progress costs ${ratio.spdlog.median.toFixed(2)} of spdlog, more than ${MAX_SHARE_OF_SPDLOG}`,
        );
      }
    }
    for (const [name, { median: middle, low, high }] of Object.entries(ratio)) {
      say(
        `  mapisync / ${name}: ${middle.toFixed(3)} (rounds ${low.toFixed(3)} to ${high.toFixed(3)})`,
      );
    }
    const ratios = Object.entries(ratio).map(([name, values]) => [name, values.median]);
    return { metrics: { caller, peer, ratio: Object.fromEntries(ratios) }, failures };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
