/**
 * Exporters under pressure, with far sides as they are: `npm run fleet`. Each part ends with one line of
 * figures; `missing`, `strange`, `twice` and `lost_notes` must be 0.
 */
import { spawnSync } from 'node:child_process';
import { optionsOf } from '../options.mjs';
import * as cost from './cost.mjs';
import * as nats from './nats.mjs';
import * as otlp from './otlp.mjs';
import { has, part } from './shippers.mjs';

const PARTS = {
  cost: { run: cost.run, isHere: () => process.platform === 'linux', isLong: true },
  nats: { run: nats.run, isHere: () => !spawnSync('nats-server', ['--version']).error },
  otlp: { run: otlp.run, isHere: () => true },
  rsyslog: { ...part('rsyslog'), isHere: () => has('rsyslog') },
  'syslog-ng': { ...part('syslog-ng'), isHere: () => has('syslog-ng') },
};
const { values } = optionsOf('fleet', {
  quick: '',
  only: Object.keys(PARTS),
  seed: 'N',
  count: 'COUNT',
  kills: 'N',
});
const seed = values.seed ?? Math.floor(Math.random() * 1e9);
const count = values.count ?? (values.quick ? 4000 : 50_000);
const kills = values.kills ?? (values.quick ? 2 : 10);
const WRONG = ['missing', 'strange', 'twice', 'lost_notes'];

let passed = 0;
let failed = 0;
process.stdout.write(`seed ${seed}, ${count} records, ${kills} kills\n`);
for (const [name, { run, isHere, isLong }] of Object.entries(PARTS)) {
  if (isLong && values.quick) continue;
  if (values.only && !values.only.includes(name)) continue;
  if (!isHere()) {
    process.stderr.write(`SKIPPED: ${name} is not installed\n`);
    if (process.env.MAPISYNC_REQUIRE === 'all') failed += 1;
    continue;
  }
  const say = (text) => process.stderr.write(`${name}: ${text}\n`);
  const started = performance.now();
  try {
    const found = await run({ count, kills, seed, say });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`${name} ${JSON.stringify(found)} ${seconds} s\n`);
    if (WRONG.some((key) => found[key] > 0)) failed += 1;
    else passed += 1;
  } catch (error) {
    process.stdout.write(`${name} failed: ${error.stack}\n`);
    failed += 1;
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
if (failed > 0) process.exitCode = 1;
