/**
 * One sentence on a session: the first row of the table that matches. Each says who it was (the
 * provider, Outlook, the system), where, since when, and what the last call was.
 */
import type { ErrorClass, ProgressFields } from '../records/record.ts';
import { durationText } from './drafts.ts';
import { count, named } from './outcome.ts';
import type { Facts, StoryPhase, StoryStall } from './story.ts';
import { hex32 } from './sync-flags.ts';

interface Row {
  readonly code: string;
  readonly when: (facts: Facts) => boolean;
  readonly say: (facts: Facts) => string;
}

/** Outlook's part of a sync from which on it is called slow because of Outlook. */
const OUTLOOK_SHARE = 0.5;
/** And durations below which nobody cares: of Outlook's part, and of a sync. */
const MIN_OUTLOOK_US = 1_000_000;
const MIN_SLOW_US = 5_000_000;
/** As many times the usual is slow. */
const SLOW_TIMES = 2;
const LONG_SILENCE_US = 30_000_000;
const FIRST_EXCEPTION = 0x80000000;

export function judgeStory(facts: Facts): { readonly code: string; readonly text: string } {
  const row = VERDICTS.find(({ when }) => when(facts)) as Row;
  return { code: row.code, text: row.say(facts) };
}

/** Stable codes, in the order in which they are tried. The last one always matches. */
export const VERDICTS: readonly Row[] = [
  {
    code: 'stuck_in_outlook',
    when: (facts) => ongoing(facts, 'blocked') !== undefined,
    say: (facts) => {
      const { method = 'Progress', thread, since, for_us } = stall(facts, 'blocked');
      const who = thread === undefined ? 'a thread' : `thread ${thread}`;
      return `Stuck in Outlook, not in the provider: ${who} is inside Outlook's ${method} since ${clockOf(since)} (${durationText(for_us)})${lastCall(facts)}`;
    },
  },
  {
    code: 'stuck_in_provider',
    when: (facts) => ongoing(facts, 'quiet') !== undefined,
    say: (facts) => {
      const { since, for_us } = stall(facts, 'quiet');
      return `Stuck in the provider: no call since ${clockOf(since)} (${durationText(for_us)}), and none is inside Outlook${lastCall(facts)}`;
    },
  },
  {
    code: 'not_released',
    when: ({ state, done }) => state === 'running' && done !== undefined,
    say: ({ done }) => `Done was called with ${nameOf(done)}; the callback is not released yet`,
  },
  {
    code: 'no_call_yet',
    when: (facts) => facts.state === 'running' && facts.totals.progress === 0,
    say: (facts) =>
      `Began ${durationText(facts.duration_us)} ago, and the provider has made no call of Progress`,
  },
  {
    code: 'running',
    when: ({ state }) => state === 'running',
    say: (facts) =>
      `Runs since ${durationText(facts.duration_us)}${lastCall(facts)}, ${durationText(facts.since_last_call_us)} ago`,
  },
  {
    code: 'unknown',
    when: ({ state }) => state === 'unknown',
    say: (facts) =>
      `How it went on is not known: the daemon stopped at ${clockOf(facts.as_of)} while it ran${lastCall(facts)}`,
  },
  {
    code: 'died_in_outlook',
    when: ({ outcome, exit }) => outcome === 'abandoned' && (exit?.in_callback?.length ?? 0) > 0,
    say: (facts) => {
      const inside = facts.exit?.in_callback?.[0];
      return `${died(facts)} while thread ${inside?.thread} was inside Outlook's ${inside?.method}: look at Outlook first${lastCall(facts)}`;
    },
  },
  {
    code: 'died_stuck_in_outlook',
    when: (facts) => facts.outcome === 'abandoned' && unfinished(facts, 'blocked') !== undefined,
    say: (facts) => {
      const { method = 'Progress', for_us } = stall(facts, 'blocked');
      return `${died(facts)} after a call had been inside Outlook's ${method} for ${durationText(for_us)}: stuck in Outlook, not in the provider${lastCall(facts)}`;
    },
  },
  {
    code: 'died_stuck_in_provider',
    when: (facts) => facts.outcome === 'abandoned' && unfinished(facts, 'quiet') !== undefined,
    say: (facts) =>
      `${died(facts)} after the provider had made no call for ${durationText(stall(facts, 'quiet').for_us)}, none of them inside Outlook: stuck in the provider${lastCall(facts)}`,
  },
  {
    code: 'crashed',
    when: ({ outcome, exit }) => outcome === 'abandoned' && exit?.crashed === true,
    say: (facts) =>
      `${died(facts)} while no call was inside Outlook's callback: the provider or another part of the process${lastCall(facts)}`,
  },
  {
    code: 'abandoned',
    when: ({ outcome }) => outcome === 'abandoned',
    say: (facts) => `${died(facts)} before the sync was done${lastCall(facts)}`,
  },
  {
    code: 'cancelled',
    when: ({ outcome }) => outcome === 'cancelled',
    say: (facts) =>
      `Cancelled after ${durationText(facts.duration_us)}, as Done with ${nameOf(facts.done)} says${lastCall(facts)}`,
  },
  {
    code: 'never_done',
    when: ({ outcome, done }) => outcome === 'failed' && done === undefined,
    say: (facts) =>
      `The provider's fault: it let go of the callback without Done${facts.returned ? `, and SynchronizeInBackground returned ${named(facts.returned)}` : ''}${lastCall(facts)}`,
  },
  {
    code: 'failed',
    when: ({ outcome }) => outcome === 'failed',
    say: (facts) => {
      const error = facts.first_error;
      const first =
        error && error.hresult !== facts.done?.hresult
          ? `; the first error was ${named(error)}`
          : '';
      const cause = error?.class ?? classOfDone(facts);
      return `The provider gave up: Done with ${nameOf(facts.done)}${CAUSES[cause]}${first}${lastCall(facts)}`;
    },
  },
  {
    code: 'broke_contract',
    when: ({ checks }) => checks.some(({ severity }) => severity === 'fault'),
    say: (facts) => {
      const faults = facts.checks.filter(({ severity }) => severity === 'fault');
      const more = faults.length > 1 ? `, and ${faults.length - 1} more` : '';
      const [{ code = '', title, detail = '' } = {}] = faults;
      const what = title ? `${title} (${detail})` : detail;
      return `Finished ${facts.outcome}, but the provider broke the contract: ${code} ${what}${more}`;
    },
  },
  {
    code: 'ok_with_errors',
    when: ({ outcome }) => outcome === 'ok_with_errors',
    say: (facts) => {
      const { errors } = facts.totals;
      const [most] = facts.errors.filter(({ severity }) => severity === 'error');
      const which = most ? `, mostly ${named(most)}` : '';
      return `Finished in ${durationText(facts.duration_us)} with ${count(errors, 'error')}${which}: what they name may be missing`;
    },
  },
  {
    code: 'warned',
    when: ({ outcome }) => outcome === 'warned',
    say: (facts) =>
      `Finished in ${durationText(facts.duration_us)} with ${count(facts.totals.warnings, 'warning')}: ${facts.outcome_reason ?? ''}`,
  },
  {
    code: 'refused_by_outlook',
    when: ({ inner }) => inner.failed > 0,
    say: ({ inner, duration_us }) =>
      `Finished ok in ${durationText(duration_us)}, but Outlook's callback failed ${count(inner.failed, 'time')}, first with ${inner.first_failure}`,
  },
  {
    code: 'slow_in_outlook',
    when: ({ inner }) => inner.share >= OUTLOOK_SHARE && inner.us >= MIN_OUTLOOK_US,
    say: (facts) =>
      `Finished ok in ${durationText(facts.duration_us)}, and Outlook's callback took ${percent(facts.inner.share)} of it${whichMethod(facts)}: slow because of Outlook`,
  },
  {
    code: 'slow_phase',
    when: ({ usual_us, duration_us }) =>
      usual_us !== undefined && duration_us >= MIN_SLOW_US && duration_us >= SLOW_TIMES * usual_us,
    say: (facts) => {
      const slow = mostSlowed(facts);
      const usually =
        slow?.usual_us === undefined ? '' : `, usually ${durationText(slow.usual_us)}`;
      const where = slow
        ? `, ${durationText(slow.duration_us)} of it in ${phaseName(slow.text)}${usually}`
        : '';
      return `Finished ok, but slowly: ${durationText(facts.duration_us)}, usually ${durationText(facts.usual_us ?? 0)}${where}`;
    },
  },
  {
    code: 'long_silence',
    when: ({ silence }) => silence !== undefined && silence.for_us >= LONG_SILENCE_US,
    say: (facts) => {
      const { for_us = 0, by, since = '' } = facts.silence ?? {};
      const who = by === 'outlook' ? 'held up by Outlook' : 'without a call of the provider';
      return `Finished ok in ${durationText(facts.duration_us)}, ${durationText(for_us)} of it ${who} from ${clockOf(since)} on`;
    },
  },
  {
    code: 'ok',
    when: () => true,
    say: (facts) => {
      const notes = facts.checks.filter(({ severity }) => severity === 'note').length;
      const odd =
        notes === 0 ? 'nothing to complain of' : `${count(notes, 'note')} on the contract`;
      return `Finished ${facts.outcome ?? 'ok'} in ${durationText(facts.duration_us)}: ${count(facts.totals.progress, 'call')}, ${odd}`;
    },
  },
];

