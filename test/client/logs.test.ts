// `logs`: every way to begin, with every filter, followed and not, over each fate of the segments, against
// a plain recount; then what a cursor file promises, and a real daemon.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { EXIT } from '../../client/exit.ts';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { segmentPath } from '../../daemon/platform/journal-files.ts';
import type { Level, RecordDraft } from '../../protocol/records/record.ts';
import {
  FakeShim,
  journalOf,
  newRingId,
  Script,
  startDaemon,
  tempDir,
  until,
} from '../daemon/support.ts';
import { keptIo } from './builders.ts';

/** For dozens of commands at once. */
const PATIENCE_MS = 30_000;
const START_MS = Date.parse('2026-02-03T10:00:00Z');
const [A, B] = ['a'.repeat(16), 'b'.repeat(16)];

interface Written {
  readonly record: RecordDraft & { readonly cursor: string };
  readonly line: string;
  readonly end: string;
}

/** A journal by hand: each record as the daemon would have written it. */
class Pen {
  readonly dir: string;
  readonly written: Written[] = [];
  readonly #lines = new LineMaker({
    service: { name: 'mapisync', version: '1', instance_id: 'i' },
    host: 'h',
  });
  #count = 0;
  finish: () => void = () => {};

  constructor(stateDir: string) {
    this.dir = join(stateDir, 'journal');
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
  }

  next(): RecordDraft {
    const n = this.#count++;
    const level = (['debug', 'info', 'warn', 'error'] as const)[n % 4] as Level;
    const id = [A, B, undefined][n % 3];
    const session = id && {
      span_id: id,
      session: { id, attach: 'tee', provider: 'contoso', store: n % 2 ? 'Inbox' : 'Übersicht' },
    };
    return {
      event_name: id ? (n % 2 ? 'session.note' : 'session.opened') : 'process.connected',
      level,
      time: new Date(START_MS + n * 1000).toISOString().replace('Z', '000Z'),
      msg: `number ${n}${n % 5 === 0 ? ' Fifth\u202e' : ''}`,
      ...session,
    } as RecordDraft;
  }

  begin(segment: number): void {
    const snapshot = { ...this.next(), event_name: 'snapshot.begin' } as RecordDraft;
    writeFileSync(segmentPath(this.dir, segment), this.#lines.line(snapshot));
  }

  /** @param torn So much of the last line is written; it does not count before `finish()`. */
  append(segment: number, count: number, torn?: number): void {
    const path = segmentPath(this.dir, segment);
    for (let left = count; left > 0; left--) {
      const line = this.#lines.line(this.next());
      const end = `${segment}:${statSync(path).size + Buffer.byteLength(line)}`;
      const cut = left === 1 ? torn : undefined;
      appendFileSync(path, line.slice(0, cut));
      this.finish = () => {
        if (cut !== undefined) appendFileSync(path, line.slice(cut));
        this.written.push({ record: { ...JSON.parse(line), cursor: end }, line, end });
      };
      if (cut === undefined) this.finish();
    }
  }

  delete(segment: number): void {
    rmSync(segmentPath(this.dir, segment));
    const left = this.written.filter(({ end }) => !end.startsWith(`${segment}:`));
    this.written.splice(0, this.written.length, ...left);
  }
}

interface Scene {
  readonly before: (pen: Pen) => void;
  /** After the cursors were taken, before anybody reads. */
  readonly meanwhile?: (pen: Pen) => void;
  /** While some follow, who have caught up before each step. */
  readonly later: readonly ((pen: Pen) => void)[];
}

const SCENES: Record<string, Scene> = {
  'one segment': {
    before: (pen) => {
      pen.begin(1);
      pen.append(1, 24);
    },
    later: [(pen) => pen.append(1, 9, 40), (pen) => pen.finish(), (pen) => pen.append(1, 3)],
  },
  rotation: {
    before: (pen) => {
      for (const segment of [1, 2, 3]) {
        pen.begin(segment);
        pen.append(segment, 8);
      }
    },
    later: [
      (pen) => {
        pen.append(3, 4);
        pen.begin(4);
        pen.append(4, 8);
      },
      (pen) => {
        pen.begin(6); // Recovery had deleted 5, which held nothing.
        pen.append(6, 1);
      },
    ],
  },
  'rotation, and the oldest deleted': {
    before: (pen) => {
      for (const segment of [1, 2, 3]) {
        pen.begin(segment);
        pen.append(segment, 8);
      }
    },
    meanwhile: (pen) => pen.delete(1),
    later: [
      (pen) => {
        pen.begin(4);
        pen.append(4, 8);
      },
      (pen) => {
        pen.begin(5);
        pen.append(5, 2);
      },
    ],
  },
};

