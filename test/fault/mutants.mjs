/**
 * The mutation table: bugs put in on purpose, at most three lines each, each of which a schedule with
 * a fixed seed must catch. A harness that lets one pass proves nothing.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { hostTarget, root } from '../../bin/native.mjs';
import { buildDaemon, buildProducer, copyTree, EAGER, HESITANT } from './build.mjs';
import { runCrashStates, SMALL } from './crash-states.mjs';
import { runAll, runJob } from './job.mjs';
import { scratchFolder } from './round.mjs';
import { HOST_SCHEDULES } from './schedules.mjs';

const daemon = (file, find, put) => ({ daemon: [{ file, find, put }] });
const shim = (file, find, put) => ({ shim: [{ file, find, put }] });

/** `by`: the schedule that must catch it; `kills`: how many it gets, in one try after the other. */
export const MUTANTS = [
  {
    name: 'acknowledge what was received',
    ...daemon('daemon/hub.ts', 'acknowledge(state.durable)', 'acknowledge(state.received)'),
    by: 'points',
  },
  {
    name: 'acknowledge before the write',
    ...daemon('daemon/journal.ts', 'this.#lastBatch().after.push(run);', 'queueMicrotask(run);'),
    by: 'points',
  },
  {
    name: 'no dedupe',
    ...daemon('protocol/session/ring.ts', "? 'drop' : 'gap'", "? 'take' : 'gap'"),
    by: 'adoption',
  },
  {
    name: 'no repair of a torn tail',
    ...daemon('daemon/recovery.ts', 'if (keep < size)', 'if (keep > size)'),
    by: 'points',
  },
  {
    name: 'keep an incomplete group',
    ...daemon(
      'daemon/recovery.ts',
      'if (group && group.n < group.of)',
      'if (group && group.n < 0)',
    ),
    by: 'crash states',
  },
  {
    name: 'forget the rings at restart',
    ...daemon('daemon/daemon.ts', 'core.hub.restore(fold.rings, fold.notes, fold.history);', ''),
    by: 'random',
  },
  {
    name: 'forget live sessions at restart',
    ...daemon('protocol/session/ring.ts', 'if (record.session !== undefined)', 'if (false)'),
    by: 'random',
  },
  {
    name: 'restart one frame too early',
    ...daemon(
      'protocol/session/ring.ts',
      'settle(ring, record.seq ?? 0)',
      'settle(ring, (record.seq ?? 1) - 1)',
    ),
    by: 'random',
  },
  {
    name: 'believe freed instead of the maximum',
    ...daemon(
      'protocol/session/ring.ts',
      'ring.durable = Math.max(ring.durable, hello.freed);',
      'ring.durable = ring.received = hello.freed;',
    ),
    by: 'points',
  },
  {
    name: 'snapshot with the durable number, not the received one',
    ...daemon('protocol/session/ring.ts', 'durable: received,', 'durable: ring.durable,'),
    by: 'rotation',
  },
  {
    name: 'begin with the newest segment, whole or not',
    ...daemon(
      'daemon/recovery.ts',
      'segments.findLastIndex((segment) => opensWhole(segmentPath(dir, segment)))',
      'segments.length - 1',
    ),
    by: 'rotation',
  },
  {
    name: 'fold a torn snapshot',
    ...daemon(
      'daemon/recovery.ts',
      "if (!whole && record.event_name.startsWith('snapshot.'))",
      'if (false)',
    ),
    by: 'rotation',
    kills: [30, 90],
  },
  {
    name: 'believe that a write is never short',
    ...daemon('daemon/journal.ts', 'while (done < bytes.length) {', 'if (done < bytes.length) {'),
    by: 'rotation',
  },
  {
    name: 'trim the segment that is being written',
    ...daemon(
      'daemon/journal.ts',
      'of sized.slice(0, -1)',
      'of [{ ...sized.at(-1)!, path: segmentPath(dir, newest) }]',
    ),
    by: 'rotation',
  },
  {
    name: 'delete an adopted ring before its records are durable',
    ...daemon(
      'daemon/adoption.ts',
      'hub.gone(entry, image.inCalls, sameBoot);\n    await durable();',
      'hub.gone(entry, image.inCalls, sameBoot);',
    ),
    by: 'adoption',
  },
  {
    name: 'adopt live rings',
    ...daemon(
      'daemon/platform/locks.ts',
      'const errno = posixCalls().lockWhole(fd);',
      'const errno = 0;',
    ),
    by: 'random',
  },
  {
    name: 'lose the sessions of a dead process',
    ...daemon('daemon/adoption.ts', 'hub.gone(entry, image.inCalls, sameBoot);', ''),
    by: 'hosts',
  },
  {
    name: 'read a dead ring up to its first hole',
    ...daemon('protocol/wire/ring-file.ts', 'doubtful.push(hole(seq, lastTimeUs));', 'break;'),
    by: 'holes',
  },
  {
    name: 'read a dead ring without its session slots',
    ...daemon('daemon/hub.ts', 'for (const slot of from.slots) {', 'for (const slot of []) {'),
    by: 'pressure',
  },
  {
    name: 'never sync what recovery rests on',
    ...daemon('daemon/recovery.ts', 'syncFile(path);\n    else', ';\n    else'),
    by: 'crash states',
  },
  {
    name: 'acknowledge without a sync',
    ...daemon('daemon/journal.ts', "if (sync !== 'system')", 'if (false)'),
    by: 'crash states',
  },
  {
    name: 'never sync the directory',
    ...daemon('daemon/journal.ts', 'await syncDirectory(this.#options.dir);', ''),
    by: 'crash states',
  },
  {
    name: 'shim: free what was sent',
    ...shim('delivery.cc', 'ring_->FreeTo(seq);', 'ring_->FreeTo(max_sent_seq_);'),
    by: 'points',
  },
  {
    name: 'shim: go on where the old connection was',
    ...shim(
      'delivery.cc',
      'sent_ = ring_->head();',
      'if (sent_.seq() == 0) sent_ = ring_->head();',
    ),
    by: 'random',
  },
  {
    name: 'shim: no lock on the ring',
    ...shim(
      'ring_file_posix.cc',
      'IsLocalDisk(fd) && fcntl(fd, F_SETLK, &lock) == 0 &&',
      'IsLocalDisk(fd) && lock.l_type == F_WRLCK &&',
    ),
    by: 'hosts',
  },
  {
    name: 'shim: never commit',
    ...shim('ring_append.h', 'store(committed, ', 'store(committed - 1, '),
    by: 'hosts',
  },
  {
    name: 'shim: count an Error and forget it',
    ...shim(
      'session.cc',
      'Must(body, size, Loss::kError, thread);',
      'if (now_us % 64 != 63) Must(body, size, Loss::kError, thread);',
    ),
    by: 'random',
  },
];

