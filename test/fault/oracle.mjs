/**
 * Holds a journal to what the calls returned. Everything must be quiet: hosts gone, rings adopted,
 * the daemon stopped.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkValid } from '../valid-record.mjs';
import { readSideFile, STATE } from './side-file.mjs';

const SEGMENT = /^mapisync\.([0-9]+)\.jsonl$/;
const FRAME_ID = /^([0-9a-f]{32})-([0-9]+)-([0-9]+)$/;
const LABEL = /^([0-9]+):([0-9]+) /;
const MOST_PROBLEMS = 20;
const S_OK = '0x00000000';
const MOST_WORDS = 400;

const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);

/** @returns records in the order of the journal; `onBad` hears of lines that are none, or break the schema. */
export function* readRecords(dirs, onBad) {
  const segments = dirs
    .flatMap((dir) => readdirSync(dir).map((name) => ({ dir, name })))
    .filter(({ name }) => SEGMENT.test(name))
    .sort((a, b) => Number(SEGMENT.exec(a.name)[1]) - Number(SEGMENT.exec(b.name)[1]));
  for (const { dir, name } of segments) {
    const lines = readFileSync(join(dir, name), 'utf8').split('\n');
    const torn = lines.pop();
    if (torn !== '') onBad(`${name}: torn last line ${torn.slice(0, 80)}`);
    for (const line of lines) {
      let record;
      try {
        record = JSON.parse(line);
      } catch {
        onBad(`${name}: ${line.slice(0, 80)}`);
        continue;
      }
      try {
        checkValid(record);
        yield record;
      } catch (error) {
        onBad(`${name}: ${error.message.slice(0, MOST_WORDS)}`);
      }
    }
  }
}

/**
 * @param {string[]} dirs folders with segments
 * @param {string[]} sides side files of all hosts
 * @param {{strangers?: Set<string>}} who rings whose frames nobody vouches for
 */
export function check(dirs, sides, { strangers = new Set() } = {}) {
  const found = {
    frames_must: 0,
    sessions: 0,
    records: 0,
    missing: 0,
    twice: 0,
    out_of_order: 0,
    unreadable_lines: 0,
    wrong_totals: 0,
    invented: 0,
    lost: 0,
    holes: 0,
    merged: 0,
    problems: [],
  };
  const note = (kind, text) => {
    found[kind] += 1;
    if (found.problems.length < MOST_PROBLEMS) found.problems.push(`${kind}: ${text}`);
  };
  const sessions = readSessions(dirs, strangers, found, note);

  let attaching = 0;
  for (const side of sides) {
    for (const session of readSideFile(side).sessions) {
      if (session.state === STATE.attaching) attaching += 1;
      if (session.state < STATE.attached || session.state === STATE.without) continue;
      holdTo(session, sessions.get(session.id), found, note);
      sessions.delete(session.id);
    }
  }
  // A host that died while it attached does not know its session's id.
  for (const id of [...sessions.keys()].slice(attaching)) note('invented', `session ${id}`);
  return found;
}

