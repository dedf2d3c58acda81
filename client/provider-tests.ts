/** What a test of a provider's sync holds it to. Pure: what the host told and the journal says comes in. */
import { CHECKS } from '../protocol/session/checks.ts';
import { describeHresult } from '../protocol/session/hresults.ts';
import type { Story } from '../protocol/session/story.ts';
import type { Suite } from './render/junit.ts';

export interface TestResult {
  readonly name: string;
  /** Why it failed; absent: it passed. */
  readonly failure?: string;
}

/** What came of one behaviour. */
export interface Judged {
  readonly name: string;
  /** RFC 3339. */
  readonly began: string;
  readonly seconds: number;
  readonly results: readonly TestResult[];
  /** What is worth knowing and no failure. */
  readonly notes: readonly string[];
}

export const failures = (all: readonly Judged[]): number =>
  all.flatMap(({ results }) => results).filter(({ failure }) => failure !== undefined).length;

/** For a JUnit report. @param provider The library's name. */
export const suiteOf = (
  provider: string,
  { name, began, seconds, results, notes }: Judged,
): Suite => ({
  name: `${provider}: ${name}`,
  began,
  durationUs: Math.round(seconds * 1_000_000),
  properties: { provider },
  cases: results.map(({ name: test, failure }) => ({
    name: test,
    durationUs: 0,
    ...(failure === undefined ? {} : { failure: { type: 'failed', message: failure, text: '' } }),
  })),
  out: notes.join('\n'),
});

/** How the host's callback behaves in one sync. */
export interface Behaviour {
  readonly name: string;
  /** Arguments of the sample host. */
  readonly host: readonly string[];
  /** The provider hears no failure from us, so its sync has no reason to fail. */
  readonly mustSucceed: boolean;
  /** There is a callback, which the provider has to call Done on. */
  readonly listens: boolean;
  /** Only if the provider can be given two configurations. */
  readonly stores?: number;
}

const SINK = ['--attach', 'sink'];
// A sink is a callback, so where there is none, nothing records: the host alone judges.
const NO_SINK = ['--callback', 'absent', '--shim', 'none'];

export const BEHAVIOURS: readonly Behaviour[] = [
  { name: 'a plain callback', host: SINK, mustSucceed: true, listens: true },
  {
    name: 'a slow callback',
    host: [...SINK, '--callback', 'slow=1'],
    mustSucceed: true,
    listens: true,
  },
  {
    name: 'a callback that fails',
    host: [...SINK, '--callback', 'fail=0x80004005'],
    mustSucceed: false,
    listens: true,
  },
  { name: 'no callback', host: NO_SINK, mustSucceed: false, listens: false },
  {
    name: 'two stores at once',
    host: [...SINK, '--stores', '2'],
    mustSucceed: true,
    listens: true,
    stores: 2,
  },
];

/** The part of the host's report that is judged. */
export interface HostReport {
  readonly result: string;
  readonly sessions: readonly string[];
  readonly heard: { readonly dones: number };
  readonly references: { readonly callback: number; readonly provider: number };
}

export interface Ran {
  /** RFC 3339. */
  readonly began: string;
  readonly seconds: number;
  /** What the host wrote at its end; undefined: it did not come to it. */
  readonly report: HostReport | undefined;
  /** How the host ended, and what it said. */
  readonly end: string;
  /** One for each session of the report. */
  readonly stories: readonly Story[];
}

const isFailure = (hresult: string): boolean => (Number(hresult) & 0x80000000) !== 0;

export function judge(behaviour: Behaviour, ran: Ran): Judged {
  const { report, stories } = ran;
  const results: TestResult[] = [];
  const hold = (name: string, failure: string | undefined): void => {
    results.push({ name, ...(failure === undefined ? {} : { failure }) });
  };
  hold('the sync comes to an end', report === undefined ? ran.end : undefined);
  if (report !== undefined) {
    const { result, heard, references } = report;
    const stores = behaviour.stores ?? 1;
    if (behaviour.mustSucceed) {
      const said = `the result was ${result} ${describeHresult(Number(result)).name}`;
      hold('the sync succeeds', isFailure(result) ? `${said}; ${ran.end}` : undefined);
    }
    if (behaviour.listens) {
      const text = `expected ${stores} calls of Done, got ${heard.dones}`;
      hold('Done is called', heard.dones < stores ? text : undefined);
    }
    const left = `${references.callback} of the callback and ${references.provider} of the provider's own object are left`;
    hold(
      'every reference is given back',
      references.callback === 0 && references.provider === 0 ? undefined : left,
    );
  }
  if (behaviour.listens && report !== undefined) {
    const fired = stories.flatMap(({ checks }) => checks);
    for (const { code, title, mend } of CHECKS.filter(({ severity }) => severity === 'fault')) {
      const found = fired.find((check) => check.code === code);
      hold(`not ${code}: ${title}`, found === undefined ? undefined : `${found.detail}; ${mend}`);
    }
  }
  const notes = stories
    .flatMap(({ checks }) => checks)
    .filter(({ severity }) => severity !== 'fault')
    .map(({ code, title, detail }) => `${code} ${title}: ${detail}`);
  return { name: behaviour.name, began: ran.began, seconds: ran.seconds, results, notes };
}
