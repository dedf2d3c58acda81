/**
 * `npm run fault -- [--daemon-kills N] [--host-kills N] [--schedule S] [--seed X] [--jobs N]
 * [--json FILE] [--quick] [--wine] [--mutants] [--crash-states]`: kills daemons and hosts, and holds
 * the journal to what every call returned. Rounds run side by side, each in its own process and state
 * directory, and print their seed when they end; the same seed makes the same plan again.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { optionsOf } from '../options.mjs';
import { buildProducer, copyDaemon, EAGER } from './build.mjs';
import { NAMED_CASES, NAMED_CRASH_STATES } from './cases.mjs';
import { runCrashStates } from './crash-states.mjs';
import { runFullDisk, whyNoFullDisk } from './full-disk.mjs';
import { runAll, runJob } from './job.mjs';
import { runMutants, tryUnitTests } from './mutants.mjs';
import { HOST_SCHEDULES, SCHEDULES } from './schedules.mjs';
import { whyNoWine } from './wine.mjs';

/** So many kills share a state directory before it is looked through. */
const KILLS_A_ROUND = 100;
const HOST_KILLS_A_ROUND = 250;

const known = [...Object.keys(SCHEDULES), ...Object.keys(HOST_SCHEDULES)];
const { values } = optionsOf('fault', {
  'daemon-kills': 'N',
  'host-kills': 'N',
  schedule: known,
  seed: 'N',
  jobs: 'N',
  json: 'FILE',
  quick: '',
  wine: '',
  mutants: '',
  'survive-unit': '',
  'crash-states': '',
  'full-disk': '',
  keep: '',
  seeds: 'N',
  only: 'TEXT',
});
const number = (name, otherwise) => values[name] ?? otherwise;
const names = values.schedule ?? known;
const seed = number('seed', Math.floor(Math.random() * 2 ** 31));
// Most of a round is waiting.
const jobs = Math.max(1, number('jobs', availableParallelism() + 1));
const alone =
  values.mutants || values['survive-unit'] || values['crash-states'] || values['full-disk'];
const daemonKills = number('daemon-kills', alone || values.wine ? 0 : values.quick ? 90 : 900);
const hostKills = number('host-kills', alone ? 0 : values.quick ? 150 : 1000);
const dist = copyDaemon(`plain-${process.pid}`);
process.on('exit', () => rmSync(dist, { recursive: true, force: true }));
const started = performance.now();
const say = (line) => process.stdout.write(`${line}\n`);

const total = {
  seed,
  daemon_kills: 0,
  host_kills: 0,
  frames_must: 0,
  missing: 0,
  twice: 0,
  out_of_order: 0,
  unreadable_lines: 0,
};
const extra = { wrong_totals: 0, invented: 0, lost: 0 };
const adoptionMs = [];
const resumeMs = [];
/** The most that a daemon took. */
let memoryMb = 0;
let passed = 0;
let failed = 0;

function percentile(list, share) {
  if (list.length === 0) return null;
  const sorted = [...list].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
}

function take(result) {
  total.daemon_kills += result.daemonKills;
  total.host_kills += result.hostKills;
  for (const key of Object.keys(total))
    if (key in result && key !== 'seed') total[key] += result[key];
  for (const key of Object.keys(extra)) extra[key] += result[key];
  // Where daemons die, too, the time to adoption says when one lived.
  // Full rings of several hosts that died at once take as long as the machine needs to read them.
  if (HOST_SCHEDULES[result.schedule]?.busy < 1)
    for (const ms of result.adoptionMs) adoptionMs.push(ms);
  for (const ms of result.resumeMs) resumeMs.push(ms);
  if (result.peakMb > memoryMb) memoryMb = result.peakMb;
  const lies = result.lies > 0 ? `, ${result.lies} lies` : '';
  const kills = `${result.daemonKills} daemon kills, ${result.hostKills} host kills${lies}`;
  const took = `${(result.wallMs / 1000).toFixed(1)} s`;
  const what = `${result.schedule} seed ${result.seed}: ${kills}, ${result.frames_must} must-frames`;
  if (!result.failed) {
    passed += 1;
    say(`ok     ${what}, ${took}`);
    return;
  }
  failed += 1;
  say(`FAILED ${what}, ${took}${values.keep ? `, ${result.scratch}` : ''}`);
  if (result.lost > 0) say(`       lost: ${result.lost} frames`);
  for (const problem of result.problems) say(`       ${problem}`);
}

