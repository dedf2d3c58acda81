/**
 * The limits of PROTOCOL.md, under its names. A test compares them with its table and with
 * `native-shim/src/limits.h`. A daemon's own limits are its own.
 */
export const PROTOCOL_VERSION = 1;
export const HANDSHAKE_VERSION = 1;
export const MAX_FRAME_BYTES = 65536;
export const MAX_FRAME_ELEMENTS = 32;
export const MAX_TEXT_UNITS = 4096;
export const MAX_TEXT_BYTES = 12288;
export const MAX_NAME_BYTES = 1024;
export const MAX_SLOT_TEXT_BYTES = 256;
export const MAX_ENDPOINT_BYTES = 4096;
export const MAX_HANDSHAKE_BYTES = 512;
export const HANDSHAKE_TIMEOUT_MS = 2000;
export const FRAME_TIMEOUT_MS = 5000;
export const WINDOW_BYTES = 1048576;
export const RING_FILE_BYTES = 4194304;
export const RING_DATA_OFFSET = 200704;
export const MAX_SESSIONS_PER_RING = 256;
export const MAX_CALLS_INSIDE = 64;
export const PROGRESS_WATERMARK_PERCENT = 86;
export const INNER_SLOW_US = 100000;
export const BLOCKED_AFTER_MS = 2000;
