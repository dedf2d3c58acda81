/**
 * The Windows calls that Node does not offer. Loaded when first needed, once in each thread.
 * Handles and pointers are numbers: both fit well below 2^53 in user space.
 */
import { createRequire } from 'node:module';

export const GENERIC_READ = 0x80000000;
export const GENERIC_WRITE = 0x40000000;
export const OPEN_EXISTING = 3;
export const FILE_FLAG_OVERLAPPED = 0x40000000;
export const FILE_FLAG_FIRST_PIPE_INSTANCE = 0x00080000;
export const SECURITY_SQOS_PRESENT = 0x00100000;
export const SECURITY_IDENTIFICATION = 0x00010000;
export const PIPE_ACCESS_DUPLEX = 3;
export const PIPE_REJECT_REMOTE_CLIENTS = 8;
export const PIPE_UNLIMITED_INSTANCES = 255;
export const PROCESS_QUERY_LIMITED_INFORMATION = 0x1000;
export const SYNCHRONIZE = 0x00100000;
export const WAIT_OBJECT_0 = 0;
export const INVALID_HANDLE = -1;

export const ERROR_FILE_NOT_FOUND = 2;
export const ERROR_PIPE_BUSY = 231;
export const ERROR_NO_DATA = 232;
export const ERROR_PIPE_CONNECTED = 535;
export const ERROR_IO_PENDING = 997;

const SDDL_REVISION_1 = 1;
const SE_KERNEL_OBJECT = 6;
const OWNER_SECURITY_INFORMATION = 1;
const DACL_SECURITY_INFORMATION = 4;
const LABEL_SECURITY_INFORMATION = 0x10;
const TOKEN_QUERY = 8;
const TOKEN_USER = 1;
const TOKEN_ELEVATION = 20;
/** Of a handle, too. */
const POINTER_BYTES = process.arch === 'ia32' ? 4 : 8;
/** OVERLAPPED: two pointers, an offset of 8 bytes, an event. */
const OVERLAPPED_EVENT_OFFSET = 2 * POINTER_BYTES + 8;
const OVERLAPPED_BYTES = 3 * POINTER_BYTES + 8;
/** SECURITY_ATTRIBUTES: its size, a pointer, whether it is inherited; each has a pointer's room. */
const SECURITY_ATTRIBUTES_BYTES = 3 * POINTER_BYTES;

export type Win32Calls = ReturnType<typeof load>;

let calls: Win32Calls | undefined;

export function win32Calls(): Win32Calls {
  calls ??= load();
  return calls;
}

