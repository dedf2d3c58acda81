/** Why a peer was cut off. A closed list; the text is for people. */
export type ProtocolReason =
  | 'oversize'
  | 'malformed'
  | 'bad-field'
  | 'gap'
  | 'order'
  | 'version'
  | 'proof'
  | 'timeout'
  | 'limit'
  | 'replaced';

/** A peer broke the protocol. Ends that connection only. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly reason: ProtocolReason;

  constructor(reason: ProtocolReason, message: string) {
    super(message);
    this.reason = reason;
  }
}
