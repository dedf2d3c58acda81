/** The side file of `producer.cc`: what every call returned, whatever happened to its process. */
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

const HEADER_BYTES = 256;
const ENTRY_BYTES = 256;
const ENTRIES = 65_535;
const MAX_THREADS = 8;
const MAGIC = 0x31544146;

export const STATE = {
  attaching: 1,
  attached: 2,
  releasing: 3,
  released: 4,
  /** The shim gave no session. */
  without: 5,
};

/** Makes an empty one. */
export function makeSideFile(path) {
  const fd = openSync(path, 'wx');
  ftruncateSync(fd, HEADER_BYTES + ENTRIES * ENTRY_BYTES);
  closeSync(fd);
}

/** Tells the producer to end. */
export function stopProducer(path) {
  const fd = openSync(path, 'r+');
  writeSync(fd, Uint8Array.of(1, 0, 0, 0), 0, 4, 4);
  closeSync(fd);
}

function readHead(fd) {
  const head = Buffer.alloc(HEADER_BYTES);
  readSync(fd, head, 0, HEADER_BYTES, 0);
  const first = Buffer.alloc(4);
  readSync(fd, first, 0, 4, HEADER_BYTES);
  return {
    /** The first session is there, and so is the ring. */
    attached: first.readUInt32LE() >= STATE.attached,
    started: head.readUInt32LE(0) === MAGIC,
    used: Math.min(head.readUInt32LE(8), ENTRIES),
    finished: head.readUInt32LE(12) === 1,
    inFile: head.readUInt32LE(20) === 1,
    flushed: head.readUInt32LE(24) === 1,
    recorded: Number(head.readBigUInt64LE(32)),
    merged: Number(head.readBigUInt64LE(40)),
    lost: Number(head.readBigUInt64LE(48)),
  };
}

export function readHeader(path) {
  const fd = openSync(path, 'r');
  try {
    return readHead(fd);
  } finally {
    closeSync(fd);
  }
}

/** @returns the header and all sessions, each with what its threads called. */
export function readSideFile(path) {
  const fd = openSync(path, 'r');
  try {
    const header = readHead(fd);
    const bytes = Buffer.alloc(header.used * ENTRY_BYTES);
    if (bytes.length > 0) readSync(fd, bytes, 0, bytes.length, HEADER_BYTES);
    const sessions = [];
    for (let base = 0; base < bytes.length; base += ENTRY_BYTES) {
      const word = (offset) => bytes.readUInt32LE(base + offset);
      const threads = [];
      for (let thread = 0; thread < MAX_THREADS; thread++) {
        const at = (field) => word(64 + thread * 24 + field * 4);
        threads.push({
          errors: { begun: at(0), returned: at(1) },
          notes: { begun: at(2), returned: at(3) },
          progress: { begun: at(4), returned: at(5) },
        });
      }
      sessions.push({
        id: bytes.toString('latin1', base + 20, base + 36).replace(/\0.*$/, ''),
        state: word(0),
        dones: { begun: word(4), returned: word(8) },
        inners: { begun: word(12), returned: word(16) },
        threads,
      });
    }
    return { ...header, sessions };
  } finally {
    closeSync(fd);
  }
}
