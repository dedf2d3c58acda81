/**
 * Runs the benchmarks: `npm run bench -- [--only PART,...] [--quick] [--json FILE]`.
 *
 * A part is a module that exports `run({ size, say })` and resolves with `{ metrics, failures? }`: numbers
 * by name, in groups, and what makes them no measurement. `size` is `full`, `quick`, or, for the test
 * that sees whether all of it still runs, `smoke`.
 */
import { writeFileSync } from 'node:fs';
import { optionsOf } from '../options.mjs';

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
const { values: options } = optionsOf('bench', {
  only: Object.keys(PARTS),
  quick: '',
  smoke: '',
  json: 'FILE',
});
const size = options.smoke ? 'smoke' : options.quick ? 'quick' : 'full';

const results = {};
const failures = [];
for (const [name, load] of Object.entries(PARTS)) {
  if (options.only && !options.only.includes(name)) continue;
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
