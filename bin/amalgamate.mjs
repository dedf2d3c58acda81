/**
 * Makes one source file of the shim: `mapisync.cc`, which needs nothing but `mapisync.h` beside it. The
 * same sources give the same bytes. `node bin/amalgamate.mjs FILE` writes it. Headers of ours stand where
 * they are first used, each once: files of one system alone come behind those of all. The Windows edge comes
 * last, since what <windows.h> defines would reach into the others.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './places.mjs';

const NOTE = `// mapisync in one file: add it and mapisync.h to a provider's own library. Made from
// native-shim/src; mend things there.
//
// Needs C++17, and nothing of exceptions or run-time type information. Windows: link to advapi32 and
// bcrypt. Elsewhere: to the thread and dl libraries, and link with \`-z nodelete\`.
`;

/** @returns {string} The text of `mapisync.cc`. */
export function amalgamate(shim) {
  const src = join(shim, 'src');
  const rank = (name) => [/_posix\.cc$/, /_win32\.cc$/].findIndex((edge) => edge.test(name));
  const names = readdirSync(src)
    .filter((name) => name.endsWith('.cc'))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const license = readFileSync(join(shim, '..', 'LICENSE'), 'utf8').trimEnd();
  const seen = new Set(['mapisync.h']);
  const parts = [`/*\n${license.replace(/^(.+)$/gm, ' * $1').replace(/^$/gm, ' *')}\n */\n${NOTE}`];

  const constants = new Set();
  const take = (name) => {
    let text = readFileSync(join(src, name), 'utf8').replaceAll('\r\n', '\n');
    if (name.endsWith('.cc')) text = renameConstants(text, name, constants);
    const body = text.replace(/^#include "([^"]+)"\n/gm, (_, wanted) => {
      if (seen.has(wanted)) return '';
      seen.add(wanted);
      return take(wanted);
    });
    return `\n// ---- ${name} ----\n\n${body.trim()}\n`;
  };
  parts.push('\n#include "mapisync.h"\n');
  for (const name of names) parts.push(take(name));
  return parts.join('').replace(/\n{3,}/g, '\n\n');
}

/** In one file two constants that files keep to themselves must not have one name: the later gets another. */
function renameConstants(text, name, taken) {
  const file = name
    .replace(/\.cc$/, '')
    .replace(/(?:^|_)(.)/g, (_, letter) => letter.toUpperCase());
  const own = [
    ...text.matchAll(
      /^(?:\[\[maybe_unused\]\] )?constexpr [^=;({]*\b(k[A-Z]\w*)(?:\[[^\]]*\])* =/gm,
    ),
  ].map(([, constant]) => constant);
  let renamed = text;
  for (const constant of own) {
    if (!taken.has(constant)) taken.add(constant);
    else
      renamed = renamed.replace(
        new RegExp(`(?<!::)\\b${constant}\\b`, 'g'),
        `${constant}Of${file}`,
      );
  }
  return renamed;
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(process.argv[2], amalgamate(join(root, 'native-shim')));
}
