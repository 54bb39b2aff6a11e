import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { DECLARED, serveProcess } from '../support/serve-process.ts';
import { accept, message, opened, openWebSocket } from '../support/websocket.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAMS = ['main.js', 'cli.js', 'local.js'];

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sidecar-dist-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; no setting but these, and no network for npm. */
function run(command: string, args: readonly string[], env = {}): Promise<Ran> {
  const own = { PATH: process.env['PATH'], HOME: folder, npm_config_offline: 'true', ...env };
  return new Promise((resolve) => {
    execFile(command, args, { cwd: folder, env: own }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const node = (...args: readonly string[]): Promise<Ran> => run(process.execPath, args);

/** Removes the part of a copied dist in which a text stands. */
async function loseThePartWith(dist: string, text: string): Promise<string> {
  const parts = join(dist, 'parts');
  for (const name of await readdir(parts)) {
    if (!name.endsWith('.js')) continue;
    if (!(await readFile(join(parts, name), 'utf8')).includes(text)) continue;
    await rm(join(parts, name));
    return name;
  }
  throw new Error(`no part has ${text} in it`);
}

const missing = (file: string): Ran => ({
  code: 1,
  stdout: '',
  stderr: `sidecar: ${file} is missing: copy all of dist, or make it with npm run build\n`,
});

describe('dist', () => {
  it.each(PROGRAMS)('%s without the others says what is missing', async (name) => {
    await cp(join(ROOT, 'dist', name), join(folder, name));
    await cp(join(ROOT, 'dist/package.json'), join(folder, 'package.json'));
    expect(await node(name)).toEqual(missing(join(folder, 'parts', name)));
  });

  it('without a part that is loaded later says so when it is wanted', async () => {
    await cp(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
    const lost = await loseThePartWith(join(folder, 'dist'), 'src/app/app.ts');
    const env = { SIDECAR_UPSTREAM: 'http://127.0.0.1:1' };
    const serve = await run(process.execPath, ['dist/cli.js', 'serve'], env);
    expect(serve).toEqual(missing(join(folder, 'dist/parts', lost)));
    expect(await run(process.execPath, ['dist/main.js'], env)).toEqual(serve);
    expect((await node('dist/cli.js', 'key', 'new')).code).toBe(0);
  });

  it('may be built anew under a sidecar that serves: all that a request needs is loaded', async () => {
    const dist = join(folder, 'dist');
    await cp(join(ROOT, 'dist'), dist, { recursive: true });
    const upstream = await startFakeUpstream();
    const settings = {
      SIDECAR_UPSTREAM: upstream.url,
      SIDECAR_FAILURES_PER_MINUTE: '1',
      SIDECAR_DRAIN: '1s',
      SIDECAR_DRAIN_DELAY: '0',
    };
    const sidecar = await serveProcess(settings, undefined, join(dist, 'main.js'));
    try {
      const { port, key } = await sidecar.ready();
      await rm(dist, { recursive: true });
      const socket = openWebSocket({ port, key });
      const other = await accept(await upstream.next());
      await opened(socket);
      other.send('hello');
      expect(await message(socket)).toBe('hello');
      socket.terminate();
      const guess = () =>
        fetch(`http://127.0.0.1:${port}/v1/models`, {
          headers: { authorization: 'Bearer sk-guess' },
        });
      expect((await guess()).status).toBe(401);
      expect((await guess()).status).toBe(429);
      sidecar.signal('SIGTERM');
      expect(await sidecar.ended).toBe(0);
    } finally {
      await sidecar.clear();
      await upstream.stop();
    }
  });

  it('holds the licence of each package that package.json names and src imports', async () => {
    const licences = await readFile(join(ROOT, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8');
    const { devDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    for (const name of ['undici', 'pino', 'prom-client', 'zod', 'commander', 'http-proxy-3']) {
      expect(licences).toContain(`\n${name} ${devDependencies[name]} (`);
    }
    expect(licences).not.toContain('\nesbuild ');
    expect(licences.match(/Permission|Apache License|Redistribution/g)?.length).toBeGreaterThan(40);
  });
});

describe('the package that npm packs', () => {
  it('is installed in an empty folder, brings nothing else, and works', async () => {
    const npm = join(folder, 'packed');
    await mkdir(npm);
    // Without its scripts: other tests run what a build would take away under them.
    const packed = await run('npm', ['pack', ROOT, '--ignore-scripts', '--json', '--silent']);
    const [{ filename, files }] = JSON.parse(packed.stdout);
    const paths = (files as { path: string }[]).map(({ path }) => path);
    for (const wanted of ['dist/cli.js', 'dist/THIRD-PARTY-LICENSES.txt', 'LICENSE', 'README.md']) {
      expect(paths).toContain(wanted);
    }
    expect(paths.filter((path) => /^(?:src|test|bench|scripts|node_modules)\//.test(path))).toEqual(
      [],
    );
    await run('npm', ['init', '--yes']);
    expect(await run('npm', ['install', '--silent', filename])).toMatchObject({ code: 0 });
    const packages = await readdir(join(folder, 'node_modules'));
    expect(packages.filter((name) => !name.startsWith('.'))).toEqual(['litellm-sidecar']);
    expect(await run('npx', ['--no', '--', 'sidecar', '--help'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Usage: sidecar'),
    });
    const installed = join(folder, 'node_modules');
    expect(await servesUntilSigterm(join(installed, '.bin/sidecar'), 'serve')).toBe(true);
    const main = join(installed, 'litellm-sidecar/dist/main.js');
    expect(await servesUntilSigterm(process.execPath, main)).toBe(true);
  });

  it('is what npm start runs, to which npm hands a SIGTERM on', async () => {
    expect(await servesUntilSigterm('npm', 'start', '--silent', '--prefix', ROOT)).toBe(true);
  });
});

/** Whether a sidecar says its ready line, and the SIGTERM that it gets then is its proper end. */
async function servesUntilSigterm(command: string, ...args: readonly string[]): Promise<boolean> {
  const upstream = await startFakeUpstream();
  const env = {
    ...{ PATH: process.env['PATH'], LITELLM_MASTER_KEY: DECLARED, SIDECAR_UPSTREAM: upstream.url },
    ...{ SIDECAR_PORT: '0', SIDECAR_OPS_PORT: '0', SIDECAR_DRAIN_DELAY: '0', SIDECAR_DRAIN: '1s' },
    ...{ SIDECAR_STATE: join(folder, 'state'), HOME: folder },
  };
  // In a group of its own, of which nothing may be left.
  const child = spawn(command, args, {
    cwd: folder,
    env,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const wasReady = said.includes('"msg":"ready"');
    said += text;
    // Once: a second signal would end it without a drain.
    if (!wasReady && said.includes('"msg":"ready"')) child.kill('SIGTERM');
  });
  const closed = once(child, 'close');
  const [code] = await once(child, 'exit');
  const isLeft = endGroup(child.pid ?? 0);
  await closed;
  await upstream.stop();
  return code === 0 && said.includes('"msg":"stopped"') && !isLeft;
}

/** Ends what is left of a group of processes, at once; returns whether anything was. */
function endGroup(id: number): boolean {
  try {
    return process.kill(-id, 'SIGKILL');
  } catch {
    return false;
  }
}
