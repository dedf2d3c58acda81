/**
 * Makes a Maildir to sync: for the demo, the tests and the benchmarks. The same options make the same
 * bytes. Plain Node without dependencies.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Each kind of broken message, and the MAPI code that the sample provider reports for it. */
export const BROKEN_KINDS = {
  dangling: '0x8004010F', // MAPI_E_NOT_FOUND: a link that leads nowhere
  directory: '0x80070005', // MAPI_E_NO_ACCESS: a folder in place of a message
  noHeader: '0x8004011B', // MAPI_E_CORRUPT_DATA, like the ones below
  nulByte: '0x8004011B',
  badUtf8: '0x8004011B',
};

const FOLDER_NAMES = ['Archive', 'Lists', 'Sent', 'Receipts', 'Travel', 'Drafts'];
const SUBJECTS = [
  'Minutes',
  'Grüße aus Köln',
  '受信トレイ',
  'Invoice',
  'Re: lunch',
  'Weekly report',
];
const EPOCH_S = 1_700_000_000;
const MAX_FOLDERS = 1000;

/** mulberry32. @returns a function that gives numbers from 0 up to, not including, n. */
function makeRandom(seed) {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

/** INBOX, then subfolders in the two styles that occur: `.Lists.2` (Maildir++) and `Sent/3` (nested). */
function folderAt(index) {
  if (index === 0) return { name: 'INBOX', path: '' };
  const base = FOLDER_NAMES[(index - 1) % FOLDER_NAMES.length];
  const name = index <= FOLDER_NAMES.length ? base : `${base}/${index}`;
  return { name, path: index % 2 === 1 ? `.${name.replaceAll('/', '.')}` : name };
}

function messageText(random, number) {
  const lines = [
    `From: Sender ${number} <sender${number}@example.org>`,
    'To: Reader <reader@example.org>',
    `Subject: ${SUBJECTS[random(SUBJECTS.length)]} ${number}`,
    `Message-ID: <${number}.${random(1e9)}@example.org>`,
    'Content-Type: text/plain; charset=utf-8',
    '',
  ];
  for (let line = random(20) + 1; line > 0; line--)
    lines.push(`Line ${random(1e6)} of the message.`);
  return `${lines.join('\n')}\n`;
}

function writeBroken(kind, path, text) {
  if (kind === 'dangling') symlinkSync('nowhere', path);
  else if (kind === 'directory') mkdirSync(path);
  else if (kind === 'noHeader') writeFileSync(path, 'no field here\n\nbody\n');
  else if (kind === 'nulByte') writeFileSync(path, text.replace('Subject: ', 'Subject: \0'));
  else {
    const bytes = Buffer.from(text);
    bytes[text.indexOf('Sender')] = 0xff;
    writeFileSync(path, bytes);
  }
}

/**
 * Makes a Maildir. `dir` must not exist, or be empty.
 *
 * @param {object} options
 * @param {string} options.dir Root of the Maildir.
 * @param {number} [options.messages] Good messages in all, spread over the folders.
 * @param {number} [options.folders] Folders, INBOX included.
 * @param {number} [options.broken] Broken messages in all, of each kind in turn.
 * @param {number} [options.seed] The same seed makes the same Maildir.
 * @param {boolean} [options.windowsNames] `;2,` in names instead of `:2,`, and no links.
 * @returns What it made. `messages` counts good and broken ones; `errors` says how often the sample
 * provider will report which code.
 * @throws {RangeError} if a count makes no sense.
 */
export function makeMaildir({
  dir,
  messages = 100,
  folders = 3,
  broken = 0,
  seed = 1,
  windowsNames = process.platform === 'win32',
}) {
  for (const [name, value, low, high] of [
    ['messages', messages, 0, 1e6],
    ['folders', folders, 1, MAX_FOLDERS],
    ['broken', broken, 0, 1e6],
    ['seed', seed, 0, 2 ** 32 - 1],
  ]) {
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new RangeError(`${name} must be a whole number from ${low} to ${high}, not ${value}`);
    }
  }
  const random = makeRandom(seed);
  const places = Array.from({ length: folders }, (_, index) => folderAt(index));
  for (const { path } of places) {
    for (const part of ['cur', 'new', 'tmp']) mkdirSync(join(dir, path, part), { recursive: true });
  }
  const kinds = Object.keys(BROKEN_KINDS).filter((kind) => !windowsNames || kind !== 'dangling');
  const made = {
    folders: places.map(({ name }) => name),
    messages: messages + broken,
    good: messages,
    /** @type {Record<string, number>} */ broken: {},
    /** @type {Record<string, number>} */ errors: {},
  };
  const mark = windowsNames ? ';2,' : ':2,';
  for (let number = 0; number < messages + broken; number++) {
    const { path } = places[number % places.length];
    const identity = `${EPOCH_S + number}.M${random(1e6)}P1Q${number}.example`;
    const seen = random(3) > 0;
    const file = join(dir, path, seen ? 'cur' : 'new', seen ? `${identity}${mark}S` : identity);
    const text = messageText(random, number);
    // Broken ones come first, so that each folder has some.
    if (number >= broken) {
      writeFileSync(file, text);
      continue;
    }
    const kind = kinds[number % kinds.length];
    writeBroken(kind, file, text);
    made.broken[kind] = (made.broken[kind] ?? 0) + 1;
    made.errors[BROKEN_KINDS[kind]] = (made.errors[BROKEN_KINDS[kind]] ?? 0) + 1;
  }
  return made;
}
