import type { NewestCall, ShimFrame, Unknown } from './frames.ts';

/** A frame with a token in place of each text that came from the host. */
export function redactFrame<Frame extends Exclude<ShimFrame, Unknown>>(
  frame: Frame,
  token: (text: string) => string,
): Frame {
  const hide = (text: string | null): string | null => (text === null ? null : token(text));
  const newest = (call: NewestCall): NewestCall => ({ ...call, text: hide(call.text) });
  const given: Exclude<ShimFrame, Unknown> = frame;
  switch (given.kind) {
    case 'open':
      return { ...frame, provider: hide(given.provider), store: hide(given.store) };
    case 'progress':
    case 'error':
      return { ...frame, text: hide(given.text) };
    case 'note':
      return { ...frame, key: token(given.key), value: token(given.value) };
    case 'merged':
    case 'slot':
      return { ...frame, newest: newest(given.newest) };
    default:
      return frame;
  }
}