/** @param parts [name, passed, failed] */
function count(name, good, bad) {
  passed += good;
  failed += bad;
  say(`${bad === 0 ? 'ok    ' : 'FAILED'} ${name}: ${good} passed, ${bad} failed`);
}

const hostProducer = async (name) => {
  const { shim: edits = [] } = HOST_SCHEDULES[name];
  return [(await buildProducer(edits.length > 0 ? name : 'plain', { edits })).path];
};
const eager = async () => (await buildProducer('eager', { edits: EAGER })).path;
const keep = values.keep;

const takeAll = (list, most = jobs) => runAll(list, most, runJob, take);

if (daemonKills > 0) {
  const producer = await eager();
  const common = { dist, producer, keep };
  const rounds = [];
  if (!values.schedule) {
    for (const one of NAMED_CASES) {
      const { daemonKills: all } = one;
      rounds.push({ ...common, ...one, daemonKills: Math.min(all, values.quick ? 10 : all) });
    }
  }
  const schedules = names.filter((name) => SCHEDULES[name]);
  const share = schedules.length > 0 ? Math.ceil(daemonKills / schedules.length) : 0;
  // Round after round of all of them, so that a run that is cut short has seen each.
  for (let done = 0, round = 0; done < share; done += KILLS_A_ROUND, round++) {
    for (const schedule of schedules) {
      const kills = Math.min(KILLS_A_ROUND, share - done);
      rounds.push({ ...common, schedule, seed: seed + round, daemonKills: kills });
    }
  }
  await takeAll(rounds);
}

const whyNot = values.wine ? whyNoWine() : undefined;
const hostSchedules = names.filter(
  (name) => HOST_SCHEDULES[name] && (name === 'hosts' || !values.wine),
);
if (hostKills > 0 && hostSchedules.length > 0) {
  if (whyNot) say(`SKIPPED host kills under Wine: ${whyNot}`);
  else {
    const { wine } = values;
    const producers = {};
    if (!wine) for (const name of hostSchedules) producers[name] = await hostProducer(name);
    const rounds = [];
    const share = Math.ceil(hostKills / hostSchedules.length);
    for (let done = 0, round = 0; done < share; done += HOST_KILLS_A_ROUND, round++) {
      for (const schedule of hostSchedules) {
        const kills = Math.min(HOST_KILLS_A_ROUND, share - done);
        const common = { hosts: true, wine, dist, producer: producers[schedule], keep };
        rounds.push({ ...common, schedule, seed: seed + round, hostKills: kills });
      }
    }
    // Under Wine all processes share one server.
    await takeAll(rounds, wine ? 1 : jobs);
  }
}

if (values['crash-states'] || (!alone && !values.wine && !values.schedule)) {
  for (const one of new Set([seed, ...NAMED_CRASH_STATES])) {
    const least = values.quick || one !== seed ? 3000 : 10_000;
    const { states, bad } = await runCrashStates({ seed: one, least, say });
    count(`crash states of the journal, seed ${one}`, states - bad, bad);
  }
}

if (values['full-disk'] || (values.quick && !alone && !values.wine && !values.schedule)) {
  const why = whyNoFullDisk();
  if (why) say(`SKIPPED a full disk: ${why}`);
  else {
    const { path: producer } = await buildProducer('plain');
    const fullMs = values.quick ? 5000 : 30_000;
    for (const { problems, ...row } of await runFullDisk({ dist, producer, fullMs })) {
      const name = `a disk that is full for ${fullMs / 1000} s, ${row.rate} calls a second`;
      count(name, problems.length === 0 ? 1 : 0, problems.length > 0 ? 1 : 0);
      say(`       ${JSON.stringify(row)}`);
      for (const problem of problems) say(`       ${problem}`);
    }
  }
}

if (values['survive-unit']) {
  const { caught, survived } = await tryUnitTests({ only: values.only, jobs, say });
  count('mutants that the unit tests let through', survived, 0);
  say(`       ${caught} are caught by the unit tests alone`);
}

if (values.mutants && !values['survive-unit']) {
  const { caught, survived } = await runMutants({
    seeds: number('seeds', values.quick ? 1 : 10),
    only: values.only,
    jobs,
    say,
  });
  count('mutants', caught, survived);
}

const wallS = Math.round((performance.now() - started) / 1000);
const report = {
  ...total,
  adoption_p99_ms: percentile(adoptionMs, 0.99),
  resume_p99_ms: percentile(resumeMs, 0.99),
  wall_s: wallS,
};
if (values.json)
  writeFileSync(values.json, `${JSON.stringify({ ...report, ...extra, memory_mb: memoryMb })}\n`);
say(JSON.stringify(report));
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
