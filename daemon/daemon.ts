/**
 * The daemon without its door: peers, journal, rings and feed, and what ties them together. When the
 * journal fails it starts over from what is durable, as it would after a crash; peers come back by
 * themselves.
 */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { ExportSettings } from '../protocol/records/exports.ts';
import type { LineContext } from '../protocol/records/line.ts';
import { Metrics } from '../protocol/records/metrics.ts';
import type { RecordDraft } from '../protocol/records/record.ts';
import { liveSessions } from '../protocol/session/ring.ts';
import { type Role, STATUS } from '../protocol/wire/handshake.ts';
import { HANDSHAKE_TIMEOUT_MS, PROTOCOL_VERSION } from '../protocol/wire/limits.ts';
import type { ProtocolError } from '../protocol/wire/protocol-error.ts';
import { Adoption } from './adoption.ts';
import { serveClient } from './clients.ts';
import { nowText } from './clock.ts';
import { type BodyHandler, endSoon, type Gate, serveConnection } from './connection.ts';
import type { Say } from './diagnostics.ts';
import type { Exports } from './export/exports.ts';
import { Feed } from './feed.ts';
import { toBytes } from './feed-client.ts';
import { Fold, Hub } from './hub.ts';
import { Journal, type JournalOptions, type JournalTrouble } from './journal.ts';
import { LineMaker } from './journal-lines.ts';
import {
  DISK_RETRY_MS,
  MAX_CLIENTS,
  MAX_GREETING,
  MAX_PROVIDERS,
  STOP_TIMEOUT_MS,
  TICK_MS,
} from './limits.ts';
import type { Cursor } from './platform/journal-files.ts';
import type { StatePaths } from './platform/paths.ts';
import { bootId } from './platform/process.ts';
import { Recorder } from './recorder.ts';
import { recover } from './recovery.ts';
import { REFUSAL, Refusals } from './refusals.ts';
import { serveShim } from './shims.ts';

export interface DaemonOptions {
  readonly paths: StatePaths;
  readonly secret: Uint8Array;
  /** RFC 3339. */
  readonly started: string;
  readonly host: string;
  readonly service: LineContext['service'];
  readonly journal: Pick<
    JournalOptions,
    'sync' | 'segmentBytes' | 'journalBytes' | 'journalDays' | 'openFile'
  >;
  readonly quietMs?: number | undefined;
  /** Sessions whose frames are kept without being asked for. */
  readonly recordKeep?: number | undefined;
  readonly exports: readonly ExportSettings[];
  readonly log: Logger;
  readonly say: Say;
}

/** Why a handshake failed, for people. */
const WHY: Readonly<Record<string, string>> = {
  proof: 'it does not know the secret of the endpoint file',
  timeout: `it did not finish its handshake within ${HANDSHAKE_TIMEOUT_MS} ms`,
  malformed: 'it does not begin as a peer of ours does',
  version: `it speaks no version that this daemon speaks (protocol ${PROTOCOL_VERSION})`,
  limit: `there are ${MAX_PROVIDERS} providers or ${MAX_CLIENTS} clients already`,
  stopping: 'the daemon is stopping',
};

/** What is replaced as a whole when the journal fails. */
interface Core {
  readonly journal: Journal;
  readonly hub: Hub;
  readonly adoption: Adoption;
}

export class Daemon {
  /** Somebody wants the daemon to end. */
  onStop: (why: string) => void = () => {};

  readonly #options: DaemonOptions;
  readonly #lines: LineMaker;
  readonly #feed: Feed;
  readonly #refusals = new Refusals();
  readonly #recorder: Recorder;
  readonly #metrics = new Metrics();
  readonly #shims = new Set<Socket>();
  readonly #clients = new Set<Socket>();
  readonly #sockets = new Set<Socket>();
  readonly #bootId = bootId();
  #core: Core | undefined;
  /** Absent, and not even loaded, if nothing is exported. */
  #exports: Exports | undefined;
  /** The journal is open and dead rings are adopted, for the first time. */
  #begun: () => void = () => {};
  #durableEnd: Cursor = { segment: 0, offset: 0 };
  #greeting = 0;
  /** Of those, who has been promised a place. */
  readonly #admitted: Record<Role, number> = { shim: 0, client: 0 };
  #pipe = '';
  #stopping = false;
  #ticker: NodeJS.Timeout | undefined;
  #lastTrouble: string | undefined;

