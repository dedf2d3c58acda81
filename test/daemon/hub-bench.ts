/** The hub as the daemon has it, its journal on a real disk, its clock a test's. */
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Feed } from '../../daemon/feed.ts';
import { Fold, Hub } from '../../daemon/hub.ts';
import { Journal } from '../../daemon/journal.ts';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { Recorder } from '../../daemon/recorder.ts';
import { recover } from '../../daemon/recovery.ts';
import { cleanUp, journalOf } from './support.ts';

export const SECOND = 1_000_000;

export interface Bench {
  readonly stateDir: string;
  readonly hub: Hub;
  readonly journal: Journal;
  /** Lets so many seconds pass, with a tick in each, once what came is written if it can be. */
  readonly pass: (seconds: number) => Promise<void>;
  /** The stalls and their ends, once all is written. */
  readonly said: () => Promise<string[]>;
}

export interface BenchOptions {
  readonly quietUs?: number;
  /** Whether the disk takes nothing. */
  readonly full?: () => boolean;
  /** Whether rings have files. */
  readonly files?: boolean;
}

/** @param clock What `monotonicUs` of the daemon gives. */
export async function bench(
  clock: { nowUs: number },
  stateDir: string,
  options: BenchOptions,
): Promise<Bench> {
  const { quietUs, full = () => false, files = true } = options;
  const dir = `${stateDir}/journal`;
  const fold = new Fold();
  mkdirSync(dir, { recursive: true });
  const found = recover(dir, (record) => fold.take(record));
  const service = { name: 'mapisync', version: '0.0.1', instance_id: `at-${found.nextSegment}` };
  const feed = new Feed({
    journalDir: dir,
    sessionIds: () => [],
    liveSession: () => undefined,
    durableEnd: () => ({ segment: 0, offset: 0 }),
    cut: () => {},
  });
  const journal: Journal = new Journal({
    dir,
    lines: new LineMaker({ service, host: 'bench' }),
    sync: 'system',
    firstSegment: found.nextSegment,
    segmentBytes: 4_000_000,
    journalBytes: 40_000_000,
    journalDays: 30,
    snapshot: () => hub.snapshot(),
    onDurable: () => hub.relieved(),
    onTrouble: () => {},
    openFile: async (...args) => {
      const file = await open(...args);
      const write = file.write.bind(file) as (...given: unknown[]) => unknown;
      file.write = ((...given: unknown[]) => {
        if (full()) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        return write(...given);
      }) as typeof file.write;
      return file;
    },
  });
  const hub: Hub = new Hub({
    journal: () => journal,
    feed: () => feed,
    recorder: new Recorder(0),
    quietUs,
    hasRingFile: () => files,
    rejected: () => {},
  });
  hub.restore(fold.rings, fold.notes, fold.history);
  await journal.open();
  cleanUp(() => journal.close(1000));
  return {
    stateDir,
    hub,
    journal,
    pass: async (seconds) => {
      if (!full()) await new Promise<void>((resolve) => journal.barrier(resolve));
      for (let n = 0; n < seconds; n += 1) {
        clock.nowUs += SECOND;
        hub.tick();
      }
    },
    said: async () => {
      await new Promise<void>((resolve) => journal.barrier(resolve));
      return journalOf(stateDir)
        .filter(({ stall }) => stall !== undefined)
        .map(({ event_name, stall }) => {
          const seconds = Math.round((stall?.for_us ?? 0) / SECOND);
          return `${event_name.slice(8)} ${stall?.kind} ${seconds}`;
        });
    },
  };
}

export const peer = { acknowledge() {}, refuse() {}, farewell() {}, pause() {}, resume() {} };
