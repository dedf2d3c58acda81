/**
 * The thread that waits for peers on a Windows pipe. It blocks in one wait and makes the next
 * instance before it hands one over, so that the name never has no instance of ours.
 */
import { parentPort, workerData } from 'node:worker_threads';
import {
  ERROR_IO_PENDING,
  ERROR_NO_DATA,
  FILE_FLAG_FIRST_PIPE_INSTANCE,
  FILE_FLAG_OVERLAPPED,
  INVALID_HANDLE,
  PIPE_ACCESS_DUPLEX,
  PIPE_REJECT_REMOTE_CLIENTS,
  WAIT_OBJECT_0,
  win32Calls,
} from './win32-calls.ts';

export interface WaiterSetup {
  readonly pipe: string;
  readonly sddl: string;
  /** Event handle: set it to end the thread. */
  readonly stop: number;
}

export type WaiterMessage =
  | { readonly type: 'listening'; readonly security: string }
  | { readonly type: 'peer'; readonly handle: number }
  | { readonly type: 'failed'; readonly text: string };

/** Wakes now and then, so that a process that exits without a stop is not held up. */
const WAKE_MS = 1000;
const RETRY_MS = 100;

const tell = (message: WaiterMessage): void => parentPort?.postMessage(message);

function serve({ pipe, sddl, stop }: WaiterSetup): void {
  const calls = win32Calls();
  const attributes = calls.securityAttributes(sddl);
  const instance = (flags: number): number => {
    const mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags;
    return calls.createNamedPipe(pipe, mode, PIPE_REJECT_REMOTE_CLIENTS, attributes);
  };
  let waiting = instance(FILE_FLAG_FIRST_PIPE_INSTANCE);
  if (waiting === INVALID_HANDLE) {
    tell({ type: 'failed', text: `CreateNamedPipeW failed with error ${calls.getLastError()}` });
    return;
  }
  tell({ type: 'listening', security: calls.securityOf(waiting) });
  const connected = calls.newEvent();
  const wait = calls.newConnectWait(connected);
  for (;;) {
    const started = wait.start(waiting);
    let arrived = started === 0;
    if (started === ERROR_IO_PENDING) {
      let woke: number;
      do woke = calls.waitAny([stop, connected], WAKE_MS);
      while (woke !== WAIT_OBJECT_0 && woke !== WAIT_OBJECT_0 + 1);
      if (woke === WAIT_OBJECT_0) {
        wait.cancel(waiting);
        break;
      }
      arrived = wait.succeeded(waiting);
    } else if (!arrived && started !== ERROR_NO_DATA) {
      // Nothing that we know of; take it slowly and with a new instance.
      if (calls.waitAny([stop], RETRY_MS) === WAIT_OBJECT_0) break;
    }
    let next = instance(0);
    while (next === INVALID_HANDLE) {
      if (calls.waitAny([stop], RETRY_MS) === WAIT_OBJECT_0) break;
      next = instance(0);
    }
    if (next === INVALID_HANDLE) break;
    if (arrived) tell({ type: 'peer', handle: waiting });
    else calls.closeHandle(waiting);
    waiting = next;
  }
  calls.closeHandle(waiting);
  calls.closeHandle(connected);
  wait.free();
}

serve(workerData as WaiterSetup);
