/**
 * Runs the benchmarks: `npm run bench -- [--only PART] [--quick] [--json FILE]`.
 *
 * A part is a module that exports `run({ size, say })` and resolves with `{ metrics, failures? }`: numbers
 * by name, in groups, and what makes them no measurement. `size` is `full`, `quick`, or, for the test
 * that sees whether all of it still runs, `smoke`.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const PARTS = {
  caller: () => import('./caller.mjs'),
  ingest: () => import('./ingest.mjs'),
  journal: () => import('./journal.mjs'),
  latency: () => import('./latency.mjs'),
  memory: () => import('./memory.mjs'),
  idle: () => import('./idle.mjs'),
  start: () => import('./start.mjs'),
  wine: () => import('./wine.mjs'),
};

const say = (text) => process.stdout.write(`${text}\n`);
function refuse(text) {
  process.stderr.write(`bench: ${text}\n`);
  process.exit(2);
}

let options;
try {
  options = parseArgs({
    options: {
      json: { type: 'string' },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      smoke: { type: 'boolean', default: false },
    },
  }).values;
} catch (error) {
  refuse(`${error.message}; expected --only PART, --quick, --json FILE`);
}
if (options.only !== undefined && !Object.hasOwn(PARTS, options.only)) {
  refuse(`Unknown part "${options.only}": expected one of ${Object.keys(PARTS).join(', ')}`);
}
const size = options.smoke ? 'smoke' : options.quick ? 'quick' : 'full';

const results = {};
const failures = [];
for (const [name, load] of Object.entries(PARTS)) {
  if (options.only !== undefined && options.only !== name) continue;
  say(`== ${name}`);
  const { run } = await load();
  const part = await run({ size, say });
  for (const [group, metrics] of Object.entries(part.metrics)) {
    results[group] = { ...results[group], ...metrics };
  }
  failures.push(...(part.failures ?? []));
}
if (options.json !== undefined)
  writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
for (const failure of failures) process.stderr.write(`bench: ${failure}\n`);
if (failures.length > 0) process.exitCode = 1;
