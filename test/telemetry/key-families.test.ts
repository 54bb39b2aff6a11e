import { describe, expect, it } from 'vitest';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { EMPTY_KEYRING, type Generation, type Keyring } from '../../src/keyring/keyring.ts';
import { StoreError } from '../../src/store/key-store.ts';
import { keyGauges } from '../../src/telemetry/key-families.ts';
import { tombstoneOf } from '../support/keyrings.ts';
import { knownKey } from '../support/policies.ts';
import { exchange } from './exchange.ts';
import { startMetrics } from './start-metrics.ts';

const own = (series: Map<string, number>, name: string) => series.get(`litellm_sidecar_${name}`);

describe('requests by key', () => {
  it('are counted by client and state, with all states at 0 once a client is met', async () => {
    const { keyEvents, series } = startMetrics();
    keyEvents.onKeyUse(knownKey('ci'));
    keyEvents.onKeyUse(knownKey('ci'));
    keyEvents.onKeyUse(knownKey('ci', { state: 'revoked' }));
    keyEvents.onKeyUse(knownKey('master', { state: 'retiring' }));
    const at = await series();
    const count = (client: string, state: string) =>
      own(at, `key_requests_total{client="${client}",state="${state}"}`);
    expect(['active', 'retiring', 'retired', 'revoked'].map((it) => count('ci', it))).toEqual([
      2, 0, 0, 1,
    ]);
    expect(count('master', 'retiring')).toBe(1);
    expect(count('staging', 'active')).toBeUndefined();
    const tombstones = (state: string) =>
      own(at, `tombstone_uses_total{client="ci",state="${state}"}`);
    expect(['active', 'retiring', 'retired', 'revoked'].map(tombstones)).toEqual([
      undefined,
      undefined,
      0,
      1,
    ]);
  });

  it('stand at 0 for each client of the keyring, before one of its keys is used', async () => {
    const { series } = startMetrics({ keys: () => [gaugesOf('ci')] });
    await series();
    const at = await series();
    expect(own(at, 'tombstone_uses_total{client="ci",state="revoked"}')).toBe(0);
    expect(own(at, 'key_requests_total{client="ci",state="active"}')).toBe(0);
  });

  it('belong to the same 50 clients in every family', async () => {
    const { events, keyEvents, series } = startMetrics({
      keys: () => [gaugesOf('late')],
    });
    for (let index = 0; index < 49; index += 1) {
      events.onExchangeEnd(exchange({ client: `early-${index}` }));
    }
    keyEvents.onKeyUse(knownKey('late'));
    keyEvents.onKeyUse(knownKey('early-48'));
    keyEvents.onKeyUse(knownKey('master'));
    const at = await series();
    const named = (client: string) =>
      own(at, `key_requests_total{client="${client}",state="active"}`);
    expect([named('early-48'), named('master'), named('other')]).toEqual([1, 1, 1]);
    expect([...at.keys()].filter((key) => key.includes('late'))).toEqual([]);
  });
});

const gaugesOf = (client: string, changes = {}) => ({
  client,
  generation: `${client}-3`,
  createdAt: 1_700_000_000_500,
  lastUsedAt: undefined,
  deadline: undefined,
  clientEndsAt: undefined,
  ...changes,
});

