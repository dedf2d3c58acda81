import { createHash } from 'node:crypto';

/** Public names of a session, from its ring's id (32 hex digits) and the seq of its `open`. */
export function sessionIds(
  ring: string,
  session: number,
): { readonly id: string; readonly traceId: string } {
  const seq = Buffer.alloc(8);
  seq.writeBigUInt64BE(BigInt(session));
  const digest = createHash('sha256').update(Buffer.from(ring, 'hex')).update(seq).digest('hex');
  return { id: digest.slice(0, 16), traceId: digest.slice(0, 32) };
}

/** 16 hex digits: what the shim's `mapisync_session_id()` gives, and what the CLI takes. */
export function sessionId(ring: string, session: number): string {
  return sessionIds(ring, session).id;
}

/** 32 hex digits. */
export function traceId(ring: string, session: number): string {
  return sessionIds(ring, session).traceId;
}
