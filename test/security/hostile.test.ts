/** What hostile bytes cost, and what of hostile text reaches a line or a terminal. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineMaker } from '../../daemon/journal-lines.ts';
import { decodeShimFrame } from '../../protocol/wire/decode.ts';
import { compiled } from '../daemon/support.ts';

/** Allocated by a child while it takes one frame of 64 KiB, in KiB. */
function costOf(make: string): { kib: number; reason: string } {
  const script = `
    import { decodeShimFrame } from '${compiled()}/protocol/wire/decode.js';
    import { decodeClientFrame, decodeFeedFrame } from '${compiled()}/protocol/wire/clients.js';
    const make = () => { ${make} };
    const take = (decode, bytes) => {
      try { decode(bytes); return 'taken'; } catch (error) { return error.reason ?? error.name; }
    };
    const reasons = new Set();
    let worst = 0;
    for (const decode of [decodeShimFrame, decodeClientFrame, decodeFeedFrame]) {
      const bytes = make();
      take(decode, make()); // The first time compiles.
      gc();
      const before = process.memoryUsage();
      reasons.add(take(decode, bytes));
      const after = process.memoryUsage();
      worst = Math.max(worst, after.heapUsed - before.heapUsed + after.external - before.external);
    }
    console.log(JSON.stringify({ kib: worst / 1024, reason: [...reasons].join() }));
  `;
  // A nursery so large that nothing is collected in between: what was allocated is still counted.
  const flags = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256'];
  const run = spawnSync(process.execPath, [...flags, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(`It ended with ${run.status}: ${run.stderr}`);
  return JSON.parse(run.stdout);
}

describe('a frame of 64 KiB costs at most 1 MiB', () => {
  test.for<[string, string]>([
    ['arrays in arrays', 'return new Uint8Array(65536).fill(0x91);'],
    ['wide arrays in arrays', 'return new Uint8Array(65536).fill(0xdd);'],
    ['maps in maps', 'return new Uint8Array(65536).fill(0x81);'],
    [
      'arrays that lie about their size',
      'const b = new Uint8Array(65536); for (let i = 0; i < 65530; i += 5) b.set([0xdd, 0, 0, 255, 255], i); return b;',
    ],
    [
      'as many elements as there is room for',
      'const b = new Uint8Array(65536); b.set([0xdc, 255, 253]); return b;',
    ],
    [
      'a text as long as the frame',
      'const b = new Uint8Array(65536).fill(0xff); b.set([0x91, 0xda, 255, 252]); return b;',
    ],
    [
      'a map with one key again and again',
      'const b = new Uint8Array(65536); b.set([0x92, 98, 0xde, 127, 255]); for (let i = 5; i < 65535; i += 2) b.set([0xa0, 0xc0], i); return b;',
    ],
  ])('%s', ([, make]) => {
    const { kib, reason } = costOf(make);
    expect(reason).toMatch(/malformed|bad-field/);
    expect(kib).toBeLessThan(1024);
  });

  test('nested arrays are refused at the first nested header', () => {
    // Whatever follows the first nested header is not looked at: it is not even there.
    for (const nested of [[0x91], [0xdc], [0xdd], [0x81], [0xdf]]) {
      const bytes = Uint8Array.of(0x92, 4, ...nested);
      expect(() => decodeShimFrame(bytes)).toThrow(
        /expected seq to begin with 0xcf, got 0x(91|dc|dd|81|df)/,
      );
    }
  });
});

/** Raw in a line or on a terminal none of these may stand. A line ends with its own newline. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

const SAMPLES = [
  '\u0000',
  '\n',
  '\r\n',
  '\u001b[2J',
  '\u001b]0;x\u0007',
  '\u007f',
  '\u0085',
  '\u009b31m',
  '\u061c',
  '\u200e',
  '\u2028',
  '\u2029',
  '\u202e',
  '\u2066',
  '\ud800',
];
const hostile = fc
  .array(fc.oneof(fc.constantFrom(...SAMPLES), fc.string({ unit: 'binary', maxLength: 4 })), {
    maxLength: 8,
  })
  .map((parts) => parts.join(''));

test('no field of any record brings a control character into its line', () => {
  const lines = new LineMaker({
    service: { name: 'mapisync', version: '1', instance_id: '0'.repeat(16) },
    host: 'host',
  });
  const events = [
    'session.opened',
    'session.progress',
    'session.error',
    'session.note',
    'session.check',
    'session.ended',
    'peer.refused',
    'frame.rejected',
    'process.gone',
    'daemon.started',
  ];
  fc.assert(
    fc.property(fc.constantFrom(...events), hostile, hostile, (event_name, one, two) => {
      const line = lines.line({
        event_name,
        level: 'info',
        time: '2026-01-01T00:00:00.000000Z',
        msg: one,
        outcome_reason: two,
        shim_version: one,
        progress: { text: two },
        error: { text: one, name: two },
        session: { id: '0'.repeat(16), provider: one, store: two },
        note: { key: one, value: two },
        check: { code: one, detail: two },
        process: { pid: 1, executable: { name: one } },
        phases: [{ text: two }],
        detail: { [one]: two },
        refusal: { reason: one, count: 1 },
      } as never);
      expect(line.endsWith('\n')).toBe(true);
      expect(line.slice(0, -1)).not.toMatch(UNSAFE);
      const { msg } = JSON.parse(line);
      expect(msg).toBe(one);
    }),
    { numRuns: 1000 },
  );
});