describe('the dates of keys', () => {
  it('are read at each scrape, in seconds, where there are any', async () => {
    const keys = [
      gaugesOf('ci', { lastUsedAt: 1_700_000_100_000, clientEndsAt: 1_700_000_300_000 }),
      gaugesOf('ci', { generation: 'ci-2', deadline: 1_700_000_200_000 }),
      gaugesOf('ci', { generation: 'ci-1' }),
    ];
    const { series } = startMetrics({ keys: () => keys });
    const labels = (number: number) => `{client="ci",generation="ci-${number}"}`;
    const first = await series();
    const dates = (name: string, at = first) =>
      [3, 2, 1].map((number) => own(at, `key_${name}_timestamp_seconds${labels(number)}`));
    expect(dates('created')).toEqual([1_700_000_000.5, 1_700_000_000.5, undefined]);
    expect(dates('last_used')).toEqual([1_700_000_100, undefined, undefined]);
    expect(dates('deadline')).toEqual([undefined, 1_700_000_200, undefined]);
    expect(own(first, 'client_expires_timestamp_seconds{client="ci"}')).toBe(1_700_000_300);
    keys.pop();
    keys.shift();
    expect(dates('created', await series())).toEqual([undefined, 1_700_000_000.5, undefined]);
  });

  const generation = (number: number, changes: Partial<Generation>): Generation => ({
    number,
    digest: digestOf(`${number}`),
    state: 'active',
    origin: 'made',
    createdAt: number * 1000,
    publishedAt: undefined,
    afterCompromise: false,
    retirement: undefined,
    ...changes,
  });
  const keyringOf = (removed: boolean): Keyring => ({
    ...EMPTY_KEYRING,
    clients: new Map([
      [
        'ci',
        {
          ...{
            name: 'ci',
            scopes: ['full'],
            allowFrom: [],
            namesEndUsers: false,
            limits: undefined,
            models: [],
            inFile: false,
            createdAt: 0,
            expiresAt: undefined,
          },
          ...{
            disabled: false,
            disabledByHand: false,
            removed,
            staged: undefined,
            idempotency: undefined,
          },
          lastNumber: 3,
          generations: [
            generation(2, {
              state: 'retiring',
              retirement: { rotatedAt: 0, graceMs: 0, latestEnd: 9000, deadline: undefined },
            }),
            generation(3, {}),
          ],
        },
      ],
    ]),
    tombstones: new Map([
      ['one', tombstoneOf('ci', 1, { createdAt: 1000 })],
      ['other', tombstoneOf('ops', 1)],
    ]),
  });

  it('come from the newest two generations of each client that is there', () => {
    const lastUsedAt = (id: string) => (id === 'ci-2' ? 2500 : undefined);
    expect([...keyGauges(keyringOf(false), lastUsedAt)]).toEqual([
      { ...gaugesOf('ci'), createdAt: 3000 },
      {
        ...gaugesOf('ci', { generation: 'ci-2' }),
        ...{ createdAt: 2000, lastUsedAt: 2500, deadline: 9000 },
      },
    ]);
    expect([...keyGauges(keyringOf(true), lastUsedAt)]).toEqual([]);
  });

  it('of what ended are no deadline', () => {
    const { clients, ...rest } = keyringOf(false);
    const [client] = clients.values();
    if (client === undefined) throw new Error('it was just made');
    const ended = { ...client, generations: [] };
    const gauges = [...keyGauges({ ...rest, clients: new Map([['ci', ended]]) }, () => 1)];
    expect(gauges).toMatchObject([
      { generation: 'ci-1', createdAt: 1000, deadline: undefined, clientEndsAt: undefined },
    ]);
  });
});

describe('changes of keys', () => {
  it('stand at 0 from the start, by where they came from and how they went', async () => {
    const { keyEvents, series } = startMetrics();
    const all = [...(await series())].filter(([key]) => key.includes('rotations_total'));
    expect(all).toHaveLength(30);
    expect(all.every(([, value]) => value === 0)).toBe(true);
    keyEvents.onRotation('declared', 'refused');
    const at = await series();
    const rotations = (trigger: string, outcome: string) =>
      own(at, `rotations_total{kind="client",trigger="${trigger}",outcome="${outcome}"}`);
    expect(rotations('declared', 'refused')).toBe(1);
    expect(rotations('declared', 'done')).toBe(0);
    expect(rotations('cli', 'refused')).toBe(0);
  });

  it('tell where a key could not be published, and how many targets wait', async () => {
    let pending = 2;
    const { keyEvents, series } = startMetrics({ publishPending: () => pending });
    const target = { client: 'ci', kind: 'dotenv', path: '/srv/.env', variable: 'KEY' } as const;
    keyEvents.onPublishFailure(target, new Error('no room'));
    keyEvents.onPublishFailure('state', new Error('no room'));
    const at = await series();
    const failures = ['file', 'dotenv', 'state'].map((kind) =>
      own(at, `publish_failures_total{kind="${kind}"}`),
    );
    expect(failures).toEqual([0, 1, 1]);
    expect(own(at, 'publish_pending')).toBe(2);
    pending = 0;
    expect(own(await series(), 'publish_pending')).toBe(0);
  });

  it('tell whether they can be saved', async () => {
    const { keyEvents, series } = startMetrics();
    expect(own(await series(), 'store_up')).toBe(1);
    keyEvents.onStore(new StoreError('the disk is full', { hint: 'make room' }));
    expect(own(await series(), 'store_up')).toBe(0);
    keyEvents.onStore(undefined);
    expect(own(await series(), 'store_up')).toBe(1);
  });

  it('put no key, no digest of one and no path into the text', async () => {
    const key = generateKey();
    const target = { client: 'ci', kind: 'file', path: `/run/${key}`, variable: key } as const;
    const { events, keyEvents, render } = startMetrics({ keys: () => [gaugesOf('ci')] });
    const known = { ...knownKey('ci'), digest: digestOf(key), key };
    keyEvents.onKeyUse(known);
    keyEvents.onPublishFailure(target, new Error(key));
    keyEvents.onStore(new StoreError(key, { hint: key }));
    events.onExchangeEnd(exchange({ userAgent: key, model: key, template: key, group: key }));
    const text = await render();
    expect(text).toContain('client="ci"');
    expect(text).not.toContain(key);
    expect(text).not.toContain(digestOf(key));
    expect(text).not.toMatch(/sk-|"[\w+/=-]{43,}"/);
  });
});
