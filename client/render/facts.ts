/** Facts that a daemon states, as `key  value` lines: also those that this version does not know. */
import { printable, width } from './text.ts';
import type { Theme } from './theme.ts';

type Facts = Readonly<Record<string, unknown>>;

const isMap = (value: unknown): value is Facts =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function scalar(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(scalar).join(', ');
  if (isMap(value)) {
    return Object.entries(value)
      .map(([key, inner]) => `${key} ${scalar(inner)}`)
      .join(', ');
  }
  return String(value);
}

/** Nested facts are named `outer.inner`; a list has a line for each. */
function flatten(map: Facts, prefix: string): [string, string][] {
  return Object.entries(map).flatMap(([key, value]): [string, string][] => {
    const name = `${prefix}${key}`.replaceAll('_', ' ');
    if (isMap(value)) return flatten(value, `${name} `);
    if (Array.isArray(value) && value.some(isMap)) {
      return value.map((one, index) => [index === 0 ? name : '', scalar(one)]);
    }
    return [[name, scalar(value)]];
  });
}

export function facts(map: Facts, theme: Theme): string[] {
  const pairs = flatten(map, '').map(([key, value]): [string, string] => [
    printable(key, theme.unicode),
    printable(value, theme.unicode),
  ]);
  const columns = Math.max(0, ...pairs.map(([key]) => width(key)));
  return pairs.map(([key, value]) => {
    const name = theme.paint('dim', key) + ' '.repeat(columns - width(key));
    return `${name}  ${value}`.trimEnd();
  });
}
