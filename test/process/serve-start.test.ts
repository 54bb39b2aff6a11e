import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { get } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { DECLARED, serveProcess } from '../support/serve-process.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function serve(...args: Parameters<typeof serveProcess>) {
  const process = await serveProcess(...args);
  ends.push(process.clear);
  return process;
}

/** Nothing listens there by now. */
const NOWHERE = 'http://127.0.0.1:9';

async function startUpstream() {
  const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', 'served'));
  ends.push(upstream.stop);
  return upstream;
}

describe('npm start', () => {
  it('says on which ports it is ready, and serves there', async () => {
    const upstream = await startUpstream();
    const process = await serve({ SIDECAR_UPSTREAM: upstream.url });
    const sidecar = await process.ready();
    expect(sidecar.port).toBeGreaterThan(0);
    expect((await get(sidecar)).text).toBe('served');
    const ops = await fetch(`http://127.0.0.1:${sidecar.opsPort}/livez`);
    expect(await ops.text()).toBe('ok\n');
    expect(process.stderr()).not.toContain(DECLARED);
    process.signal('SIGKILL');
  });

  it('writes the share of access lines that it is told to, and every refusal', async () => {
    const upstream = await startUpstream();
    const sampled = { SIDECAR_LOG_SAMPLE: '0%', SIDECAR_LOG_SLOW: '24d' };
    const process = await serve({ SIDECAR_UPSTREAM: upstream.url, ...sampled });
    const sidecar = await process.ready();
    expect((await get(sidecar)).text).toBe('served');
    await get({ ...sidecar, key: generateKey() });
    await process.says(/"refusal":"unknown_key"/);
    expect(process.stderr().match(/"msg":"request"/g)).toHaveLength(1);
    process.signal('SIGKILL');
  });

  it('opens no inspector, whoever asks for one', async () => {
    const upstream = await startUpstream();
    const process = await serve({ SIDECAR_UPSTREAM: upstream.url });
    const sidecar = await process.ready();
    process.signal('SIGUSR1');
    expect((await get(sidecar)).text).toBe('served');
    process.signal('SIGKILL');
    await process.ended;
    expect(process.stderr()).not.toContain('Debugger listening');
  });

  it('at the first start makes a key that only its owner can read, and never says it', async () => {
    const upstream = await startUpstream();
    const settings = {
      SIDECAR_UPSTREAM: upstream.url,
      SIDECAR_UPSTREAM_KEY: 'sk-of-litellm-itself-0123456789',
      LITELLM_MASTER_KEY: '',
      SIDECAR_STATE: 'here',
      SIDECAR_DRAIN_DELAY: '0',
    };
    const process = await serve(settings);
    const ports = await process.ready();
    const file = join(process.cwd, 'here', 'keys', 'master');
    const key = (await readFile(file, 'utf8')).trim();
    expect(key).toMatch(/^sk-[A-Za-z0-9]{48}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(process.cwd, 'here'))).mode & 0o777).toBe(0o700);
    expect((await get({ ...ports, key })).text).toBe('served');
    process.signal('SIGTERM');
    expect(await process.ended).toBe(0);
    expect(process.stderr()).toContain('sidecar key show');
    for (const secret of [key, settings.SIDECAR_UPSTREAM_KEY]) {
      expect(process.stderr()).not.toContain(secret);
    }
  });

  it('starts where LiteLLM is not, says so, goes on trying, and then is ready', async () => {
    const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', 'served'));
    ends.push(upstream.stop);
    await upstream.stop();
    const process = await serve({ SIDECAR_UPSTREAM: upstream.url });
    const sidecar = await process.ready();
    await process.says(/LiteLLM is away/);
    const readiness = async (port: number, path: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      return [answer.status, await answer.text()];
    };
    expect(await readiness(sidecar.opsPort, '/readyz')).toEqual([
      503,
      expect.stringContaining('LiteLLM has not answered yet'),
    ]);
    expect((await readiness(sidecar.port, '/health/readiness'))[0]).toBe(503);
    const held = get(sidecar);
    await upstream.start();
    await process.says(/LiteLLM answers/);
    expect((await held).text).toBe('served');
    expect((await readiness(sidecar.opsPort, '/readyz'))[0]).toBe(200);
    expect((await readiness(sidecar.port, '/health/readiness'))[0]).toBe(200);
  });
});

