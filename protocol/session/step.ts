import type { Progress } from '../wire/frames.ts';
import { isFloodWindowOver } from './contract.ts';
import { isBarDue } from './progress.ts';
import { isSampleDue } from './rate.ts';
import type { SessionState } from './state.ts';

/**
 * Takes a call that moves the bar of a running session on and does nothing else, which nearly all calls
 * do. Just what `applyFrame()` would do, at a fraction of the price: no call from here on takes a number
 * that would have to be put on the heap.
 *
 * @returns false, with nothing changed, if there is more to it: then it is for `applyFrame()`.
 */
export function stepBar(
  state: SessionState,
  frame: Readonly<Pick<Progress, 'call' | 'timeUs' | 'index' | 'max' | 'text'>>,
): boolean {
  const { last, rate } = state;
  const { call, timeUs, index, max, text } = frame;
  if (
    state.ended !== null ||
    state.done !== null ||
    state.quietSinceUs !== null ||
    state.ahead !== null ||
    state.phases.current === null ||
    call <= last.call ||
    max !== last.max ||
    index < last.index ||
    index > max ||
    rate.runUs < 0 ||
    (text !== null && text !== state.text) ||
    isSampleDue(rate, timeUs) ||
    isFloodWindowOver(state, timeUs) ||
    isBarDue(state, index, max, timeUs)
  ) {
    return false;
  }
  if (timeUs > state.lastCallUs) {
    const silenceUs = timeUs - state.lastCallUs - state.excusedUs;
    if (silenceUs > state.silenceUs) state.silenceUs = silenceUs;
    state.lastCallUs = timeUs;
    state.excusedUs = 0;
  }
  if (text !== null && call > state.textCall) state.textCall = call;
  last.call = call;
  last.timeUs = timeUs;
  last.index = index;
  if (call > state.progress) state.progress = call;
  return true;
}
