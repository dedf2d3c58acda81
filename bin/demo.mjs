/**
 * A real sync through the real shim, without Outlook: a daemon of its own, a Maildir with broken
 * messages in it, the sample provider in the sample host, `tail` beside them, and at the end a
 * comparison of what the provider says that it did with what the journal says. Plain Node; runs after
 * a build.
 */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { makeMaildir } from './make-maildir.mjs';
import { nativeFolder, root } from './places.mjs';

const HELP = `Usage: mapisync demo [options]    (in a clone: npm run demo -- [options])

Runs a sync of a Maildir through the sample provider and the shim, and shows it live.

  --maildir DIR           Maildir to sync (default: one is made, with some broken messages)
  --calls-per-second N    pace of the provider's calls (default: so that it takes about 8 s)
  --stores N              several syncs at once (default: 1)
  --remove                remove the journal as well at the end
  --kill                  no daemon runs, and the host is killed in the middle of a sync; a daemon
                          that starts afterwards tells its last words (takes a few seconds)
  --json                  print one JSON object on stdout, and nothing else there
  --help                  print this

Exit codes: 0 the journal agrees with the provider (--kill: with the host), 1 it does not or
something failed, 2 wrong usage, 130 interrupted.
`;

const MESSAGES = 3000;
const BROKEN = 30;
const FOLDERS = 6;
const SECONDS = 8;
const SEED = 7;
const START_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 30_000;
const KILL_AFTER_MS = 5000;
/** `--kill`: fewer messages, a faster pace, and how many calls the host has seen when it is killed. */
const KILL_MESSAGES = 1500;
const KILL_CALLS_PER_SECOND = 1500;
const KILL_AT_CALL = 900;

const say = (text) => process.stderr.write(`${text}\n`);

class Failed extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

function readOptions() {
  const options = {
    maildir: { type: 'string' },
    'calls-per-second': { type: 'string' },
    stores: { type: 'string', default: '1' },
    remove: { type: 'boolean', default: false },
    kill: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new Failed(`Cannot run the demo: ${error.message}. See: mapisync demo --help`, 2);
  }
  const whole = (name, low, high) => {
    if (values[name] === undefined) return undefined;
    const value = Number(values[name]);
    if (Number.isInteger(value) && value >= low && value <= high) return value;
    throw new Failed(
      `Cannot read --${name}: expected a whole number from ${low} to ${high}, got "${values[name]}"`,
      2,
    );
  };
  if (values.maildir !== undefined && !existsSync(values.maildir)) {
    throw new Failed(`Cannot read --maildir: ${values.maildir} does not exist`, 2);
  }
  if (values.kill && values.stores !== '1') {
    throw new Failed(
      'Cannot kill: expected one sync, got --stores. Leave out --kill or --stores',
      2,
    );
  }
  return {
    ...values,
    maildir: values.maildir === undefined ? undefined : resolve(values.maildir),
    callsPerSecond: whole('calls-per-second', 0, 1_000_000),
    stores: whole('stores', 1, 64),
  };
}

/** What was built, or why not. */
function builtFiles() {
  const windows = process.platform === 'win32';
  const native = nativeFolder();
  const files = {
    cli: join(root, 'dist', 'bin', 'mapisync.js'),
    host: join(native, windows ? 'sample-host.exe' : 'sample-host'),
    provider: join(native, windows ? 'sample-provider.dll' : 'sample-provider.so'),
    shim: join(native, windows ? 'mapisync.dll' : 'libmapisync.so'),
  };
  for (const file of Object.values(files)) {
    if (!existsSync(file)) {
      throw new Failed(
        `Cannot find ${file}: there is none for this system. In a clone of the repository: npm run build`,
      );
    }
  }
  return files;
}

/** Every process that we started and that has not ended. */
const running = new Set();
let ending = false;

/** Starts a program; its output goes where `stdio` says, "text" is kept. */
function start(name, command, args, { stdio, env = {} }) {
  if (ending) throw new Failed(`Cannot start ${name}: the demo is ending`);
  const pipes = stdio.map((where) => (where === 'text' ? 'pipe' : where));
  const child = spawn(command, args, {
    stdio: ['ignore', ...pipes],
    env: { ...process.env, ...env },
    windowsHide: true,
  });
  const program = { name, child, stdout: '', stderr: '', ended: undefined };
  running.add(program);
  child.stdout?.on('data', (chunk) => {
    program.stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    program.stderr += chunk;
  });
  program.ended = new Promise((resolve) => {
    child.once('error', (error) => {
      running.delete(program);
      program.stderr += error.message;
      resolve(1);
    });
    child.once('close', (code, signal) => {
      running.delete(program);
      resolve(code ?? signal);
    });
  });
  return program;
}

