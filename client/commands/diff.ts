/** `diff`: two sessions side by side, by phase. Needs no daemon. */
import { escapeLine } from '../../protocol/records/text.ts';
import { diffStories } from '../../protocol/session/story-diff.ts';
import { EXIT } from '../exit.ts';
import { findHistory, storyOf } from '../history.ts';
import type { Io } from '../io.ts';
import { diffLines } from '../render/diff-lines.ts';
import type { Settings } from '../settings.ts';

const PIPE_COLUMNS = 120;

export async function diff(
  sessions: readonly [string, string],
  options: { readonly journal?: string },
  settings: Settings,
  io: Io,
): Promise<number> {
  const history = findHistory(options.journal, settings, io);
  const [a, b] = [storyOf(history, sessions[0]), storyOf(history, sessions[1])];
  const found = diffStories(a, b);
  if (settings.output === 'json') {
    await io.stdout.write(`${escapeLine(JSON.stringify(found))}\n`);
    return EXIT.done;
  }
  const lines = diffLines(found, io.stdout.columns || PIPE_COLUMNS, settings.theme);
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}
