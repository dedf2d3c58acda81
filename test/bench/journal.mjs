/**
 * Part `journal`: durable records a second, each acknowledged by a barrier, through the daemon's own
 * journal, beside pino's synchronous file destination with the same records. In this process.
 */
import { closeSync, fdatasyncSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { session } from './frames.mjs';
import {
  cpuSecondsOf,
  delay,
  interleave,
  load,
  median,
  ROUNDS,
  report,
  round,
  withFolder,
} from './support.mjs';

const { Journal } = await load('daemon/journal.js');
const { LineMaker } = await load('daemon/journal-lines.js');
const { newRing, takeFrame } = await load('protocol/session/ring.js');

/** Records of a contender in a round; with a sync for each of pino's, a sixtieth of them. */
const RECORDS = { smoke: 600, quick: 12_000, full: 60_000 };
const SYNCED_SHARE = 60;
/** Frames that come in one turn of the event loop, as out of one chunk of a pipe. */
const FRAMES_PER_TURN = 100;
const STEADY_PER_SECOND = 1000;
const STEADY_MS = { smoke: 100, quick: 2000, full: 10_000 };
const GROUP_MS = 5;

const service = { name: 'mapisync', version: '0.1.0', instance_id: '0123456789abcdef' };
const origin = { ring: '0'.repeat(32), pid: 1, arch: 'x64', executable: 'a', shimVersion: '1' };
let folders = 0;

/** What a session of errors puts into the journal. */
function draftsOf(count) {
  const ring = newRing(origin);
  const groups = [];
  for (const frame of session('errors', count)) {
    const group = [];
    takeFrame(ring, frame, (draft) => group.push(draft));
    if (frame.kind === 'error') groups.push(group);
  }
  return groups;
}

async function withJournal(folder, sync, body) {
  const dir = join(folder, `journal-${++folders}`);
  mkdirSync(dir);
  const options = { segmentBytes: 8_388_608, journalBytes: 268_435_456, journalDays: 30 };
  const journal = new Journal({
    ...options,
    ...{ dir, sync, firstSegment: 1, snapshot: () => [], onDurable: () => {} },
    lines: new LineMaker({ service, host: 'bench' }),
    onTrouble: ({ error }) => {
      throw error;
    },
  });
  await journal.open();
  try {
    return await body(journal);
  } finally {
    await journal.close(10_000);
  }
}

/** Appends each group with a barrier behind it. @returns records a second until the last barrier ran. */
const ours = (folder, groups, sync) => () =>
  withJournal(folder, sync, async (journal) => {
    const start = performance.now();
    let durable = 0;
    await new Promise((resolve) => {
      const turn = (from) => {
        const to = Math.min(from + FRAMES_PER_TURN, groups.length);
        for (let i = from; i < to; i++) {
          journal.append(groups[i]);
          journal.barrier(() => {
            durable += 1;
            if (durable === groups.length) resolve();
          });
        }
        if (to < groups.length) setImmediate(turn, to);
      };
      turn(0);
    });
    return (groups.length / (performance.now() - start)) * 1000;
  });

/** `sync`: and a sync of the disk for each record, which is what makes it durable there. */
const pinoSync = (folder, groups, sync) => async () => {
  const dest = join(folder, `pino-${++folders}.jsonl`);
  const destination = pino.destination({ dest, sync: true });
  const log = pino({ base: null, timestamp: false, level: 'debug' }, destination);
  const fd = openSync(dest, 'a');
  const start = performance.now();
  for (const [draft] of groups) {
    log[draft.level](draft, draft.msg);
    if (sync) fdatasyncSync(fd);
  }
  const rate = (groups.length / (performance.now() - start)) * 1000;
  closeSync(fd);
  destination.end();
  return rate;
};

/** Percent of a processor that records at a steady pace take. */
const steady = (folder, groups, sync, ms) => () =>
  withJournal(folder, sync, async (journal) => {
    const start = performance.now();
    let next = 0;
    const seconds = await cpuSecondsOf(async () => {
      for (;;) {
        const passedMs = performance.now() - start;
        if (passedMs >= ms) break;
        const due = (passedMs / 1000) * STEADY_PER_SECOND;
        for (; next < due; next++) {
          journal.append(groups[next % groups.length]);
          journal.barrier(() => {});
        }
        await delay(1);
      }
    });
    return (seconds / (performance.now() - start)) * 1e5;
  });

export async function run({ size, say }) {
  const groups = draftsOf(RECORDS[size]);
  const rounds = size === 'smoke' ? 1 : ROUNDS;
  const warmUp = size !== 'smoke';
  return withFolder(async (folder) => {
    const few = groups.slice(0, groups.length / SYNCED_SHARE);
    const found = await interleave(
      {
        records: ours(folder, groups, 'system'),
        pino_sync: pinoSync(folder, groups, false),
        disk_records: ours(folder, groups, 'disk'),
        pino_disk: pinoSync(folder, few, true),
      },
      { rounds, warmUp },
    );
    const options = { base: 'records', unit: 'a second' };
    report(say, 'Durable records, acknowledged; `disk`: after a sync', found, options);
    const paced = await interleave(
      {
        at_once_percent: steady(folder, groups, 'system', STEADY_MS[size]),
        group_5ms_percent: steady(folder, groups, GROUP_MS, STEADY_MS[size]),
      },
      { rounds: Math.min(rounds, 3), warmUp: false },
    );
    report(say, `Processor at ${STEADY_PER_SECOND} records a second`, paced, {
      unit: '%',
      digits: 1,
    });
    const metrics = {
      records_per_s: Math.round(median(found.records)),
      pino_sync_per_s: Math.round(median(found.pino_sync)),
      disk_records_per_s: Math.round(median(found.disk_records)),
      pino_disk_per_s: Math.round(median(found.pino_disk)),
      at_once_cpu_percent: round(median(paced.at_once_percent), 1),
      group_5ms_cpu_percent: round(median(paced.group_5ms_percent), 1),
    };
    return { metrics: { journal: metrics } };
  });
}
