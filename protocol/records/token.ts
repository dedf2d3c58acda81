import { createHmac } from 'node:crypto';

/** 48 bits: the same text has the same token, and two of one journal hardly ever share one. */
const TOKEN_DIGITS = 12;

/**
 * What stands for a text of the host where the text itself must not: `~` and 12 hex digits, by a key of
 * this machine. Empty text stays empty.
 */
export function token(key: Uint8Array, text: string): string {
  if (text === '') return text;
  return `~${createHmac('sha256', key).update(text).digest('hex').slice(0, TOKEN_DIGITS)}`;
}
