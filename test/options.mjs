/** The options of the long runs, such as `npm run fault -- --seed 7`. */
import { parseArgs } from 'node:util';

/** What stands for a number, and what may. */
const NUMBERS = {
  N: { form: /^[0-9]+$/, what: 'a whole number' },
  COUNT: { form: /^[0-9]*[1-9][0-9]*$/, what: 'a whole number above 0' },
  MINUTES: { form: /^(?=.*[1-9])[0-9]+(\.[0-9]+)?$/, what: 'a number above 0' },
};

/**
 * Reads the options of this process. What it cannot take ends it with 2 and says what there is; so does
 * `--help`, with 0.
 *
 * @param name of the run
 * @param wants by option: '' for a switch, a name of `NUMBERS`, a list of what may stand in it, separated by
 *   commas, or what to call a text
 * @param words what may stand before the options, if anything
 * @returns the values by option: those of lists are lists; and the first word
 */
export function optionsOf(name, wants, words) {
  const what = (want) => (want === '' ? '' : ` ${Array.isArray(want) ? 'NAME,...' : want}`);
  const options = Object.entries(wants).map(([option, want]) => `[--${option}${what(want)}]`);
  const usage = ['npm run', name, '--', ...(words ? [words.join('|')] : []), ...options].join(' ');
  const refuse = (text) => {
    process.stderr.write(`Cannot run ${name}: ${text}\nUsage: ${usage}\n`);
    process.exit(2);
  };
  const types = Object.entries({ ...wants, help: '' }).map(([option, want]) => [
    option,
    { type: want === '' ? 'boolean' : 'string' },
  ]);
  let parsed;
  try {
    parsed = parseArgs({ allowPositionals: true, options: Object.fromEntries(types) });
  } catch (error) {
    return refuse(error.message.split('. ')[0]);
  }
  const { values, positionals } = parsed;
  if (values.help) {
    process.stdout.write(`Usage: ${usage}\n`);
    process.exit(0);
  }
  const [word] = positionals;
  if (positionals.length > (words ? 1 : 0)) refuse(`got "${positionals.at(-1)}" too much`);
  if (words && !words.includes(word)) {
    refuse(`got "${word ?? ''}", expected one of ${words.join(', ')}`);
  }
  for (const [option, text] of Object.entries(values)) {
    const want = wants[option];
    if (Array.isArray(want)) {
      values[option] = text.split(',');
      const unknown = values[option].find((one) => !want.includes(one));
      if (unknown === undefined) continue;
      refuse(`--${option} got "${unknown}", expected some of ${want.join(', ')}`);
    }
    const number = NUMBERS[want];
    if (!number) continue;
    if (!number.form.test(text)) refuse(`--${option} wants ${number.what}, got "${text}"`);
    values[option] = Number(text);
  }
  return { values, word };
}
