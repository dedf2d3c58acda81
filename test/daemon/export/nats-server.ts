// A real server, as the system has it: started on a port of its own, killed, started again.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetStream, type NatsPlace, openFleet } from '../../../daemon/platform/nats.ts';
import { cleanUp, tempDir, until } from '../support.ts';

export const hasNats = has('nats-server');

/** @returns false, and says so, if a program is missing; with MAPISYNC_REQUIRE=all that is a failure. */
export function has(program: string, args: readonly string[] = ['--version']): boolean {
  if (spawnSync(program, args, { stdio: 'ignore' }).error === undefined) return true;
  const text = `tests with ${program} are left out: it is not installed`;
  if (process.env.MAPISYNC_REQUIRE === 'all') throw new Error(`Cannot run all tests: ${text}`);
  process.stderr.write(`SKIPPED: ${text}\n`);
  return false;
}

export class NatsServer {
  readonly dir = tempDir();
  readonly #config: string;
  #port = -1;
  #child: ChildProcess | undefined;

  /** @param config Lines of its configuration. */
  constructor(config = '') {
    this.#config = join(this.dir, 'server.conf');
    writeFileSync(this.#config, `jetstream { store_dir: "${this.dir}/js" }\n${config}\n`);
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<this> {
    const args = ['-c', this.#config, '-a', '127.0.0.1', '-p', String(this.#port)];
    args.push('--ports_file_dir', this.dir);
    const child = spawn('nats-server', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    let said = '';
    child.stderr.on('data', (bytes) => {
      said += String(bytes);
    });
    cleanUp(() => child.kill('SIGKILL'));
    await until('the server is ready', () => {
      if (child.exitCode !== null) throw new Error(`nats-server ended: ${said}`);
      return said.includes('Server is ready');
    });
    const file = await until('it says its port', () =>
      readdirSync(this.dir).find((name) => name.endsWith(`_${child.pid}.ports`)),
    );
    const text = await until('its port', () => readFileSync(join(this.dir, file), 'utf8'));
    this.#port = Number(
      /"nats:\/\/127\.0\.0\.1:(\d+)"|"tls:\/\/127\.0\.0\.1:(\d+)"/
        .exec(text)
        ?.slice(1)
        .find(Boolean),
    );
    return this;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

/** A certificate for 127.0.0.1 that nobody but itself vouches for. */
export function makeCertificate(dir: string, name: string): { cert: string; key: string } {
  const cert = join(dir, `${name}.pem`);
  const key = join(dir, `${name}.key`);
  if (!existsSync(cert)) {
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const how = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    execFileSync(
      'openssl',
      [...how, '-nodes', '-days', '2', ...subject, '-keyout', key, '-out', cert],
      { stdio: 'ignore' },
    );
  }
  return { cert, key };
}

/** Messages of the whole stream: subject, id and text, in the order of the server. */
export async function storedMessages(
  place: NatsPlace,
): Promise<{ subject: string; id: string; text: string }[]> {
  const fleet: FleetStream = await openFleet(place);
  try {
    const { state } = await fleet.jsm.streams.info(fleet.stream);
    const found: { subject: string; id: string; text: string }[] = [];
    if (state.messages === 0) return found;
    const consumer = await fleet.js.consumers.get(fleet.stream, {});
    for await (const message of await consumer.consume()) {
      found.push({
        subject: message.subject,
        id: message.headers?.get('Nats-Msg-Id') ?? '',
        text: message.string(),
      });
      if (message.seq >= state.last_seq) break;
    }
    return found;
  } finally {
    await fleet.connection.close();
  }
}