/** Ends what still runs: asks first, then does not ask. */
async function endAll() {
  ending = true;
  const programs = [...running];
  for (const { child } of programs) child.kill('SIGTERM');
  const timer = setTimeout(() => {
    for (const { child } of running) child.kill('SIGKILL');
  }, KILL_AFTER_MS);
  await Promise.all(programs.map(({ ended }) => ended));
  clearTimeout(timer);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, ready, ms, program) {
  const end = Date.now() + ms;
  while (!ready()) {
    if (program && !running.has(program)) {
      throw new Failed(`Cannot go on: ${program.name} ended: ${program.stderr.trim()}`);
    }
    if (Date.now() > end) throw new Failed(`Cannot go on: waited ${ms} ms in vain for ${what}`);
    await sleep(20);
  }
}

/** The result of a promise, or a failure that says what did not come. */
async function inTime(what, promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Failed(`Cannot go on: waited ${ms} ms in vain for ${what}`)),
      ms,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What whole lines say; a last one without its end is still being written. */
const linesOf = (file) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

function readJournal(dir) {
  return readdirSync(dir)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .flatMap((name) => linesOf(join(dir, name)));
}

function countBy(values, key) {
  const counts = {};
  for (const value of values) counts[key(value)] = (counts[key(value)] ?? 0) + 1;
  return counts;
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** What the journal says, in the words of the provider, and where the two differ. */
function compare(records, told) {
  const named = (name) => records.filter((record) => record.event_name === name);
  const ended = named('session.ended');
  const errors = named('session.error').map((record) => record.error);
  const journal = {
    sessions: named('session.opened').map((record) => record.session.id),
    calls: {
      progress: sum(ended.map(({ totals }) => totals.progress)),
      errors: sum(ended.map(({ totals }) => totals.errors + totals.warnings)),
      dones: named('session.done').length,
    },
    errors: countBy(errors, (error) => error.hresult),
    lost: sum(ended.map(({ totals }) => totals.lost)),
  };
  const problems = [];
  const same = (what, ours, theirs) => {
    const [a, b] = [ours, theirs].map((value) => JSON.stringify(value));
    if (a !== b) problems.push(`${what}: the journal says ${a}, the provider ${b}`);
  };
  const sorted = (map) => Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1));
  same('sessions', [...journal.sessions].sort(), [...told.sessions].sort());
  same('calls', journal.calls, told.calls);
  same('errors', sorted(journal.errors), sorted(told.errors));
  if (journal.lost > 0) problems.push(`${journal.lost} calls were lost`);
  if (ended.length !== journal.sessions.length) {
    problems.push(`${journal.sessions.length} sessions were opened, and ${ended.length} ended`);
  }
  if (told.sessions.length === 0) problems.push('the provider had no session: the shim is off');
  return {
    problems,
    sessions: ended.length,
    outcomes: countBy(ended, ({ outcome }) => outcome),
    errors: countBy(errors, ({ name }) => name),
    codes: new Map(errors.map(({ name, hresult }) => [name, hresult])),
    records: records.length,
  };
}

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ' ');

function summary(report, files) {
  const outcomes = Object.entries(report.outcomes).map(([name, count]) => `${count} ${name}`);
  const lines = [`Sessions  ${report.sessions}: ${outcomes.join(', ')}`];
  lines.push(`Messages  ${grouped(report.messages)}`);
  const names = Object.entries(report.errors);
  for (const [index, [name, count]] of names.entries()) {
    const label = index === 0 ? 'Errors  ' : '        ';
    lines.push(`${label}  ${name} ${report.codes.get(name)} x${count}`);
  }
  const { progress, errors, dones } = report.calls;
  lines.push(
    `Calls     ${grouped(progress)} Progress, ${grouped(errors)} Error, ${dones} Done: ` +
      (report.problems.length === 0 ? 'journal and provider agree' : 'they do not agree'),
  );
  for (const problem of report.problems) lines.push(`          ${problem}`);
  if (report.journal.kept) {
    lines.push(`Journal   ${report.journal.dir} (${grouped(report.records)} records)`);
    lines.push(`Again     node ${files.cli} --state-dir ${report.state}`);
  }
  return lines.join('\n');
}

/** The Maildir to sync: the one that was named, or one made for the purpose. */
function maildirOf(options, scratch, messages) {
  if (options.maildir !== undefined) return options.maildir;
  const dir = join(scratch, 'Mailbox');
  makeMaildir({ dir, messages, folders: FOLDERS, broken: BROKEN, seed: SEED });
  return dir;
}

async function startDaemon(files, state) {
  const daemon = start(
    'the daemon',
    process.execPath,
    [files.cli, 'daemon', 'run', '--state-dir', state],
    { stdio: ['ignore', 'text'] },
  );
  await until('the daemon', () => existsSync(join(state, 'endpoint')), START_TIMEOUT_MS, daemon);
  return daemon;
}

