import { describe, expect, it } from 'vitest';
import { KNOWN_NAMES, parseConfig } from '../../src/config/parse.ts';
import { DOTENV, ENVIRONMENT, type Source } from '../../src/config/sources.ts';

const UPSTREAM = { SIDECAR_UPSTREAM: 'http://litellm:4000' };

/** What is wrong with one source, which sets the required settings too. */
const mistakesOf = ({ name, values }: Source) => {
  const parsed = parseConfig([{ name, values: { ...UPSTREAM, ...values } }]);
  return parsed.ok ? [] : parsed.mistakes;
};
const unknown = (values: Record<string, string>, name = ENVIRONMENT) =>
  mistakesOf({ name, values }).map((mistake) => [mistake.name, mistake.hint]);

describe('names', () => {
  it('of key files are known for secrets, and for nothing else', () => {
    expect(KNOWN_NAMES.filter((name) => name.endsWith('_FILE'))).toEqual([
      'LITELLM_MASTER_KEY_FILE',
      'SIDECAR_UPSTREAM_KEY_FILE',
      'SIDECAR_ADMIN_TOKEN_FILE',
      'SIDECAR_ENV_FILE',
    ]);
  });

  it.each([
    ['SIDECAR_PROT', 'did you mean SIDECAR_PORT?'],
    ['SIDECAR_PORT_FILE', 'only secrets are read from files: set SIDECAR_PORT itself'],
    ['SIDECAR_UPSTREAMS', 'did you mean SIDECAR_UPSTREAM?'],
    ['SIDECAR_KEYHEADER', 'did you mean SIDECAR_KEY_HEADER?'],
    ['SIDECAR_OPS_PORTS', 'did you mean SIDECAR_OPS_PORT?'],
    ['SIDECAR_', undefined],
    ['SIDECAR_QUITE_SOMETHING_ELSE_ALTOGETHER', undefined],
  ])('%s is not known', (name, hint) => {
    expect(unknown({ [name]: 'x' })).toEqual([[name, hint]]);
    expect(unknown({ [name]: 'x' }, DOTENV)).toEqual([[name, hint]]);
  });

  it('that are not ours are left alone, and empty ones too', () => {
    expect(unknown({ OPENAI_API_KEY: 'x', PATH: '/bin', SIDECAR: 'x', SIDECAR_TYPO: '' })).toEqual(
      [],
    );
  });

  it('a slip away from the key are told, not refused', () => {
    const values = { ...UPSTREAM, LITELLM_MASTERKEY: 'sk-x', LITELLM_SALT_KEY: 'x' };
    expect(parseConfig([{ name: DOTENV, values }])).toMatchObject({
      ok: true,
      warnings: ['LITELLM_MASTERKEY (.env) means nothing here: did you mean LITELLM_MASTER_KEY?'],
    });
  });

  it('what says where .env is cannot stand in it', () => {
    const values = { SIDECAR_ENV_FILE: '/x' };
    expect(mistakesOf({ name: ENVIRONMENT, values })).toEqual([]);
    expect(mistakesOf({ name: DOTENV, values })).toEqual([
      {
        name: 'SIDECAR_ENV_FILE',
        found: 'it is set in .env',
        allowed: 'the environment only',
      },
    ]);
  });
});

describe('what Kubernetes sets for Services named sidecar and sidecar-ops', () => {
  const injected = {
    SIDECAR_SERVICE_HOST: '10.0.0.1',
    SIDECAR_SERVICE_PORT: '4000',
    SIDECAR_SERVICE_PORT_HTTP: '4000',
    SIDECAR_PORT: 'tcp://10.0.0.1:4000',
    SIDECAR_PORT_4000_TCP: 'tcp://10.0.0.1:4000',
    SIDECAR_PORT_4000_TCP_PROTO: 'tcp',
    SIDECAR_PORT_4000_TCP_PORT: '4000',
    SIDECAR_PORT_4000_TCP_ADDR: '10.0.0.1',
    SIDECAR_OPS_SERVICE_HOST: '10.0.0.2',
    SIDECAR_OPS_SERVICE_PORT: '4001',
    SIDECAR_OPS_PORT: 'tcp://[fd00::1]:4001',
    SIDECAR_OPS_PORT_4001_UDP: 'udp://10.0.0.2:4001',
  };
  it('means nothing, and hides nothing', () => {
    const parsed = parseConfig([
      { name: ENVIRONMENT, values: { ...injected, ...UPSTREAM } },
      { name: DOTENV, values: { SIDECAR_PORT: '4100' } },
    ]);
    expect(parsed).toMatchObject({ ok: true, config: { port: 4100, opsPort: 4001 } });
    expect(parsed).toMatchObject({ origins: { port: '.env', opsPort: 'default' } });
  });

  it.each(Object.entries(injected))('is a mistake in .env: %s', (name, value) => {
    const values = { ...UPSTREAM, [name]: value };
    expect(parseConfig([{ name: DOTENV, values }]).ok).toBe(false);
  });

  it.each([
    ['SIDECAR_PORT', 'http://10.0.0.1:4000'],
    ['SIDECAR_PORT', '10.0.0.1:4000'],
    ['SIDECAR_HOST', 'tcp://10.0.0.1:4000'],
    ['SIDECAR_PORT_TCP', 'tcp://10.0.0.1:4000'],
  ])('is not %s=%s', (name, value) => {
    const values = { ...UPSTREAM, [name]: value };
    expect(parseConfig([{ name: ENVIRONMENT, values }]).ok).toBe(false);
  });
});
