import { describe, expect, test } from 'vitest';
import { CLASSIFIED_NAMES } from '../../../protocol/session/hresult-classes.ts';
import table from '../../../protocol/session/hresult-table.json' with { type: 'json' };
import {
  describeHresult,
  findHresultName,
  parseHresult,
} from '../../../protocol/session/hresults.ts';
import { decodeSyncFlags } from '../../../protocol/session/sync-flags.ts';

const rows = table as unknown as readonly [string, string, string, string, string[]][];

test('every row can be reached by value, by name and by each alias', () => {
  expect(rows).toHaveLength(461);
  expect(new Set(rows.map(([, value]) => value)).size).toBe(420);
  for (const [name, hex, kind, meaning, aliases] of rows) {
    const value = Number(hex);
    expect(findHresultName(name)).toMatchObject({ name, value, kind, meaning, aliases });
    expect(parseHresult(name)).toBe(value);
    expect(parseHresult(name.toLowerCase())).toBe(value);
    const { hex: shown, name: preferred, aliases: others } = describeHresult(value);
    expect(shown).toBe(hex);
    expect([preferred, ...others]).toContain(name);
    for (const alias of aliases) expect(parseHresult(alias)).toBe(value);
  }
});

test.for<[string, number]>([
  ['MAPI_E_NOT_FOUND', 0x8004010f],
  ['MAPI_E_CALL_FAILED', 0x80004005],
  ['MAPI_E_VERSION', 0x80040110],
  ['MAPI_E_LOGON_FAILED', 0x80040111],
  ['MAPI_E_UNKNOWN_ENTRYID', 0x80040201],
  ['S_OK', 0],
])('%s is the name to show', ([name, value]) => {
  expect(describeHresult(value).name).toBe(name);
});

describe('parseHresult()', () => {
  test.for<[string, number | undefined]>([
    ['0x8004010F', 0x8004010f],
    ['0X8004010f', 0x8004010f],
    ['8004010F', 0x8004010f],
    ['80040111', 0x80040111],
    ['-2147221233', 0x8004010f],
    ['2147746063', 0x8004010f],
    ['0xFFFFFFFF8004010F', 0x8004010f],
    ['FFFFFFFF8004010F', 0x8004010f],
    [' ecNotFound ', 0x8004010f],
    ['0', 0],
    ['0x0', 0],
    ['-1', 0xffffffff],
    ['4294967295', 0xffffffff],
    ['-2147483648', 0x80000000],
    ['4294967296', undefined],
    ['-2147483649', undefined],
    ['0x100000000', undefined],
    ['0xFFFFFFFF0004010F', undefined],
    ['-0x1', undefined],
    ['MAPI_E_NO_SUCH', undefined],
    ['1e3', undefined],
    ['', undefined],
  ])('%j', ([text, value]) => {
    expect(parseHresult(text)).toBe(value);
  });
});

describe('describeHresult() goes by rule where no name is known', () => {
  test.for<[number, object]>([
    [0x80072711, { name: 'WINSOCK_10001', meaning: 'Windows Sockets error 10001', class: 'other' }],
    [0x80072742 + 9, { name: 'WINSOCK_10059', class: 'transient' }],
    [0x80072f9e, { name: 'WININET_12190' }],
    [0x80072f9f, { name: 'WIN32_12191' }],
    [0x80070001, { name: 'WIN32_1', meaning: 'Windows error 1' }],
    [0x801901ad, { name: 'HTTP_429', class: 'transient', meaning: 'HTTP status 429' }],
    [0x8019019a, { name: 'HTTP_410', class: 'not_found' }],
    [0x801901fb, { name: 'HTTP_507', class: 'quota' }],
    [0x80010999, { name: 'RPC_0999' }],
    [0x80030999, { name: 'STORAGE_0999' }],
    [0x80040999, { name: 'ITF_0999' }],
    [
      0xb1704005,
      {
        name: 'MAPI_E_CALL_FAILED?',
        note: 'A guess: 0x80004005 is what remains without the bits 0x31700000',
      },
    ],
    [
      0xc0de1234,
      { name: '0xC0DE1234', meaning: 'Error code 4660 of facility 222, without a known name' },
    ],
    [0x00047777, { name: '0x00047777', severity: 'success' }],
    [
      0x000003f0,
      {
        name: 'ecServerOOM',
        severity: 'success',
        note: 'A code of the store without the severity bit',
      },
    ],
    [-2147221233, { name: 'MAPI_E_NOT_FOUND', value: 0x8004010f }],
  ])('%d', ([value, want]) => {
    expect(describeHresult(value)).toMatchObject(want);
  });
});

test('classes are said of names to show, once each', () => {
  expect(new Set(CLASSIFIED_NAMES).size).toBe(CLASSIFIED_NAMES.length);
  expect(CLASSIFIED_NAMES.filter((name) => findHresultName(name)?.preferred !== true)).toEqual([]);
});

test.for<[string, string]>([
  ['MAPI_E_NETWORK_ERROR', 'transient'],
  ['MAPI_E_LOGON_FAILED', 'auth'],
  ['MAPI_E_STORE_FULL', 'quota'],
  ['MAPI_E_NOT_FOUND', 'not_found'],
  ['MAPI_E_USER_CANCEL', 'cancelled'],
  ['MAPI_E_CALL_FAILED', 'other'],
  ['HTTP_E_STATUS_SERVICE_UNAVAIL', 'transient'],
  ['WSAETIMEDOUT', 'transient'],
])('%s is %s', ([name, want]) => {
  expect(describeHresult(parseHresult(name)!).class).toBe(want);
});

test.for<[number, object]>([
  [0, { names: [], userInitiated: false }],
  [0x1, { names: ['SYNC_UPLOAD_HIERARCHY'], userInitiated: false }],
  [
    0x220212c3,
    {
      names: [
        'SYNC_UPLOAD_HIERARCHY',
        'SYNC_DOWNLOAD_HIERARCHY',
        'SYNC_UPLOAD_CONTENTS',
        'SYNC_DOWNLOAD_CONTENTS',
        'SYNC_OUTGOING_MAIL',
        'SYNC_BACKGROUND',
        'SYNC_THESE_FOLDERS',
        'SYNC_GLOBAL_HEADERS',
        'SYNC_ON_DEMAND',
      ],
      userInitiated: true,
    },
  ],
  [0x80000401, { names: ['SYNC_UPLOAD_HIERARCHY'], rest: '0x80000400', userInitiated: false }],
])('decodeSyncFlags(%d)', ([flags, want]) => {
  expect(decodeSyncFlags(flags)).toEqual(want);
});
