import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fakePython } from '../local/fake-python.ts';
import { recordArtefact, recordState } from '../support/key-ledger.ts';

const MAIN = fileURLToPath(new URL('../../dist/local.js', import.meta.url));
const LITELLM = fileURLToPath(new URL('../local/serving-litellm.js', import.meta.url));
/** Neither Docker's nor the operator's own variables belong in here. */
const PLAIN = {
  PATH: process.env['PATH'] ?? '',
  SIDECAR_PORT: '0',
  SIDECAR_OPS_PORT: '0',
  LAUNCHER_LOOK: '0.1',
};

let cwd: string;
const running = new Set<ChildProcess>();

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'sidecar local '));
  await writeFile(join(cwd, 'config.yaml'), 'model_list: []\n');
});
afterEach(async () => {
  for (const child of running) child.kill('SIGTERM');
  await Promise.all([...running].map((child) => child.exitCode ?? once(child, 'exit')));
  const log = await readFile(join(cwd, '.local/sidecar.log'), 'utf8').catch(() => '');
  recordArtefact('log', '.local/sidecar.log', log);
  await recordState(join(cwd, 'state'));
  await rm(cwd, { recursive: true });
});

function start(env: Record<string, string> = { LITELLM_BIN: LITELLM }) {
  const child = spawn(process.execPath, [MAIN], {
    cwd,
    env: { ...PLAIN, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const written = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
      for (const look of waiting) look();
    });
  }
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child);
    recordArtefact('log', 'the screen', written.stdout + written.stderr);
    return { code: code as number, ...written };
  });
  /** Resolves once the output holds it; rejects where the end comes first. */
  const says = (name: 'stdout' | 'stderr', text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (written[name].includes(text)) resolve(written[name]);
      };
      waiting.add(look);
      look();
      void ended.then((end) => reject(new Error(`it ended: ${JSON.stringify(end)}`)));
    });
  return { child, ended, says, press: () => child.kill('SIGINT') };
}

const trafficOf = (screen: string): string => /traffic +(\S+)/.exec(screen)?.[1] ?? '';

const startedLitellm = () =>
  JSON.parse(readFileSync(join(cwd, 'started.json'), 'utf8')) as {
    readonly args: readonly string[];
    readonly env: Record<string, string>;
    readonly config: string;
  };

/** Asked by its port: a process that has ended stays in the table until somebody collects it. */
const litellmAnswers = async (): Promise<boolean> => {
  const { args } = startedLitellm();
  const url = `http://127.0.0.1:${args[args.indexOf('--port') + 1]}/health/liveliness`;
  return await fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
};

