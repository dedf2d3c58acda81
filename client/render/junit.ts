/** A JUnit report, for CI servers. Valid by the schemas of Ant and of Jenkins. */
import { printable } from './text.ts';

export interface Failure {
  readonly type: string;
  readonly message: string;
  readonly text: string;
}

export interface Case {
  readonly name: string;
  readonly durationUs: number;
  /** Absent: it passed. */
  readonly failure?: Failure;
}

export interface Suite {
  readonly name: string;
  /** RFC 3339, when it began. */
  readonly began: string;
  readonly durationUs: number;
  readonly properties: Readonly<Record<string, string | number | undefined>>;
  readonly cases: readonly Case[];
  /** For people. */
  readonly out: string;
}

/** The report as a text. Names of suites and cases have to be the same in each run, for CI's own history. */
export function junitXml(suites: readonly Suite[], host: string): string {
  const counts = suites.map(countsOf);
  const all = {
    tests: sum(counts.map(({ tests }) => tests)),
    failures: sum(counts.map(({ failures }) => failures)),
    errors: 0,
    time: seconds(sum(suites.map(({ durationUs }) => durationUs))),
  };
  const inner = suites.flatMap((suite, at) => suiteXml(suite, at, host));
  return `${['<?xml version="1.0" encoding="UTF-8"?>', tag('testsuites', { name: 'mapisync', ...all }), ...inner, '</testsuites>'].join('\n')}\n`;
}

function suiteXml(suite: Suite, id: number, host: string): string[] {
  const attributes = {
    id,
    package: 'mapisync',
    name: suite.name,
    ...countsOf(suite),
    errors: 0,
    skipped: 0,
    time: seconds(suite.durationUs),
    timestamp: suite.began.slice(0, 19),
    hostname: host,
  };
  return [
    `  ${tag('testsuite', attributes)}`,
    '    <properties>',
    ...Object.entries(suite.properties).flatMap(([key, value]) =>
      value === undefined ? [] : [`      ${tag('property', { name: key, value }, true)}`],
    ),
    '    </properties>',
    ...suite.cases.flatMap((one) => caseXml(suite.name, one)),
    `    <system-out>${escapeXml(suite.out)}</system-out>`,
    '    <system-err></system-err>',
    '  </testsuite>',
  ];
}

function caseXml(classname: string, { name, durationUs, failure }: Case): string[] {
  const attributes = { classname, name, time: seconds(durationUs) };
  if (!failure) return [`    ${tag('testcase', attributes, true)}`];
  const { type, message, text } = failure;
  return [
    `    ${tag('testcase', attributes)}`,
    `      ${tag('failure', { type, message })}${escapeXml(text)}</failure>`,
    '    </testcase>',
  ];
}

function countsOf({ cases }: Suite): { readonly tests: number; readonly failures: number } {
  return { tests: cases.length, failures: cases.filter(({ failure }) => failure).length };
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
