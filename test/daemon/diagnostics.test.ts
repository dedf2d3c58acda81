// What the daemon says of itself is bounded, however much it has to say.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDiagnostics, sayOnStderr } from '../../daemon/diagnostics.ts';
import { MAX_LOG_BYTES, MAX_SAID_BYTES } from '../../daemon/limits.ts';
import { tempDir } from './support.ts';

describe('openDiagnostics()', () => {
  test('keeps one file and an old one below the limit, and the newest line', () => {
    const dir = tempDir();
    const path = join(dir, 'daemon.log');
    const log = openDiagnostics(path);
    const text = 'ö'.repeat(10_000); // Two bytes each.
    for (let n = 0; n < 200; n++) log.info({ n }, text);
    expect(readdirSync(dir).sort()).toEqual(['daemon.log', 'daemon.log.1']);
    for (const name of readdirSync(dir)) {
      expect(statSync(join(dir, name)).size).toBeLessThanOrEqual(MAX_LOG_BYTES);
    }
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ n: 199 });
    const old = readFileSync(`${path}.1`, 'utf8').trimEnd().split('\n');
    expect(JSON.parse(lines[0]!).n).toBe(JSON.parse(old.at(-1)!).n + 1);
  });

  test.for([
    [0, false],
    [1, true],
  ] as const)('a file %i byte above what fits is put aside: %s', ([more, rotates]) => {
    const path = join(tempDir(), 'daemon.log');
    const sample = join(tempDir(), 'sample.log');
    openDiagnostics(sample).info('x');
    writeFileSync(path, 'x'.repeat(MAX_LOG_BYTES - statSync(sample).size + more));
    openDiagnostics(path).info('x');
    expect(existsSync(`${path}.1`)).toBe(rotates);
  });
});

test('sayOnStderr() falls silent, and says that it does', () => {
  let text = '';
  const say = sayOnStderr((part) => {
    text += part;
  }, false);
  for (let n = 0; n < 10_000; n++) say(`mapisync: ${n} ${'x'.repeat(100)}`);
  expect(text.length).toBeGreaterThan(MAX_SAID_BYTES);
  expect(text.length).toBeLessThan(MAX_SAID_BYTES + 300);
  expect(text.trimEnd().split('\n').at(-1)).toBe('mapisync: More is in daemon.log alone');
});
