import type { CheckSeverity, Level } from '../records/record.ts';

/** The contract of the callback as checks with stable codes. `docs/checks.md` has a section for each. */
export interface Check {
  readonly code: CheckCode;
  /** Only a `fault` changes an exit code. */
  readonly severity: CheckSeverity;
  /** What was seen. */
  readonly title: string;
  /** Why it matters. */
  readonly why: string;
  /** What the provider's author can do. */
  readonly mend: string;
  /** Where the rule comes from. */
  readonly source: 'documented' | 'follows from the documentation' | 'experience';
}

export type CheckCode =
  | 'MS001'
  | 'MS002'
  | 'MS003'
  | 'MS004'
  | 'MS005'
  | 'MS006'
  | 'MS007'
  | 'MS008'
  | 'MS009'
  | 'MS010'
  | 'MS020'
  | 'MS021'
  | 'MS022'
  | 'MS023'
  | 'MS030'
  | 'MS031';

/** In the order of their codes. A code is never given to something else. */
export const CHECKS: readonly Check[] = [
  {
    code: 'MS001',
    severity: 'fault',
    title: 'Progress or Error was called after Done',
    why: 'Done ends the sync: Outlook may have taken its bar away and forgotten the callback.',
    mend: 'Wait for every thread that reports before you call Done.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS002',
    severity: 'fault',
    title: 'Done was called more than once',
    why: 'Outlook closes the handle that Done brings, so the second call closes a handle that may belong to somebody else by then.',
    mend: 'Call Done at one place, once, on every way out.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS003',
    severity: 'fault',
    title: 'The callback was released without Done',
    why: 'Outlook waits for Done: the Send/Receive dialog shows a sync that never ends.',
    mend: 'Call Done on every way out of the sync, also after an exception.',
    source: 'documented',
  },
  {
    code: 'MS004',
    severity: 'fault',
    title: 'The index was above its maximum',
    why: 'ulIndexMax is the index that means complete, so the bar is full before the work is done.',
    mend: 'Count what there is to do before you report, or pass 0 as the maximum while you do not know.',
    source: 'documented',
  },
  {
    code: 'MS005',
    severity: 'fault',
    title: 'The index went back while the text stayed',
    why: 'The bar runs backwards. A new count begins at 0 or 1, or comes with a text of its own.',
    mend: 'Report from one counter under one lock, and begin a new count with 0 or with a new text.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS006',
    severity: 'fault',
    title: 'The maximum changed while the text stayed',
    why: 'The bar jumps, and no time left can be told.',
    mend: 'Begin a new count with 0 or with a new text when the amount of work changes.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS007',
    severity: 'fault',
    title: 'Done brought a failure, and no Error had been reported',
    why: 'Outlook shows the user what Error brought. Without it the sync fails without a reason.',
    mend: 'Call Error with the code and a text before you call Done with a failure.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS008',
    severity: 'fault',
    title: 'SynchronizeInBackground failed, and Done was called all the same',
    why: 'A failure says that no sync was begun; Done says that one has ended.',
    mend: 'Return S_OK once a sync has begun, and report through Error and Done from then on.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS009',
    severity: 'fault',
    title: 'Two syncs of one store overlapped',
    why: 'Both write the same store and report to one dialog.',
    mend: 'Refuse or queue a sync while one of the same store runs; give different stores different labels.',
    source: 'experience',
  },
  {
    code: 'MS010',
    severity: 'fault',
    title: 'The callback was used after its last Release',
    why: 'Its memory may be gone: Outlook crashes, now or later.',
    mend: 'Each thread that reports holds a reference of its own until it has ended.',
    source: 'documented',
  },
  {
    code: 'MS020',
    severity: 'note',
    title: 'Done brought S_OK after an Error',
    why: 'It may be meant so, with an error for each item that failed. Outlook takes the sync for a success.',
    mend: 'If the sync as a whole failed, pass its code to Done.',
    source: 'experience',
  },
  {
    code: 'MS021',
    severity: 'note',
    title: 'Error was called with a success code',
    why: 'Bit 31 of the code is clear and it is no known warning, so a reader takes it for a success.',
    mend: 'Pass the HRESULT of the failure: check what the code was converted from.',
    source: 'follows from the documentation',
  },
  {
    code: 'MS022',
    severity: 'note',
    title: 'Error was called without a text',
    why: 'All that the user gets to see is a number.',
    mend: 'Say in a sentence what failed and on which folder or item.',
    source: 'experience',
  },
  {
    code: 'MS023',
    severity: 'note',
    title: 'Progress was called more than 10,000 times a second for 5 s',
    why: 'Nobody sees more than some changes a second, and each call takes time in Outlook.',
    mend: 'Report at most every 50 ms.',
    source: 'experience',
  },
  {
    code: 'MS030',
    severity: 'info',
    title: 'The handle of Done is another one than *phSyncDoneEvent',
    why: 'Whether the two must be the same is not documented.',
    mend: 'Nothing, unless Outlook waits for an event that is never set.',
    source: 'experience',
  },
  {
    code: 'MS031',
    severity: 'info',
    title: 'The callback was asked for an unknown interface',
    why: 'It answers to IUnknown and IMAPISyncProgressCallback alone.',
    mend: 'Nothing, unless the provider relies on that interface.',
    source: 'experience',
  },
];

const byCode = new Map(CHECKS.map((check) => [check.code as string, check]));

export function findCheck(code: string): Check | undefined {
  return byCode.get(code);
}

const LEVELS: Record<CheckSeverity, Level> = { fault: 'warn', note: 'info', info: 'debug' };

export function levelOfCheck(severity: CheckSeverity): Level {
  return LEVELS[severity];
}

/** Which checks fired in a session: one bit for each row of `CHECKS`. */
export type Fired = number;

const bits = new Map(CHECKS.map(({ code }, at) => [code as string, 2 ** at]));

/** 0 for a code that nobody knows. */
export function firedBit(code: string): Fired {
  return bits.get(code) ?? 0;
}

/** How many different checks. */
export function firedCount(fired: Fired): number {
  return firedCodes(fired).length;
}

export function firedCodes(fired: Fired): CheckCode[] {
  return CHECKS.filter((_, at) => (fired & (2 ** at)) !== 0).map(({ code }) => code);
}