type Start = (given: { readonly fifth: Written; readonly file: string }) => readonly string[];
const STARTS: Record<string, Start> = {
  'no cursor': () => [],
  '-n 3': () => ['-n', '3'],
  '-n 0': () => ['-n', '0'],
  '--after': ({ fifth }) => ['--after', fifth.end],
  '--after and -n': ({ fifth }) => ['--after', fifth.end, '-n', '100'],
  '--cursor-file': ({ fifth, file }) => {
    writeFileSync(file, `${fifth.end}\n`);
    return ['--cursor-file', file];
  },
  'a new --cursor-file': ({ file }) => ['--cursor-file', file],
  '--since': ({ fifth }) => ['-S', new Date(Date.parse(fifth.record.time) + 1).toISOString()],
};

type Filter = readonly [readonly string[], (record: RecordDraft) => boolean];
const FILTERS: Record<string, Filter> = {
  'no filter': [[], () => true],
  '-p': [['-p', 'warn'], ({ level }) => level === 'warn' || level === 'error'],
  '--session': [['--session', 'aaaa'], ({ session }) => session?.id === A],
  '--event': [
    ['--event', 'session.n*', '--event', 'process.connected'],
    ({ event_name: name }) => ['session.note', 'process.connected'].includes(name),
  ],
  '-g': [['-g', 'fifth\\\\u'], ({ msg }) => msg.includes('Fifth')],
  'several at once': [
    ['-p', 'info', '--session', B, '-g', '[0-9]$'],
    ({ level, session, msg }) => level !== 'debug' && session?.id === B && /\d$/.test(msg),
  ],
};

/** What must be printed, from all that was written by then. */
function wanted(start: string, [, passes]: Filter, pen: Pen, fifth: Written, follow: boolean) {
  const at = (end: string): number => {
    const [segment, offset] = end.split(':').map(Number);
    return segment! * 1e9 + offset!;
  };
  const hasCursor = ['--after', '--after and -n', '--cursor-file'].includes(start);
  const all = pen.written
    .filter(({ record, end }) => {
      if (start === '--since') return record.time > fifth.record.time;
      return !hasCursor || at(end) > at(fifth.end);
    })
    .filter(({ record }) => passes(record))
    .map(({ record }) => record);
  if (start === '-n 3') return all.slice(-3);
  if (start === '-n 0') return [];
  if (follow && start === 'no cursor') return all.slice(-10);
  return all;
}

