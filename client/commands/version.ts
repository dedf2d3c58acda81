/** `version`: this program, what it speaks, what it runs on. */
import { PROTOCOL_VERSION } from '../../protocol/wire/limits.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';
import { packageVersion } from '../version.ts';

export async function version(settings: Settings, io: Io): Promise<number> {
  const facts = {
    version: packageVersion(),
    protocol: PROTOCOL_VERSION,
    node: process.versions.node,
    platform: `${io.platform}-${process.arch}`,
  };
  const text =
    settings.output === 'json'
      ? JSON.stringify(facts)
      : `mapisync ${facts.version} (protocol ${facts.protocol}, Node ${facts.node}, ${facts.platform})`;
  await io.stdout.write(`${text}\n`);
  return EXIT.done;
}
