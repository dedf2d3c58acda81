/**
 * `npm run explore -- [--crashes N] [--drops N] [--rotations N] [--frames N,N]`: the exploration of
 * explorer.ts to its whole bound. Ends with 1 and a shortest history if an invariant does not hold.
 */
import { parseArgs } from 'node:util';
import {
  explore,
  INVARIANTS,
  type Limits,
  REDUCED,
  type Reductions,
  UNREDUCED,
} from './explorer.ts';
import { CORE } from './explorer-model.ts';

const { values } = parseArgs({
  options: {
    crashes: { type: 'string', default: '2' },
    drops: { type: 'string', default: '1' },
    rotations: { type: 'string', default: '0' },
    frames: { type: 'string', default: '3,3' },
    unreduced: { type: 'boolean', default: false },
  },
});

function numbers(option: 'crashes' | 'drops' | 'rotations' | 'frames', count: number, max: number) {
  const found = values[option].split(',').map(Number);
  if (found.length === count && found.every((n) => Number.isInteger(n) && n >= 0 && n <= max)) {
    return found;
  }
  const wanted = `${count === 1 ? 'a number' : `${count} numbers`} from 0 to ${max}`;
  const got = JSON.stringify(values[option]);
  process.stderr.write(`Cannot explore: expected --${option} with ${wanted}, got ${got}\n`);
  process.exit(2);
}

const limits: Limits = {
  crashes: numbers('crashes', 1, 9)[0]!,
  drops: numbers('drops', 1, 9)[0]!,
  rotations: numbers('rotations', 1, 9)[0]!,
  frames: numbers('frames', 2, 3) as [number, number],
};
const reductions: Reductions = values.unreduced ? UNREDUCED : REDUCED;
const began = performance.now();
const seconds = (): string => ((performance.now() - began) / 1000).toFixed(1);
const shows = process.stderr.isTTY;
const { states, transitions, depth, ends, violation } = explore(
  CORE,
  limits,
  reductions,
  (so, deep) => shows && process.stderr.write(`\r${so} states, depth ${deep}, ${seconds()} s `),
);
if (shows) process.stderr.write('\n');
const { crashes, drops, rotations, frames } = limits;
process.stdout.write(
  `${frames.join(' + ')} frames, ${crashes} crashes, ${drops} drops, ${rotations} rotations: ` +
    `${states} states, ${transitions} transitions, depth ${depth}, ${ends.size} outcomes, ${seconds()} s\n`,
);
if (violation !== undefined) {
  const { invariant, what, history } = violation;
  const steps = history.map((step) => `  ${step}\n`).join('');
  process.stdout.write(`${INVARIANTS[invariant]} - violated: ${what}, after\n${steps}`);
  process.exitCode = 1;
}