describe.each(Object.entries(SCENES))('%s', (_, scene) => {
  interface Row {
    readonly start: string;
    readonly filter: string;
    readonly got: string[];
    readonly want: object[][];
    readonly codes: number[];
    readonly lost: boolean[];
  }
  const rows = { once: [] as Row[], followed: [] as Row[] };
  const combinations = Object.keys(STARTS).flatMap((start) =>
    Object.keys(FILTERS).map((filter) => ({ start, filter })),
  );

  beforeAll(async () => {
    const state = mkdtempSync(join(tmpdir(), 'mapisync-logs-'));
    const pen = new Pen(state);
    scene.before(pen);
    const fifth = pen.written[4]!;
    scene.meanwhile?.(pen);
    const argsOf = (start: string, filter: string, name: string): string[] => [
      ...['logs', '--json', '--state-dir', state],
      ...STARTS[start]!({ fifth, file: join(state, `${name}-${start}-${filter}`) }),
      ...FILTERS[filter]![0],
    ];
    const once = combinations.map(({ start, filter }) => {
      const args = argsOf(start, filter, 'once');
      const row: Row = { start, filter, got: [], want: [], codes: [], lost: [] };
      rows.once.push(row);
      return async (again: boolean) => {
        const io = keptIo();
        row.codes.push(await run(args, io));
        row.got.push(io.stdout.text);
        row.lost.push(io.stderr.text.includes('Going on with the oldest record'));
        const all = wanted(start, FILTERS[filter]!, pen, fifth, false);
        const isSaved = start.includes('file');
        row.want.push(again && isSaved ? all.slice(row.want[0]!.length) : all);
      };
    });
    for (const call of once) await call(false);

    const followers = combinations.map(({ start, filter }) => {
      const end = new AbortController();
      const io = keptIo({ interrupted: () => end.signal });
      const first = wanted(start, FILTERS[filter]!, pen, fifth, true);
      const ended = run([...argsOf(start, filter, 'followed'), '-f'], io);
      return { start, filter, end, io, first, ended };
    });
    const counted = (text: string): number => text.split('\n').length - 1;
    const before = pen.written.length;
    const due = (): object[][] =>
      followers.map(({ filter, first }) => [
        ...first,
        ...pen.written
          .slice(before)
          .map(({ record }) => record)
          .filter(FILTERS[filter]![1]),
      ]);
    for (const step of [() => {}, ...scene.later]) {
      step(pen);
      const counts = due().map((records) => records.length);
      await until(
        'all have caught up',
        () => followers.every(({ io }, n) => counted(io.stdout.text) >= counts[n]!),
        PATIENCE_MS,
      );
    }
    for (const call of once) await call(true);
    const all = due();
    for (const [n, { start, filter, end, io, ended }] of followers.entries()) {
      end.abort();
      const codes = [await ended];
      const lost = [io.stderr.text.includes('Going on with the oldest record')];
      rows.followed.push({ start, filter, got: [io.stdout.text], want: [all[n]!], codes, lost });
    }
    rmSync(state, { recursive: true });
  });

  const parsed = (text: string): object[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const losers = ['--after', '--after and -n', '--cursor-file'];

  test.for(combinations.map((one, index) => ({ ...one, index })))(
    'from $start, with $filter, twice',
    ({ index, start }) => {
      const { got, want, codes, lost } = rows.once[index]!;
      expect(got.map(parsed)).toEqual(want);
      expect(codes).toEqual([0, 0]);
      const isLost = scene.meanwhile !== undefined && losers.includes(start);
      expect(lost).toEqual([isLost, isLost && start !== '--cursor-file']);
    },
  );

  test.for(combinations.map((one, index) => ({ ...one, index })))(
    'from $start, with $filter, followed',
    ({ index, start }) => {
      const { got, want, codes, lost } = rows.followed[index]!;
      expect(got.map(parsed)).toEqual(want);
      expect(codes).toEqual([EXIT.interrupted]);
      expect(lost).toEqual([scene.meanwhile !== undefined && losers.includes(start)]);
    },
  );
});

async function logs(stateDir: string, args: readonly string[], io = keptIo()) {
  const code = await run(['logs', '--state-dir', stateDir, ...args], io);
  return { code, out: io.stdout.text, err: io.stderr.text };
}

function journal(count = 24): { state: string; pen: Pen } {
  const state = join(tempDir(), 'state');
  const pen = new Pen(state);
  pen.begin(1);
  pen.append(1, count);
  return { state, pen };
}

describe('plain', () => {
  test('a line for each record: time, level, event, whom it is about and what it says', async () => {
    const { state } = journal(3);
    expect((await logs(state, [])).out.split('\n')).toEqual([
      '2026-02-03T10:00:01.000Z info  session.note number 1',
      '2026-02-03T10:00:02.000Z warn  process.connected number 2',
      '2026-02-03T10:00:03.000Z error session.note number 3',
      '',
    ]);
  });

  test('nothing to print, nothing to read: 0', async () => {
    const { state } = journal(3);
    expect(await logs(state, ['-g', 'nothing'])).toEqual({ code: 0, out: '', err: '' });
    const nowhere = join(tempDir(), 'state');
    const file = join(tempDir(), 'place');
    expect(await logs(nowhere, ['--cursor-file', file])).toEqual({ code: 0, out: '', err: '' });
    expect([existsSync(nowhere), existsSync(file)]).toEqual([false, false]);
  });

  test('a damaged line is left out and counted', async () => {
    const { state, pen } = journal(2);
    appendFileSync(segmentPath(pen.dir, 1), '{"event_name":"session.no\n');
    pen.append(1, 1);
    const { code, out, err } = await logs(state, []);
    expect([code, out.split('\n').length]).toEqual([0, 4]);
    expect(err).toMatch(/Left out 1 damaged line/);
  });

  test('--until ends what is followed', async () => {
    const { state, pen } = journal(4);
    const untilTime = pen.written[2]!.record.time;
    const { code, out } = await logs(state, ['-f', '-U', untilTime]);
    expect([code, out.trimEnd().split('\n').length]).toEqual([0, 3]);
  });

  test('--timeout ends it with 4', async () => {
    const { state } = journal(4);
    expect((await logs(state, ['-f', '--timeout', '50ms'])).code).toBe(EXIT.timeout);
  });
});

describe('--grep', () => {
  test.for([['('], ['[z-a]'], ['a(?=b)'], ['(a)\\1'], ['x{9999}']])(
    'refuses %j, and says why',
    async ([pattern]) => {
      const { state } = journal(1);
      const { code, out, err } = await logs(state, ['-g', pattern!]);
      expect([code, out]).toEqual([EXIT.usage, '']);
      expect(err).toMatch(
        /^mapisync: Cannot read --grep: expected .* of RE2, got ".+": \S+.*\n {2}Put/,
      );
    },
  );

  test('takes no longer for a pattern that other engines never end with', async () => {
    const { state, pen } = journal(1);
    const evil = { ...pen.next(), msg: `${'a'.repeat(1000)}!` };
    const lines = new LineMaker({
      service: { name: 'mapisync', version: '1', instance_id: 'i' },
      host: 'h',
    });
    appendFileSync(segmentPath(pen.dir, 1), lines.line(evil));
    const { code, out } = await logs(state, ['-g', '(a+)+$']);
    expect([code, out]).toEqual([0, '']);
    expect((await logs(state, ['-g', '(a+)+!$'])).out.length).toBeGreaterThan(1000);
  });
});

describe('a cursor file', () => {
  test('is never ahead of what was printed', async () => {
    const { state, pen } = journal(24);
    const file = join(tempDir(), 'place');
    writeFileSync(file, pen.written[3]!.end);
    const io = keptIo();
    io.stdout.failure = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });
    expect((await logs(state, ['--cursor-file', file], io)).code).toBe(1);
    expect(readFileSync(file, 'utf8')).toBe(pen.written[3]!.end);
    // An output that takes some, and then no more.
    const long = journal(1000);
    writeFileSync(file, '');
    const half = keptIo();
    let writes = 0;
    const { write } = half.stdout;
    Object.assign(half.stdout, {
      write: async (text: string) => {
        writes += 1;
        if (writes === 2) half.stdout.failure = Object.assign(new Error(), { code: 'ENOSPC' });
        return write(text);
      },
    });
    await logs(long.state, ['--json', '--cursor-file', file], half);
    const last = JSON.parse(half.stdout.text.trimEnd().split('\n').at(-1)!);
    expect(readFileSync(file, 'utf8').trim()).toBe(last.cursor);
    const { out } = await logs(long.state, ['--json', '--cursor-file', file]);
    expect(half.stdout.text + out).toBe((await logs(long.state, ['--json'])).out);
  });

  test('goes on behind what the filters left out', async () => {
    const { state, pen } = journal(24);
    const file = join(tempDir(), 'place');
    expect((await logs(state, ['-g', 'nothing', '--cursor-file', file])).out).toBe('');
    expect(readFileSync(file, 'utf8').trim()).toBe(pen.written.at(-1)!.end);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(file, '..'))).toEqual(['place']);
  });

  test('by its name lies where the retention of the daemon looks', async () => {
    const { state, pen } = journal(24);
    await logs(state, ['--cursor-file', 'nightly']);
    const saved = readFileSync(join(state, 'cursors', 'logs.nightly'), 'utf8');
    expect(saved.trim()).toBe(pen.written.at(-1)!.end);
    const elsewhere = await logs(state, ['--cursor-file', 'nightly', '--journal', state]);
    expect(elsewhere).toMatchObject({ code: 2, err: expect.stringMatching(/\.\/nightly/) });
  });

  test('leaves to the next call what --until left out', async () => {
    const { state, pen } = journal(6);
    const file = join(tempDir(), 'place');
    const untilTime = pen.written[2]!.record.time;
    const first = await logs(state, ['-U', untilTime, '--cursor-file', file]);
    expect(first.out.match(/number \d/g)).toEqual(['number 1', 'number 2', 'number 3']);
    const rest = await logs(state, ['--cursor-file', file]);
    expect(rest.out.match(/number \d/g)).toEqual(['number 4', 'number 5', 'number 6']);
  });

  test('where there is no directory for it: nothing is printed', async () => {
    const { state } = journal(1);
    const file = join(tempDir(), 'none', 'place');
    expect(await logs(state, ['--cursor-file', file])).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/expected a directory \/.*\/none, got none/),
    });
    expect(existsSync(file)).toBe(false);
  });

  test('that cannot be replaced: it is said what that means', async () => {
    const { state } = journal(1);
    const file = join(tempDir(), 'place');
    mkdirSync(join(file, '..', '.place.new'));
    expect(await logs(state, ['--cursor-file', file])).toMatchObject({
      code: 1,
      out: expect.stringContaining('number 1'),
      err: expect.stringMatching(/Cannot keep --cursor-file .*EISDIR[\s\S]*comes again/),
    });
  });

  test('that is something else is refused and left alone', async () => {
    const { state } = journal(1);
    const file = join(tempDir(), 'letter');
    writeFileSync(file, 'Dear all');
    expect(await logs(state, ['--cursor-file', file])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/expected segment:offset, got "Dear all"/),
    });
    expect(readFileSync(file, 'utf8')).toBe('Dear all');
  });

  test('of a journal that was begun anew: it says so, and begins with the oldest', async () => {
    const { state } = journal(2);
    const file = join(tempDir(), 'place');
    writeFileSync(file, '7:100');
    const { out, err } = await logs(state, ['--cursor-file', file]);
    expect(out.split('\n')).toHaveLength(3);
    expect(err).toMatch(/begun anew and has no 7:100\. Going on with the oldest record, 1:0/);
  });

  test('in the middle of a line, or behind the end: whole lines all the same', async () => {
    const { state, pen } = journal(6);
    const inside = pen.written[2]!.end.replace(/\d+$/, (offset) => String(Number(offset) + 9));
    const texts = (out: string): string[] => out.match(/number \d/g) ?? [];
    expect(texts((await logs(state, ['--after', inside])).out)).toHaveLength(3);
    expect((await logs(state, ['--after', '1:999999999'])).out).toBe('');
  });
});

