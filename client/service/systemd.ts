/** The user unit of systemd. */
import { posix } from 'node:path';
import { configBase } from '../config/files.ts';
import type { Env } from '../render/theme.ts';
import { type Launch, launchArgs, type Step } from './steps.ts';

const UNIT = 'mapisync.service';
const systemctl = (...words: string[]): Step => ({
  do: 'run',
  command: ['systemctl', '--user', ...words],
});

export const unitPath = (env: Env): string => posix.join(configBase(env), 'systemd', 'user', UNIT);

/** Quotes a word of `ExecStart=`: systemd expands `%` and `$` there. */
const quote = (word: string): string =>
  `"${word.replace(/["\\]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`;

const unquote = (text: string): string =>
  text
    .replaceAll('$$', '$')
    .replaceAll('%%', '%')
    .replace(/\\(["\\])/g, '$1');

export function unitText(launch: Launch): string {
  const command = [launch.node, ...launchArgs(launch, 'run')].map(quote).join(' ');
  return `# From: mapisync service install
[Unit]
Description=mapisync: records background syncs of MAPI store providers
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=exec
ExecStart=${command}
Restart=on-failure
RestartSec=5
# Wrong settings, or no permission: another start would end alike.
RestartPreventExitStatus=2 8
SyslogIdentifier=mapisync
UMask=0077

[Install]
WantedBy=default.target
`;
}

/** The words of its `ExecStart=`; empty if it has none. */
export function unitCommand(text: string): string[] {
  const line = /^ExecStart=(.*)$/m.exec(text)?.[1] ?? '';
  return [...line.matchAll(/"((?:\\.|[^"\\])*)"/g)].map(([, word]) => unquote(word!));
}

export const installUnit = (launch: Launch, path: string): Step[] => [
  { do: 'write', path, content: unitText(launch), encoding: 'utf8' },
  systemctl('daemon-reload'),
  systemctl('enable', UNIT),
  { do: 'stop-daemon' },
  systemctl('restart', UNIT),
];

export const uninstallUnit = (path: string): Step[] => [
  { ...systemctl('disable', '--now', UNIT), mayFail: true } as Step,
  { do: 'stop-daemon' },
  { do: 'remove', path },
  { ...systemctl('daemon-reload'), mayFail: true } as Step,
];
