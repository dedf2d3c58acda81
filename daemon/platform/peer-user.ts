/** Who is at the other end of a Unix socket. */
import type { Socket } from 'node:net';
import { posixCalls } from './posix-calls.ts';

/**
 * @returns What is wrong with the user at the other end; undefined if it is this user, and on Windows,
 * where the pipe's descriptor and its owner are compared instead.
 */
export function peerProblem(socket: Socket): string | undefined {
  const own = process.geteuid?.();
  if (own === undefined) return undefined;
  try {
    const user = posixCalls().peerUser(descriptorOf(socket));
    return user === own ? undefined : `user ${user} is at its other end, and this is user ${own}`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Node offers it by this name alone. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  return handle?.fd ?? -1;
}
