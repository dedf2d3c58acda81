/**
 * Every setting, once: where it can be given, what it may be, and what it is when nobody says. Help,
 * environment, config files, their schema, `config list` and the docs are made from this table.
 */
import { isAbsolute } from 'node:path';
import { TEXT_POLICIES } from '../../protocol/records/privacy.ts';
import { parseDuration } from '../values.ts';

export interface Key<T> {
  /** Its path in a config file. */
  readonly name: string;
  readonly variable: `MAPISYNC_${string}`;
  /** As commander spells it; absent: no flag. */
  readonly flag?: string;
  /** For people, without a period. */
  readonly what: string;
  /** In `expected ..., got ...`. */
  readonly expected: string;
  /** What holds when nobody says, in its own spelling or in words. */
  readonly fallback: string;
  /** Of the daemon: a machine's config may enforce it. */
  readonly ofDaemon: boolean;
  /** What it may be in JSON. */
  readonly schema: { readonly type: 'string' | 'integer'; readonly [word: string]: unknown };
  /** Reads its spelling; undefined if it makes no sense. */
  readonly parse: (text: string) => T | undefined;
}

const key = <T>(given: Key<T>): Key<T> => given;

const oneOf = <T extends string>(...values: readonly T[]) => ({
  schema: { type: 'string', enum: values } as const,
  parse: (text: string): T | undefined => values.find((value) => value === text),
});

const DURATION = '(\\d+|\\d+\\.\\d+)(ms|s|m|h|d)';
/** The daemon looks once a second. */
const MIN_QUIET_AFTER_MS = 1000;
/** 2 MiB each at most. */
const MAX_RECORD_KEEP = 32;
const MAX_GROUP_COMMIT_MS = 60_000;
const MAX_AGE_DAYS = 3650;

const UNIT_BYTES = { KiB: 1024, MiB: 1_048_576, GiB: 1_073_741_824 } as const;
const SIZE = /^(\d{1,6})(KiB|MiB|GiB)$/;

/** `64MiB`. In bytes; undefined if it is none, or not from `min` to `max`. */
function parseSize(text: string, min: number, max: number): number | undefined {
  const [, count, unit] = SIZE.exec(text) ?? [];
  if (count === undefined) return undefined;
  const bytes = Number(count) * UNIT_BYTES[unit as keyof typeof UNIT_BYTES];
  return bytes >= min && bytes <= max ? bytes : undefined;
}

const size = (min: string, max: string) => {
  const [least, most] = [min, max].map((text) => parseSize(text, 0, Number.MAX_SAFE_INTEGER)!);
  return {
    expected: `a size from ${min} to ${max}`,
    schema: { type: 'string', pattern: SIZE.source } as const,
    parse: (text: string): number | undefined => parseSize(text, least!, most!),
  };
};

const MAX_TEXT = 2048;

const absolutePath = {
  expected: 'an absolute path',
  schema: { type: 'string' } as const,
  parse: (text: string): string | undefined =>
    isAbsolute(text) && text.length <= MAX_TEXT ? text : undefined,
};

/** @param protocols With their colon. */
const isUrl = (text: string, protocols: readonly string[]): boolean => {
  try {
    const { protocol, hostname } = new URL(text);
    return protocols.includes(protocol) && hostname !== '' && text.length <= MAX_TEXT;
  } catch {
    return false;
  }
};

/** A port is a must: a server that is found only by luck is found too late. */
const NATS_SERVER = /^(nats|tls):\/\/[^\s,/]+:\d{1,5}$/;

const textPolicy = (kind: 'file' | 'nats' | 'otlp') =>
  key({
    name: `export.${kind}.text`,
    variable: `MAPISYNC_EXPORT_${kind.toUpperCase()}_TEXT` as const,
    flag: '--text <policy>',
    what: 'texts of the host that leave: tokens by a key of this machine, the texts, or none',
    expected: 'token, plain or drop',
    fallback: 'token',
    ofDaemon: true,
    ...oneOf(...TEXT_POLICIES),
  });

