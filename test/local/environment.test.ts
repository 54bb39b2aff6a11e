import { expect, test } from 'vitest';
import { litellmEnvironment, sidecarEnvironment } from '../../src/local/prepare.ts';

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

test('litellm never sees the client key nor what is the sidecar’s', () => {
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

test('but where litellm runs is not his to say here', () => {
  const elsewhere = { SIDECAR_UPSTREAM: 'http://litellm:4000', SIDECAR_UPSTREAM_KEY: 'sk-other' };
  const env = sidecarEnvironment(elsewhere, elsewhere, FOLDERS, PORTS);
  expect(env['SIDECAR_UPSTREAM']).toBe('http://127.0.0.1:41,http://127.0.0.1:42');
  expect(env['SIDECAR_UPSTREAM_KEY']).toBe('');
});
