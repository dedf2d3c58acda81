/** How V8 collects garbage in a process that is all the daemon's. */
import { setFlagsFromString } from 'node:v8';

let isEarly = false;

/**
 * Early: a busy daemon would fill a hundred MiB more with garbage. And the young generation, of which little
 * ever survives, in one thread: waking others to help took half of its time. Holds for all threads.
 */
export function collectEarly(): void {
  isEarly = true;
  setFlagsFromString('--no-parallel-scavenge');
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=30');
}

/**
 * To be called when a thread has begun. Making its heap, V8 sets the first flag back to 2 for all: the main
 * thread's young generation grew, and left so little of its small heap that it was collected whole ten times a
 * second.
 */
export function collectEarlyStill(): void {
  if (isEarly) collectEarly();
}
