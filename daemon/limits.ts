/** The daemon's own limits. What is on the wire is limited in `protocol/wire/limits.ts`. */

/** Connected shims. One more is told `too many peers`. */
export const MAX_PROVIDERS = 64;
/** Connected clients. */
export const MAX_CLIENTS = 128;
/** Peers that have not finished their handshake. One more is closed at once. */
export const MAX_GREETING = 64;
/**
 * Live sessions of all rings. An `open` above that is counted, told, and has no session; its ring goes on.
 * A ring that asks beyond its own share, `MAX_SESSIONS_PER_RING`, is refused.
 */
export const MAX_SESSIONS = 4096;
/** Sessions that ended and still stand in the picture of a new client. */
export const MAX_ENDED_SHOWN = 64;
/** Rings of which a watermark is kept. */
export const MAX_RINGS = 4096;
/** How long the watermark of a ring is kept whose file and process are gone. */
export const RING_WATERMARK_DAYS = 7;
/** What waits in memory for one peer that does not read. */
export const MAX_BUFFERED_BYTES = 131_072;
/** While frames keep coming, so much is acknowledged at once: an eighth of what a shim sends ahead. */
export const ACK_BYTES = 131_072;
/** Records that a client may be behind, in the journal's files. Above that it is told so and cut. */
export const MAX_CLIENT_BACKLOG_BYTES = 4_194_304;
/** A client that takes nothing of what waits for it for so long is told so and cut. */
export const MAX_CLIENT_STALL_MS = 30_000;
/** What goes to a client at once. */
export const FEED_CHUNK_BYTES = 65_536;
/** How long a client that was cut may take to hear why. Who needs its place gets it sooner. */
export const MAX_GOODBYE_MS = 600_000;
/** Ends of sessions kept for clients that have not got them. Above that the slowest client is cut. */
export const MAX_ENDS_KEPT = 4096;
/** What is kept of one session's frames without being asked for; less than a client's backlog. */
export const MAX_TAPE_BYTES = 2_097_152;
/** Live updates of one session to a client. */
export const SESSION_UPDATES_PER_SECOND = 10;
/** A ring in plain memory whose connection is lost gets this long to come back. */
export const MEMORY_RING_GRACE_MS = 10_000;
/** Lines that wait for the disk. Above that no peer is read. */
export const MAX_UNWRITTEN_BYTES = 16_777_216;
/** The longest group of records that one frame can cause. A segment keeps so much free. */
export const MAX_GROUP_BYTES = 131_072;
/** Kept aside, so that a full disk can be said on the full disk. */
export const RESERVE_BYTES = 65_536;
export const DISK_RETRY_MS = 1000;
/** How long a stopping daemon waits for its peers and its journal. */
export const STOP_TIMEOUT_MS = 3000;
export const TICK_MS = 1000;
/** The daemon's own diagnostics start a new file above this, and keep one old one. */
export const MAX_LOG_BYTES = 1_048_576;
/** What one daemon says to people on stderr. */
export const MAX_SAID_BYTES = 65_536;

export const SEGMENT_BYTES = 8_388_608;
export const JOURNAL_BYTES = 268_435_456;
export const JOURNAL_DAYS = 30;
