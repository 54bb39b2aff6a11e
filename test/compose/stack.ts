import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { recordArtefact, recordState } from '../support/key-ledger.ts';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const PROVIDER = fileURLToPath(new URL('provider.js', import.meta.url));

/** As an operator has it, but for ports that are free and an image of its own; and a provider. */
const overrideWith = (sidecar: string): string => `
services:
  sidecar:
    image: litellm-sidecar-test
    ports: !override ["127.0.0.1::4000", "127.0.0.1::4001"]
    ${sidecar}
  prometheus:
    ports: !override ["127.0.0.1::9090"]
  provider:
    image: node:24-bookworm-slim
    init: true
    command: [node, /provider.mjs]
    volumes: ["./provider.mjs:/provider.mjs:ro"]
    networks: [inside]
`;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A clean clone of what is committed, as a compose project with a name of its own. */
export interface Stack {
  readonly project: string;
  /** The clone's folder. */
  readonly folder: string;
  compose(args: readonly string[], input?: string): Promise<Ran>;
  /** Where a port of the sidecar is published, as an URL. */
  url(port: 4000 | 4001): Promise<string>;
  /** Takes everything away, volumes too. */
  clear(): Promise<void>;
}

export const run = (
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: string } = {},
): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd, env: environment() });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        out[name] += text;
      });
    }
    child.once('error', reject).once('close', (code) => resolve({ code: code ?? -1, ...out }));
    child.stdin.on('error', () => undefined).end(options.input ?? '');
  });

/** As on a machine where nothing is set: a key of the developer's would find its way in. */
const environment = (): NodeJS.ProcessEnv => {
  const set = Object.entries(process.env);
  return Object.fromEntries(
    set.filter(([name]) => !/^(SIDECAR_|LITELLM_|COMPOSE_)|_API_(KEY|BASE)$/.test(name)),
  );
};

export const UP = ['up', '--build', '--wait', '--wait-timeout', '240'];

export const succeeded = ({ code, stdout, stderr }: Ran): string => {
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}${stdout}`);
  return stdout;
};

/**
 * @param files What the operator writes into the clone before the first start, by name.
 * @param sidecar One more line of the sidecar's service.
 */
export const createStack = async (
  files: Record<string, string> = {},
  sidecar = '',
): Promise<Stack> => {
  const base = await mkdtemp(join(tmpdir(), 'compose-'));
  // Not the temporary folder itself, which is closed to the user that the sidecar runs as.
  const folder = join(base, 'clone');
  const project = `sidecar-test-${randomBytes(4).toString('hex')}`;
  const cloned = await run('git', ['clone', '--quiet', REPOSITORY, folder]);
  if (cloned.code !== 0) throw new Error(cloned.stderr);
  await cp(PROVIDER, join(folder, 'provider.mjs'));
  await writeFile(join(folder, 'override.yml'), overrideWith(sidecar));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);

  const command = ['compose', '-p', project, '-f', 'docker-compose.yml', '-f', 'override.yml'];
  const compose = (args: readonly string[], input = ''): Promise<Ran> =>
    run('docker', [...command, ...args], { cwd: folder, input });
  const url: Stack['url'] = async (port) =>
    `http://${(await compose(['port', 'sidecar', String(port)])).stdout.trim()}`;
  return {
    project,
    folder,
    compose,
    url,
    clear: async () => {
      await hand({ compose, url }, join(base, 'state'));
      await compose(['down', '-v', '--remove-orphans', '--timeout', '5']);
      await rm(base, { recursive: true, force: true });
    },
  };
};

/** Which containers these are, and since when each runs. */
export async function containersOf({ compose }: Stack): Promise<string> {
  const ids = succeeded(await compose(['ps', '-q']))
    .trim()
    .split('\n');
  if (ids.length !== 3) throw new Error(`${ids.length} containers instead of three`);
  return succeeded(
    await run('docker', ['inspect', '-f', '{{.Id}} {{.State.StartedAt}}', ...ids.sort()]),
  );
}

/** What it leaves is searched for keys; where nothing runs any more there is less of it. */
async function hand({ compose, url }: Pick<Stack, 'compose' | 'url'>, to: string): Promise<void> {
  const metrics = await fetch(`${await url(4001)}/metrics`).catch(() => undefined);
  recordArtefact('metrics', '/metrics', (await metrics?.text()) ?? '');
  recordArtefact('log', 'compose logs', (await compose(['logs', '--no-color'])).stdout);
  if ((await compose(['cp', 'sidecar:/state', to])).code === 0) await recordState(to);
}