const stream = async (url: string, signal: AbortSignal) => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await readFile(join(cwd, 'state/keys/master'), 'utf8')}`.trim(),
      'content-type': 'application/json',
    },
    body: JSON.stringify({ model: 'mock', messages: [], stream: true }),
    signal,
  });
  const reader = response.body?.getReader();
  await reader?.read();
  return { rest: () => reader?.read() };
};

/** Does what the curl line on the screen says, as a shell reads it; curl itself may be missing. */
async function paste(screen: string): Promise<string> {
  const line = screen.slice(screen.indexOf('curl '), screen.indexOf('Ctrl-C')).trim();
  const script = `curl() { printf '%s\\0' "$@"; }\n${line}`;
  const words = execFileSync('sh', ['-c', script], { cwd, encoding: 'utf8' }).split('\0');
  const [url = '', , authorization = '', , type = '', , body = ''] = words;
  const headers = [authorization, type].map((header) => header.split(': ') as [string, string]);
  return await (await fetch(url, { method: 'POST', headers, body })).text();
}

test('one screen, and a line to paste that works; Ctrl-C ends both', async () => {
  const { ended, says, press } = start();
  const screen = await says('stdout', 'Ctrl-C ends it');
  expect(screen).toContain('"model":"mock"');
  expect(screen).toContain('.local/sidecar.log, .local/litellm.log');

  expect(await paste(screen)).toContain('"content":"hi"');
  const metrics = await fetch(/metrics +(\S+)/.exec(screen)?.[1] ?? '');
  expect(await metrics.text()).toContain('litellm_sidecar_requests_total');

  expect(await litellmAnswers()).toBe(true);
  press();
  const { code, stderr } = await ended;
  expect(code).toBe(0);
  expect(stderr).toContain('finishes what is in hand');
  expect(await litellmAnswers()).toBe(false);
  await expect(fetch(trafficOf(screen))).rejects.toThrow('fetch failed');
});

test('litellm listens on the loopback, and learns nothing that is the sidecar’s', async () => {
  const client = 'sk-the-key-that-the-clients-of-this-test-present';
  const text = `LITELLM_MASTER_KEY=${client}\nNVIDIA_NIM_API_KEY=nvapi-1\nSIDECAR_HOLD=10s\n`;
  await writeFile(join(cwd, '.env'), text);
  const { ended, says, press } = start();
  const screen = await says('stdout', 'Ctrl-C ends it');
  expect(screen).toContain('cat state/keys/master');
  expect(await readFile(join(cwd, 'state', 'keys', 'master'), 'utf8')).toBe(`${client}\n`);
  const { args, env, config } = startedLitellm();
  expect(args.slice(0, 2)).toEqual(['--host', '127.0.0.1']);
  expect(config).toBe('model_list: []\n');
  expect(env['NVIDIA_NIM_API_KEY']).toBe('nvapi-1');
  expect(Object.keys(env).filter((name) => name.startsWith('SIDECAR_'))).toEqual([]);
  expect(Object.values(env)).not.toContain(client);
  expect(screen).not.toContain(client);
  press();
  expect((await ended).code).toBe(0);
});

test('Ctrl-C waits for what is in hand, a second one does not', async () => {
  const { ended, says, press } = start();
  const screen = await says('stdout', 'Ctrl-C ends it');
  const open = await stream(trafficOf(screen), AbortSignal.timeout(20_000));
  const cut = expect(open.rest()).rejects.toThrow('terminated');
  press();
  await says('stderr', 'finishes what is in hand');
  expect(await litellmAnswers()).toBe(true);
  // Sooner, it would count as the same press.
  await new Promise((resolve) => setTimeout(resolve, 350));
  press();
  expect((await ended).code).toBe(130);
  await cut;
  expect(await litellmAnswers()).toBe(false);
});

test('a terminal that is closed ends both in order', async () => {
  const { child, ended, says } = start();
  await says('stdout', 'Ctrl-C ends it');
  child.stdout.destroy();
  child.stderr.destroy();
  child.kill('SIGHUP');
  expect((await ended).code).toBe(0);
  expect(await litellmAnswers()).toBe(false);
});

test('a sidecar that cannot start takes litellm with it, and the end of its log is shown', async () => {
  await writeFile(join(cwd, 'state'), 'a file where a folder belongs');
  const { code, stdout, stderr } = await start().ended;
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^sidecar: the sidecar ended by itself \(exit code 73\)$/m);
  expect(stderr).toContain(join(cwd, '.local/sidecar.log'));
  expect(stderr).toMatch(/state/);
});

test('mistakes in the settings are told before anything is installed', async () => {
  const { code, stderr } = await start({ SIDECAR_PROT: '1', SIDECAR_HOLD: '30' }).ended;
  expect(code).toBe(64);
  expect(stderr).toContain('the configuration has 2 mistakes');
  expect(existsSync(join(cwd, '.local'))).toBe(false);
});

test('a port in use is told before anything is installed', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  try {
    const { code, stderr } = await start({ SIDECAR_PORT: String(port) }).ended;
    expect(code).toBe(69);
    expect(stderr).toContain(`port ${port} is in use`);
    expect(existsSync(join(cwd, '.local'))).toBe(false);
  } finally {
    other.close();
  }
});

test('a LITELLM_BIN that is no program', async () => {
  const { code, stderr } = await start({ LITELLM_BIN: './none' }).ended;
  expect(code).toBe(64);
  expect(stderr).toContain(`LITELLM_BIN names no program: ${join(cwd, 'none')} (ENOENT)`);
});

test('without python3 it says what to install', async () => {
  const { code, stderr } = await start({ PATH: join(cwd, 'nothing here') }).ended;
  expect(code).toBe(69);
  expect(stderr).toContain('sidecar: there is no python3');
  expect(stderr).toMatch(/hint: .*python3/);
});

test('litellm is installed, and an installation that broke off is made anew', async () => {
  const PATH = `${cwd}:${PLAIN.PATH}`;
  await fakePython(cwd, 'echo Collecting litellm; echo "ERROR: no such index" >&2; exit 1');
  const failed = await start({ PATH }).ended;
  expect(failed.code).toBe(69);
  expect(failed.stderr).toContain('ERROR: no such index\nsidecar: pip failed (1)\n');

  await fakePython(cwd, `echo Done; cp '${LITELLM}' "$(dirname "$0")/litellm"`);
  const second = start({ PATH });
  await second.says('stdout', 'Ctrl-C ends it');
  second.press();
  const { code, stderr } = await second.ended;
  expect(code).toBe(0);
  expect(stderr).toMatch(/^sidecar: install litellm from pypi .*: litellm\[proxy\]==/m);
});

test('Ctrl-C before litellm is up ends it as well', async () => {
  const slow = join(cwd, 'slow');
  await writeFile(slow, '#!/bin/sh\nexec sleep 600\n');
  await chmod(slow, 0o755);
  const { child, ended, press } = start({ LITELLM_BIN: slow });
  await expect
    .poll(() => existsSync(join(cwd, '.local/slots/a/master.key')), { timeout: 10_000 })
    .toBe(true);
  press();
  expect((await ended).code).toBe(0);
  expect(child.exitCode).toBe(0);
});
