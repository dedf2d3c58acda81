// The guide for authors: what it shows compiles, and so does its example, in C and in C++. For Windows
// `npm run adopt` builds it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { root } from '../e2e/systems.ts';

const scratch = mkdtempSync(join(tmpdir(), 'mapisync-guide-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const include = join(root, 'native-shim', 'include');
const minimal = join(root, 'native-shim', 'samples', 'minimal');

function compile(compiler: string, standard: string, source: string): string {
  const { error, status, stderr } = spawnSync(
    compiler,
    [`-std=${standard}`, '-fsyntax-only', '-Wall', '-Wextra', '-Werror', `-I${include}`, source],
    { encoding: 'utf8' },
  );
  return error?.message ?? (status === 0 ? '' : stderr);
}

test('the example compiles', () => {
  expect(compile('g++', 'c++17', join(minimal, 'provider.cc'))).toBe('');
  expect(compile('gcc', 'c11', join(minimal, 'report.c'))).toBe('');
});

test("the guide's C++ compiles", () => {
  const guide = readFileSync(join(root, 'docs', 'provider-guide.md'), 'utf8');
  const blocks = [...guide.matchAll(/```cpp\n([\s\S]*?)```/g)].map(([, code]) => code!);
  expect(blocks.length).toBeGreaterThan(3);
  const parts = blocks.map((code, i) =>
    code.startsWith('extern')
      ? code.replace('__declspec(dllexport)', '')
      : `void* Part${i}(mapisync_mapisib* psib, IMAPISync* self, void** ppv) {
  (void)psib, (void)self, (void)ppv;
${code.replaceAll('(this)', '(self)')}
${code.includes('void* callback') ? 'return callback;' : 'return *ppv;'}
}`,
  );
  const source = join(scratch, 'guide.cc');
  const prelude = '#include "mapisync.h"\nstruct IMAPISync {};\n';
  writeFileSync(source, prelude + parts.join('\n'));
  expect(compile('g++', 'c++17', source)).toBe('');
});
