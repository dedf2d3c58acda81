/**
 * Sessions as a JUnit report, for CI servers: a suite for each session, in it a case for the sync and one
 * for each contract check that fired. Valid by the schemas of Ant and of Jenkins.
 */
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Story, StoryCheck } from '../protocol/session/story.ts';
import { CliError, EXIT } from './exit.ts';
import { findHistory, storyOf } from './history.ts';
import type { Io } from './io.ts';
import { printable } from './render/text.ts';
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
  try {
    writeFileSync(path, junit(stories, hostname()));
  } catch (error) {
    const text = `Cannot write the report: ${(error as Error).message}`;
    throw new CliError(EXIT.failed, text, 'Name a file in a folder that is there', error);
  }
}

/** The report as a text. Names of suites and cases are the same in each run, for CI's own history. */
export function junit(stories: readonly Story[], host: string): string {
  const sums = stories.map(countsOf);
  const all = {
    tests: sum(sums.map(({ tests }) => tests)),
    failures: sum(sums.map(({ failures }) => failures)),
    errors: 0,
    time: seconds(sum(stories.map(({ duration_us }) => duration_us))),
  };
  const suites = stories.flatMap((story, at) => suiteOf(story, at, host));
  return `${['<?xml version="1.0" encoding="UTF-8"?>', tag('testsuites', { name: 'mapisync', ...all }), ...suites, '</testsuites>'].join('\n')}\n`;
}

function suiteOf(story: Story, id: number, host: string): string[] {
  const { session, process, opened, as_of, duration_us } = story;
  const name = [session.provider, session.store].filter(Boolean).join(' / ') || 'a session';
  const suite = {
    id,
    package: 'mapisync',
    name,
    ...countsOf(story),
    errors: 0,
    skipped: 0,
    time: seconds(duration_us),
    timestamp: (opened ?? as_of).slice(0, 19),
    hostname: host,
  };
  const properties = {
    session: session.id,
    executable: process?.executable?.name,
    pid: process?.pid,
    verdict: story.verdict.code,
  };
  return [
    `  ${tag('testsuite', suite)}`,
    '    <properties>',
    ...Object.entries(properties).flatMap(([key, value]) =>
      value === undefined ? [] : [`      ${tag('property', { name: key, value }, true)}`],
    ),
    '    </properties>',
    ...caseOf(name, 'sync', duration_us, failureOf(story)),
    ...story.checks.flatMap((found) =>
      caseOf(name, `${found.code} ${found.title ?? ''}`.trim(), 0, faultOf(found)),
    ),
    `    <system-out>${escapeXml(summary(story))}</system-out>`,
    '    <system-err></system-err>',
    '  </testsuite>',
  ];
}

interface Failure {
  readonly type: string;
  readonly message: string;
  readonly text: string;
}

function caseOf(
  classname: string,
  name: string,
  durationUs: number,
  failure: Failure | undefined,
): string[] {
  const attributes = { classname, name, time: seconds(durationUs) };
  if (!failure) return [`    ${tag('testcase', attributes, true)}`];
  const { type, message, text } = failure;
  return [
    `    ${tag('testcase', attributes)}`,
    `      ${tag('failure', { type, message })}${escapeXml(text)}</failure>`,
    '    </testcase>',
  ];
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

function countsOf(story: Story): { readonly tests: number; readonly failures: number } {
  const faults = story.checks.filter(({ severity }) => severity === 'fault').length;
  return { tests: 1 + story.checks.length, failures: faults + (failureOf(story) ? 1 : 0) };
}

function summary({ verdict, checks }: Story): string {
  const seen = checks.map(
    ({ code, severity, detail, times }) => `${severity} ${code} x${times}: ${detail}`,
  );
  return [verdict.text, ...seen].join('\n');
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const seconds = (us: number): string => (us / 1_000_000).toFixed(3);

function tag(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  empty = false,
): string {
  const all = Object.entries(attributes).map(
    ([key, value]) => ` ${key}="${escapeXml(`${value}`)}"`,
  );
  return `<${name}${all.join('')}${empty ? '/' : ''}>`;
}

const MARKUP: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
]);

/** XML has no way to spell a control character, so it stands there as on a terminal; lines stay lines. */
const escapeXml = (text: string): string =>
  text
    .split('\n')
    .map((line) => printable(line).replace(/[\ufffe\uffff]/g, '\ufffd'))
    .join('\n')
    .replace(/[&<>"]/g, (char) => MARKUP.get(char) as string);