async function stopDaemon(files, state, daemon) {
  const args = [files.cli, 'daemon', 'stop', '--state-dir', state];
  const stop = start('stop', process.execPath, args, { stdio: ['ignore', 'text'] });
  if ((await inTime('the stop', stop.ended, END_TIMEOUT_MS)) !== 0) throw new Failed(stop.stderr);
  const code = await inTime('the end of the daemon', daemon.ended, END_TIMEOUT_MS);
  if (code !== 0) throw new Failed(`Cannot go on: the daemon ended with ${code}: ${daemon.stderr}`);
}

/** The sample host at work; its report goes to the file descriptor `out`. */
function startHost(files, { maildir, callsPerSecond, scratch, state, out }, ...more) {
  return start(
    'the host',
    files.host,
    [
      ...['--provider', files.provider, '--shim', files.shim],
      ...['--maildir', maildir, '--store', join(scratch, 'store')],
      ...['--calls-per-second', String(callsPerSecond), '--json', '--quiet', ...more],
    ],
    { stdio: [out, 'text'], env: { MAPISYNC_STATE_DIR: state } },
  );
}

async function demo(options, files, scratch) {
  const state = join(scratch, 'state');
  const maildir = maildirOf(options, scratch, MESSAGES);
  const callsPerSecond = options.callsPerSecond ?? Math.ceil((MESSAGES + BROKEN) / SECONDS);
  const daemon = await startDaemon(files, state);
  say(`Syncing ${maildir} at ${callsPerSecond || 'as many as possible'} calls per second`);
  // From the journal's first record on, so that it does not matter who is faster.
  const tail = start(
    'tail',
    process.execPath,
    [files.cli, 'tail', '--exit-on-done', '--no-start', '--since', '1h', '--state-dir', state],
    { stdio: [options.json ? 'ignore' : 'inherit', 'text'] },
  );
  // Into a file: a report in a pipe would be cut where the host's system makes pipes small.
  const reportFile = join(scratch, 'host.json');
  const out = openSync(reportFile, 'w');
  const place = { maildir, callsPerSecond, scratch, state, out };
  const host = startHost(files, place, '--stores', String(options.stores), '--flush', '5000');
  closeSync(out);
  const hostCode = await host.ended;
  const journal = join(state, 'journal');
  if (hostCode !== 0) {
    // The provider told Outlook why, so the journal has it.
    const isError = (record) => record.event_name === 'session.error';
    const why = readJournal(journal).findLast(isError)?.error.text ?? host.stderr.trim();
    throw new Failed(`Cannot go on: the host ended with ${hostCode}: ${why}`);
  }
  const told = JSON.parse(readFileSync(reportFile, 'utf8'));
  if (told.sessions.length > 0) await inTime('the end of tail', tail.ended, END_TIMEOUT_MS);

  await stopDaemon(files, state, daemon);

  return {
    ...compare(readJournal(journal), told),
    messages: told.messages,
    calls: told.calls,
    journal: { dir: journal, kept: !options.remove },
    state,
  };
}

/** A host that dies while nobody listens, and what a daemon that starts later says of it. */
async function killDemo(options, files, scratch) {
  const state = join(scratch, 'state');
  const maildir = maildirOf(options, scratch, KILL_MESSAGES);
  const callsPerSecond = options.callsPerSecond ?? KILL_CALLS_PER_SECOND;
  mkdirSync(state, { mode: 0o700 }); // Without it the shim is dormant.
  const trace = join(scratch, 'trace.jsonl');
  const place = { maildir, callsPerSecond, scratch, state, out: 'ignore' };
  say(`Syncing ${maildir}; no daemon runs`);
  const host = startHost(files, place, '--trace', trace);
  const isThere = () => existsSync(trace) && linesOf(trace).length >= KILL_AT_CALL;
  await until(`call ${KILL_AT_CALL}`, isThere, END_TIMEOUT_MS, host);
  const { pid } = host.child;
  host.child.kill('SIGKILL');
  await host.ended;
  say(`Killed the host (pid ${pid}); starting a daemon`);
  const daemon = await startDaemon(files, state);
  const rings = join(state, 'rings');
  // The daemon deletes it once everything it held is in the journal.
  const isAdopted = () => !readdirSync(rings).some((name) => name.endsWith('.ring'));
  await until('the adoption of the ring', isAdopted, END_TIMEOUT_MS, daemon);
  const journal = join(state, 'journal');
  return {
    ...compareKilled(readJournal(journal), linesOf(trace), pid),
    journal: { dir: journal, kept: !options.remove },
  };
}

