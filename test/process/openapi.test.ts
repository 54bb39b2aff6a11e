import { expect, it } from 'vitest';
import * as z from 'zod';
import type { LiveEvent } from '../../src/servers/admin/live.ts';
import { post } from '../support/ask.ts';
import { openStage } from '../support/handover-attempt.ts';
import { configOf, type HandoverStage } from '../support/handover-stage.ts';
import { eventsFrom } from '../support/live-events.ts';

const TOKEN = 'a-token-of-these-tests-0123456789';

type Json = Readonly<Record<string, unknown>>;
interface Operation {
  readonly requestBody?: { readonly content: Json };
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly content: Record<string, Schema> }>>;
}
interface Schema {
  readonly schema: Json;
}
interface Description {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Json };
}

/** A schema as it stands there, and closed: an answer with a field that it does not name fails. */
function readerOf({ components }: Description, schema: Json): z.ZodType {
  const closed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(closed);
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([name, each]) =>
      name === '$ref'
        ? [name, each.replace('#/components/schemas/', '#/$defs/')]
        : [name, closed(each)],
    );
    const isOpen = 'properties' in value && !('additionalProperties' in value);
    return { ...Object.fromEntries(entries), ...(isOpen && { additionalProperties: false }) };
  };
  return z.fromJSONSchema({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...(closed(schema) as Json),
    $defs: closed(components.schemas) as Record<string, z.core.JSONSchema.JSONSchema>,
  });
}

