/** `show`: what one session was, from the journal. Needs no daemon. */
import { escapeLine } from '../../protocol/records/text.ts';
import { EXIT } from '../exit.ts';
import { findHistory, storyOf } from '../history.ts';
import type { Io } from '../io.ts';
import { dumpCommands, storyLines } from '../render/story-lines.ts';
import type { Settings } from '../settings.ts';

/** Where there is no terminal. */
const PIPE_COLUMNS = 120;

export async function show(
  session: string,
  options: { readonly journal?: string },
  settings: Settings,
  io: Io,
): Promise<number> {
  const story = storyOf(findHistory(options.journal, settings, io), session);
  if (settings.output === 'json') {
    const dump = dumpCommands(story);
    const told = dump.length === 0 ? story : { ...story, dump };
    await io.stdout.write(`${escapeLine(JSON.stringify(told))}\n`);
    return EXIT.done;
  }
  const { columns, rows } = io.stdout;
  const lines = storyLines(story, {
    columns: columns || PIPE_COLUMNS,
    rows: settings.verbosity > 0 || !rows ? undefined : rows,
    theme: settings.theme,
  });
  await io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}
