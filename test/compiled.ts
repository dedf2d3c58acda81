/** Compiles the project once for all test files: for what must run in a process of its own. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { makeExecutable } from '../bin/bundle.mjs';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The folder of the compiled project, readable by any user. */
    compiled: string;
  }
}

export default async function setup({ config, provide }: TestProject): Promise<() => void> {
  const { root } = config;
  const dir = mkdtempSync(join(tmpdir(), 'mapisync-built-'));
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const project = join(root, 'bin', 'tsconfig.build.json');
  const noCache = ['--incremental', 'false', '--tsBuildInfoFile', 'null'];
  execFileSync(process.execPath, [tsc, '-p', project, '--outDir', dir, ...noCache]);
  await makeExecutable({ from: root, to: dir });
  for (const name of ['node_modules', 'package.json'])
    symlinkSync(join(root, name), join(dir, name));
  chmodSync(dir, 0o755);
  provide('compiled', dir);
  return () => rmSync(dir, { recursive: true, force: true });
}