  /** Reads the journal, opens a new segment, and adopts what dead processes left. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    await new Promise<void>((resolve, reject) => {
      // If the journal fails meanwhile, this attempt never ends, and the one that starts over does.
      daemon.#begun = resolve;
      daemon.#begin().then(resolve, reject);
    });
    await daemon.#startExports();
    daemon.#ticker = setInterval(() => daemon.#tick(), TICK_MS);
    return daemon;
  }

  private constructor(options: DaemonOptions) {
    this.#options = options;
    this.#lines = new LineMaker({ service: options.service, host: options.host });
    this.#recorder = new Recorder(options.recordKeep ?? 0);
    this.#feed = new Feed({
      journalDir: options.paths.journal,
      sessionIds: () => this.#core?.hub.sessionIds() ?? [],
      liveSession: (id) => this.#core?.hub.liveSession(id),
      durableEnd: () => this.#durableEnd,
      cut: (reason) => this.#refuse('slow', `${reason}; it was cut`),
    });
  }

  /** Peers can come. */
  listening(pipe: string, facts: Record<string, string | boolean>): void {
    this.#pipe = pipe;
    const { journal, service } = this.#options;
    this.#record({
      event_name: 'daemon.started',
      level: 'info',
      time: nowText(),
      msg: `mapisync ${service.version} serves ${this.#options.paths.root}`,
      detail: {
        pid: process.pid,
        platform: process.platform,
        arch: process.arch,
        node: process.version,
        journal_sync: String(journal.sync),
        ...facts,
      },
    });
  }

  /** Takes a connection that the listener accepted. */
  peer(socket: Socket): void {
    if (this.#greeting >= MAX_GREETING) {
      this.#refuse('limit', 'too many peers shake hands at once');
      socket.destroy();
      return;
    }
    this.#greeting += 1;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    serveConnection(socket, this.#gate);
  }

  /** Counts somebody whom the listener turned away. */
  stranger(problem: string): void {
    this.#refuse('other-user', problem);
  }

  /** Says goodbye to all, writes what waits, and lets go of everything. */
  async stop(why: string): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#ticker);
    for (const draft of this.#refusals.rest(performance.now(), nowText(), true)) {
      this.#record(draft);
    }
    this.#record({
      event_name: 'daemon.stopping',
      level: 'info',
      time: nowText(),
      msg: `Stopping: ${why}`,
      detail: { why },
    });
    const core = this.#core;
    core?.hub.farewell();
    await core?.journal.close(STOP_TIMEOUT_MS);
    await this.#exports?.stop();
    this.#core = undefined;
    core?.adoption.release();
    for (const client of this.#clients) {
      if (client.writable) client.write(toBytes({ kind: 'bye' }));
      endSoon(client);
    }
    await this.#closed(STOP_TIMEOUT_MS);
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Resolves once every peer is gone, or when the time is up. */
  #closed(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      const look = (): void => {
        if (this.#sockets.size > 0) return;
        clearTimeout(timer);
        resolve();
      };
      for (const socket of this.#sockets) socket.once('close', () => setImmediate(look));
      look();
    });
  }

  async #begin(): Promise<void> {
    const { paths, journal: limits, quietMs } = this.#options;
    const fold = new Fold();
    const found = recover(paths.journal, (record) => fold.take(record));
    const core: Core = {
      journal: new Journal({
        ...limits,
        dir: paths.journal,
        lines: this.#lines,
        firstSegment: found.nextSegment,
        snapshot: () => core.hub.snapshot(),
        onRecord: (draft) => this.#metrics.effectOf(draft),
        onDurable: (lines) => {
          this.#durableEnd = lines.end;
          this.#feed.publishLines(lines);
          this.#exports?.grown(this.#durableEnd);
          core.hub.relieved();
        },
        onTrouble: (trouble) => this.#trouble(core, trouble),
      }),
      hub: new Hub({
        journal: () => core.journal,
        feed: () => this.#feed,
        recorder: this.#recorder,
        quietUs: quietMs === undefined ? undefined : quietMs * 1000,
        hasRingFile: (ring) => core.adoption.hasFile(ring),
        rejected: (error) => this.#reject(error),
      }),
      adoption: new Adoption({
        dir: paths.rings,
        get hub() {
          return core.hub;
        },
        bootId: this.#bootId,
        durable: () => new Promise((resolve) => core.journal.barrier(resolve)),
        rejected: (error, path) => {
          this.#options.log.warn({ path, reason: error.reason }, error.message);
          this.#reject(error);
        },
        failed: (error, path) => this.#options.log.error({ err: error, path }, 'Cannot adopt'),
      }),
    };
    core.hub.restore(fold.rings, fold.notes, fold.history);
    await core.journal.open();
    this.#durableEnd = { segment: core.journal.segment, offset: core.journal.offset };
    this.#core = core;
    const adopted = await core.adoption.scan();
    if (found.records === 0 && adopted.rings === 0 && found.torn === 0) return;
    const { rings, frames } = adopted;
    this.#record({
      event_name: 'daemon.recovered',
      level: 'info',
      time: nowText(),
      msg: `Went on from ${found.records} records; adopted ${rings} rings with ${frames} frames`,
      recovered: { rings, frames, torn: found.torn },
    });
  }

  async #startExports(): Promise<void> {
    const { exports, paths, host, log } = this.#options;
    if (exports.length === 0) return;
    const { Exports } = await import('./export/exports.ts');
    this.#exports = new Exports({
      exports,
      paths,
      host,
      record: (draft) => this.#record(draft),
      failed: (error) => log.error({ err: error }, 'The thread of the exporters failed'),
    });
    this.#exports.grown(this.#durableEnd);
  }

  #tick(): void {
    const core = this.#core;
    if (!core) return;
    core.hub.tick();
    const nowMs = performance.now();
    this.#feed.tick(nowMs);
    for (const draft of this.#refusals.rest(nowMs, nowText())) this.#record(draft);
    this.#adopt(core);
  }

  #adopt({ adoption }: Core): void {
    adoption.scan().catch((error: Error) => {
      this.#options.log.error({ err: error }, 'Cannot look for dead rings');
    });
  }

  #trouble(core: Core, trouble: JournalTrouble): void {
    const { log, say } = this.#options;
    if (trouble.type === 'well') {
      this.#lastTrouble = undefined;
      log.info({ said: true }, 'The journal goes on');
      say('mapisync: There is space again, and the journal goes on. Nothing was lost');
      return;
    }
    const { message } = trouble.error;
    this.#lastTrouble = message;
    const isSaid = trouble.type === 'full' || (this.#core === core && !this.#stopping);
    log.error({ err: trouble.error, said: isSaid }, `journal ${trouble.type}`);
    if (trouble.type === 'full') {
      say(
        `mapisync: The disk is full, records wait: ${message}. Free space in ${this.#options.paths.journal}`,
        'error',
      );
      return;
    }
    if (!isSaid) return;
    say(`mapisync: The journal failed and starts over: ${message}`, 'error');
    this.#core = undefined;
    for (const { peer } of core.hub.rings.values()) {
      peer?.refuse(REFUSAL.journal, 'The journal failed; send again what was not acknowledged');
    }
    core.adoption.release();
    this.#startOver();
  }

  /** As after a crash, but with the peers that are still there. */
  #startOver(): void {
    const again = (error: Error): void => {
      if (this.#lastTrouble !== error.message)
        this.#options.log.error({ err: error }, 'Cannot start over');
      this.#lastTrouble = error.message;
      if (!this.#stopping) setTimeout(() => this.#startOver(), DISK_RETRY_MS).unref();
    };
    this.#begin().then(() => {
      this.#begun();
      this.#lastTrouble = undefined;
      this.#record({
        event_name: 'journal.failed',
        level: 'error',
        time: nowText(),
        msg: 'The journal failed and went on with a new segment',
        detail: { cause: 'failed' },
      });
    }, again);
  }

  #record(draft: RecordDraft): void {
    this.#core?.journal.append([draft]);
  }

  #refuse(reason: string, text: string): void {
    const draft = this.#refusals.count('peer.refused', reason, text, performance.now(), nowText());
    if (draft) this.#record(draft);
  }

  #reject(error: ProtocolError): void {
    const { reason, message } = error;
    const draft = this.#refusals.count(
      'frame.rejected',
      reason,
      message,
      performance.now(),
      nowText(),
    );
    if (draft) this.#record(draft);
  }

  readonly #gate: Gate = this.#makeGate();

  #makeGate(): Gate {
    const daemon = this;
    return {
      get secret() {
        return daemon.#options.secret;
      },
      get pipe() {
        return daemon.#pipe;
      },
      admit(role) {
        if (daemon.#stopping) return STATUS.stopping;
        const taken = daemon.#admitted[role];
        const full =
          role === 'shim'
            ? daemon.#shims.size + taken >= MAX_PROVIDERS
            : daemon.#clients.size + taken >= MAX_CLIENTS && !daemon.#feed.makeRoom();
        if (full) return STATUS.tooMany;
        daemon.#admitted[role] += 1;
        return STATUS.goOn;
      },
      enter: (role, protocol, socket) => daemon.#enter(role, protocol, socket),
      refused: (reason) => {
        // Who goes away by itself was not refused.
        if (reason !== 'closed') daemon.#refuse(reason, WHY[reason] ?? reason);
      },
      left: (admitted) => {
        daemon.#greeting -= 1;
        if (admitted) daemon.#admitted[admitted] -= 1;
      },
    };
  }

  #enter(role: Role, protocol: number, socket: Socket): BodyHandler {
    const rejected = (error: ProtocolError): void => {
      this.#options.log.warn({ role, reason: error.reason }, error.message);
      this.#reject(error);
    };
    if (role === 'client') {
      this.#clients.add(socket);
      return serveClient(socket, protocol, {
        facts: {
          version: this.#options.service.version,
          pid: process.pid,
          instance: this.#options.service.instance_id,
          stateDir: this.#options.paths.root,
        },
        feed: this.#feed,
        recorder: this.#recorder,
        status: () => this.#status(),
        stop: (pid) => this.onStop(`a client asked for it (pid ${pid})`),
        rejected,
        closed: () => void this.#clients.delete(socket),
      });
    }
    this.#shims.add(socket);
    return serveShim(socket, protocol, {
      hub: () => this.#core?.hub,
      recorder: this.#recorder,
      rejected,
      closed: () => {
        this.#shims.delete(socket);
        // A process that dies leaves its ring: the sooner it is read, the sooner people know.
        if (this.#core && !this.#stopping) this.#adopt(this.#core);
      },
    });
  }

  #status(): Record<string, unknown> {
    const { service, paths, started } = this.#options;
    const core = this.#core;
    const processes = [];
    for (const { state, peer, gone } of core?.hub.rings.values() ?? []) {
      if (gone) continue;
      const { pid, executable, arch, shimVersion, ring } = state.origin;
      processes.push({
        pid,
        executable,
        arch,
        shim_version: shimVersion,
        ring,
        connected: peer !== undefined,
        sessions: liveSessions(state).length,
        received: state.received,
        durable: state.durable,
        lost: Object.values(state.lost).reduce((sum, n) => sum + n, state.holes),
      });
    }
    return {
      daemon: {
        state: this.#stopping ? 'stopping' : 'running',
        version: service.version,
        protocol: PROTOCOL_VERSION,
        pid: process.pid,
        started,
        instance: service.instance_id,
        state_dir: paths.root,
      },
      endpoint: { pipe: this.#pipe },
      journal: {
        dir: paths.journal,
        state: core?.journal.state ?? 'failed',
        segment: core?.journal.segment ?? 0,
        backlog_bytes: core?.journal.backlogBytes ?? 0,
        ...(this.#lastTrouble === undefined ? {} : { trouble: this.#lastTrouble }),
      },
      ...(this.#exports ? { exports: this.#exports.status } : {}),
      processes,
      metrics: this.#metrics.families(core?.hub.liveCount ?? 0),
      peers: { providers: this.#shims.size, clients: this.#clients.size },
      counts: {
        sessions_running: core?.hub.liveCount ?? 0,
        frames_sent_again: core?.hub.dropped ?? 0,
        refused: this.#refusals.counts,
        clients_cut: this.#feed.counts.cut,
        records_not_sent: this.#feed.counts.records,
        sessions_not_sent: this.#feed.counts.sessions,
      },
    };
  }
}
