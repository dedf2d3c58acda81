/** `decode`: a recording as JSON lines, one a frame. */
import { escapeLine } from '../../protocol/records/text.ts';
import { recordingParts } from '../../protocol/wire/recording.ts';
import { EXIT } from '../exit.ts';
import type { Io } from '../io.ts';
import { damagedFile, readBytes } from '../recordings.ts';

const LINES_AT_ONCE = 256;

/** Prints what is whole, also of a damaged file. */
export async function decode(path: string, io: Io): Promise<number> {
  const bytes = readBytes(path);
  let lines: string[] = [];
  const flush = async (): Promise<void> => {
    if (lines.length > 0) await io.stdout.write(`${lines.join('\n')}\n`);
    lines = [];
  };
  try {
    for (const part of recordingParts(bytes)) {
      const shown = part.kind === 'frame' ? { offset: part.offset, ...part.frame } : part;
      lines.push(escapeLine(JSON.stringify(shown)));
      if (lines.length >= LINES_AT_ONCE) await flush();
    }
    await flush();
    return EXIT.done;
  } catch (error) {
    await flush();
    throw damagedFile(path, error, 'What stands before the damage was printed');
  }
}