test('followed lines that a daemon takes back and writes again are there once more', async () => {
  const { state, pen } = journal(4);
  const end = new AbortController();
  const io = keptIo({ interrupted: () => end.signal });
  const ended = logs(state, ['-f'], io);
  await until('it follows', () => io.stdout.text.includes('number 4'));
  // A full disk: what was not written whole is cut away, and comes again behind another line.
  const path = segmentPath(pen.dir, 1);
  const text = readFileSync(path, 'utf8');
  const lines = text.trimEnd().split('\n');
  truncateSync(path, Buffer.byteLength(`${lines.slice(0, -1).join('\n')}\n`));
  const failed = lines.at(-1)!.replace('number 4', 'the disk is full, and this is longer');
  appendFileSync(path, `${failed}\n${lines.at(-1)}\n`);
  pen.append(1, 1);
  await until('the new one', () => io.stdout.text.includes('number 5'));
  end.abort();
  await ended;
  expect(io.stdout.text.match(/number 4/g)).toHaveLength(2);
});

test('follows a real daemon across its restart, and without one', async () => {
  const stateDir = join(tempDir(), 'state');
  const end = new AbortController();
  const io = keptIo({ interrupted: () => end.signal });
  const ended = logs(stateDir, ['-f', '--json', '--cursor-file', 'it'], io);
  for (const store of ['One', 'Two']) {
    const daemon = await startDaemon({ stateDir });
    const shim = await FakeShim.connect(stateDir);
    await shim.hello(newRingId());
    const script = new Script(1, store).progress(1, 2, 'Inbox').error('no\u2028', 1).done().close();
    shim.send(...script.frames);
    await shim.acked(script.seq);
    await daemon.stop();
  }
  const all = journalOf(stateDir);
  await until('it has all', () => io.stdout.text.split('\n').length > all.length);
  end.abort();
  expect((await ended).code).toBe(EXIT.interrupted);
  const seen = io.stdout.text.split('\n').slice(0, -1);
  expect(seen.map((line) => JSON.parse(line)).map(({ cursor: _, ...record }) => record)).toEqual(
    all,
  );
});
