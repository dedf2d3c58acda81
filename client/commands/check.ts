/** `check`: which contract checks fired, in a recording or in a session of the journal. */
import { existsSync } from 'node:fs';
import { escapeLine } from '../../protocol/records/text.ts';
import { recordsOf } from '../../protocol/session/recorded.ts';
import { type Story, tellStory } from '../../protocol/session/story.ts';
import { EXIT } from '../exit.ts';
import { findHistory, storyOf } from '../history.ts';
import type { Io } from '../io.ts';
import { loadRecording } from '../recordings.ts';
import { count } from '../render/numbers.ts';
import { checkText } from '../render/story-lines.ts';
import { printable } from '../render/text.ts';
import type { Settings } from '../settings.ts';

export async function check(
  what: string,
  options: { readonly journal?: string },
  settings: Settings,
  io: Io,
): Promise<number> {
  // No session has such an id, so a file that is not there is told as one.
  const isFile = /[./\\]/.test(what) || existsSync(what);
  const story = isFile
    ? recordedStory(what)
    : storyOf(findHistory(options.journal, settings, io), what);
  const faults = story.checks.filter(({ severity }) => severity === 'fault');
  const code = faults.length > 0 ? EXIT.syncFailed : EXIT.done;
  if (settings.output === 'json') {
    const told = { session: story.session.id, faults: faults.length, checks: story.checks };
    await io.stdout.write(`${escapeLine(JSON.stringify(told))}\n`);
    return code;
  }
  const { paint, unicode } = settings.theme;
  const styles = { fault: 'red', note: 'yellow', info: 'dim' } as const;
  const lines = story.checks.flatMap((found) => {
    const severity = paint(styles[found.severity] ?? 'dim', found.severity.padEnd(5));
    const line = `${severity} ${printable(checkText(found), unicode)}`;
    return found.mend ? [line, `      ${found.mend}`] : [line];
  });
  if (settings.verbosity >= 0) {
    const all = `${count(faults.length, 'fault')}, ${count(story.checks.length, 'check')} fired`;
    lines.push(`${story.session.id}: ${lines.length === 0 ? 'no check fired' : all}`);
  }
  if (lines.length > 0) await io.stdout.write(`${lines.join('\n')}\n`);
  return code;
}

function recordedStory(path: string): Story {
  const { records } = recordsOf(loadRecording(path));
  return tellStory(records, { nowUs: 0, stopped: true });
}
