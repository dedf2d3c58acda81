/** What the doctor makes of what it saw. Pure: facts in, findings out. */
import type { Facts } from './facts.ts';

export interface Finding {
  /** Stable. */
  readonly code: string;
  /** A note needs no action. */
  readonly severity: 'problem' | 'note';
  readonly what: string;
  /** What shows it. */
  readonly proof: string;
  /** One command. */
  readonly mend: string;
}

/** Below that the journal soon waits for space. */
const LOW_DISK_BYTES = 268_435_456;
const NEAR_CAP = 0.9;
const CLOCK_JUMP_MS = 5000;

/** File systems on which locks, mapped rings or sockets do not work as on a disk. By their magic. */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xfe534d42, 'SMB2'],
  [0xff534d42, 'CIFS'],
  [0x01021997, '9P'],
  [0x00c36400, 'Ceph'],
  [0x5346414f, 'AFS'],
]);

const RULES: readonly ((facts: Facts) => Finding | false | undefined)[] = [
  ({ config: [first] }) =>
    first && {
      ...problem('config-invalid', 'A config file makes no sense, so most commands end with 2'),
      proof: `${first.file}: ${first.text}`,
      mend: 'mapisync config validate',
    },
  ({ koffi }) =>
    koffi !== undefined && {
      ...problem('koffi-missing', 'The package koffi cannot be loaded, so no daemon can run'),
      proof: koffi,
      mend: 'npm install --include=optional koffi',
    },
  ({ root, dir }) =>
    dir.kind === 'missing' && {
      ...problem('state-dir-missing', 'There is no state directory, so shims do not record'),
      proof: `${root} does not exist`,
      mend: 'mapisync daemon start',
    },
  ({ root, dir }) =>
    dir.kind === 'wrong' && {
      ...problem('state-dir-wrong', 'The state directory cannot be used'),
      proof: `${root}: ${dir.text}`,
      mend: dir.mend,
    },
  ({ root, dir }) => {
    const share = root.startsWith('\\\\') ? 'a share' : undefined;
    const network = dir.kind === 'ok' ? (NETWORK.get(dir.fsType) ?? share) : undefined;
    return (
      network !== undefined && {
        ...problem(
          'state-dir-network',
          'The state directory is on a network, where locks and rings fail',
        ),
        proof: `${root} is on ${network}`,
        mend: 'mapisync daemon start --state-dir /var/tmp/mapisync',
      }
    );
  },
  ({ dir, root, windows }) =>
    dir.kind === 'ok' &&
    dir.freeBytes < LOW_DISK_BYTES && {
      ...problem(
        'disk-low',
        'The disk is nearly full: the journal will wait, then rings lose calls',
      ),
      proof: `${dir.freeBytes} bytes are free at ${root}, fewer than ${LOW_DISK_BYTES}`,
      mend: windows ? 'cleanmgr' : `df -h '${root}'`,
    },
  ({ disabled, windows }) =>
    disabled.length > 0 && {
      ...problem('shim-disabled', 'The shim is switched off'),
      proof: disabled.join('; '),
      mend: !disabled[0]!.includes('MAPISYNC_DISABLE')
        ? `reg delete ${disabled[0]!.split(' is ')[0]!.replace(/\\Disable$/, '')} /v Disable`
        : windows
          ? 'setx MAPISYNC_DISABLE ""'
          : 'unset MAPISYNC_DISABLE',
    },
  ({ elevated }) =>
    elevated && {
      ...problem('elevated', 'This console is elevated, and a daemon refuses to run so'),
      proof: 'The token of this process is elevated',
      mend: 'runas /trustlevel:0x20000 "mapisync doctor"',
    },
  ({ daemon, windows }) =>
    daemon.kind === 'failed' && {
      ...problem(`endpoint-${daemon.reason}`, 'What the endpoint file names does not serve'),
      proof: daemon.text,
      // One that lives and does not answer has to go first.
      mend:
        daemon.reason === 'timeout'
          ? `${windows ? 'taskkill /F /PID' : 'kill'} ${daemon.pid}`
          : 'mapisync daemon start',
    },
  ({ daemon, deadRings }) =>
    daemon.kind !== 'running' &&
    deadRings.length > 0 && {
      ...problem('rings-wait', 'Rings of dead processes wait for a daemon to read them'),
      proof: `${deadRings.length}: ${deadRings.join(', ')}`,
      mend: 'mapisync daemon start',
    },
  ({ daemon, liveRings }) =>
    daemon.kind !== 'running' &&
    liveRings > 0 && {
      ...problem('no-daemon', 'Processes record, and no daemon reads: their rings fill up'),
      proof: `${liveRings} rings are held by living processes`,
      mend: 'mapisync daemon start',
    },
  ({ daemon, version, service }) =>
    daemon.kind === 'running' &&
    daemon.version !== version && {
      ...problem('daemon-version', 'The daemon is of another version'),
      proof: `The daemon (pid ${daemon.pid}) is ${daemon.version}, this is ${version}`,
      mend: service ? 'mapisync service install' : 'mapisync daemon stop',
    },
  ({ service }) =>
    service !== undefined &&
    service.missing.length > 0 && {
      ...problem('service-broken', 'The service starts a program that is gone'),
      proof: `${service.where} names ${service.missing.join(' and ')}`,
      mend: 'mapisync service install',
    },
  ({ journal }) =>
    journal.lost > 0 && {
      ...problem('frames-lost', 'Calls were lost in the last day: a ring was full'),
      proof: `${journal.lost} frames in frames.lost`,
      mend: 'mapisync service install',
    },
  ({ journal, root }) =>
    journal.damaged > 0 && {
      ...problem('journal-damaged', 'The journal has lines that cannot be read'),
      proof: `${journal.damaged} lines, the newest in segment ${journal.damagedIn}`,
      mend: `mapisync doctor --bundle damaged.zip --state-dir '${root}'`,
    },
  ({ journal }) =>
    journal.bytes > NEAR_CAP * journal.capBytes && {
      ...note('journal-near-cap', 'The journal is near its size: the oldest segments go'),
      proof: `${journal.bytes} of ${journal.capBytes} bytes (journal.size)`,
      mend: 'mapisync config path',
    },
  ({ journal, windows }) =>
    Math.abs(journal.clockJumpMs) >= CLOCK_JUMP_MS && {
      ...note('clock-jumped', 'The wall clock jumped in the last day; durations are not affected'),
      proof: `By ${journal.clockJumpMs} ms at ${journal.clockJumpAt}`,
      mend: windows ? 'w32tm /resync' : 'timedatectl set-ntp true',
    },
];

export const diagnose = (facts: Facts): Finding[] =>
  RULES.map((rule) => rule(facts)).filter(
    (found) => found !== undefined && found !== false,
  ) as Finding[];

const problem = (code: string, what: string) => ({ code, severity: 'problem' as const, what });
const note = (code: string, what: string) => ({ code, severity: 'note' as const, what });