const CAUSES: Record<ErrorClass, string> = {
  transient: ', a matter of the network or the server',
  auth: ', a matter of the account or its rights',
  quota: ', a matter of space or quota',
  not_found: ', as something was not found',
  cancelled: ', as it was cancelled',
  other: '',
};

const classOfDone = ({ errors, done }: Facts): ErrorClass =>
  errors.find(({ hresult }) => hresult === done?.hresult)?.class ?? 'other';

const ongoing = ({ stalls }: Facts, kind: StoryStall['kind']): StoryStall | undefined =>
  stalls.find((one) => one.ongoing && one.kind === kind);

/** The stall that was there at the end: nothing came after it. */
function unfinished(facts: Facts, kind: StoryStall['kind']): StoryStall | undefined {
  const last = facts.stalls.findLast((one) => one.kind === kind);
  if (last === undefined) return undefined;
  const endUs = Date.parse(facts.as_of) * 1000;
  const stallEndUs = Date.parse(last.since) * 1000 + last.for_us;
  return endUs - stallEndUs < 2_000_000 ? last : undefined;
}

const stall = (facts: Facts, kind: StoryStall['kind']): StoryStall =>
  (ongoing(facts, kind) ?? unfinished(facts, kind)) as StoryStall;

const nameOf = (error: Facts['done']): string => (error ? named(error) : 'a code that is lost');

