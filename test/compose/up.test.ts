import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ask } from '../servers/fake-admin.ts';
import { recordKey } from '../support/key-ledger.ts';
import { createStack, run, type Stack, succeeded, UP } from './stack.ts';
import { normalise, printedBy, readTranscript, scriptOf } from './transcript.ts';

const LITELLM_IMAGE = 'ghcr.io/berriai/litellm:v1.108.5';

const chat = (url: string, key: string | undefined, more: object = {}): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({ model: 'mock', messages: [{ role: 'user', content: 'hi' }], ...more }),
  });

/** What any process of LiteLLM's container could read: environments, arguments, mounted files. */
const EVERYTHING = `
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'
env
cat /slots/*/master.key; grep -r . /slots /reports /launch-litellm.sh; ls -a / /app /slots
`;

describe('with nothing set', () => {
  let stack: Stack;
  let url: string;
  let key: string;
  const showKey = async (): Promise<string> => {
    const show = ['exec', '-T', 'sidecar', 'sidecar', 'key', 'show'];
    const shown = succeeded(await stack.compose(show)).trim();
    recordKey(shown);
    return shown;
  };

  beforeAll(async () => {
    stack = await createStack();
    succeeded(await stack.compose(UP));
    url = await stack.url(4000);
    key = await showKey();
  });

  afterAll(() => stack.clear());

  // First: it counts a request.
  it('prints what the README and its pages show', async () => {
    const steps = readTranscript();
    expect(steps.length).toBeGreaterThan(4);
    const at = async (port: 4000 | 4001): Promise<string> => new URL(await stack.url(port)).host;
    const compose = `docker compose -p ${stack.project} -f docker-compose.yml -f override.yml`;
    const where = { compose, traffic: await at(4000), ops: await at(4001) };
    const script = scriptOf(steps, where);
    const { stdout } = await run('sh', ['-c', script], { cwd: stack.folder });
    // Without a terminal docker hands stdout and stderr on by two pipes, whose order it does not keep.
    const inAnyOrder = (text: string) => normalise(text).split('\n').sort();
    const shown = (texts: readonly string[]) =>
      steps.map(({ command }, at) => [`$ ${command}`, ...inAnyOrder(texts[at] ?? '')]);
    expect(shown(printedBy(stdout))).toEqual(shown(steps.map(({ output }) => output)));
    // The rotation is one of them.
    key = await showKey();
  });

  it('a key was made, and stands in no log', async () => {
    expect(key).toMatch(/^sk-[A-Za-z0-9]{48}$/);
    const logs = succeeded(await stack.compose(['logs', '--no-color']));
    expect(logs).toContain('sidecar key show');
    expect(logs).not.toContain(key);
  });

  it('answers with that key, streaming included', async () => {
    const answer = await chat(url, key);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('LiteLLM');
    const stream = await chat(url, key, { stream: true });
    expect(stream.headers.get('content-type')).toContain('text/event-stream');
    const text = await stream.text();
    expect(text).toMatch(/"usage":\{[^\n]*"cost":/);
    expect(text.trimEnd()).toMatch(/data: \[DONE\]$/);
  });

  it('says why without it', async () => {
    const answer = await chat(url, undefined);
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ error: { code: 'missing_key' } });
  });

  it('is ready, and measured, on the ops port', async () => {
    const ops = await stack.url(4001);
    expect((await fetch(`${ops}/readyz`)).status).toBe(200);
    expect(await (await fetch(`${ops}/metrics`)).text()).toContain(
      'litellm_sidecar_requests_total',
    );
  });

  it('is seen by a Prometheus, with the profile for that and not without', async () => {
    const profile = ['--profile', 'monitoring'];
    const services = async (...args: string[]): Promise<string[]> =>
      succeeded(await stack.compose([...args, 'config', '--services']))
        .trim()
        .split('\n');
    const usual = await services();
    expect(usual).not.toContain('prometheus');
    expect((await services(...profile)).sort()).toEqual([...usual, 'grafana', 'prometheus'].sort());

    succeeded(await stack.compose([...profile, 'up', '--wait', 'prometheus']));
    const where = succeeded(await stack.compose([...profile, 'port', 'prometheus', '9090'])).trim();
    const ask = async (path: string): Promise<string> =>
      (await fetch(`http://${where}/api/v1/${path}`)).text();
    await vi.waitFor(
      async () => {
        expect(await ask('query?query=litellm_sidecar_store_up')).toContain('"sidecar:4001"');
      },
      { timeout: 40_000, interval: 500 },
    );
    expect(await ask('rules')).toContain('LiteLLMOldKeyUsed');
    succeeded(await stack.compose([...profile, 'rm', '--stop', '--force', 'prometheus']));
  });

  it("publishes none of LiteLLM's ports, and its own ops port on the loopback only", async () => {
    const id = succeeded(await stack.compose(['ps', '-q', 'litellm'])).trim();
    const bound = '{{json .HostConfig.PortBindings}} {{json .NetworkSettings.Ports}}';
    const ports = succeeded(await run('docker', ['inspect', '-f', bound, id]));
    expect(ports).toContain('4000/tcp'); // exposed by the image
    expect(ports).not.toContain('HostPort');
    const config = succeeded(
      await run('docker', ['compose', '-f', 'docker-compose.yml', 'config', '--format', 'json'], {
        cwd: stack.folder,
      }),
    );
    const { services } = JSON.parse(config);
    expect(services.litellm.ports).toBeUndefined();
    expect(services.sidecar.ports).toMatchObject([
      { published: '4000', target: 4000 },
      { published: '4001', target: 4001, host_ip: '127.0.0.1' },
    ]);
  });

  it('keeps LiteLLM out of reach of whoever is only in the default network', async () => {
    const program = `Promise.allSettled(['litellm', 'sidecar'].map((host) =>
      fetch('http://' + host + ':4000/health/liveliness'))).then(([litellm, sidecar]) =>
      console.log(litellm.status, sidecar.status))`;
    const network = `${stack.project}_default`;
    const args = ['run', '--rm', '--network', network, 'node:24-bookworm-slim', 'node', '-e'];
    expect(succeeded(await run('docker', [...args, program])).trim()).toBe('rejected fulfilled');
  });

  it("shows LiteLLM's container nothing of the clients' key", async () => {
    const seen = await stack.compose(['exec', '-T', 'litellm', 'sh', '-c', EVERYTHING]);
    expect(seen.stdout).toMatch(/LITELLM_MASTER_KEY=sk-/); // its own
    expect(seen.stdout).toContain('model_name: mock');
    expect(seen.stdout).not.toContain(key);
  });

  it.each([
    ['root', '0:0'],
    ['the user of newer images', '65532:65532'],
  ])("lets %s in the slots' group read the slot", async (_who, user) => {
    const container = ['--rm', '--user', user, '--group-add', '4000', '--entrypoint', 'cat'];
    const volume = ['-v', `${stack.project}_slots:/slots:ro`, LITELLM_IMAGE];
    const files = ['/slots/a/master.key', '/slots/a/config/config.yaml'];
    const read = await run('docker', ['run', ...container, ...volume, ...files]);
    expect(succeeded(read)).toMatch(/^sk-[A-Za-z0-9]{48}\n[\s\S]*model_list:/);
  });

  it("leaves LiteLLM's words to the sidecar, which cannot write there", async () => {
    const script = `
      const { readFileSync, writeFileSync } = require('node:fs');
      const report = readFileSync('/reports/a.log', 'utf8');
      const id = readFileSync('/slots/a/id', 'utf8').trim();
      const [first, second] = report.split('\\n');
      let code;
      try { writeFileSync('/reports/b.log', ''); } catch (error) { code = error.code; }
      console.log(first === 'slot-id ' + id, second, /running on \\S+:4000 /.test(report), code);`;
    const answer = await stack.compose(['exec', '-T', 'sidecar', 'node', '-e', script]);
    expect(succeeded(answer).trim()).toBe('true try 1 true EROFS');
  });

  it.each([
    ['root', '0:0'],
    ['the user of newer images', '65532:65532'],
  ])("lets %s in the slots' group write and replace a report", async (_who, user) => {
    const container = ['--rm', '--user', user, '--group-add', '4000', '--entrypoint', 'sh'];
    const volume = ['-v', `${stack.project}_reports:/reports`, LITELLM_IMAGE, '-c'];
    const script = 'cd /reports && cp a.log .x && mv -f .x a.log && stat -c %g a.log';
    const wrote = await run('docker', ['run', ...container, ...volume, script]);
    expect(succeeded(wrote).trim()).toBe('4000');
  });

  it('lets nobody else', async () => {
    const container = ['--rm', '--user', '1234:1234', '--entrypoint', 'cat'];
    const volume = ['-v', `${stack.project}_slots:/slots:ro`, LITELLM_IMAGE];
    const read = await run('docker', ['run', ...container, ...volume, '/slots/a/master.key']);
    expect(read).toMatchObject({ code: 1, stdout: '' });
    expect(read.stderr).toContain('Permission denied');
  });

  it('gives the sidecar no root, no capability and nothing to write but its volumes', async () => {
    const script = `
      const { writeFileSync, readFileSync } = require('node:fs');
      const status = readFileSync('/proc/self/status', 'utf8');
      const attempts = ['/app/x', '/config/x', '/tmp/x'].map((path) => {
        try { writeFileSync(path, ''); return 'written'; } catch (error) { return error.code; }
      });
      console.log(process.getuid(), /CapBnd:\\s*0+$/m.test(status), ...attempts);`;
    const answer = await stack.compose(['exec', '-T', 'sidecar', 'node', '-e', script]);
    expect(succeeded(answer).trim()).toBe('1000 true EROFS EROFS EROFS');
  });

  it('ends gracefully when it is told to', async () => {
    const ids = succeeded(await stack.compose(['ps', '-q', 'sidecar', 'litellm']))
      .trim()
      .split('\n');
    succeeded(await stack.compose(['stop']));
    const codes = await run('docker', ['inspect', '-f', '{{.State.ExitCode}}', ...ids]);
    expect(succeeded(codes).trim().split('\n')).toEqual(['0', '0']);
  });
});

