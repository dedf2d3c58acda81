import type { LiveSession } from '../records/record.ts';
import { rfc3339 } from '../records/time.ts';
import { firedCodes } from './checks.ts';
import { attachName, methodName } from './drafts.ts';
import { describeHresult } from './hresults.ts';
import { progressFields } from './progress.ts';
import type { SessionState } from './state.ts';
import { errorCount } from './state.ts';
import { hex32 } from './sync-flags.ts';

/** A session as clients see it at a time of the monotonic clock. */
export function liveSession(state: SessionState, nowUs: number): LiveSession {
  const { ahead, done, ended, lastError } = state;
  const stall = stallOf(state, nowUs);
  const { rate_per_s, eta_s, ...bar } =
    ahead === null ? progressFields(state) : progressFields(state, ahead, ahead.text ?? state.text);
  // While nothing moves nobody knows when it will be over.
  const progress =
    stall !== undefined
      ? bar
      : {
          ...bar,
          ...(rate_per_s === undefined ? {} : { rate_per_s }),
          ...(eta_s === undefined ? {} : { eta_s }),
        };
  return {
    id: state.id,
    ...(state.provider === null ? {} : { provider: state.provider }),
    ...(state.store === null ? {} : { store: state.store }),
    attach: attachName(state.attach),
    state: ended !== null ? 'ended' : stall === undefined ? 'running' : 'stalled',
    pid: state.origin.pid,
    executable: state.origin.executable,
    opened: rfc3339(state.openWallUs),
    duration_us: ended?.durationUs ?? Math.max(0, (done?.timeUs ?? nowUs) - state.openTimeUs),
    since_last_call_us: Math.max(0, nowUs - state.lastCallUs),
    progress,
    errors: errorCount(state),
    warnings: state.warnings,
    ...(state.fired === 0 ? {} : { checks: firedCodes(state.fired) }),
    ...(state.usual === null ? {} : { usual_us: state.usual.durationUs }),
    ...(lastError === null ? {} : { last_error: lastError }),
    ...(stall === undefined ? {} : { stall }),
    ...(done === null
      ? {}
      : { done: { hresult: hex32(done.hresult), name: describeHresult(done.hresult).name } }),
    ...(ended === null ? {} : { outcome: ended.outcome, outcome_reason: ended.reason }),
  };
}

function stallOf(state: SessionState, nowUs: number): LiveSession['stall'] {
  if (state.ended !== null) return undefined;
  const longest = state.blocked[0];
  if (longest !== undefined) {
    const { method, thread, sinceUs } = longest;
    const forUs = Math.max(0, nowUs - sinceUs);
    return { kind: 'blocked', method: methodName(method), thread, for_us: forUs };
  }
  if (state.quietSinceUs === null) return undefined;
  return { kind: 'quiet', for_us: Math.max(0, nowUs - state.quietSinceUs - state.excusedUs) };
}
