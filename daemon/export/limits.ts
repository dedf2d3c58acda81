/** The limits of exporters. */

/** What one batch holds at most. */
export const MAX_BATCH_RECORDS = 512;
export const MAX_BATCH_BYTES = 524_288;
/** How long the far side may take for one batch. */
export const SEND_TIMEOUT_MS = 30_000;
/** The first wait after a failure; each further one is twice as long. */
export const FIRST_RETRY_MS = 500;
export const MAX_RETRY_MS = 60_000;
/** What a daemon that stops leaves its exporters to finish. */
export const LAST_WORDS_MS = 1000;
