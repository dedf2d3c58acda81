/** `npm run security -- PART [options]`: the long forms of what `npm test` runs for seconds. */
import { optionsOf } from '../options.mjs';

const say = (text) => process.stderr.write(`${text}\n`);
const parts = {
  async weakenings() {
    const { weakenings } = await import('./weakenings.mjs');
    return weakenings({ ...(values.only === undefined ? {} : { only: values.only }), say });
  },
  async impostors() {
    const { impostors } = await import('./impostors.mjs');
    return impostors({ attempts: values.attempts ?? 3000, say });
  },
  async soak() {
    const { soak } = await import('./soak.mjs');
    const pairs = values.pairs === undefined ? {} : { pairs: values.pairs };
    return soak({ minutes: values.minutes ?? 10, ...pairs, say });
  },
};
const { values, word } = optionsOf(
  'security',
  { minutes: 'MINUTES', pairs: 'COUNT', attempts: 'COUNT', only: 'TEXT' },
  Object.keys(parts),
);
const { problems, ...result } = await parts[word]();
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
for (const problem of problems) say(`FAILED: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
