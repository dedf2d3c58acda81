/** `hresult`: what a result code means. Needs no daemon. */
import table from '../../protocol/session/hresult-table.json' with { type: 'json' };
import { describeHresult, findHresultName, parseHresult } from '../../protocol/session/hresults.ts';
import { CliError, EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';
import { nearest } from '../values.ts';

export async function hresult(
  codes: readonly string[],
  settings: Settings,
  io: Io,
): Promise<number> {
  const found = codes.map(read);
  if (settings.output === 'json') {
    for (const code of found) await io.stdout.write(`${JSON.stringify(code)}\n`);
    return EXIT.done;
  }
  const { paint } = settings.theme;
  const blocks = found.map((code) => {
    const style = code.severity === 'error' ? 'red' : 'green';
    const name = code.name === code.hex ? '' : `  ${paint('bold', code.name)}`;
    const lines = [
      `${code.hex}${name}  ${paint(style, code.severity)}, class ${code.class}`,
      `  ${code.meaning}`,
    ];
    if (code.note) lines.push(`  ${code.note}`);
    if (code.aliases.length > 0) lines.push(`  also ${code.aliases.join(', ')}`);
    return `${lines.join('\n')}\n`;
  });
  await io.stdout.write(blocks.join(''));
  return EXIT.done;
}

function read(text: string): Record<string, unknown> & ReturnType<typeof describeHresult> {
  const value = parseHresult(text);
  if (value !== undefined) {
    const code = describeHresult(value);
    // Of several names of one value, the words of the one that was asked for.
    const asked = findHresultName(text);
    return asked && asked.name !== code.name && asked.value === value
      ? {
          ...code,
          name: asked.name,
          meaning: asked.meaning,
          aliases: [code.name, ...code.aliases.filter((alias) => alias !== asked.name)],
        }
      : { ...code };
  }
  const looksLikeName = /^[a-z_][a-z0-9_]*$/i.test(text) && !/^0x/i.test(text);
  const near = looksLikeName ? nearest(text.toUpperCase(), names()) : undefined;
  throw new CliError(
    EXIT.usage,
    `Cannot read result code "${text}": expected a name or a number such as 0x8004010F, 8004010F, -2147221233`,
    near ? `Did you mean ${near}?` : undefined,
  );
}

const names = (): string[] => (table as unknown as readonly [string][]).map(([name]) => name);
