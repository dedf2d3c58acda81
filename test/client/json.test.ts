// What machines read: transcripts of the JSON forms, with what is another one each time by its kind.
import { expect, test } from 'vitest';
import { run } from '../../client/cli.ts';
import { FakeShim, newRingId, Script, startDaemon } from '../daemon/support.ts';
import { keptIo } from './builders.ts';

const COMMANDS = [
  ['tail', '--since', '1h', '--exit-on-done'],
  ['sessions'],
  ['show', '^0'],
  ['check', '^0'],
  ['status'],
  ['hresult', '0x8004010F'],
  ['show', 'nobody'],
];

/** What of a text is another one each time. */
const KINDS: readonly (readonly [RegExp, string])[] = [
  [/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'TIME'],
  [/^[0-9a-f]{16}$/, 'ID'],
  [/^[0-9a-f]{16,32}(-\d+)+$/, 'ID-NUMBER'],
  [/^[0-9a-f]{32}$/, 'RING'],
  [/^\d+:\d+$/, 'CURSOR'],
  [/^\/.*\/(?=journal$|socket$|state$)/, 'FOLDER/'],
  [/\d+(\.\d+)? (m?s)\b/g, 'TIME'],
];
/** Whose value tells of the moment or the machine. */
const VARYING = /^(pid|version|clients|share)$|_us$|^us$|_bytes$/;

function settled(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((one) => settled(one, key));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [name, settled(one, name)]),
    );
  }
  if (VARYING.test(key) && value !== null) return typeof value === 'number' ? 0 : key.toUpperCase();
  if (typeof value !== 'string') return value;
  return KINDS.reduce((text, [shape, kind]) => text.replace(shape, kind), value);
}

function told(text: string): string {
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  return lines
    .map((line) => {
      const value = JSON.parse(line);
      // Figures have a contract of their own.
      delete value.metrics;
      delete value.host;
      return JSON.stringify(settled(value));
    })
    .join('\n');
}

test('JSON is what it was', async () => {
  const daemon = await startDaemon();
  const shim = await FakeShim.connect(daemon.stateDir);
  await shim.hello(newRingId());
  // Its longest silence is the first.
  const script = new Script(1, '受信トレイ', 5_000_000)
    .progress(1, 2, 'Inbox')
    .error('no\x1bway')
    .done()
    .close();
  shim.send(...script.frames);
  await shim.acked(script.seq);
  const parts: string[] = [];
  for (const command of COMMANDS) {
    const io = keptIo();
    const code = await run([...command, '--json', '--state-dir', daemon.stateDir], io);
    parts.push(
      [
        `$ mapisync ${command.join(' ')} --json`,
        told(io.stdout.text),
        told(io.stderr.text),
        `# ${code}`,
      ]
        .filter((text) => text !== '')
        .join('\n'),
    );
  }
  await expect(`${parts.join('\n\n')}\n`).toMatchFileSnapshot('expected/json.expected');
});
