/**
 * Makes the executable of what was compiled: `bin/` with all that the client needs, as few scripts of CommonJS.
 * Node loads that in half the time of a hundred modules. The daemon stays as it was compiled: it starts once.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

/** Here the package says whose they are, as their licences ask for. */
const LICENCES = 'LICENSES.txt';

/**
 * @param from The root of the sources.
 * @param to The folder that they were compiled to; its `bin/` is made anew.
 */
export async function makeExecutable({ from, to }) {
  const build = await rolldown({
    input: join(from, 'bin', 'mapisync.ts'),
    platform: 'node',
    // Optional packages, those that are loaded by `createRequire()`, and the daemon.
    external: [/^@nats-io\//, /^@opentelemetry\//],
    plugins: [{ name: 'daemon-apart', resolveId: { filter: { id: DAEMON }, handler: apart } }],
    onLog: (_, { message }) => {
      throw new Error(message);
    },
  });
  const dir = join(to, 'bin');
  rmSync(dir, { recursive: true, force: true });
  const { output } = await build.write({
    dir,
    format: 'cjs',
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    comments: { jsdoc: false },
    sourcemap: true,
  });
  await build.close();
  writeFileSync(join(dir, LICENCES), licences(output.flatMap(({ moduleIds }) => moduleIds ?? [])));
  // The rest of the package is ECMAScript modules. Written last: a build that broke is none.
  writeFileSync(join(dir, 'package.json'), '{ "type": "commonjs" }\n');
}

const DAEMON = /^\.\.\/daemon\/(export\/)?run\.ts$/;
const apart = (id) => ({ id: id.replace(/\.ts$/, '.js'), external: true });

/** The licences of the packages that modules come from. */
function licences(modules) {
  const folderOf = (id) => /^.*[\\/]node_modules[\\/](@[^\\/]+[\\/])?[^\\/]+/.exec(id)?.[0];
  const folders = new Set(modules.map(folderOf).filter((folder) => folder !== undefined));
  return [...folders].sort().map(licence).join('\n---\n\n');
}

function licence(folder) {
  const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((one) => /^licen[cs]e(\.|$)/i.test(one));
  if (!file) throw new Error(`Cannot bundle ${name}: it has no licence file`);
  return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
}
