import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf, generateKey, showDigest } from '../../src/keyring/key.ts';
import { recordArtefact, recordKey } from '../support/key-ledger.ts';
import { readSlowly } from './slow-stream.ts';
import { type Ran, run, succeeded } from './stack.ts';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const PROVIDER = fileURLToPath(new URL('provider.js', import.meta.url));
const REPLICAS = [1, 2, 3] as const;
const FILES = ['-f', 'docker-compose.yml', '-f', 'override.yml'];

/** As an operator has it, but for a free port, images of its own, and a provider. */
const OVERRIDE = `
services:
  nginx:
    # Debian's, which is to be had wherever the sidecar's own image is.
    image: litellm-sidecar-test-nginx
    build:
      dockerfile_inline: |
        FROM node:24-bookworm-slim
        RUN apt-get update && apt-get install -y --no-install-recommends nginx-light
        CMD ["nginx", "-g", "daemon off;"]
    ports: !override ["127.0.0.1::4000"]
  sidecar:
    image: litellm-sidecar-test
    environment:
      # Keys that are unknown, and that ended, are tried on purpose and often.
      SIDECAR_FAILURES_PER_MINUTE: 0
  provider:
    image: node:24-bookworm-slim
    init: true
    command: [node, /provider.mjs]
    volumes: ["./provider.mjs:/provider.mjs:ro"]
    networks: [inside]
`;