describe('npm start that cannot', () => {
  /** Its exit code, and all it said. */
  async function fails(...args: Parameters<typeof serveProcess>) {
    const process = await serve(...args);
    const code = await process.ended;
    return { code, stderr: process.stderr(), cwd: process.cwd };
  }

  it('for nothing to begin with: no state, no declared key and no clients, exit code 64', async () => {
    const { code, stderr, cwd } = await fails({
      SIDECAR_UPSTREAM: NOWHERE,
      SIDECAR_UPSTREAM_KEY: 'sk-of-litellm-itself-0123456789',
      LITELLM_MASTER_KEY: '',
      SIDECAR_STATE: 'none',
    });
    expect(code).toBe(64);
    expect(stderr).toContain('neither LITELLM_MASTER_KEY nor SIDECAR_CLIENTS is set');
    expect(stderr).toContain('name a file with clients, or declare a key');
    expect(await readdir(cwd)).toEqual([]);
  });

  it('for its configuration: every mistake at once, the nearest name, exit code 64', async () => {
    const { code, stderr } = await fails({
      SIDECAR_UPSTREAM: 'litellm:4000',
      SIDECAR_PROT: '4000',
      SIDECAR_HOLD: '30',
      SIDECAR_REPLAY_BYTES: 'much',
    });
    expect(code).toBe(64);
    for (const name of [
      'SIDECAR_UPSTREAM',
      'SIDECAR_PROT',
      'SIDECAR_HOLD',
      'SIDECAR_REPLAY_BYTES',
    ]) {
      expect(stderr).toMatch(new RegExp(`^${name}$`, 'm'));
    }
    expect(stderr).toContain('SIDECAR_PORT');
    expect(stderr).not.toContain('    at ');
  });

  it('for sk-1234: exit code 64, and the command that makes a good one', async () => {
    const { code, stderr } = await fails({
      SIDECAR_UPSTREAM: NOWHERE,
      LITELLM_MASTER_KEY: 'sk-1234',
    });
    expect(code).toBe(64);
    expect(stderr).toContain('sidecar key new');
  });

  it.each([
    ['clients', 'SIDECAR_PORT'],
    ['operators', 'SIDECAR_OPS_PORT'],
  ])('for a port of %s that is in use: exit code 69, and it names %s', async (_, name) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    ends.push(() => other.close());
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await fails({ SIDECAR_UPSTREAM: NOWHERE, [name]: String(port) });
    expect(code).toBe(69);
    expect(stderr).toContain(`127.0.0.1:${port}`);
    expect(stderr).toContain('in use');
    expect(stderr).toContain(name);
  });

  it('for a state folder that is a file: exit code 73, and it names the path', async () => {
    const settings = { SIDECAR_UPSTREAM: NOWHERE, SIDECAR_STATE: './state' };
    const { code, stderr } = await fails(settings, (cwd) => writeFile(join(cwd, 'state'), ''));
    expect(code).toBe(73);
    expect(stderr).toContain('SIDECAR_STATE');
    expect(stderr).toContain('state');
  });

  it('for a state folder that takes no file: exit code 73', async () => {
    const { code, stderr } = await fails({
      SIDECAR_UPSTREAM: NOWHERE,
      SIDECAR_UPSTREAM_KEY: 'sk-of-litellm-itself-0123456789',
      LITELLM_MASTER_KEY: '',
      // Not even root makes a folder there.
      SIDECAR_STATE: '/dev/null/state',
    });
    expect(code).toBe(73);
    expect(stderr).toContain('/dev/null/state');
  });

  it('for a made key whose file is empty: it says so, and leaves it as it is', async () => {
    const settings = {
      SIDECAR_UPSTREAM: NOWHERE,
      SIDECAR_UPSTREAM_KEY: 'sk-of-litellm-itself-0123456789',
      LITELLM_MASTER_KEY: '',
    };
    const { code, stderr, cwd } = await fails(settings, async (folder) => {
      await mkdir(join(folder, 'state', 'keys'), { recursive: true });
      await writeFile(join(folder, 'state', 'keys', 'master'), '');
    });
    expect(code).toBe(73);
    expect(stderr).toContain('is empty');
    expect(await readFile(join(cwd, 'state', 'keys', 'master'), 'utf8')).toBe('');
  });

  it('for a key of LiteLLM that nothing names: exit code 64, and it says what to set', async () => {
    const { code, stderr } = await fails({ SIDECAR_UPSTREAM: NOWHERE, LITELLM_MASTER_KEY: '' });
    expect(code).toBe(64);
    expect(stderr).toContain('SIDECAR_UPSTREAM_KEY');
  });
});

