/**
 * The mutation table: bugs put in on purpose, at most three lines each, each of which a schedule with
 * a fixed seed must catch. A harness that lets one pass proves nothing.
 */
import { buildDaemon, buildProducer, EAGER } from './build.mjs';
import { runCrashStates } from './crash-states.mjs';
import { plainDaemon, runHostRound } from './host-round.mjs';
import { runRound } from './round.mjs';

const daemon = (file, find, put) => ({ daemon: [{ file, find, put }] });
const shim = (file, find, put) => ({ shim: [{ file, find, put }] });

/** `by`: the schedule that must catch it; `kills`: how many it gets. */
export const MUTANTS = [
  {
    name: 'acknowledge what was received',
    ...daemon('daemon/hub.js', 'acknowledge(state.durable)', 'acknowledge(state.received)'),
    by: 'points',
  },
  {
    name: 'acknowledge before the write',
    ...daemon(
      'daemon/journal.js',
      "this.#queue.push({ type: 'barrier', run });",
      'queueMicrotask(run);',
    ),
    by: 'points',
  },
  {
    name: 'no dedupe',
    ...daemon('protocol/session/ring.js', "? 'drop' : 'gap'", "? 'take' : 'gap'"),
    by: 'adoption',
  },
  {
    name: 'no repair of a torn tail',
    ...daemon('daemon/recovery.js', 'if (keep < size)', 'if (keep > size)'),
    by: 'points',
  },
  {
    name: 'keep an incomplete group',
    ...daemon(
      'daemon/recovery.js',
      'if (group && group.n < group.of)',
      'if (group && group.n < 0)',
    ),
    by: 'crash states',
  },
  {
    name: 'forget the rings at restart',
    ...daemon('daemon/daemon.js', 'core.hub.restore(fold.rings, fold.notes);', ''),
    by: 'random',
  },
  {
    name: 'forget live sessions at restart',
    ...daemon('protocol/session/ring.js', 'if (record.session !== undefined)', 'if (false)'),
    by: 'random',
  },
  {
    name: 'restart one frame too early',
    ...daemon(
      'protocol/session/ring.js',
      'settle(ring, record.seq ?? 0)',
      'settle(ring, (record.seq ?? 1) - 1)',
    ),
    by: 'random',
  },
  {
    name: 'believe freed instead of the maximum',
    ...daemon(
      'protocol/session/ring.js',
      'ring.durable = Math.max(ring.durable, hello.freed);',
      'ring.durable = ring.received = hello.freed;',
    ),
    by: 'points',
  },
  {
    name: 'snapshot with the durable number, not the received one',
    ...daemon('protocol/session/ring.js', 'durable: received,', 'durable: ring.durable,'),
    by: 'rotation',
  },
  {
    name: 'begin with the newest segment, whole or not',
    ...daemon(
      'daemon/recovery.js',
      'segments.findLastIndex((segment) => opensWhole(segmentPath(dir, segment)))',
      'segments.length - 1',
    ),
    by: 'rotation',
  },
  {
    name: 'fold a torn snapshot',
    ...daemon(
      'daemon/recovery.js',
      "if (!whole && record.event_name.startsWith('snapshot.'))",
      'if (false)',
    ),
    by: 'rotation',
    kills: 70,
  },
  {
    name: 'believe that a write is never short',
    ...daemon('daemon/journal.js', 'while (done < bytes.length) {', 'if (done < bytes.length) {'),
    by: 'rotation',
  },
  {
    name: 'trim the segment that is being written',
    ...daemon('daemon/journal.js', 'sized.slice(0, -2)', 'sized.slice(-1)'),
    by: 'rotation',
  },
  {
    name: 'delete an adopted ring before its records are durable',
    ...daemon(
      'daemon/adoption.js',
      'hub.gone(entry, image.inCalls, sameBoot);\n        await durable();',
      'hub.gone(entry, image.inCalls, sameBoot);',
    ),
    by: 'adoption',
  },
  {
    name: 'adopt live rings',
    ...daemon(
      'daemon/platform/locks.js',
      'const errno = posixCalls().lockWhole(fd);',
      'const errno = 0;',
    ),
    by: 'random',
  },
  {
    name: 'lose the sessions of a dead process',
    ...daemon('daemon/adoption.js', 'hub.gone(entry, image.inCalls, sameBoot);', ''),
    by: 'hosts',
  },
  {
    name: 'never sync what recovery rests on',
    ...daemon('daemon/recovery.js', 'syncFile(path);\n        else', ';\n        else'),
    by: 'crash states',
  },
  {
    name: 'acknowledge without a sync',
    ...daemon('daemon/journal.js', "if (sync !== 'system')", 'if (false)'),
    by: 'crash states',
  },
  {
    name: 'never sync the directory',
    ...daemon('daemon/journal.js', 'await syncDirectory(this.#options.dir);', ''),
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
    ...shim(
      'ring.cc',
      'store(committed.value, kRelease);',
      'store(committed.value - 1, kRelease);',
    ),
    by: 'hosts',
  },
  {
    name: 'shim: count an Error and forget it',
    ...shim(
      'session.cc',
      'Must(body, size, Loss::kError);',
      'if (call % 64 != 63) Must(body, size, Loss::kError);',
    ),
    by: 'random',
  },
];

