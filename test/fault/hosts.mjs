/** Hosts that report through the shim, each with its side file. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { makeSideFile, readHeader, stopProducer } from './side-file.mjs';

const PID_AT = 40;
/** Must-frames of a host that may be unacknowledged: well below what the reserve of its ring holds. */
const MOST_AHEAD = 4000;

export class Hosts {
  sides = [];
  kills = 0;
  /** Milliseconds from each kill to the moment at which its ring was gone. */
  adoptionMs = [];
  #options;
  #running = new Set();
  #waiting = [];
  #pids = new Map();
  #timer;

  /** @param {{program: string[], state: string, scratch: string, env?: object}} options */
  constructor(options) {
    this.#options = options;
    this.#timer = setInterval(() => this.#lookForRings(), 5);
    // They would call for ever, with nobody to tell them to stop.
    process.on('exit', () => this.close());
  }

  /** @returns {{pid: number, side: string, ended: Promise<void>}} */
  start(args) {
    const { program, state, scratch, env, path = (p) => p } = this.#options;
    const side = join(scratch, `side-${this.sides.length}`);
    makeSideFile(side);
    this.sides.push(side);
    const [command, ...first] = program;
    const flat = Object.entries({ ahead: MOST_AHEAD, ...args }).flatMap(([name, value]) => [
      `--${name}`,
      String(value),
    ]);
    const child = spawn(command, [...first, path(side), ...flat], {
      stdio: 'ignore',
      env: { ...process.env, ...env, MAPISYNC_STATE_DIR: path(state) },
    });
    const host = { pid: child.pid, side };
    host.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', () => {
        this.#running.delete(host);
        resolve();
      });
    });
    host.child = child;
    this.#running.add(host);
    return host;
  }

  kill(host) {
    const ring = this.#ringOf(host.pid);
    if (ring) this.#waiting.push({ ring, sinceMs: performance.now() });
    this.kills += 1;
    host.child.kill('SIGKILL');
  }

  /** Kills that were not adopted yet count from now on: only now is there a daemon. */
  daemonIsReady() {
    for (const waiting of this.#waiting) waiting.sinceMs = performance.now();
  }

  /** No daemon: nothing is adopted, and that is nobody's fault. */
  get unadopted() {
    return this.#waiting.length;
  }

  async stopAll(timeoutMs) {
    const hosts = [...this.#running];
    for (const { side } of hosts) stopProducer(side);
    let late = 0;
    const timer = setTimeout(() => {
      for (const host of this.#running) {
        late += 1;
        host.child.kill('SIGKILL');
      }
    }, timeoutMs);
    await Promise.all(hosts.map(({ ended }) => ended));
    clearTimeout(timer);
    return { late, unflushed: hosts.filter(({ side }) => !readHeader(side).flushed).length };
  }

  close() {
    clearInterval(this.#timer);
    for (const host of this.#running) host.child.kill('SIGKILL');
  }

  get rings() {
    if (!existsSync(this.#rings)) return [];
    return readdirSync(this.#rings).filter((name) => name.endsWith('.ring'));
  }

  /** Whose rings are still there, and what the daemon last said about such things. */
  get leftRings() {
    const log = join(this.#options.state, 'daemon.log');
    const said = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').at(-1) : 'nothing';
    return `${this.rings.length} rings are left: ${this.rings.join(' ')}; the daemon's log: ${said}`;
  }

  get #rings() {
    return join(this.#options.state, 'rings');
  }

  #lookForRings() {
    if (this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.filter(({ ring, sinceMs }) => {
      if (existsSync(ring)) return true;
      this.adoptionMs.push(performance.now() - sinceMs);
      return false;
    });
  }

  /** The ring file of a process, by the pid in its header. */
  #ringOf(pid) {
    for (const name of this.rings) {
      const path = join(this.#rings, name);
      if (!this.#pids.has(path)) {
        try {
          const fd = openSync(path, 'r');
          const bytes = Buffer.alloc(4);
          readSync(fd, bytes, 0, 4, PID_AT);
          closeSync(fd);
          this.#pids.set(path, bytes.readUInt32LE());
        } catch {
          continue;
        }
      }
      if (this.#options.oneByOne) {
        // Wine's pids are not the system's; but only one ring can be new.
        if (!this.#pids.get(path)) continue;
        this.#pids.set(path, 0);
        return path;
      }
      if (this.#pids.get(path) === pid) return path;
    }
    return undefined;
  }
}
