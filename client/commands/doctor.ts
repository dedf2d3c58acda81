/** `doctor`: what is wrong with this installation, what shows it, and the command that mends it. */
import { release } from 'node:os';
import { prepareStateDir, statePaths } from '../../daemon/platform/paths.ts';
import { machineTokens } from '../../daemon/platform/token-key.ts';
import { PROTOCOL_VERSION } from '../../protocol/wire/limits.ts';
import { writeBundle } from '../bundle.ts';
import { ALL_KEYS } from '../config/keys.ts';
import { find } from '../config/sources.ts';
import { gatherFacts } from '../doctor/facts.ts';
import { diagnose, type Finding } from '../doctor/findings.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { say } from '../messages.ts';
import { count } from '../render/numbers.ts';
import { printable } from '../render/text.ts';
import type { Settings } from '../settings.ts';

export async function doctor(
  { bundle }: { readonly bundle?: string },
  settings: Settings,
  io: Io,
): Promise<number> {
  const facts = await gatherFacts(settings, io);
  const findings = diagnose(facts);
  if (bundle !== undefined) pack(bundle, findings, facts.version, settings, io);
  const problems = findings.filter(({ severity }) => severity === 'problem').length;
  if (settings.output === 'json') {
    await io.stdout.write(`${JSON.stringify({ problems, findings })}\n`);
  } else {
    const { unicode, paint } = settings.theme;
    const lines = findings.flatMap(({ severity, what, proof, mend }) => [
      `${severity === 'problem' ? paint('red', 'x') : paint('dim', 'i')}  ${what}`,
      `   ${paint('dim', printable(proof, unicode))}`,
      `   ${mend}`,
    ]);
    if (problems === 0) lines.push(`ok  No problems in ${facts.root}`);
    await io.stdout.write(`${lines.join('\n')}\n`);
  }
  return problems > 0 ? EXIT.problems : EXIT.done;
}

function pack(
  file: string,
  findings: readonly Finding[],
  version: string,
  settings: Settings,
  io: Io,
): void {
  const paths = statePaths(settings.stateDir, io.env as NodeJS.ProcessEnv);
  prepareStateDir(paths);
  const about = {
    version,
    protocol: PROTOCOL_VERSION,
    node: process.version,
    platform: `${io.platform}-${process.arch}`,
    release: release(),
    // Their proofs name paths, and so people.
    findings: findings.map(({ code, severity, what }) => ({ code, severity, what })),
    settings: Object.fromEntries(
      ALL_KEYS.map((key) => {
        const { text, origin } = find(key, undefined, settings.sources);
        return [key.name, { value: text ?? key.fallback, origin }];
      }),
    ),
  };
  const packed = writeBundle(file, paths.journal, about, machineTokens(paths.root));
  if (settings.verbosity < 0) return;
  const left = packed.leftOut > 0 ? `; ${count(packed.leftOut, 'older segment')} left out` : '';
  say(
    io,
    `Wrote ${file}: ${count(packed.segments, 'journal segment')}, ${packed.bytes} bytes${left}`,
  );
}
