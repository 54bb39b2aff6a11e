import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { claimPorts, litellmEnvironment, sidecarEnvironment } from '../../src/local/prepare.ts';

const FOLDERS = { slots: '/x/slots', reports: '/x/reports' } as const;
const PLAN = { bin: '/x/litellm', folders: FOLDERS, ports: [41, 42] } as const;
const PORTS = { traffic: 40, ops: 43, litellm: [41, 42] } as const;

test('litellm gets provider keys, the shell first, then .env, then litellm.env', () => {
  const shell = { PATH: '/bin', OPENAI_API_KEY: 'shell' };
  const dotenv = { OPENAI_API_KEY: 'dotenv', NVIDIA_NIM_API_KEY: 'dotenv' };
  const own = { NVIDIA_NIM_API_KEY: 'own', AZURE_API_KEY: 'own' };
  expect(litellmEnvironment(shell, dotenv, own, PLAN)).toMatchObject({
    PATH: '/bin',
    OPENAI_API_KEY: 'shell',
    NVIDIA_NIM_API_KEY: 'dotenv',
    AZURE_API_KEY: 'own',
  });
});

test('litellm never sees the client key, nor the sidecar’s settings', () => {
  const secret = {
    LITELLM_MASTER_KEY: 'no',
    LITELLM_MASTER_KEY_FILE: 'no',
    SIDECAR_UPSTREAM_KEY: 'no',
    SIDECAR_STATE: 'no',
  };
  const env = litellmEnvironment(secret, secret, secret, PLAN);
  expect(Object.values(env)).not.toContain('no');
  expect(env).toEqual({
    LITELLM_MODE: 'PRODUCTION',
    LITELLM_BIN: '/x/litellm',
    LAUNCHER_SLOTS: '/x/slots',
    LAUNCHER_REPORTS: '/x/reports',
    LAUNCHER_PORT_A: '41',
    LAUNCHER_PORT_B: '42',
  });
});

test('litellm keeps its other settings, its mode too', () => {
  const shell = { LITELLM_MODE: 'DEV', LITELLM_LOG: 'DEBUG', LITELLM_SALT_KEY: 's' };
  expect(litellmEnvironment(shell, {}, {}, PLAN)).toMatchObject(shell);
});

test('the sidecar listens on the loopback and need not delay its end', () => {
  expect(sidecarEnvironment({}, {}, FOLDERS, PORTS)).toEqual({
    SIDECAR_HOST: '127.0.0.1',
    SIDECAR_OPS_HOST: '127.0.0.1',
    SIDECAR_STATE: './state',
    SIDECAR_LITELLM_CONFIG: './config.yaml',
    SIDECAR_AUTO_RELOAD: 'true',
    SIDECAR_DRAIN_DELAY: '0s',
    SIDECAR_UPSTREAM: 'http://127.0.0.1:41,http://127.0.0.1:42',
    SIDECAR_UPSTREAM_KEY: '',
    SIDECAR_SLOTS: '/x/slots',
    SIDECAR_REPORTS: '/x/reports',
    SIDECAR_PORT: '40',
    SIDECAR_OPS_PORT: '43',
  });
});

test('the operator’s own word rules, in the shell and in .env', () => {
  const env = sidecarEnvironment(
    { SIDECAR_STATE: '/shell' },
    { SIDECAR_HOST: '0.0.0.0' },
    FOLDERS,
    PORTS,
  );
  expect(env['SIDECAR_STATE']).toBe('/shell');
  // The sidecar reads it from .env by itself.
  expect(env).not.toHaveProperty('SIDECAR_HOST');
});

test('where litellm runs is not for the operator to say here', () => {
  const elsewhere = { SIDECAR_UPSTREAM: 'http://litellm:4000', SIDECAR_UPSTREAM_KEY: 'sk-other' };
  const env = sidecarEnvironment(elsewhere, elsewhere, FOLDERS, PORTS);
  expect(env['SIDECAR_UPSTREAM']).toBe('http://127.0.0.1:41,http://127.0.0.1:42');
  expect(env['SIDECAR_UPSTREAM_KEY']).toBe('');
});

const at = (port: number) => ({ host: '127.0.0.1', port, setting: 'SIDECAR_PORT' });

test('a free port is picked for each 0, and no two are the same', async () => {
  const ports = await claimPorts([at(0), at(0), at(0), at(0)]);
  expect(new Set(ports).size).toBe(4);
  // They are free again: the same ones can be claimed.
  expect(await claimPorts(ports.map(at))).toEqual(ports);
});

test('a port in use is told with the setting that moves it', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await expect(claimPorts([at(port)])).rejects.toMatchObject({
      message: `port ${port} is in use`,
      exitCode: 69,
      hints: [expect.stringContaining('SIDECAR_PORT='), expect.stringContaining('docker compose')],
    });
  } finally {
    server.close();
  }
});

test('all ports that are in use are told at once, with a command that moves them all', async () => {
  const servers = [createServer(), createServer()];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  const [one = 0, two = 0] = servers.map((server) => (server.address() as AddressInfo).port);
  const ops = { ...at(two), setting: 'SIDECAR_OPS_PORT' };
  try {
    await expect(claimPorts([at(one), ops, at(0)])).rejects.toMatchObject({
      message: `ports ${one} and ${two} are in use`,
      hints: [
        `take others: SIDECAR_PORT=${one + 100} SIDECAR_OPS_PORT=${two + 100} npm run local`,
        expect.stringContaining('docker compose'),
      ],
    });
  } finally {
    for (const server of servers) server.close();
  }
});

test('an address of another machine is told', async () => {
  const there = { host: '192.0.2.1', port: 0, setting: 'SIDECAR_HOST' };
  await expect(claimPorts([there])).rejects.toThrow(/^cannot listen on 192\.0\.2\.1:0 \(/);
});