function died({ process, exit }: Facts): string {
  const name = process?.executable?.name || 'The process';
  const code = exit?.code === undefined ? '' : ` with exit code ${exitCodeText(exit.code)}`;
  return `${name} ${exit?.crashed ? 'crashed' : 'ended'}${code}`;
}

/** `1`, `0xC0000005`: Windows' exceptions are known by their hex. */
export function exitCodeText(code: number): string {
  return code >= FIRST_EXCEPTION ? hex32(code) : String(code);
}

/** `, 96 % of that in Progress` */
function whichMethod({ inner }: Facts): string {
  const [most] = Object.entries(inner.by_method).sort(([, a], [, b]) => b.us - a.us);
  if (most === undefined) return '';
  const [method, { us }] = most;
  return us === inner.us
    ? `, all in ${method}`
    : `, ${percent(us / inner.us)} of that in ${method}`;
}

/** `; its last call was 30/400 "Inbox"` */
function lastCall({ progress }: Facts): string {
  return progress === undefined ? '' : `; its last call was ${callText(progress)}`;
}

/** `30/400 "Inbox"` */
export function callText({ index, max, text }: ProgressFields): string {
  return `${index}/${max}${text === undefined ? '' : ` "${text}"`}`;
}

/** The phase that took most time beyond its usual: the longest may take as long each time. */
function mostSlowed({ phases }: Facts): StoryPhase | undefined {
  const beyond = ({ duration_us, usual_us = 0 }: StoryPhase): number => duration_us - usual_us;
  return phases.reduce<StoryPhase | undefined>(
    (most, phase) => (most && beyond(most) >= beyond(phase) ? most : phase),
    undefined,
  );
}

/** `10:02:31 UTC` */
const clockOf = (time: string): string => `${time.slice(11, 19)} UTC`;
export const percent = (share: number): string => `${Math.round(share * 100)} %`;
const phaseName = (text: string | undefined): string =>
  text === undefined || text === '' ? 'a phase without a text' : `"${text}"`;
