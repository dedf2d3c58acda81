/** The short form of `npm run security -- impostors`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../e2e/systems.ts';
// @ts-expect-error: plain JavaScript, run by hand too.
import { impostors } from './impostors.mjs';

const shims = existsSync(
  join(root, 'dist', 'native', `${process.platform}-${process.arch}`, 'sample-host'),
);

test.skipIf(process.platform === 'win32')(
  'no impostor hears a byte of what is said, and real peers find the daemon after it',
  { timeout: 120_000 },
  async () => {
    // Every kind on both sides once, and some of them at real shims.
    const { attempts, payloadBytes, problems } = await impostors({ attempts: 250, shims });
    expect(problems).toEqual([]);
    expect(payloadBytes).toBe(0);
    expect(attempts).toBeGreaterThanOrEqual(250);
  },
);
