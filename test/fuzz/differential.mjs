/** Both languages read the same inputs, and must come to the same text. */
import { inputsOf } from './corpus.mjs';
import { describers, normalise } from './describe.mjs';
import { load } from './modules.mjs';
import { mutate, prepare } from './mutate.mjs';
import { Describer } from './native.mjs';
import { Random } from './random.mjs';

const BATCH = 2048;

/** Targets that both languages have. */
export const SHARED = ['frame', 'ring', 'endpoint', 'handshake', 'utf8'];

/** What both can be asked: the file is text, and what is no text is not the same in both. */
const isComparable = (target, input) =>
  target !== 'endpoint' || (input.length <= 4096 && !input.toString('utf8').includes('\ufffd'));

/**
 * What stands in the endpoint file for people is looked at by one of the two alone.
 */
const agree = (native, script) =>
  native === script ||
  script === 'refused for what is for people' ||
  normalise(native) === normalise(script);

/**
 * @param {object} options `target`; `program`: path of the describer; `dist`: folder of the build;
 *   `count`: mutated inputs on top of the corpus; `seed`
 * @returns {Promise<{inputs: number, differ?: {input: Buffer, native: string, script: string}}>}
 */
export async function compare({ target, program, dist, count, seed, deadline = Infinity }) {
  const describe = describers(await load(dist))[target];
  const native = new Describer(program, target);
  const corpus = inputsOf(target);
  const seeds = prepare(corpus);
  const room = Buffer.alloc(Math.max(...corpus.map(({ length }) => length)) + 1024);
  const random = new Random(seed);
  let inputs = 0;
  const check = async (batch) => {
    const asked = batch.filter((input) => isComparable(target, input));
    const texts = await native.ask(asked);
    for (const [n, input] of asked.entries()) {
      inputs += 1;
      const script = describe(input);
      if (!agree(texts[n], script)) return { input, native: texts[n], script };
    }
    return undefined;
  };
  try {
    for (let at = 0; at < corpus.length; at += BATCH) {
      const differ = await check(corpus.slice(at, at + BATCH));
      if (differ) return { inputs, differ };
    }
    while (inputs < count && performance.now() < deadline) {
      const batch = Array.from({ length: target === 'ring' ? 128 : BATCH }, () =>
        Buffer.from(room.subarray(0, mutate(random, seeds, room))),
      );
      const differ = await check(batch);
      if (differ) return { inputs, differ };
    }
    return { inputs };
  } finally {
    native.close();
  }
}