/** Asks the ops port, and holds each answer against what the description says of it. */
async function createAsker({ opsPort }: HandoverStage) {
  const headers = { authorization: `Bearer ${TOKEN}` };
  const origin = `http://127.0.0.1:${opsPort}`;
  const answer = await fetch(`${origin}/api/openapi.json`, { headers });
  const description = (await answer.json()) as Description;
  const asked = new Set<string>();

  const check = (route: string, status: number, type: string, document: unknown): void => {
    const [method = '', path = ''] = route.split(' ');
    const operation = description.paths[path]?.[method.toLowerCase()];
    const { content } = operation?.responses[status] ?? operation?.responses['default'] ?? {};
    const schema = content?.[type]?.schema;
    expect([route, status, type, schema]).toEqual([route, status, type, expect.anything()]);
    const result = readerOf(description, schema ?? {}).safeParse(document);
    expect([route, result.error?.issues ?? []]).toEqual([route, []]);
    asked.add(route);
  };
  return {
    description,
    asked,
    /** @param target what stands for `{name}` or `{id}` */
    async ask(
      route: string,
      { target = '', query = '', body = undefined as object | undefined } = {},
    ) {
      const [method = '', path = ''] = route.split(' ');
      const sent = await fetch(`${origin}${path.replace(/\{\w+\}/, target)}${query}`, {
        method,
        headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
      const document = (await sent.json()) as Json;
      check(route, sent.status, sent.headers.get('content-type') ?? '', document);
      return { status: sent.status, document };
    },
    /** The first events of the live figures. */
    async look(events: number): Promise<readonly LiveEvent[]> {
      const seen: LiveEvent[] = [];
      for await (const event of eventsFrom(await fetch(`${origin}/api/live`, { headers }))) {
        if (seen.push(event) >= events) break;
      }
      for (const each of seen) check('GET /api/live', 200, 'text/event-stream', each);
      return seen;
    },
  };
}

it('every endpoint answers as openapi.json says', async ({ onTestFinished }) => {
  const settings = { SIDECAR_ADMIN_TOKEN: TOKEN, SIDECAR_LITELLM_SALT_KEY: '' };
  const stage = await openStage(onTestFinished, { settings });
  await stage.rests();
  const { description, asked, ask, look } = await createAsker(stage);
  expect(description.openapi).toBe('3.1.1');
  const done = async (...args: Parameters<typeof ask>): Promise<Json> => {
    const { status, document } = await ask(...args);
    expect([args, status < 300]).toEqual([args, true]);
    return document;
  };

  await post(stage, '{"model":"first","messages":[]}');
  await post({ ...stage, port: stage.port, key: 'no-key-of-ours' }, '{}');
  const limits = { rpm: 1000, usdPerDay: '2.5' };
  const ci = {
    name: 'ci',
    scopes: ['inference'],
    expires: '90d',
    allowFrom: ['10.0.0.0/8'],
    limits,
  };
  const made = await done('POST /api/clients', { body: ci });
  expect(made).toMatchObject({ client: 'ci' });
  await post({ port: stage.port, key: String(made['key']) }, '{}');
  await done('PATCH /api/clients/{name}', {
    target: 'ci',
    body: { allowFrom: null, models: ['*'] },
  });
  await post({ port: stage.port, key: String(made['key']) }, '{"model":"first","messages":[]}');
  await done('GET /api/clients');
  await done('GET /api/clients-file');
  await done('GET /api/clients/{name}', { target: 'ci' });
  const refusedRevoke = await ask('POST /api/generations/{id}/revoke', {
    target: 'ci-1',
    body: {},
  });
  expect([refusedRevoke.status, refusedRevoke.document['code']]).toEqual([409, 'in_use']);
  await done('POST /api/clients/{name}/rotate', { target: 'ci', body: { grace: '1h' } });
  await done('GET /api/generations/{id}/who', { target: 'ci-1' });
  await done('POST /api/clients/{name}/rollback', { target: 'ci', body: {} });
  await done('POST /api/clients/{name}/rotate', { target: 'ci', body: { compromised: true } });
  // The first key is a tombstone now, and comes back.
  await post({ port: stage.port, key: String(made['key']) }, '{}');
  const { tombstones } = await done('GET /api/tombstones');
  expect(tombstones).toMatchObject([{ generation: { id: 'ci-1' }, callers: [{ count: 3 }] }]);
  const { refusals } = await done('GET /api/refusals');
  expect(refusals).toMatchObject([
    { reason: 'revoked_key', client: 'ci', generation: 'ci-1' },
    { reason: 'address_denied', client: 'ci' },
    { reason: 'malformed_key', client: null, address: '127.0.0.1' },
  ]);
  await done('POST /api/clients/{name}/disable', { target: 'ci', body: {} });
  await done('POST /api/clients/{name}/enable', { target: 'ci', body: {} });
  await done('POST /api/generations/{id}/revoke', { target: 'ci-3', body: { force: true } });
  await done('DELETE /api/clients/{name}', { target: 'ci', query: '?force=true' });
  await ask('GET /api/clients/{name}', { target: 'nobody' });

  await done('GET /api/upstream');
  const begun = await done('POST /api/upstream/reload', { body: { dryRun: true } });
  await ask('POST /api/upstream/rotate');
  const [first, second] = await look(2);
  expect(first).toMatchObject({ history: expect.any(Array), upstream: { mode: 'slots' } });
  expect(second).not.toHaveProperty('history');
  const id = String(begun['id']);
  await stage.ended(id);
  await done('GET /api/upstream/handovers/{id}', { target: id });
  await stage.configure(configOf('second', 'dies'));
  await stage.handOver('reload', { dryRun: true });
  await done('GET /api/upstream/handovers');
  await ask('POST /api/upstream/salt-key');

  await done('GET /api/status');
  await done('GET /api/config');
  await done('GET /api/audit', { query: '?after=0&limit=1000' });
  await done('GET /api/audit/verify');
  await done('POST /api/usage/save');
  for (const by of ['client', 'model', 'key', 'hour', 'day']) {
    await done('GET /api/usage', { query: `?by=${by}&since=24h` });
  }
  await done('GET /api/openapi.json');

  const described = Object.entries(description.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect([...asked].sort()).toEqual(described.sort());
});
