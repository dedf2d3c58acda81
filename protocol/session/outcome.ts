import type { Level, Outcome } from '../records/record.ts';
import { describeHresult } from './hresults.ts';
import type { SessionState } from './state.ts';
import { errorCount, hasCalls } from './state.ts';

/** How a session ended, by the rules of the log's documentation: the first that matches. */

const MAPI_E_USER_CANCEL = 0x80040113;
const MAPI_E_CANCEL = 0x80040501;
/** From here on bit 31 is set: a failure. */
export const FAILED = 0x80000000;

/** What ended it. `released`: the last Release, or 5 s after `Done`. */
export type EndCause = { readonly by: 'released' } | { readonly by: 'gone'; readonly how: string };

export function isCancel(hresult: number): boolean {
  return hresult === MAPI_E_USER_CANCEL || hresult === MAPI_E_CANCEL;
}

export function judge(
  state: SessionState,
  cause: EndCause,
): { readonly outcome: Outcome; readonly reason: string } {
  if (state.done === null) {
    if (cause.by === 'gone') return { outcome: 'abandoned', reason: `${cause.how} before Done` };
    const { returned: back } = state;
    const returned =
      back === null || (back.hresult === 0 && hasCalls(state))
        ? ''
        : `; SynchronizeInBackground returned ${shown(back.hresult)}`;
    if (!hasCalls(state) && (back === null || back.hresult < FAILED)) {
      if (back === null) return { outcome: 'failed', reason: 'The callback refused its interface' };
      // The provider has no callback, or one that nobody can be put before.
      const outcome = back.hresult === 0 ? 'ok' : 'warned';
      return { outcome, reason: `No callback was there to be called${returned}` };
    }
    if (state.dones > 0) {
      return { outcome: 'failed', reason: 'Done was called, but what it brought was lost' };
    }
    return { outcome: 'failed', reason: `The callback was released without Done${returned}` };
  }
  const { hresult } = state.done;
  const reason = `Done was called with ${shown(hresult)}`;
  if (isCancel(hresult)) return { outcome: 'cancelled', reason };
  if (hresult >= FAILED) return { outcome: 'failed', reason };
  const errors = errorCount(state);
  const last = state.lastError === null ? '' : `, the last with ${state.lastError.name}`;
  if (errors > 0) {
    const after = `after ${count(errors, 'error')}${last}`;
    return { outcome: 'ok_with_errors', reason: `${reason}, ${after}` };
  }
  if (hresult !== 0) return { outcome: 'warned', reason };
  if (state.oddities > 0) {
    const after = `after ${count(state.oddities, 'warning')}${last}`;
    return { outcome: 'warned', reason: `${reason}, ${after}` };
  }
  return { outcome: 'ok', reason };
}

const LEVELS: Record<Outcome, Level> = {
  ok: 'info',
  cancelled: 'info',
  ok_with_errors: 'warn',
  warned: 'warn',
  failed: 'error',
  abandoned: 'error',
};

export function levelOf(outcome: Outcome): Level {
  return LEVELS[outcome];
}

/** `3 errors` */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/** `MAPI_E_NOT_FOUND (0x8004010F)` */
export function shown(hresult: number): string {
  const { name, hex } = describeHresult(hresult);
  return named({ name, hresult: hex });
}

/** The same of what is described already. */
export function named(error: { readonly name: string; readonly hresult: string }): string {
  return error.name === error.hresult ? error.hresult : `${error.name} (${error.hresult})`;
}