/** What a journal says of a killed host, and where that is not what the host saw. */
function compareKilled(records, trace, pid) {
  const named = (name) => records.filter(({ event_name }) => event_name === name);
  const [end, ...others] = named('session.ended');
  if (!end) throw new Failed('Cannot compare: the journal has no end of a session');
  const journal = {
    Progress: end.totals.progress,
    Error: end.totals.errors + end.totals.warnings,
    Done: named('session.done').length,
  };
  const host = { Progress: 0, Error: 0, Done: 0, ...countBy(trace, ({ method }) => method) };
  const problems = [];
  for (const [method, seen] of Object.entries(host)) {
    if (journal[method] >= seen) continue;
    problems.push(`${method}: the host saw ${seen} calls, the journal has ${journal[method]}`);
  }
  // The call that it died in may be recorded, and not have come to the host.
  const extra = sum(Object.values(journal)) - trace.length;
  if (extra > 1) problems.push(`the journal has ${extra} calls that the host never saw`);
  const errors = named('session.error');
  for (const [at, seen] of trace.filter(({ method }) => method === 'Error').entries()) {
    const { hresult, text = null } = errors[at]?.error ?? {};
    if (hresult === seen.hresult && text === seen.text) continue;
    problems.push(`Error ${at + 1}: the host saw ${seen.hresult}, the journal has ${hresult}`);
  }
  const { index, max, text, calls } = end.progress;
  const last = trace.findLast(({ method }) => method === 'Progress');
  if (calls === host.Progress && (last.index !== index || last.max !== max)) {
    const seen = `${last.index}/${last.max}`;
    problems.push(`the last Progress: the host saw ${seen}, the journal has ${index}/${max}`);
  }
  if (others.length > 0) problems.push(`${others.length + 1} sessions ended, and there was one`);
  if (end.outcome !== 'abandoned') problems.push(`the session ended ${end.outcome}`);
  if (end.totals.lost > 0) problems.push(`${end.totals.lost} calls were lost`);
  if (end.process.pid !== pid)
    problems.push(`pid ${pid} died, the journal says ${end.process.pid}`);
  return {
    problems,
    died: { executable: end.process.executable.name, pid },
    session: { id: end.session.id, store: end.session.store, outcome: end.outcome },
    last: { method: 'Progress', call: calls, index, max, text },
    calls: { host, journal },
    records: records.length,
  };
}

function killSummary({ died, session, last, calls, problems }) {
  const seen = grouped(sum(Object.values(calls.host)));
  const where = [session.store, last.text].filter((text) => text !== undefined).join(': ');
  const verdict =
    problems.length === 0
      ? `every one of the ${seen} calls that the host saw is in the journal`
      : ['journal and host do not agree', ...problems].join('\n  ');
  return (
    `${died.executable} (pid ${died.pid}) died during "${where}" after Progress call ` +
    `${grouped(last.call)} (${grouped(last.index)}/${grouped(last.max)}); ` +
    `session ${session.id}: ${session.outcome}, ${verdict}`
  );
}

async function main() {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const files = builtFiles();
  const scratch = mkdtempSync(join(tmpdir(), 'mapisync-demo-'));
  let keep = false;
  let interrupted;
  const interruption = new Promise((_, reject) => {
    interrupted = () => reject(new Failed('Interrupted', 130));
  });
  interruption.catch(() => {}); // Only the race below cares.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, interrupted);
  try {
    if (options.kill) {
      const report = await Promise.race([killDemo(options, files, scratch), interruption]);
      const { problems, journal, records, ...told } = report;
      keep = journal.kept;
      const line = { ...told, journal: { ...journal, records }, consistent: problems.length === 0 };
      process.stdout.write(`${options.json ? JSON.stringify(line) : killSummary(report)}\n`);
      return problems.length === 0 ? 0 : 1;
    }
    const report = await Promise.race([demo(options, files, scratch), interruption]);
    keep = report.journal.kept;
    const { problems, sessions, outcomes, errors, messages, calls, journal, records } = report;
    if (options.json) {
      const told = { sessions, outcomes, errors, messages, calls };
      const line = { ...told, journal: { ...journal, records }, consistent: problems.length === 0 };
      process.stdout.write(`${JSON.stringify(line)}\n`);
      for (const problem of problems) say(problem);
    } else {
      process.stdout.write(`\n${summary(report, files)}\n`);
    }
    return problems.length === 0 ? 0 : 1;
  } finally {
    await endAll();
    const inside = existsSync(scratch) ? readdirSync(scratch) : [];
    for (const name of inside) {
      if (!keep || name !== 'state') rmSync(join(scratch, name), { recursive: true, force: true });
    }
    if (!keep) rmSync(scratch, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Failed)) throw error;
  say(error.message);
  process.exitCode = error.exitCode;
}
