/** Values of the Windows registry, as Unicode; reg.exe would give them in the console's code page. */
import { createRequire } from 'node:module';

export type Hive = 'HKCU' | 'HKLM';

/** Predefined keys are sign-extended. */
const HKEY: Record<Hive, number> = { HKCU: -0x7fffffff, HKLM: -0x7ffffffe };
const RRF_RT_REG_SZ = 2;
const RRF_RT_REG_DWORD = 0x10;
const REG_SZ = 1;
const REG_DWORD = 4;
const ERROR_FILE_NOT_FOUND = 2;
/** More than any value of ours has. */
const MAX_VALUE_BYTES = 65_536;

let calls: ReturnType<typeof load> | undefined;

function load() {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const advapi32 = koffi.load('advapi32.dll');
  return {
    get: advapi32.func(
      'int32_t __stdcall RegGetValueW(intptr_t, str16, str16, uint32_t, _Out_ uint32_t *, void *, _Inout_ uint32_t *)',
    ),
    set: advapi32.func(
      'int32_t __stdcall RegSetKeyValueW(intptr_t, str16, str16, uint32_t, void *, uint32_t)',
    ),
    remove: advapi32.func('int32_t __stdcall RegDeleteKeyValueW(intptr_t, str16, str16)'),
  };
}

/** @returns undefined if there is no such value. @throws if the system refuses. */
export function readRegistry(hive: Hive, key: string, name: string): string | number | undefined {
  calls ??= load();
  const [type, size]: [number][] = [[0], [MAX_VALUE_BYTES]];
  const data = Buffer.alloc(MAX_VALUE_BYTES);
  const flags = RRF_RT_REG_SZ | RRF_RT_REG_DWORD;
  const error: number = calls.get(HKEY[hive], key, name, flags, type, data, size);
  if (error === ERROR_FILE_NOT_FOUND) return undefined;
  if (error !== 0) throw failed('read', hive, key, error);
  if (type![0] === REG_DWORD) return data.readUInt32LE(0);
  return data.toString('utf16le', 0, size![0]).replace(/\0+$/, '');
}

/** Makes the key if there is none. @throws if the system refuses. */
export function writeRegistryText(hive: Hive, key: string, name: string, text: string): void {
  calls ??= load();
  const data = Buffer.from(`${text}\0`, 'utf16le');
  const error: number = calls.set(HKEY[hive], key, name, REG_SZ, data, data.length);
  if (error !== 0) throw failed('write', hive, key, error);
}

/** Also if there is none. @throws if the system refuses. */
export function deleteRegistryValue(hive: Hive, key: string, name: string): void {
  calls ??= load();
  const error: number = calls.remove(HKEY[hive], key, name);
  if (error !== 0 && error !== ERROR_FILE_NOT_FOUND) throw failed('write', hive, key, error);
}

const failed = (what: string, hive: Hive, key: string, code: number): Error =>
  Object.assign(new Error(`Cannot ${what} ${hive}\\${key}: Windows error ${code}`), {
    code: code === 5 ? 'EACCES' : `WIN${code}`,
  });