function load() {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const kernel32 = koffi.load('kernel32.dll');
  const advapi32 = koffi.load('advapi32.dll');
  const ntdll = koffi.load('ntdll.dll');
  const node = koffi.load(process.execPath);

  const getLastError = kernel32.func('uint32_t __stdcall GetLastError()');
  const closeHandle = kernel32.func('int __stdcall CloseHandle(intptr_t)');
  const localFree = kernel32.func('intptr_t __stdcall LocalFree(intptr_t)');
  const getCurrentProcess = kernel32.func('intptr_t __stdcall GetCurrentProcess()');
  const createEvent = kernel32.func(
    'intptr_t __stdcall CreateEventW(void *, int manual, int initial, void *)',
  );
  const setEvent = kernel32.func('int __stdcall SetEvent(intptr_t)');
  const resetEvent = kernel32.func('int __stdcall ResetEvent(intptr_t)');
  const waitForMultipleObjects = kernel32.func(
    'uint32_t __stdcall WaitForMultipleObjects(uint32_t, const intptr_t *, int, uint32_t)',
  );
  const waitForSingleObject = kernel32.func(
    'uint32_t __stdcall WaitForSingleObject(intptr_t, uint32_t)',
  );
  const createNamedPipe = kernel32.func(
    'intptr_t __stdcall CreateNamedPipeW(str16, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, void *)',
  );
  const connectNamedPipe = kernel32.func('int __stdcall ConnectNamedPipe(intptr_t, void *)');
  const getOverlappedResult = kernel32.func(
    'int __stdcall GetOverlappedResult(intptr_t, void *, _Out_ uint32_t *, int)',
  );
  const cancelIo = kernel32.func('int __stdcall CancelIoEx(intptr_t, void *)');
  const createFile = kernel32.func(
    'intptr_t __stdcall CreateFileW(str16, uint32_t, uint32_t, void *, uint32_t, uint32_t, intptr_t)',
  );
  const openProcess = kernel32.func('intptr_t __stdcall OpenProcess(uint32_t, int, uint32_t)');
  const getExitCode = kernel32.func('int __stdcall GetExitCodeProcess(intptr_t, _Out_ uint32_t *)');
  const openProcessToken = advapi32.func(
    'int __stdcall OpenProcessToken(intptr_t, uint32_t, _Out_ intptr_t *)',
  );
  const getTokenInformation = advapi32.func(
    'int __stdcall GetTokenInformation(intptr_t, int, void *, uint32_t, _Out_ uint32_t *)',
  );
  const sidToString = advapi32.func(
    'int __stdcall ConvertSidToStringSidW(intptr_t, _Out_ intptr_t *)',
  );
  const sddlToDescriptor = advapi32.func(
    'int __stdcall ConvertStringSecurityDescriptorToSecurityDescriptorW(str16, uint32_t, _Out_ intptr_t *, void *)',
  );
  const descriptorToSddl = advapi32.func(
    'int __stdcall ConvertSecurityDescriptorToStringSecurityDescriptorW(intptr_t, uint32_t, uint32_t, _Out_ intptr_t *, void *)',
  );
  const getSecurityInfo = advapi32.func(
    'uint32_t __stdcall GetSecurityInfo(intptr_t, int, uint32_t, _Out_ intptr_t *, void *, void *, void *, _Out_ intptr_t *)',
  );
  const uvOpenOsfhandle = node.func('int uv_open_osfhandle(intptr_t)');

  /** An error that names the call. Reads the code at once, before anything else can change it. */
  const failed = (name: string, code: number = getLastError()): Error =>
    Object.assign(new Error(`${name} failed with Windows error ${code}`), { windowsError: code });

  const takeText = (pointer: number): string => {
    const text = koffi.decode.string16(BigInt.asUintN(8 * POINTER_BYTES, BigInt(pointer)));
    localFree(pointer);
    return text;
  };

  function sidText(sid: number): string {
    const text: [number] = [0];
    if (!sidToString(sid, text)) throw failed('ConvertSidToStringSidW');
    return takeText(text[0]);
  }

  function withToken<T>(use: (token: number) => T): T {
    const token: [number] = [0];
    if (!openProcessToken(getCurrentProcess(), TOKEN_QUERY, token))
      throw failed('OpenProcessToken');
    try {
      return use(token[0]);
    } finally {
      closeHandle(token[0]);
    }
  }

  function tokenInformation(token: number, what: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    if (!getTokenInformation(token, what, buffer, bytes, [0])) throw failed('GetTokenInformation');
    return buffer;
  }

  return {
    getLastError: getLastError as () => number,
    closeHandle: closeHandle as (handle: number) => number,
    setEvent: setEvent as (event: number) => number,
    resetEvent: resetEvent as (event: number) => number,

    newEvent(): number {
      const event = createEvent(null, 1, 0, null);
      if (!event) throw failed('CreateEventW');
      return event;
    },

    /** Blocks the calling thread. @returns WAIT_OBJECT_0 + index, or WAIT_TIMEOUT. */
    waitAny(handles: readonly number[], timeoutMs: number): number {
      return waitForMultipleObjects(handles.length, handles, 0, timeoutMs);
    },

    hasEnded: (process: number): boolean => waitForSingleObject(process, 0) === WAIT_OBJECT_0,

    /** @returns 0 if there is no such process. */
    openProcess: (pid: number): number =>
      openProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, 0, pid),

    exitCode(process: number): number | undefined {
      const code: [number] = [0];
      return getExitCode(process, code) ? code[0] : undefined;
    },

    /** @returns INVALID_HANDLE on failure; then getLastError() tells why. */
    createNamedPipe(name: string, openMode: number, pipeMode: number, attributes: unknown): number {
      const buffer = 65_536;
      return createNamedPipe(
        name,
        openMode,
        pipeMode,
        PIPE_UNLIMITED_INSTANCES,
        buffer,
        buffer,
        0,
        attributes,
      );
    },

    openPipe(name: string): number {
      const flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
      const access = GENERIC_READ + GENERIC_WRITE;
      return createFile(name, access, 0, null, OPEN_EXISTING, flags, 0);
    },

    /**
     * Waiting for a peer without blocking. The memory belongs to the system until the wait ended,
     * so it is from koffi and not from the garbage collector.
     */
    newConnectWait(event: number) {
      const overlapped = koffi.alloc('uint8_t', OVERLAPPED_BYTES);
      return {
        /** @returns 0 if a peer is there, else the Windows error; ERROR_IO_PENDING: wait. */
        start(pipe: number): number {
          koffi.encode(
            overlapped,
            'uint8_t',
            new Array(OVERLAPPED_BYTES).fill(0),
            OVERLAPPED_BYTES,
          );
          koffi.encode(overlapped, OVERLAPPED_EVENT_OFFSET, 'intptr_t', event);
          resetEvent(event);
          if (connectNamedPipe(pipe, overlapped)) return 0;
          const error = getLastError();
          return error === ERROR_PIPE_CONNECTED ? 0 : error;
        },
        succeeded: (pipe: number): boolean => getOverlappedResult(pipe, overlapped, [0], 0) !== 0,
        /** Ends the wait and returns only when the system has let go of the memory. */
        cancel(pipe: number): void {
          cancelIo(pipe, overlapped);
          getOverlappedResult(pipe, overlapped, [0], 1);
        },
        free: (): void => koffi.free(overlapped),
      };
    },

    /** SECURITY_ATTRIBUTES for a descriptor that lives as long as the process. */
    securityAttributes(sddl: string): unknown {
      const descriptor: [number] = [0];
      if (!sddlToDescriptor(sddl, SDDL_REVISION_1, descriptor, null)) {
        throw failed('ConvertStringSecurityDescriptorToSecurityDescriptorW');
      }
      const attributes = koffi.alloc('uint8_t', SECURITY_ATTRIBUTES_BYTES);
      koffi.encode(attributes, 0, 'uint32_t', SECURITY_ATTRIBUTES_BYTES);
      koffi.encode(attributes, POINTER_BYTES, 'intptr_t', descriptor[0]);
      koffi.encode(attributes, 2 * POINTER_BYTES, 'int32_t', 0); // Not inherited.
      return attributes;
    },

    /** Owner, DACL and label of an open object, as SDDL. */
    securityOf(handle: number): string {
      const what =
        OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION;
      const descriptor: [number] = [0];
      const error = getSecurityInfo(
        handle,
        SE_KERNEL_OBJECT,
        what,
        [0],
        null,
        null,
        null,
        descriptor,
      );
      if (error !== 0) throw failed('GetSecurityInfo', error);
      const text: [number] = [0];
      const done = descriptorToSddl(descriptor[0], SDDL_REVISION_1, what, text, null);
      const problem = done
        ? undefined
        : failed('ConvertSecurityDescriptorToStringSecurityDescriptorW');
      localFree(descriptor[0]);
      if (problem) throw problem;
      return takeText(text[0]);
    },

    /** The SID of whoever owns an open object. */
    ownerOf(handle: number): string {
      const owner: [number] = [0];
      const descriptor: [number] = [0];
      const error = getSecurityInfo(
        handle,
        SE_KERNEL_OBJECT,
        OWNER_SECURITY_INFORMATION,
        owner,
        null,
        null,
        null,
        descriptor,
      );
      if (error !== 0) throw failed('GetSecurityInfo', error);
      const sid = sidText(owner[0]); // Points into the descriptor.
      localFree(descriptor[0]);
      return sid;
    },

    /** The SID of this process's user. */
    userSid: (): string =>
      withToken((token) => {
        const user = tokenInformation(token, TOKEN_USER, 256);
        // TOKEN_USER opens with a pointer to the SID.
        return sidText(POINTER_BYTES === 4 ? user.readInt32LE(0) : Number(user.readBigUInt64LE(0)));
      }),

    isElevated: (): boolean =>
      withToken((token) => tokenInformation(token, TOKEN_ELEVATION, 4).readUInt32LE(0) !== 0),

    /** Wine enforces no access rules on pipes, and says so. */
    isWine(): boolean {
      try {
        ntdll.func('str wine_get_version()');
        return true;
      } catch {
        return false;
      }
    },

    /** Gives a handle to Node. It belongs to the descriptor from then on. */
    toDescriptor(handle: number): number {
      const fd = uvOpenOsfhandle(handle);
      if (fd < 0) {
        closeHandle(handle);
        throw new Error('uv_open_osfhandle failed: too many open files');
      }
      return fd;
    },
  };
}
