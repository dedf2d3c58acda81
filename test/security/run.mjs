/** `npm run security -- PART [options]`: the long forms of what `npm test` runs for seconds. */
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '10' },
    pairs: { type: 'string' },
    attempts: { type: 'string', default: '3000' },
    only: { type: 'string' },
  },
});
const say = (text) => process.stderr.write(`${text}\n`);
const number = (name, text) => {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  say(`Cannot run: expected --${name} to be a number above 0, got ${text}`);
  process.exit(2);
};

const parts = {
  async weakenings() {
    const { weakenings } = await import('./weakenings.mjs');
    return weakenings({ ...(values.only === undefined ? {} : { only: values.only }), say });
  },
  async impostors() {
    const { impostors } = await import('./impostors.mjs');
    return impostors({ attempts: number('attempts', values.attempts), say });
  },
  async soak() {
    const { soak } = await import('./soak.mjs');
    const pairs = values.pairs === undefined ? {} : { pairs: number('pairs', values.pairs) };
    return soak({ minutes: number('minutes', values.minutes), ...pairs, say });
  },
};

const part = parts[positionals[0]];
if (!part) {
  say(`Cannot run "${positionals[0] ?? ''}": expected one of ${Object.keys(parts).join(', ')}`);
  process.exit(2);
}
const { problems, ...result } = await part();
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
for (const problem of problems) say(`FAILED: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