const FIRST_SEED = 7001;
const KILLS = { hosts: 40 };
const LIVENESS_MS = 4000;

/** @returns what the harness said, the empty text for nothing. */
async function tryMutant(mutant, at, seed, producers) {
  const { by } = mutant;
  if (by === 'crash states') {
    const name = `mutant-${at}`;
    const options = { seed, least: 1200, say: () => {}, edits: mutant.daemon, name };
    const { bad, states } = await runCrashStates(options);
    return bad > 0 ? `${bad} of ${states} states` : '';
  }
  const dist = buildDaemon(`mutant-${at}`, mutant.daemon ?? []);
  const base = by === 'hosts' ? producers.plain : producers.eager;
  let { path } = base;
  if (mutant.shim) {
    const edits = by === 'hosts' ? mutant.shim : [...EAGER, ...mutant.shim];
    ({ path } = await buildProducer(`mutant-${at}`, { edits, base: base.folder }));
  }
  const kills = mutant.kills ?? KILLS[by] ?? 25;
  const common = { seed, livenessMs: LIVENESS_MS };
  const result =
    by === 'hosts'
      ? await runHostRound({
          ...common,
          hostKills: kills,
          producer: [path],
          startDaemon: plainDaemon(dist),
        })
      : await runRound({ ...common, schedule: by, daemonKills: kills, dist, producer: path });
  if (!result.failed) return '';
  const kinds = [
    'missing',
    'twice',
    'out_of_order',
    'unreadable_lines',
    'wrong_totals',
    'invented',
  ];
  const said = [...kinds, 'lost'].filter((kind) => result[kind] > 0);
  const rest = result.problems.find((problem) => !kinds.some((kind) => problem.startsWith(kind)));
  return [
    ...said.map((kind) => `${kind} ${result[kind]}`),
    ...(said.length === 0 && rest ? [rest] : []),
  ].join(', ');
}

/** Tries each over some seeds, and prints the table as it goes. */
export async function runMutants({ seeds, only, say }) {
  const producers = {
    eager: await buildProducer('eager', { edits: EAGER }),
    plain: await buildProducer('plain'),
  };
  say('| bug | schedule | caught | first sign |');
  say('| --- | --- | --- | --- |');
  let caught = 0;
  let survived = 0;
  for (const [at, mutant] of MUTANTS.entries()) {
    if (only && !only.split(',').some((part) => mutant.name.includes(part))) continue;
    let hits = 0;
    let sign = '';
    for (let n = 0; n < seeds; n++) {
      const said = await tryMutant(mutant, at, FIRST_SEED + n, producers);
      if (said !== '') hits += 1;
      sign ||= said.slice(0, 80);
    }
    if (hits > 0) caught += 1;
    else survived += 1;
    say(`| ${mutant.name} | ${mutant.by} ${FIRST_SEED} | ${hits} of ${seeds} | ${sign} |`);
  }
  return { caught, survived };
}
