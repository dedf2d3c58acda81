/**
 * Rings whose owner is dead: read, fed through the rules of the wire, and deleted once everything
 * they held is durable. The file's lock tells whether the owner lives; a process id never does.
 */
import { existsSync, fstatSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RING_FILE_BYTES } from '../protocol/wire/limits.ts';
import { ProtocolError } from '../protocol/wire/protocol-error.ts';
import { type RingImage, readRing } from '../protocol/wire/ring-file.ts';
import { monotonicUs, wallUs } from './clock.ts';
import type { Hub } from './hub.ts';
import { type FileLock, tryLockRing } from './platform/locks.ts';

export interface AdoptionDeps {
  readonly dir: string;
  readonly hub: Hub;
  /** 32 hex digits; undefined where the system tells none. */
  readonly bootId: string | undefined;
  /** Resolves once everything appended so far is durable; never, if the journal fails before. */
  readonly durable: () => Promise<void>;
  /** A ring could not be read. */
  readonly rejected: (error: ProtocolError, path: string) => void;
  /** The system does not let us at a file. */
  readonly failed: (error: Error, path: string) => void;
}

export interface Adopted {
  readonly rings: number;
  readonly frames: number;
}

const RING_NAME = /^([0-9a-f]{32})\.(ring|tmp)$/;
/** A file that is being made is locked only a moment after it appears. */
const UNFINISHED_AFTER_MS = 60_000;
const MAGIC = 'MAPIRING';
/**
 * On Windows nobody can open or delete a file while somebody else looks at it, be it a new host that asks
 * whose rings are dead, or a virus scanner. That is over soon and not worth a word.
 */
const SAID_AT_FAILURE = 3;

export class Adoption {
  readonly #deps: AdoptionDeps;
  /** Files that are ours until they are deleted, by path. */
  readonly #held = new Map<string, FileLock>();
  /** Files that no attempt will mend. */
  readonly #hopeless = new Set<string>();
  /** How often the system did not let us at a file, one time after the other. */
  readonly #failures = new Map<string, number>();

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  hasFile(ring: string): boolean {
    return existsSync(join(this.#deps.dir, `${ring}.ring`));
  }

  /** Adopts every ring whose owner is dead. Safe to call at any time, also while it runs. */
  async scan(): Promise<Adopted> {
    let rings = 0;
    let frames = 0;
    for (const name of readdirSync(this.#deps.dir)) {
      const [, ring, kind] = RING_NAME.exec(name) ?? [];
      if (!ring || this.#deps.hub.rings.get(ring)?.peer) continue;
      const path = join(this.#deps.dir, name);
      if (this.#held.has(path) || this.#hopeless.has(path)) continue;
      try {
        if (kind === 'tmp' && statSync(path).mtimeMs > Date.now() - UNFINISHED_AFTER_MS) continue;
        const taken = await this.#adopt(ring, path, kind === 'tmp');
        this.#failures.delete(path);
        if (taken === undefined) continue;
        rings += 1;
        frames += taken;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
          this.#failures.delete(path);
          continue;
        }
        // The next scan tries again; what was taken already is not taken twice.
        const failures = (this.#failures.get(path) ?? 0) + 1;
        this.#failures.set(path, failures);
        if (failures === SAID_AT_FAILURE) this.#deps.failed(error as Error, path);
      }
    }
    return { rings, frames };
  }

  /** Lets go of files that wait for a journal that failed; they are adopted anew. */
  release(): void {
    for (const lock of this.#held.values()) lock.release();
    this.#held.clear();
  }

  /** @returns how many frames were taken; undefined if there was no ring, or its owner lives. */
  async #adopt(ring: string, path: string, unfinished: boolean): Promise<number | undefined> {
    const lock = tryLockRing(path);
    if (!lock) return undefined;
    this.#held.set(path, lock);
    try {
      const image = unfinished ? undefined : this.#read(ring, path, lock);
      if (image === 'keep') return undefined;
      // If the journal fails meanwhile, the lock is released and nothing below is reached.
      const frames = image ? await this.#take(image) : undefined;
      lock.removeFile();
      return frames;
    } finally {
      this.#held.delete(path);
      lock.release();
    }
  }

  /** @returns undefined if the file is no ring and may go; `keep` if a newer daemon can read it. */
  #read(ring: string, path: string, { fd }: FileLock): RingImage | 'keep' | undefined {
    const size = Math.min(fstatSync(fd).size, RING_FILE_BYTES + 1);
    const bytes = Buffer.alloc(size);
    let done = 0;
    while (done < size) {
      const part = readSync(fd, bytes, done, size - done, done);
      if (part === 0) break;
      done += part;
    }
    // Its owner died before the ring was one: nothing was recorded in it.
    if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
    try {
      const { bootId } = this.#deps;
      const image = readRing(bytes, bootId === undefined ? {} : { thisBoot: bootId });
      if (image.header.ring === ring) return image;
      throw new ProtocolError('malformed', `Cannot read ring: its id is not that of its name`);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#deps.rejected(error, path);
      if (error.reason !== 'version') return undefined;
      this.#hopeless.add(path);
      return 'keep';
    }
  }

  async #take(image: RingImage): Promise<number> {
    const { hub, durable, bootId } = this.#deps;
    const { header } = image;
    const sameBoot = !bootId || !header.bootId || header.bootId === bootId;
    const entry = hub.entryOfDead({
      ring: header.ring,
      pid: header.pid,
      arch: header.bits === 32 ? 'x86' : 'x64',
      executable: header.executable,
      shimVersion: header.shimVersion,
    });
    // What its connection brought must be durable before the watermark is looked at.
    await durable();
    hub.fence(entry);
    const taken = hub.adopt(entry, {
      // Of this boot both clocks can be read now; else the ring's own anchor is all there is.
      hello: sameBoot
        ? { freed: image.freed, timeUs: monotonicUs(), wallUs: wallUs() }
        : { freed: image.freed, timeUs: header.timeUs, wallUs: header.wallUs },
      frames: image.frames,
      slots: image.slots,
      lost: image.lost,
      lastSeenUs: header.lastSeenUs,
    });
    hub.gone(entry, image.inCalls, sameBoot);
    await durable();
    hub.adopted(entry);
    return taken;
  }
}
