/** Why the system, or what another process left on it, does not let us go on. A closed list. */
export type PlatformReason =
  /** No daemon has announced itself in this state directory. */
  | 'not-running'
  /** A daemon announced itself and is no longer there. */
  | 'stale'
  /** Another daemon serves this state directory. */
  | 'already-running'
  /** A file, directory or pipe belongs to somebody else, or others may use it. */
  | 'other-user'
  /** The state directory cannot be used. */
  | 'state-dir'
  /** This process may not serve: it is elevated, or the pipe is not as private as it must be. */
  | 'unsafe'
  /** The endpoint file, or what answers there, makes no sense. */
  | 'malformed'
  /** No protocol version is spoken by both ends. */
  | 'version'
  /** The daemon turned us away. */
  | 'refused'
  | 'timeout';

const EXIT_CODE: Record<PlatformReason, number> = {
  'not-running': 3,
  stale: 3,
  'already-running': 1,
  'other-user': 8,
  'state-dir': 8,
  unsafe: 8,
  malformed: 3,
  version: 9,
  refused: 3,
  timeout: 4,
};

/** Text: what, why, how to mend. */
export class PlatformError extends Error {
  override readonly name: string = 'PlatformError';
  readonly reason: PlatformReason;

  constructor(reason: PlatformReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }

  /** What the process should exit with if it goes no further. */
  get exitCode(): number {
    return EXIT_CODE[this.reason];
  }
}

/** The state directory is not ours alone, or cannot be made. */
export class StateDirError extends PlatformError {
  override readonly name = 'StateDirError';

  constructor(message: string, options?: ErrorOptions) {
    super('state-dir', message, options);
  }
}