const FIRST_SEED = 7001;
/** Kills of a try: few at first, since most bugs show at once, then as many as it takes. */
const KILLS = { hosts: [15, 60], holes: [15, 60], pressure: [10, 30], other: [8, 30] };
const LEAST_STATES = 1200;

/** What is built once for all tries of a mutant. */
async function build(mutant, at, producers) {
  const { by } = mutant;
  const name = `mutant-${at}`;
  const edits = [...(by === 'crash states' ? SMALL : []), ...(mutant.daemon ?? [])];
  const dist = await buildDaemon(name, edits);
  const base = producers[by] ?? producers.eager;
  if (!mutant.shim) return { dist, producer: base.path };
  const shimEdits = [
    ...(HOST_SCHEDULES[by] ? (HOST_SCHEDULES[by].shim ?? []) : EAGER),
    ...mutant.shim,
  ];
  // What a header changes is in more objects than one.
  const touchesHeader = mutant.shim.some(({ file }) => file.endsWith('.h'));
  const { path } = await buildProducer(name, {
    edits: shimEdits,
    base: touchesHeader ? undefined : base.folder,
  });
  return { dist, producer: path };
}

/** @returns what the harness said, the empty text for nothing. */
async function tryMutant({ by, kills }, { dist, producer }, seed) {
  if (by === 'crash states') {
    const options = { seed, least: LEAST_STATES, say: () => {}, dist };
    const { bad, states } = await runCrashStates(options);
    return bad > 0 ? `${bad} of ${states} states` : '';
  }
  for (const some of kills ?? KILLS[by] ?? KILLS.other) {
    const common = { seed, dist };
    const result = await runJob(
      HOST_SCHEDULES[by]
        ? { ...common, hosts: true, schedule: by, hostKills: some, producer: [producer] }
        : { ...common, schedule: by, daemonKills: some, producer },
    );
    if (result.error) throw new Error(`Cannot try "${by}": ${result.error}`);
    if (result.failed) return signOf(result);
  }
  return '';
}

function signOf(result) {
  const kinds = [
    'missing',
    'twice',
    'out_of_order',
    'unreadable_lines',
    'wrong_totals',
    'invented',
  ];
  const said = [...kinds, 'lost'].filter((kind) => result[kind] > 0);
  if (said.length > 0) return said.map((kind) => `${kind} ${result[kind]}`).join(', ');
  return result.problems[0].split('\n')[0];
}

const chosen = (only) =>
  MUTANTS.map((mutant, at) => ({ mutant, at })).filter(
    ({ mutant }) => !only || only.split(',').some((part) => mutant.name.includes(part)),
  );

