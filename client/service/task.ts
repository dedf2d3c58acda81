/** A task of the Windows Task Scheduler, and the Run key where that is refused. */
import { type Launch, launchArgs, type Step } from './steps.ts';

/** Windows reads no longer command in the Run key. */
export const MAX_RUN_KEY_CHARS = 260;

/** By the rules of the C runtime: backslashes count double before a quote. */
const quote = (word: string): string =>
  `"${word.replace(/(\\*)"/g, '$1$1\\"').replace(/\\+$/, '$&$&')}"`;

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Tasks share one folder, and users of a machine share it too. */
export const taskName = (user: string): string => `mapisync-${user}`;

/** @param sid Of the user whose logon starts it; it may do no more than that user. */
export function taskXml(launch: Launch, sid: string): string {
  // node.exe is a console program; conhost keeps its window from showing.
  const words = ['--headless', quote(launch.node), ...launchArgs(launch, 'run').map(quote)];
  return `<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>mapisync: records background syncs of MAPI store providers</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>${sid}</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>${sid}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <Hidden>true</Hidden>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>10</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>conhost.exe</Command>
      <Arguments>${escapeXml(words.join(' '))}</Arguments>
    </Exec>
  </Actions>
</Task>
`;
}

export const installTask = (launch: Launch, name: string, sid: string, xml: string): Step[] => [
  { do: 'write', path: xml, content: taskXml(launch, sid), encoding: 'utf16le' },
  { do: 'run', command: ['schtasks', '/Create', '/TN', name, '/XML', xml, '/F'] },
  { do: 'delete-run-key' },
  { do: 'stop-daemon' },
  { do: 'run', command: ['schtasks', '/Run', '/TN', name] },
];

const deleteTask = (name: string): Step => ({
  do: 'run',
  command: ['schtasks', '/Delete', '/TN', name, '/F'],
  mayFail: true,
});

/** After `installTask()` failed: its task goes, and logon starts a daemon without a restart on failure. */
export const installRunKey = (launch: Launch, name: string, xml: string): Step[] => [
  deleteTask(name),
  { do: 'remove', path: xml },
  { do: 'set-run-key', value: runKeyValue(launch) },
  { do: 'stop-daemon' },
  { do: 'start-daemon' },
];

export const runKeyValue = (launch: Launch): string =>
  [launch.node, ...launchArgs(launch, 'start')].map(quote).join(' ');

export const uninstallTask = (name: string, xml: string): Step[] => [
  { do: 'stop-daemon' },
  deleteTask(name),
  { do: 'remove', path: xml },
  { do: 'delete-run-key' },
];

/** Words in quotes: of the Run key, or of a task's arguments. */
export const quotedWords = (text: string): string[] =>
  [...text.matchAll(/"((?:\\.|[^"\\])*|[^"]*)"/g)].map(([, word]) => word!.replace(/\\\\$/, '\\'));

export function taskCommand(xml: string): string[] {
  const text = /<Arguments>(.*)<\/Arguments>/s.exec(xml)?.[1] ?? '';
  const plain = text.replaceAll('&gt;', '>').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
  return quotedWords(plain);
}
