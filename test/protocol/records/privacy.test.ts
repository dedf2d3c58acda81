// What may leave: every text that a host, a provider or a machine can choose is hidden.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type FinishedRecord, MAX_LINE_BYTES, toLine } from '../../../protocol/records/line.ts';
import { privacyOf } from '../../../protocol/records/privacy.ts';
import { token } from '../../../protocol/records/token.ts';
import { checkValid, schema } from '../../valid-record.mjs';

const dir = join(import.meta.dirname, 'journals', '0.1.0');
const kept: FinishedRecord[] = readdirSync(dir)
  .flatMap((name) => readFileSync(join(dir, name), 'utf8').split('\n').slice(0, -1))
  .map((line) => JSON.parse(line))
  .filter(({ event_name }) => !event_name.startsWith('snapshot.'));
const hide = (text: string): string => token(Buffer.alloc(32, 7), text);

interface Node {
  readonly [key: string]: unknown;
  readonly properties?: Record<string, Node>;
}
const whole = schema as Node & { $defs: Record<string, Node> };

/** A record of this event with a text of its own in each place that the schema leaves open. */
function planted(event: string, names: string[]): FinishedRecord {
  const make = (given: Node, path: string): unknown => {
    const node = given.$ref ? whole.$defs[String(given.$ref).replace('#/$defs/', '')]! : given;
    if (node.enum) return (node.enum as unknown[])[0];
    if ('const' in node) return node.const;
    const types = [node.type].flat();
    if (node.properties) {
      return Object.fromEntries(
        Object.entries(node.properties).map(([name, member]) => [
          name,
          make(member, path === '' ? name : `${path}.${name}`),
        ]),
      );
    }
    if (path === 'detail') return { pipe: plant(), why: plant(), callback: false };
    if (path === 'lost.by_kind') return { progress: 3 };
    if (node.type === 'array')
      return [make(node.items as Node, path), make(node.items as Node, path)];
    if (types.includes('string')) return node.pattern ? PATTERNED(path) : (OURS[path] ?? plant());
    return types[0] === 'boolean' ? true : 1;
  };
  const plant = (): string => {
    names.push(`Jane Doe ${names.length}`);
    return names.at(-1)!;
  };
  const record = make(whole, '') as Record<string, unknown>;
  return { ...record, event_name: event, state: plant(), novel: { path: plant() } } as never;
}

/** Open texts that we make ourselves, from closed lists. */
const OURS: Record<string, string> = {
  'service.name': 'mapisync',
  'service.version': '0.1.0',
  'service.instance_id': '0011223344556677',
  outcome_reason: 'Done was called with S_OK (0x00000000)',
  'session.flags': 'SYNC_DOWNLOAD',
  'error.name': 'MAPI_E_NOT_FOUND',
  'error.aliases': 'MAPI_E_NONE',
  'returned.name': 'S_OK',
  'lost.reason': 'full',
  'refusal.reason': 'proof',
  'trimmed.reader': 'siem',
};
const PATTERNED = (path: string): string => (/hresult|raw/.test(path) ? '0x8004010F' : 'a');

describe.for(['token', 'drop'] as const)('privacyOf(%s)', (policy) => {
  const privacy = privacyOf(policy, hide);

  test('hides each text that is planted where the schema leaves it open', () => {
    const events = (whole.properties!.event_name!.enum as string[]).slice(0, 24);
    const names: string[] = [];
    const lines = events.flatMap((event) => {
      const record = planted(event, names);
      // Messages are built of the texts.
      return [toLine(privacy({ ...record, msg: names.slice(-20).join(', ') }))];
    });
    expect(names.length).toBeGreaterThan(400);
    const text = lines.join('\n');
    expect(names.filter((name) => text.includes(name))).toEqual([]);
    expect(text).not.toMatch(/Jane|Doe/);
  });

  test('leaves a valid record of each, not longer than a line, with the same id', () => {
    for (const record of kept) {
      const hidden = privacy(record);
      checkValid(hidden);
      expect(Buffer.byteLength(toLine(hidden))).toBeLessThanOrEqual(MAX_LINE_BYTES);
      expect(hidden.event_id).toBe(record.event_id);
    }
  });
});

test('the same text has the same token, also in another record and for the host', () => {
  const privacy = privacyOf('token', hide);
  const [first, second] = kept.filter((record) => record.session?.store !== undefined);
  expect(privacy(first!).session?.store).toBe(hide(first!.session!.store!));
  expect(privacy(second!).host).toEqual({ name: hide('bench') });
  expect(privacyOf('drop', hide)(first!).session).not.toHaveProperty('store');
});

test('plain leaves a record as it is', () => {
  const privacy = privacyOf('plain', hide);
  for (const record of kept) expect(privacy(record)).toEqual(record);
});
