import { STATUS_CODES } from 'node:http';
import * as z from 'zod';
import { ANSWERS, NAMED } from './answers.ts';
import { type AdminRoute, ENDPOINTS, type Endpoint } from './endpoints.ts';
import { FIELDS } from './fields.ts';

type Document = Readonly<Record<string, unknown>>;
type Schemas = Readonly<Record<string, Document>>;

/**
 * The admin API as an OpenAPI 3.1 document, made of the table of its endpoints, of what their
 * requests may hold and of what they answer. Only who asks for it has this and the schemas of
 * answers in memory.
 */
export function describeApi(): Document {
  const schemas = allSchemas();
  const paths: Record<string, Record<string, Document>> = {};
  for (const route of Object.keys(ENDPOINTS) as AdminRoute[]) {
    const [method = '', path = ''] = route.split(' ');
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(route, path, schemas) };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'litellm-sidecar admin API',
      version: '1',
      description:
        'Clients, keys, LiteLLM, usage and the audit, as the command line and the console ask. ' +
        'Instants are ISO 8601 in UTC, spans in answers milliseconds, and in requests text ' +
        'with a unit: 24h. null is "none". HEAD is answered wherever GET is.',
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'SIDECAR_ADMIN_TOKEN' },
      },
      schemas: Object.fromEntries(Object.entries(schemas).filter(([name]) => name in NAMED)),
    },
  };
}

function operationOf(route: AdminRoute, path: string, schemas: Schemas): Document {
  const row: Endpoint = ENDPOINTS[route];
  const parameters = [...pathParameters(path), ...queryParameters(row), ...idempotency(row)];
  const status = row.status ?? 200;
  const type = row.stream ? 'text/event-stream' : 'application/json';
  const schema = schemas[route] ?? { $ref: refTo(nameOf(ANSWERS[route])) };
  return {
    summary: row.about,
    // Such as `get_api_clients_name`.
    operationId: route.toLowerCase().replace(/\W+/g, '_').replace(/_$/, ''),
    ...(parameters.length > 0 && { parameters }),
    ...(row.body !== undefined && {
      requestBody: { content: { 'application/json': { schema: inputOf(FIELDS[row.body]) } } },
    }),
    responses: {
      [status]: {
        description: row.stream ? 'server-sent events; each has such data' : STATUS_CODES[status],
        content: { [type]: { schema } },
      },
      default: {
        description: 'a problem (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: refTo('Problem') } } },
      },
    },
  };
}

const pathParameters = (path: string): readonly Document[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    ...{ name, in: 'path', required: true, schema: { type: 'string' } },
  }));

function queryParameters({ query }: Endpoint): readonly Document[] {
  const { properties = {} } = query === undefined ? {} : inputOf(FIELDS[query]);
  return Object.entries(properties as object).map(([name, schema]) => ({
    ...{ name, in: 'query', schema },
  }));
}

const idempotency = ({ idempotencyKey }: Endpoint): readonly Document[] =>
  idempotencyKey
    ? [{ name: 'Idempotency-Key', in: 'header', schema: { type: 'string', maxLength: 255 } }]
    : [];

const refTo = (name: string): string => `#/components/schemas/${name}`;

/** What a request may hold, as a client writes it. */
function inputOf(schema: z.ZodType): Document & { readonly properties?: unknown } {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest;
}

/** Answers may get fields that an older document lacks, so that theirs are open. */
const FOR_ANSWERS = {
  override: ({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void => {
    if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    delete jsonSchema.propertyNames;
  },
} as const;

/** The schema of each answer and of each part of it that has a name. */
function allSchemas(): Schemas {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries<z.ZodType>(NAMED)) registry.add(schema, { id });
  const unnamed = Object.entries<z.ZodType>(ANSWERS).filter(([, each]) => !registry.has(each));
  for (const [route, schema] of unnamed) registry.add(schema, { id: route });
  const { schemas } = z.toJSONSchema(registry, { ...FOR_ANSWERS, uri: refTo });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _, $id: __, ...rest }]) => [name, rest]),
  );
}

const nameOf = (schema: z.ZodType): string =>
  Object.entries<z.ZodType>(NAMED).find(([, each]) => each === schema)?.[0] ?? '';