function readSessions(dirs, strangers, found, note) {
  const sessions = new Map();
  const sessionOf = (record) => {
    const id = record.session.id;
    let session = sessions.get(id);
    if (!session) {
      session = { opened: 0, ended: [], dones: 0, inners: 0, errors: new Map(), notes: new Map() };
      sessions.set(id, session);
    }
    return session;
  };
  const label = (calls, text, id) => {
    const [, thread, number] = LABEL.exec(text ?? '') ?? [];
    let numbers = calls.get(Number(thread));
    if (!numbers) {
      numbers = [];
      calls.set(Number(thread), numbers);
    }
    const last = numbers.at(-1) ?? 0;
    if (numbers.includes(Number(number))) note('twice', `${id}: call ${thread}:${number}`);
    else if (Number(number) < last)
      note('out_of_order', `${id}: ${thread}:${number} after ${last}`);
    else numbers.push(Number(number));
  };

  const ids = new Set();
  const rings = new Map();
  /** The group that is not complete yet. */
  let group;
  for (const record of readRecords(dirs, (text) => note('unreadable_lines', text))) {
    const { event_name: name, event_id: id } = record;
    found.records += 1;
    if (group && (record.group?.of !== group.of || record.group.n !== group.n + 1)) {
      note('missing', `rest of the group of ${group.id}`);
    }
    group = record.group && record.group.n < record.group.of ? { ...record.group, id } : undefined;
    if (name.startsWith('snapshot.')) continue;
    if (ids.has(id)) note('twice', `record ${id} (${name})`);
    ids.add(id);
    const [, ring, seq, n] = FRAME_ID.exec(id) ?? [];
    if (ring) {
      const place = Number(seq) * 64 + Number(n);
      if (place <= (rings.get(ring) ?? 0)) note('out_of_order', `record ${id} (${name})`);
      else rings.set(ring, place);
    }
    if (strangers.has(record.ring)) continue;
    // A hole is a call that did not return.
    if (name === 'frames.lost') {
      found[record.lost.reason === 'hole' ? 'holes' : 'lost'] += sum(
        Object.values(record.lost.by_kind),
      );
    }
    if (!record.session) continue;
    const session = sessionOf(record);
    if (name === 'session.opened') session.opened += 1;
    else if (name === 'session.ended') session.ended.push(record);
    else if (name === 'session.done') session.dones += 1;
    // One that was only slow is the machine's doing, and no producer knows of it.
    else if (name === 'session.inner_slow' && record.inner.hresult !== S_OK) session.inners += 1;
    else if (name === 'session.error') label(session.errors, record.error.text, id);
    else if (name === 'session.note') label(session.notes, record.note.value, id);
  }
  if (group) note('missing', `rest of the group of ${group.id}`);
  return sessions;
}

/** What one session called, against its records. */
function holdTo(called, session, found, note) {
  const { id, state, threads } = called;
  found.sessions += 1;
  found.frames_must += 1 + called.dones.returned + called.inners.returned;
  if (state === STATE.released) found.frames_must += 1;
  for (const { errors, notes } of threads) found.frames_must += errors.returned + notes.returned;
  if (!session) {
    note('missing', `all of session ${id}`);
    return;
  }
  const within = (what, count, { begun, returned }) => {
    if (count < returned) note('missing', `${id}: ${returned - count} of ${what}`);
    if (count > begun) note('twice', `${id}: ${count - begun} of ${what} too many`);
  };
  within('open', session.opened, { begun: 1, returned: 1 });
  within('ended', session.ended.length, { begun: 1, returned: 1 });
  within('done', session.dones, called.dones);
  within('inner', session.inners, called.inners);
  threads.forEach((calls, thread) => {
    for (const kind of ['errors', 'notes']) {
      const numbers = session[kind].get(thread) ?? [];
      const { begun, returned } = calls[kind];
      const there = numbers.filter((number) => number <= returned).length;
      if (there < returned) {
        const gone = [];
        for (let n = 1; n <= returned; n++) if (!numbers.includes(n)) gone.push(n);
        found.missing += gone.length - 1;
        note('missing', `${id}: ${kind} ${thread}:${gone.slice(0, 8)} of ${returned}`);
      }
      if (numbers.some((number) => number > begun)) note('invented', `${id}: ${kind} of ${thread}`);
    }
  });
  const totals = session.ended[0]?.totals;
  if (!totals) return;
  found.merged += totals.merged;
  for (const kind of ['progress', 'errors']) {
    const returned = sum(threads.map((calls) => calls[kind].returned));
    const begun = sum(threads.map((calls) => calls[kind].begun));
    if (totals[kind] >= returned && totals[kind] <= begun) continue;
    note('wrong_totals', `${id}: ${kind} ${totals[kind]}, called ${returned} to ${begun}`);
  }
}
