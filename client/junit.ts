/**
 * Sessions as a JUnit report, for CI servers: a suite for each session, in it a case for the sync and one
 * for each contract check that fired.
 */
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Story, StoryCheck } from '../protocol/session/story.ts';
import { CliError, EXIT } from './exit.ts';
import { findHistory, storyOf } from './history.ts';
import type { Io } from './io.ts';
import { type Failure, junitXml, type Suite } from './render/junit.ts';
import { exitCodeOf } from './selection.ts';
import type { Settings } from './settings.ts';

/**
 * Writes what the journal says of some sessions.
 *
 * @throws {CliError} exit 1 if the file cannot be written.
 */
export function writeJunit(
  path: string,
  sessions: readonly string[],
  settings: Settings,
  io: Io,
): void {
  const history = findHistory(undefined, settings, io);
  const stories = sessions.map((id) => storyOf(history, id));
  writeReport(path, junit(stories, hostname()));
}

/** @throws {CliError} exit 1 if the file cannot be written. */
export function writeReport(path: string, report: string): void {
  try {
    writeFileSync(path, report);
  } catch (error) {
    const text = `Cannot write the report: ${(error as Error).message}`;
    throw new CliError(EXIT.failed, text, 'Name a file in a folder that is there', error);
  }
}

/** The report as a text. */
export const junit = (stories: readonly Story[], host: string): string =>
  junitXml(stories.map(suiteOf), host);

function suiteOf(story: Story): Suite {
  const { session, process, opened, as_of, duration_us } = story;
  const sync = failureOf(story);
  return {
    name: [session.provider, session.store].filter(Boolean).join(' / ') || 'a session',
    began: opened ?? as_of,
    durationUs: duration_us,
    properties: {
      session: session.id,
      executable: process?.executable?.name,
      pid: process?.pid,
      verdict: story.verdict.code,
    },
    cases: [
      { name: 'sync', durationUs: duration_us, ...(sync ? { failure: sync } : {}) },
      ...story.checks.map((found) => {
        const failure = faultOf(found);
        const name = `${found.code} ${found.title ?? ''}`.trim();
        return { name, durationUs: 0, ...(failure ? { failure } : {}) };
      }),
    ],
    out: summary(story),
  };
}

/** By the rule of the exit codes: what ends with 0 has not failed. */
function failureOf({
  outcome,
  outcome_reason,
  state,
  verdict,
  errors,
}: Story): Failure | undefined {
  if (outcome !== undefined && exitCodeOf([outcome]) === EXIT.done) return undefined;
  const lines = errors.map(({ hresult, name, times, text }) =>
    [name, hresult, `x${times}`, text].filter(Boolean).join(' '),
  );
  if (outcome_reason) lines.unshift(outcome_reason);
  return { type: outcome ?? state, message: verdict.text, text: lines.join('\n') };
}

function faultOf({ code, severity, detail, mend, times }: StoryCheck): Failure | undefined {
  if (severity !== 'fault') return undefined;
  return { type: code, message: `${detail} (${times} times)`, text: mend ?? '' };
}

function summary({ verdict, checks }: Story): string {
  const seen = checks.map(
    ({ code, severity, detail, times }) => `${severity} ${code} x${times}: ${detail}`,
  );
  return [verdict.text, ...seen].join('\n');
}
