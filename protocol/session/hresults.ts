import type { ErrorClass } from '../records/record.ts';
import { classifyByFacility, classifyByName } from './hresult-classes.ts';
import table from './hresult-table.json' with { type: 'json' };
import { hex32 } from './sync-flags.ts';

/** Names and meanings of result codes. */

export interface Hresult {
  readonly value: number;
  /** `0x8004010F` */
  readonly hex: string;
  /** The name to show; for an unknown value what rules make of it. A guess ends in `?`. */
  readonly name: string;
  /** Other names of the same value. */
  readonly aliases: readonly string[];
  readonly meaning: string;
  /** By bit 31. */
  readonly severity: 'success' | 'error';
  readonly class: ErrorClass;
  /** Where the answer is less than sure, why. */
  readonly note?: string;
}

/** `hresult-table.json`: of the rows with one value the first is the one to show. */
type Row = readonly [name: string, value: string, kind: string, meaning: string, aliases: string[]];

/** One name of a value, with the words for that name. */
export interface HresultRow {
  readonly name: string;
  readonly value: number;
  readonly kind: 'success' | 'warning' | 'error';
  readonly meaning: string;
  readonly aliases: readonly string[];
  /** The name to show for its value. */
  readonly preferred: boolean;
}

const byValue = new Map<number, HresultRow>();
const byName = new Map<string, HresultRow>();
for (const [name, hex, kind, meaning, aliases] of table as unknown as readonly Row[]) {
  const value = Number(hex);
  const preferred = !byValue.has(value);
  const row = { name, value, kind: kind as HresultRow['kind'], meaning, aliases, preferred };
  if (preferred) byValue.set(value, row);
  byName.set(name.toUpperCase(), row);
  for (const alias of aliases) {
    if (!byName.has(alias.toUpperCase())) byName.set(alias.toUpperCase(), row);
  }
}

const FAILED = 0x80000000;
/** Outlook's object model sometimes leaves property tag bits in these places of a result. */
const TAG_BITS = 0x7ff00000;

/** Of rows that were asked for. */
const descriptions = new Map<HresultRow, Hresult>();

/** Never fails: an unknown value is described by rule. `value` may be signed or unsigned. */
export function describeHresult(value: number): Hresult {
  const unsigned = value >>> 0;
  const row = byValue.get(unsigned);
  if (row !== undefined) {
    let description = descriptions.get(row);
    if (description === undefined) {
      description = known(unsigned, row);
      descriptions.set(row, description);
    }
    return description;
  }
  return byFacility(unsigned) ?? withoutTagBits(unsigned) ?? unknown(unsigned);
}

/** Whether the value is known as a warning: neither a failure nor a plain success. */
export function isWarning(value: number): boolean {
  return byValue.get(value >>> 0)?.kind === 'warning';
}

/** What is known of one name; for names that share a value, of this one. Case does not matter. */
export function findHresultName(name: string): HresultRow | undefined {
  return byName.get(name.trim().toUpperCase());
}

/**
 * Reads `0x8004010F`, `8004010F`, `-2147221233`, `2147746063`, `0xFFFFFFFF8004010F`, or a name.
 * Eight digits without `0x` are hex.
 *
 * @returns The value as unsigned 32 bits, or `undefined`.
 */
export function parseHresult(text: string): number | undefined {
  const trimmed = text.trim();
  const name = findHresultName(trimmed);
  if (name !== undefined) return name.value;
  const hex = /^(?:0x(?:f{8})?([0-9a-f]{1,8})|(?:f{8})?([0-9a-f]{8}))$/i.exec(trimmed);
  // A 64-bit form is a sign extension: its lower half must be negative too.
  if (hex !== null) {
    const value = Number.parseInt((hex[1] ?? hex[2]) as string, 16);
    const isWide = trimmed.replace(/^0x/i, '').length > 8;
    return isWide && value < FAILED ? undefined : value;
  }
  if (!/^-?\d{1,10}$/.test(trimmed)) return undefined;
  const value = Number(trimmed);
  return value >= -FAILED && value <= 0xffffffff ? value >>> 0 : undefined;
}

function known(value: number, row: HresultRow): Hresult {
  const errorClass = classifyByName(row.name);
  const known = described(value, row.name, row.meaning, errorClass, row.aliases);
  const isRawStoreCode = row.kind === 'error' && value < FAILED;
  return isRawStoreCode
    ? { ...known, note: 'A code of the store without the severity bit' }
    : known;
}

function byFacility(value: number): Hresult | undefined {
  // The bits between severity and facility are 0 in what Windows calls a standard HRESULT.
  if (value < FAILED || ((value >>> 16) & 0x7800) !== 0) return undefined;
  const facility = (value >>> 16) & 0x7ff;
  const code = value & 0xffff;
  const rule = FACILITY_RULES.find((candidate) => {
    const [of, first, last] = candidate;
    return of === facility && code >= first && code <= last;
  });
  if (rule === undefined) return undefined;
  const [, , , prefix, words] = rule;
  const shown = DECIMAL_PREFIXES.has(prefix) ? String(code) : hex32(code).slice(-4);
  const errorClass = classifyByFacility(facility, code);
  return described(value, `${prefix}_${shown}`, `${words} ${shown}`, errorClass);
}

const FACILITY_RULES: readonly (readonly [
  facility: number,
  firstCode: number,
  lastCode: number,
  prefix: string,
  words: string,
])[] = [
  [0x07, 10000, 11999, 'WINSOCK', 'Windows Sockets error'],
  [0x07, 12000, 12190, 'WININET', 'WinINet or WinHTTP error'],
  [0x07, 0, 0xffff, 'WIN32', 'Windows error'],
  [0x19, 100, 599, 'HTTP', 'HTTP status'],
  [0x01, 0, 0xffff, 'RPC', 'Remote procedure call error'],
  [0x03, 0, 0xffff, 'STORAGE', 'Structured storage error'],
  [0x04, 0, 0xffff, 'ITF', 'Error that the interface defines, code'],
];
const DECIMAL_PREFIXES = new Set(['WINSOCK', 'WININET', 'WIN32', 'HTTP']);

function withoutTagBits(value: number): Hresult | undefined {
  const row = byValue.get((value & ~TAG_BITS) >>> 0);
  if ((value & TAG_BITS) === 0 || row === undefined) return undefined;
  const bits = hex32(value & TAG_BITS);
  return {
    ...described(value, `${row.name}?`, row.meaning, classifyByName(row.name), row.aliases),
    note: `A guess: ${hex32(row.value)} is what remains without the bits ${bits}`,
  };
}

function unknown(value: number): Hresult {
  const facility = (value >>> 16) & 0x7ff;
  const meaning =
    value < FAILED
      ? 'Success or warning code without a known name'
      : `Error code ${value & 0xffff} of facility ${facility}, without a known name`;
  return described(value, hex32(value), meaning, 'other');
}

function described(
  value: number,
  name: string,
  meaning: string,
  errorClass: ErrorClass,
  aliases: readonly string[] = [],
): Hresult {
  const severity = value >= FAILED ? 'error' : 'success';
  return { value, hex: hex32(value), name, aliases, meaning, severity, class: errorClass };
}
