// Runs each native test program: on this system, and as a Windows program under Wine.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runProgram, scratchFolder, systems } from '../e2e/systems.ts';

describe.each(systems)('native tests on $name', (system) => {
  const folder = join(system.native, 'tests');
  const programs = existsSync(folder) ? readdirSync(folder) : [];

  test('are there', () => expect(programs.length).toBeGreaterThan(5));

  test.for(programs)('%s', { timeout: 120_000 }, async (name, { skip }) => {
    const ran = await runProgram(system, join(folder, name), [], { scratch: scratchFolder() })
      .ended;
    const report = `${ran.signal ?? ''}\n${ran.stdout}\n${ran.stderr}`;
    expect(ran.code, report).toBe(0);
    // Such as what needs fork(): said by the program itself.
    const [skipped] = /^Skipped: .*$/m.exec(report) ?? [];
    if (skipped && /^0 passed, 0 failed$/m.test(report)) skip(skipped);
    expect(report).toMatch(/[1-9]\d* passed, 0 failed/);
  });
});