/** Tests in their order, on one stack: each leaves its file to the next. */
describe('three sidecars with one file', () => {
  const upstreamKey = generateKey();
  const token = randomBytes(24).toString('hex');
  const keys = { ci: generateKey(), next: generateKey(), web: generateKey() };
  const project = `sidecar-test-${randomBytes(4).toString('hex')}`;
  let base = '';
  let folder = '';
  let url = '';

  const compose = (args: readonly string[], input = ''): Promise<Ran> => {
    return run('docker', ['compose', '-p', project, ...FILES, ...args], { cwd: folder, input });
  };
  const inside = (replica: number, ...args: readonly string[]): Promise<Ran> =>
    compose(['exec', '-T', '--index', String(replica), 'sidecar', ...args]);
  /** As an editor writes it: beside it, and then in its place. */
  const write = async (clients: Readonly<Record<string, readonly string[]>>): Promise<void> => {
    const lines: string[] = [];
    for (const [name, held] of Object.entries(clients)) {
      const listed = held.map((key) => showDigest(digestOf(key)));
      lines.push(`  ${name}:`, `    keys: [${listed.join(', ')}]`);
    }
    const path = join(folder, 'clients', 'clients.yaml');
    await writeFile(`${path}.swp`, `clients:\n${lines.join('\n')}\n`);
    await rename(`${path}.swp`, path);
  };
  /** What each sidecar by itself says to a key, asked in its own container. */
  const saidBy = async (replica: number, key: string): Promise<string> => {
    const ask = `fetch('http://127.0.0.1:4000/v1/models', {
      headers: { authorization: 'Bearer ' + require('fs').readFileSync(0, 'utf8') },
    }).then((answer) => console.log(answer.headers.get('x-sidecar-refusal') ?? answer.status))`;
    const args = ['exec', '-T', '--index', String(replica), 'sidecar', 'node', '-e', ask];
    return succeeded(await compose(args, key)).trim();
  };
  const saidByAll = (key: string): Promise<string[]> =>
    Promise.all(REPLICAS.map((replica) => saidBy(replica, key)));
  /** Through nginx. */
  const models = (key: string): Promise<Response> =>
    fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  const metrics = async (replica: number): Promise<string> => {
    const ask = `fetch('http://127.0.0.1:4001/metrics').then((answer) => answer.text())
      .then((text) => console.log(text))`;
    return succeeded(await inside(replica, 'node', '-e', ask));
  };
  const hashes = async (): Promise<readonly (string | undefined)[]> => {
    const texts = await Promise.all(REPLICAS.map(metrics));
    return texts.map((text) => /^litellm_sidecar_clients_file_hash (\S+)$/m.exec(text)?.[1]);
  };
  /** Asks one sidecar all the time until it says this; `seen` is when, on the clock of all. */
  const lookOut = (replica: number, key: string, said: string) => {
    const args = ['exec', '-T', '--index', String(replica), 'sidecar', 'node', '-e', LOOK_OUT];
    const child = spawn('docker', ['compose', '-p', project, ...FILES, ...args], { cwd: folder });
    child.stdin.end(JSON.stringify({ key, said }));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const begun = lines.next();
    return { begun, seen: begun.then(() => lines.next()).then(({ value }) => Number(value)) };
  };
  /** Makes a change; how many milliseconds it takes until every sidecar says this to a key. */
  const took = async (change: () => Promise<void>, key: string, said: string): Promise<number> => {
    const all = REPLICAS.map((replica) => lookOut(replica, key, said));
    for (const { begun } of all) await begun;
    const changed = Date.now();
    await change();
    return Math.max(...(await Promise.all(all.map(({ seen }) => seen)))) - changed;
  };

  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), 'compose-'));
    succeeded(await run('git', ['clone', '--quiet', REPOSITORY, join(base, 'clone')]));
    folder = join(base, 'clone', 'deploy', 'replicas');
    // The sidecars are another user.
    await chmod(base, 0o755);
    await cp(PROVIDER, join(folder, 'provider.mjs'));
    await writeFile(join(folder, 'override.yml'), OVERRIDE);
    await writeFile(
      join(folder, 'litellm.env'),
      'NVIDIA_NIM_API_KEY=nvapi-of-the-operator\nNVIDIA_NIM_API_BASE=http://provider:8080/v1\n',
    );
    const subnet = `10.111.${randomBytes(1)[0]}.0/24`;
    await writeFile(
      join(folder, '.env'),
      `UPSTREAM_KEY=${upstreamKey}\nADMIN_TOKEN=${token}\nFRONT_SUBNET=${subnet}\n`,
    );
    for (const each of [upstreamKey, ...Object.values(keys)]) recordKey(each);
    succeeded(await compose(['up', '--build', '--wait', '--wait-timeout', '240']));
    url = `http://${succeeded(await compose(['port', 'nginx', '4000'])).trim()}`;
  });

  afterAll(async () => {
    const texts = await Promise.all(REPLICAS.map((each) => metrics(each).catch(() => '')));
    recordArtefact('metrics', '/metrics', texts.join('\n'));
    recordArtefact('log', 'compose logs', (await compose(['logs', '--no-color'])).stdout);
    await compose(['down', '-v', '--remove-orphans', '--timeout', '5']);
    await rm(base, { recursive: true, force: true });
  });

  it('begin with nobody, and let nobody in', async () => {
    expect(await saidByAll(keys.ci)).toEqual(['unknown_key', 'unknown_key', 'unknown_key']);
    expect((await models(upstreamKey)).headers.get('x-sidecar-refusal')).toBe('unknown_key');
  });

  it('let a new key in within three seconds after the file changed, all of them', async () => {
    const change = () => write({ ci: [keys.ci], web: [keys.web] });
    expect(await took(change, keys.ci, '200')).toBeLessThan(3000);
    expect(new Set(await hashes()).size).toBe(1);
  });

  it('all get requests through nginx, and know who asks', async () => {
    for (let nth = 0; nth < 12; nth++) expect((await models(keys.web)).status).toBe(200);
    for (const replica of REPLICAS) {
      const shown = await inside(replica, 'sidecar', 'who', 'web-1', '--json');
      const { callers } = JSON.parse(succeeded(shown)) as { callers: { address: string }[] };
      expect(callers.length).toBeGreaterThan(0);
      // Not nginx, in the network that is trusted.
      expect(callers.map(({ address }) => address).join()).not.toContain('10.111.');
    }
  });

  it('pass a stream on as it comes', async () => {
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.ci}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'nvidia-llama-3-1-405b',
        stream: true,
        messages: [{ role: 'user', content: 'slow' }],
      }),
    });
    expect(answer.headers.get('content-type')).toContain('text/event-stream');
    const times: number[] = [];
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of answer.body ?? []) {
      times.push(Date.now());
      text += decoder.decode(chunk, { stream: true });
    }
    expect(text.trimEnd()).toMatch(/data: \[DONE\]$/);
    // Eighty pieces in eight seconds: what is held back comes in a few.
    expect(times.length).toBeGreaterThan(40);
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(5000);
  });

  it('rotate in git: two keys, and then one, while a stream goes on', async () => {
    const both = () => write({ ci: [keys.ci, keys.next], web: [keys.web] });
    expect(await took(both, keys.next, '200')).toBeLessThan(3000);
    expect(await saidByAll(keys.ci)).toEqual(['200', '200', '200']);
    const stream = readSlowly(url, keys.ci);
    const one = () => write({ ci: [keys.next], web: [keys.web] });
    expect(await took(one, keys.ci, 'revoked_key')).toBeLessThan(3000);
    expect(await saidByAll(keys.next)).toEqual(['200', '200', '200']);
    expect(await saidByAll(keys.web)).toEqual(['200', '200', '200']);
    expect((await stream).ended).toBe('whole');
  });

  it('keep what rules where the file is a mistake, and say so', async () => {
    const before = await hashes();
    await writeFile(join(folder, 'clients', 'clients.yaml'), 'clients: {ci: {keys: [sk-a]}}\n');
    for (const replica of REPLICAS) {
      let screen = '';
      while (!screen.includes('clients.yaml')) {
        screen = succeeded(await inside(replica, 'sidecar', 'status'));
      }
    }
    expect(await saidByAll(keys.next)).toEqual(['200', '200', '200']);
    expect(await hashes()).toEqual(before);
    await write({ ci: [keys.next], web: [keys.web] });
  });

  it('change nothing by command, and have nowhere to write', async () => {
    const refused = await inside(2, 'sidecar', 'rotate', 'ci');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('keeps nothing (SIDECAR_STATE=none)');
    for (const replica of REPLICAS) {
      const looked = await inside(replica, 'sh', '-c', WRITABLE);
      expect(looked).toMatchObject({ code: 0, stdout: '' });
    }
  });
});

/** Says that it has begun, and then when the sidecar said for the first time what is waited for. */
const LOOK_OUT = `
const { key, said } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const headers = { authorization: 'Bearer ' + key };
(async () => {
  for (let asked = 0; ; asked++) {
    const answer = await fetch('http://127.0.0.1:4000/v1/models', { headers });
    await answer.text();
    if (asked === 0) console.log('begun');
    if (String(answer.headers.get('x-sidecar-refusal') ?? answer.status) === said) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(Date.now());
})()`;

/** Mounts on which the sidecar's user may make a file, but for the memory that every container has. */
const WRITABLE = `
for place in / /app /state /tmp /clients /var/tmp /run /home/node; do
  [ -d $place ] && touch $place/written 2>/dev/null && echo $place
done
true`;