describe('many that start at the same instant with one state folder', () => {
  const AT_ONCE = 8;

  it('one serves, and the others end with exit code 69 and who has it', async () => {
    const upstream = await startUpstream();
    const folder = await mkdtemp(join(tmpdir(), 'sidecar-serve-at-once-'));
    ends.push(() => rm(folder, { recursive: true }));
    const settings = {
      SIDECAR_UPSTREAM: upstream.url,
      SIDECAR_UPSTREAM_KEY: 'sk-of-litellm-itself-0123456789',
      LITELLM_MASTER_KEY: '',
      SIDECAR_STATE: join(folder, 'state'),
      SIDECAR_DRAIN_DELAY: '0',
    };
    // The first time there is no folder, the second time what a killed process left.
    for (let round = 0; round < 2; round += 1) {
      const all = await Promise.all(Array.from({ length: AT_ONCE }, () => serve(settings)));
      const ready = all.map((each) => each.ready().then(() => each));
      const owner = await Promise.any(ready);
      const others = all.filter((each) => each !== owner);
      expect(await Promise.all(others.map(({ ended }) => ended))).toEqual(others.map(() => 69));
      for (const { stderr } of others) {
        expect(stderr()).toContain(`another sidecar runs with the state folder ${folder}/state`);
      }
      await Promise.allSettled(ready);
      const key = (await readFile(join(folder, 'state', 'keys', 'master'), 'utf8')).trim();
      expect((await get({ ...(await owner.ready()), key })).text).toBe('served');
      owner.signal('SIGKILL');
      expect(await owner.ended).toBe('SIGKILL');
    }
  });
});

describe('a clients file', () => {
  it('with mistakes keeps it from starting: all of them, and exit code 64', async () => {
    const text = 'clients:\n  ci: {keys: [sk-1234]}\n  dev: {key: x, limits: {rpm: 0}}\n';
    const process = await serve(
      { SIDECAR_UPSTREAM: NOWHERE, SIDECAR_CLIENTS: 'clients.yaml' },
      (cwd) => writeFile(join(cwd, 'clients.yaml'), text),
    );
    expect(await process.ended).toBe(64);
    const lines = process.stderr().split('\n');
    expect(lines.filter((line) => line.includes('clients.yaml:'))).toEqual([
      expect.stringContaining('  clients.yaml:2:15: ci.keys[0] must be the digest of a key'),
      '  clients.yaml:3:3: dev has no keys',
      '  clients.yaml:3:9: dev: there is no member key (did you mean keys?)',
      expect.stringContaining('  clients.yaml:3:31: dev.limits.rpm must be a whole number above 0'),
    ]);
    expect(lines).toContain('  hint: sidecar clients check clients.yaml');
  });

  it('that is not there does so, too', async () => {
    const settings = { SIDECAR_UPSTREAM: NOWHERE, SIDECAR_CLIENTS: '/nowhere/clients.yaml' };
    const process = await serve(settings);
    expect(await process.ended).toBe(64);
    expect(process.stderr()).toContain('  /nowhere/clients.yaml: it is not there\n');
  });
});