/**
 * Tries each over some seeds, side by side, and prints the table as it goes.
 *
 * @returns how many were `caught`, with the schedules that rightly said nothing where there is no bug, and
 *   how many went wrong.
 */
export async function runMutants({ seeds, only, jobs, say }) {
  const producers = {
    eager: await buildProducer('eager', { edits: EAGER }),
    hosts: await buildProducer('plain'),
    pressure: await buildProducer('plain'),
    holes: await buildProducer('holes', { edits: HESITANT }),
  };
  say('| bug | schedule, seed | caught | first sign |');
  say('| --- | --- | --- | --- |');
  const mutants = chosen(only);
  // What catches nothing as well proves nothing.
  const controls = [...new Set(mutants.map(({ mutant }) => mutant.by))].map((by) => ({
    mutant: { name: 'none', by, control: true },
    at: by.replace(' ', '-'),
  }));
  const tries = [...controls, ...mutants].flatMap(({ mutant, at }) => {
    const count = mutant.control ? 1 : seeds;
    const state = { mutant, at, count, hits: 0, done: 0, sign: '' };
    return Array.from({ length: count }, (_, n) => ({ state, seed: FIRST_SEED + n }));
  });
  let caught = 0;
  let survived = 0;
  const run = async ({ state, seed }) => {
    state.built ??= build(state.mutant, state.at, producers);
    return tryMutant(state.mutant, await state.built, seed);
  };
  await runAll(tries, jobs, run, (said, { state }) => {
    state.done += 1;
    if (said !== '') state.hits += 1;
    state.sign ||= said.slice(0, 80);
    const { mutant, hits, sign, count } = state;
    if (state.done < count) return;
    if (hits > 0 === !mutant.control) caught += 1;
    else survived += 1;
    say(`| ${mutant.name} | ${mutant.by} ${FIRST_SEED} | ${hits} of ${count} | ${sign} |`);
  });
  return { caught, survived };
}

/** Which the unit tests alone catch: those of daemon and protocol, and the native ones for the shim. */
export async function tryUnitTests({ only, jobs, say }) {
  // They must pass where nothing was changed.
  for (const nothing of [{ daemon: [] }, { shim: [] }]) {
    const sign = await unitTests(nothing, 'none');
    if (sign !== '') throw new Error(`Cannot try the unit tests: without a bug they say ${sign}`);
  }
  let caught = 0;
  let survived = 0;
  const run = ({ mutant, at }) => unitTests(mutant, at);
  await runAll(chosen(only), jobs, run, (sign, { mutant }) => {
    if (sign === '') survived += 1;
    else caught += 1;
    say(`| ${mutant.name} | ${sign === '' ? 'survives' : `caught: ${sign}`} |`);
  });
  return { caught, survived };
}

/** @returns the first test that failed, the empty text for none. */
async function unitTests({ daemon: inDaemon = [], shim: inShim }, at) {
  const native = join('dist', 'native', hostTarget);
  const edits = [
    ...inDaemon,
    ...(inShim ?? []).map((one) => ({ ...one, file: `native-shim/src/${one.file}` })),
  ];
  const more = inShim ? ['native-shim', native] : ['test', 'native-shim', 'docs'];
  const folder = copyTree(`unit-${at}`, edits, more);
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const scratch = scratchFolder('unit');
  try {
    return inShim ? await nativeTests(folder, native, scratch) : await vitest(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(scratch, { recursive: true, force: true });
  }
}

const BUILD = `
  const { buildTarget, hostTarget, targets } = await import('./bin/native.mjs');
  await buildTarget(targets().find(({ name }) => name === hostTarget));
`;

async function nativeTests(folder, native, cwd) {
  const built = await run(process.execPath, ['--input-type=module', '-e', BUILD], folder);
  if (built.code !== 0) throw new Error(`Cannot build the shim in ${folder}: ${built.text}`);
  const tests = join(folder, native, 'tests');
  for (const file of readdirSync(tests)) {
    const { code, text } = await run(join(tests, file), [], cwd);
    if (code !== 0) return `${file}: ${/^.*(?:FAILED|expected).*$/im.exec(text)?.[0] ?? text}`;
  }
  return '';
}

async function vitest(folder) {
  const report = join(folder, 'report.json');
  const { code, text } = await run(
    process.execPath,
    [
      join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      ...['run', '--config', 'test/vitest.config.ts', '--bail', '1'],
      ...['--reporter=json', `--outputFile=${report}`, '--exclude', '**/wine.test.ts'],
      ...['test/daemon', 'test/protocol'],
    ],
    folder,
  );
  if (code === 0) return '';
  if (!existsSync(report)) return text;
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = all.find(({ status }) => status === 'failed');
  return failed?.fullName ?? testResults.find(({ status }) => status === 'failed')?.message ?? text;
}

function run(command, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        text += data;
      });
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, text }));
  });
}