export const KEYS = {
  output: key({
    name: 'output',
    variable: 'MAPISYNC_OUTPUT',
    flag: '-o, --output <mode>',
    what: 'auto, tty, plain or json',
    expected: 'auto, tty, plain or json',
    fallback: 'auto',
    ofDaemon: false,
    ...oneOf('auto', 'tty', 'plain', 'json'),
  }),
  color: key({
    name: 'color',
    variable: 'MAPISYNC_COLOR',
    flag: '--color <when>',
    what: 'auto, always or never; NO_COLOR and FORCE_COLOR decide for auto',
    expected: 'auto, always or never',
    fallback: 'auto',
    ofDaemon: false,
    ...oneOf('auto', 'always', 'never'),
  }),
  timeout: key({
    name: 'timeout',
    variable: 'MAPISYNC_TIMEOUT',
    flag: '--timeout <duration>',
    what: 'how long to wait: 500ms, 30s, 10m, 2h',
    expected: 'a duration such as 500ms, 30s, 10m or 2h',
    fallback: 'none',
    ofDaemon: false,
    schema: { type: 'string', pattern: `^${DURATION}$` },
    parse: parseDuration,
  }),
  quietAfter: key({
    name: 'quiet_after',
    variable: 'MAPISYNC_QUIET_AFTER',
    flag: '--quiet-after <duration>',
    what: 'how long without a call is a stall',
    expected: 'a duration of at least 1s, such as 30s or 10m',
    fallback: 'three times what is usual, 30s to 10m',
    ofDaemon: true,
    schema: { type: 'string', pattern: `^${DURATION}$` },
    parse: (text) => {
      const ms = parseDuration(text);
      return ms !== undefined && ms >= MIN_QUIET_AFTER_MS ? ms : undefined;
    },
  }),
  recordKeep: key({
    name: 'record.keep',
    variable: 'MAPISYNC_RECORD_KEEP',
    flag: '--record-keep <count>',
    what: 'so many of the newest sessions keep their frames for `record`, at most 2 MiB each',
    expected: `0 to ${MAX_RECORD_KEEP}`,
    fallback: '0',
    ofDaemon: true,
    schema: { type: 'integer', minimum: 0, maximum: MAX_RECORD_KEEP },
    parse: (text) => {
      const count = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
      return count <= MAX_RECORD_KEEP ? count : undefined;
    },
  }),
  journalSync: key({
    name: 'journal.sync',
    variable: 'MAPISYNC_JOURNAL_SYNC',
    what: 'when a record is acknowledged: written to the system, to the disk, or to the disk once in a duration',
    expected: '"system", "disk" or a duration from 1ms to 1m',
    fallback: 'system',
    ofDaemon: true,
    schema: { type: 'string', pattern: `^(system|disk|${DURATION})$` },
    parse: (text): 'system' | 'disk' | number | undefined => {
      if (text === 'system' || text === 'disk') return text;
      const ms = parseDuration(text);
      return ms !== undefined && ms >= 1 && ms <= MAX_GROUP_COMMIT_MS ? ms : undefined;
    },
  }),
  journalSize: key({
    name: 'journal.size',
    variable: 'MAPISYNC_JOURNAL_SIZE',
    what: 'the whole journal; the oldest segments go',
    fallback: '256MiB',
    ofDaemon: true,
    ...size('16MiB', '1024GiB'),
  }),
  journalSegment: key({
    name: 'journal.segment',
    variable: 'MAPISYNC_JOURNAL_SEGMENT',
    what: 'one file of the journal; the whole has to hold at least two',
    fallback: '8MiB',
    ofDaemon: true,
    ...size('1MiB', '64MiB'),
  }),
  journalAge: key({
    name: 'journal.age',
    variable: 'MAPISYNC_JOURNAL_AGE',
    what: 'how long segments are kept',
    expected: `1d to ${MAX_AGE_DAYS}d`,
    fallback: '30d',
    ofDaemon: true,
    schema: { type: 'string', pattern: '^[1-9]\\d{0,3}d$' },
    parse: (text) => {
      const days = /^\d{1,4}d$/.test(text) ? Number.parseInt(text, 10) : 0;
      return days >= 1 && days <= MAX_AGE_DAYS ? days : undefined;
    },
  }),
  exportFileDir: key({
    name: 'export.file.dir',
    variable: 'MAPISYNC_EXPORT_FILE_DIR',
    flag: '--dir <dir>',
    what: 'a second stream of the log into files of a directory, for a shipper',
    fallback: 'none',
    ofDaemon: true,
    ...absolutePath,
  }),
  exportFileText: textPolicy('file'),
  exportFileSize: key({
    name: 'export.file.size',
    variable: 'MAPISYNC_EXPORT_FILE_SIZE',
    flag: '--size <size>',
    what: 'all of these files; the oldest go',
    fallback: '64MiB',
    ofDaemon: true,
    ...size('4MiB', '64GiB'),
  }),
  exportNatsServers: key({
    name: 'export.nats.servers',
    variable: 'MAPISYNC_EXPORT_NATS_SERVERS',
    what: 'the log as messages of NATS JetStream; several servers with commas',
    expected: 'nats://HOST:PORT or tls://HOST:PORT, several with commas',
    fallback: 'none',
    ofDaemon: true,
    schema: { type: 'string' },
    parse: (text): string[] | undefined => {
      const servers = text.split(',').map((one) => one.trim());
      return servers.every((one) => NATS_SERVER.test(one)) && text.length <= MAX_TEXT
        ? servers
        : undefined;
    },
  }),
  exportNatsText: textPolicy('nats'),
  exportNatsStream: key({
    name: 'export.nats.stream',
    variable: 'MAPISYNC_EXPORT_NATS_STREAM',
    what: 'the stream of the fleet, made if there is none',
    expected: 'letters, digits, _ and -',
    fallback: 'MAPISYNC',
    ofDaemon: true,
    schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
    parse: (text) => (/^[A-Za-z0-9_-]{1,64}$/.test(text) ? text : undefined),
  }),
  exportNatsCa: key({
    name: 'export.nats.ca',
    variable: 'MAPISYNC_EXPORT_NATS_CA',
    what: "a file with the authority of the servers' certificates",
    fallback: "the system's authorities",
    ofDaemon: true,
    ...absolutePath,
  }),
  exportNatsCert: key({
    name: 'export.nats.cert',
    variable: 'MAPISYNC_EXPORT_NATS_CERT',
    what: 'a file with the certificate of this client',
    fallback: 'none',
    ofDaemon: true,
    ...absolutePath,
  }),
  exportNatsKey: key({
    name: 'export.nats.key',
    variable: 'MAPISYNC_EXPORT_NATS_KEY',
    what: 'a file with its key',
    fallback: 'none',
    ofDaemon: true,
    ...absolutePath,
  }),
  exportNatsCredentials: key({
    name: 'export.nats.credentials',
    variable: 'MAPISYNC_EXPORT_NATS_CREDENTIALS',
    what: 'a credentials file',
    fallback: 'none',
    ofDaemon: true,
    ...absolutePath,
  }),
  exportOtlpUrl: key({
    name: 'export.otlp.url',
    variable: 'MAPISYNC_EXPORT_OTLP_URL',
    what: 'the log, spans and figures to an OpenTelemetry receiver, by HTTP with protobuf',
    expected: 'http://HOST:PORT or https://HOST:PORT, without /v1/logs',
    fallback: 'none',
    ofDaemon: true,
    schema: { type: 'string' },
    parse: (text) =>
      isUrl(text, ['http:', 'https:']) && !/\/v1\/\w+\/?$/.test(text) ? text : undefined,
  }),
  exportOtlpText: textPolicy('otlp'),
  exportOtlpHeaders: key({
    name: 'export.otlp.headers',
    variable: 'MAPISYNC_EXPORT_OTLP_HEADERS',
    what: 'a file with NAME: VALUE lines, for what authorizes',
    fallback: 'none',
    ofDaemon: true,
    ...absolutePath,
  }),
  exportOtlpCa: key({
    name: 'export.otlp.ca',
    variable: 'MAPISYNC_EXPORT_OTLP_CA',
    what: "a file with the authority of the receiver's certificate",
    fallback: "the system's authorities",
    ofDaemon: true,
    ...absolutePath,
  }),
} as const;

export const ALL_KEYS: readonly Key<unknown>[] = Object.values(KEYS);

/** `--record-keep` of `--record-keep <count>`. */
export const flagName = ({ flag }: Pick<Key<unknown>, 'flag'>): string | undefined =>
  /--[a-z-]+/.exec(flag ?? '')?.[0];

/** What a flag's help says. */
export function flagHelp({ what, variable, fallback }: Key<unknown>): string {
  const left = fallback === 'none' ? '' : `; default: ${fallback}`;
  return `${what} (env: ${variable}${left})`;
}