describe('with a key and a provider in .env', () => {
  const key = 'sk-declared-by-the-operator-0123456789';
  const token = 'the-token-of-the-operator-0123456789';
  const env = `LITELLM_MASTER_KEY=${key}
SIDECAR_ADMIN_TOKEN=${token}
NVIDIA_NIM_API_KEY=nvapi-of-the-operator
NVIDIA_NIM_API_BASE=http://provider:8080/v1
`;
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack({ '.env': env });
    recordKey(key);
    succeeded(await stack.compose(UP));
  });

  afterAll(() => stack.clear());

  it('that key is the one, and LiteLLM never sees it', async () => {
    expect((await chat(await stack.url(4000), key)).status).toBe(200);
    const seen = await stack.compose(['exec', '-T', 'litellm', 'sh', '-c', EVERYTHING]);
    expect(seen.stdout).toContain('NVIDIA_NIM_API_KEY=nvapi-of-the-operator');
    expect(seen.stdout).not.toContain(key);
  });

  it('one setting opens the console, and two places say where it is', async () => {
    const origin = await stack.url(4001);
    const page = await fetch(`${origin}/`);
    const script = / src="([^"]+)"/.exec(await page.text())?.[1] ?? '';
    expect([page.status, (await fetch(`${origin}/${script}`)).status]).toEqual([200, 200]);
    const { port } = new URL(origin);
    const headers = { authorization: `Bearer ${token}`, origin };
    expect((await ask({ port: Number(port) }, 'GET /api/status', { headers })).status).toBe(200);
    const asked = await stack.compose(['exec', '-T', 'sidecar', 'sidecar', 'console']);
    expect([asked.code, asked.stdout.trim()]).toEqual([0, 'http://127.0.0.1:4001/']);
    const log = succeeded(await stack.compose(['logs', '--no-log-prefix', 'sidecar']));
    expect(log).toMatch(/"console":"http:\/\/127\.0\.0\.1:4001\/".*"msg":"ready"/);
    expect(log + asked.stdout + asked.stderr).not.toContain(token);
  });

  it("serves OpenAI's SDK for Python, streaming included", async () => {
    // Its dependency openai is in LiteLLM's image. The key comes by stdin: no argument shows it.
    const program = `
from openai import AuthenticationError, OpenAI
say = dict(model="nvidia-llama-3-1-405b", messages=[{"role": "user", "content": "hi"}])
client = OpenAI(base_url="http://sidecar:4000/v1", api_key="${key}", max_retries=0)
print(client.chat.completions.create(**say).choices[0].message.content)
chunks = client.chat.completions.create(stream=True, **say)
print("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
try:
    OpenAI(base_url="http://sidecar:4000/v1", api_key="sk-none", max_retries=0).models.list()
except AuthenticationError as error:
    print(error.status_code, error.code)
`;
    const answer = await stack.compose(['exec', '-T', 'litellm', 'python3', '-'], program);
    const shown = 'shown Bearer nvapi-of-the-operator by LiteLLM';
    expect(succeeded(answer).trim().split('\n')).toEqual([
      shown,
      shown,
      expect.stringMatching(/^401 /),
    ]);
  });

  it('an edit of the key recreates no container', async () => {
    const ids = async () =>
      succeeded(await stack.compose(['ps', '-q']))
        .trim()
        .split('\n')
        .sort();
    const before = await ids();
    await writeFile(
      `${stack.folder}/.env`,
      env.replace(key, 'sk-another-of-the-operator-0123456789'),
    );
    succeeded(await stack.compose(['up', '--wait', '--wait-timeout', '120']));
    expect(await ids()).toEqual(before);
    expect(before).toHaveLength(3);
  });
});

describe('with a key that everybody knows', () => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack({ '.env': 'LITELLM_MASTER_KEY=sk-1234\n' });
    succeeded(await stack.compose(['build']));
  });

  afterAll(() => stack.clear());

  it('does not start: exit code 64, and the command that makes a good one', async () => {
    const started = await stack.compose(['run', '--rm', '-T', 'sidecar']);
    expect(started.code).toBe(64);
    expect(started.stderr).toContain('LITELLM_MASTER_KEY');
    expect(started.stderr).toContain('sidecar key new');
    expect(started.stderr + started.stdout).not.toContain('sk-1234');
  });

  it('`up --wait` fails', async () => {
    const up = await stack.compose(['up', '--wait', '--wait-timeout', '20']);
    expect(up.code).not.toBe(0);
  });

  it('and that command makes a key that does start', async () => {
    const made = succeeded(
      await stack.compose(['run', '--rm', '-T', 'sidecar', 'key', 'new']),
    ).trim();
    expect(made).toMatch(/^sk-[A-Za-z0-9]{48}$/);
  });
});
