import { createHmac, timingSafeEqual } from 'node:crypto';
import { HANDSHAKE_VERSION, PROTOCOL_VERSION } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

/** Both sides of the handshake as functions over bytes. Sockets, deadlines and nonces: the caller. */

export const GREETING_BYTES = 48;
export const CHALLENGE_BYTES = 80;
export const ANSWER_BYTES = 32;
export const NONCE_BYTES = 32;

/** `status` of a challenge. */
export const STATUS = { goOn: 0, version: 1, tooMany: 2, stopping: 3 } as const;

export type Role = 'shim' | 'client';

export interface Greeting {
  readonly role: Role;
  /** Highest protocol version that the peer speaks. */
  readonly protocol: number;
  readonly nonce: Uint8Array;
}

/** What both proofs are made with. */
export interface Proving {
  /** 32 bytes: what `secret` in the endpoint file spells. See `parseSecret()`. */
  readonly secret: Uint8Array;
  /** As in the endpoint file. */
  readonly pipe: string;
  /** The greeting's bytes, as sent. */
  readonly greeting: Uint8Array;
}

const MAGIC = Buffer.from('MAPISYNC', 'latin1');
const ROLES: readonly Role[] = ['shim', 'client'];
/** Of a challenge, the part before its proof. */
const STATED_BYTES = CHALLENGE_BYTES - ANSWER_BYTES;

/** @throws {ProtocolError} `bad-field` unless `hex` is 64 hex digits. */
export function parseSecret(hex: string): Uint8Array {
  if (!/^[0-9a-fA-F]{64}$/.test(hex)) {
    // The value is a secret even when it is malformed, so the text does not show it.
    throw new ProtocolError('bad-field', 'Cannot read secret: expected 64 hex digits');
  }
  return Buffer.from(hex, 'hex');
}

export function makeGreeting(greeting: {
  readonly role: Role;
  readonly nonce: Uint8Array;
  readonly protocol?: number;
}): Uint8Array {
  return header(
    GREETING_BYTES,
    ROLES.indexOf(greeting.role) + 1,
    greeting.protocol ?? PROTOCOL_VERSION,
    greeting.nonce,
  );
}

/** @throws {ProtocolError} `malformed`, `version`. */
export function readGreeting(bytes: Uint8Array): Greeting {
  const view = readHeader(bytes, GREETING_BYTES, 'greeting');
  const role = ROLES[view.getUint8(9) - 1];
  if (role === undefined) {
    throw malformed('greeting', 'role 1 or 2', String(view.getUint8(9)));
  }
  return { role, protocol: view.getUint16(10), nonce: bytes.slice(16, 16 + NONCE_BYTES) };
}

/** The daemon's side: states `status` and `protocol`, and proves that it knows the secret. */
export function makeChallenge(
  challenge: Proving & {
    readonly nonce: Uint8Array;
    readonly status: number;
    readonly protocol?: number;
  },
): Uint8Array {
  const bytes = header(
    CHALLENGE_BYTES,
    challenge.status,
    challenge.protocol ?? PROTOCOL_VERSION,
    challenge.nonce,
  );
  bytes.set(proof('daemon', challenge, bytes), STATED_BYTES);
  return bytes;
}

/**
 * The peer's side: believes nothing in `challenge` before its proof holds.
 *
 * @throws {ProtocolError} `malformed`, `version`, or `proof`: whoever answered does not know the
 * secret, so it is not the daemon that wrote the endpoint file.
 */
export function checkChallenge(
  proving: Proving,
  challenge: Uint8Array,
): { readonly status: number; readonly protocol: number } {
  const view = readHeader(challenge, CHALLENGE_BYTES, 'challenge');
  if (!timingSafeEqual(proof('daemon', proving, challenge), challenge.subarray(STATED_BYTES))) {
    const want = 'a proof that the daemon knows the secret of the endpoint file';
    throw new ProtocolError('proof', `Cannot trust daemon: expected ${want}, got another one`);
  }
  return { status: view.getUint8(9), protocol: view.getUint16(10) };
}

export function makeAnswer(proving: Proving, challenge: Uint8Array): Uint8Array {
  return proof('peer', proving, challenge);
}

/** @returns whether the peer knows the secret. Constant time for an answer of the right size. */
export function checkAnswer(proving: Proving, challenge: Uint8Array, answer: Uint8Array): boolean {
  return (
    answer.length === ANSWER_BYTES && timingSafeEqual(proof('peer', proving, challenge), answer)
  );
}

function proof(by: 'daemon' | 'peer', proving: Proving, challenge: Uint8Array): Uint8Array {
  return createHmac('sha256', proving.secret)
    .update(`mapisync/1 ${by}\n`)
    .update(proving.greeting)
    .update(challenge.subarray(0, STATED_BYTES))
    .update(proving.pipe)
    .digest();
}

function header(size: number, second: number, protocol: number, nonce: Uint8Array): Uint8Array {
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`A nonce has ${NONCE_BYTES} bytes`);
  const bytes = new Uint8Array(size);
  bytes.set(MAGIC);
  const view = new DataView(bytes.buffer);
  view.setUint8(8, HANDSHAKE_VERSION);
  view.setUint8(9, second);
  view.setUint16(10, protocol);
  bytes.set(nonce, 16);
  return bytes;
}

function readHeader(bytes: Uint8Array, size: number, what: string): DataView {
  if (bytes.length !== size) throw malformed(what, `${size} bytes`, String(bytes.length));
  for (let at = 0; at < MAGIC.length; at += 1) {
    if (bytes[at] !== MAGIC[at]) throw malformed(what, 'it to begin with "MAPISYNC"', 'others');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint8(8);
  if (version !== HANDSHAKE_VERSION) {
    const text = `expected handshake version ${HANDSHAKE_VERSION}, got ${version}`;
    throw new ProtocolError('version', `Cannot read ${what}: ${text}`);
  }
  if (view.getUint32(12) !== 0) throw malformed(what, '4 zero bytes at offset 12', 'others');
  return view;
}

function malformed(what: string, wanted: string, got: string): ProtocolError {
  return new ProtocolError('malformed', `Cannot read ${what}: expected ${wanted}, got ${got}`);
}
