import * as z from 'zod';
import {
  HANDOVER_ENDS,
  HANDOVER_FAULTS,
  HANDOVER_KINDS,
  HANDOVER_STEPS,
} from '../../handover/views.ts';
import { LIMIT_MODES } from '../../keyring/client-limits.ts';
import { SCOPES } from '../../keyring/keyring.ts';
import { USAGE_GROUPS } from '../../store/usage-database.ts';
import type { AdminRoute, AnswerOf } from './endpoints.ts';
import { PROBLEM_CODES, type Problem } from './http.ts';

// What the views of the admin API look like, for its description: nobody is checked by this while
// the sidecar runs. The compiler compares each schema with the type of what is answered.

const text = z.string();
const instant = text.meta({ format: 'date-time', description: 'ISO 8601 in UTC' });
const spanMs = z.number().meta({ description: 'milliseconds' });
const whole = z.int().min(0);
const dollars = z.number().min(0).meta({ description: 'US dollars' });
const texts = z.array(text);

const generation = z.object({
  id: text.meta({ description: '<client>-<n>' }),
  client: text,
  state: z.enum(['active', 'retiring', 'retired', 'revoked']),
  origin: z.enum(['made', 'declared']),
  createdAt: instant,
  publishedAt: instant.nullable(),
  graceMs: spanMs.nullable(),
  validUntil: instant.nullable(),
  clockStarted: z.boolean(),
  firstUsedAt: instant.nullable(),
  lastUsedAt: instant.nullable(),
  uses: whole,
  recentCallers: whole,
  inFlight: whole,
});
const target = z.object({
  target: text,
  state: z.enum(['published', 'pending']),
  error: text.nullable(),
  nextTryAt: instant.nullable(),
});

const clientState = z.enum(['enabled', 'disabled', 'expired']);
const client = z.object({
  name: text,
  scopes: z.array(z.enum(SCOPES)),
  allowFrom: texts.meta({ description: 'CIDR blocks; empty: anywhere' }),
  namesEndUsers: z.boolean(),
  limits: z
    .object({
      ...{ rpm: whole.nullable(), parallel: whole.nullable(), tokensPerDay: whole.nullable() },
      usdPerDay: dollars.nullable(),
      mode: z.enum(LIMIT_MODES),
    })
    .nullable(),
  use: z
    .object({
      ...{ requestsLastMinute: whole, inFlight: whole, tokensToday: whole, usdToday: dollars },
      ...{ reservedTokens: z.number().min(0), reservedUsd: dollars },
    })
    .nullable(),
  models: texts,
  unlistedModels: texts.meta({ description: 'of `models`, those that match nothing listed' }),
  inFile: z.boolean(),
  createdAt: instant,
  expiresAt: instant.nullable(),
  state: clientState,
  generations: z.array(generation),
  tombstones: whole,
  publish: z.array(target),
  nextRotationAt: instant.nullable(),
});
const clientsFile = z.object({
  clients: z.array(
    client
      .pick({
        ...{ name: true, scopes: true, allowFrom: true, expiresAt: true, namesEndUsers: true },
        ...{ limits: true, models: true, inFile: true },
      })
      .extend({
        keys: z.array(z.object({ id: text, digest: text, validUntil: instant.nullable() })),
      }),
  ),
  leftOut: texts,
});
const warning = z.object({ code: text, message: text, hint: text });
const status = z.object({
  now: instant,
  version: text,
  startedAt: instant,
  clients: z.array(client),
  store: z.object({ kept: z.boolean(), up: z.boolean(), error: text.nullable() }),
  rotateEveryMs: spanMs.nullable(),
  warnings: z.array(warning),
  next: texts,
});
const who = z.object({
  generation,
  client: z.object({ state: clientState, expiresAt: instant.nullable() }).nullable(),
  callers: z.array(
    z.object({
      address: text,
      userAgent: text,
      firstSeenAt: instant,
      lastSeenAt: instant,
      count: whole,
    }),
  ),
});
const rotated = z.object({
  client: text,
  generation,
  previous: z.array(generation),
  publish: z.array(target),
  key: text.nullable().meta({ description: 'the new key, which is nowhere else' }),
  replayed: z.boolean(),
  clientState,
  cut: whole,
});
const changed = z.object({ client, cut: whole, notes: texts });

const handover = z.object({
  id: text,
  kind: z.enum(HANDOVER_KINDS),
  by: text,
  state: z.enum([...HANDOVER_STEPS, ...HANDOVER_ENDS]),
  from: z.enum(['a', 'b']),
  to: z.enum(['a', 'b']),
  startedAt: instant,
  stateSince: instant,
  endedAt: instant.nullable(),
  switchedAt: instant.nullable(),
  waitsFor: text.nullable(),
  fault: z
    .object({ code: z.enum(HANDOVER_FAULTS), message: text, hint: text, lastWords: texts })
    .nullable(),
  models: z.object({ listed: whole, added: texts, vanished: texts }).nullable(),
  cut: whole,
});
const slot = z.object({
  name: z.enum(['a', 'b']),
  url: text,
  state: z.enum(['active', 'candidate', 'draining', 'empty']),
  up: z.boolean(),
  downSince: instant.nullable().exactOptional(),
  requests: whole,
  websockets: whole,
  mcpSessions: whole,
});
const upstream = z.object({
  now: instant,
  mode: z.enum(['slots', 'one-slot', 'unmanaged']),
  slots: z.array(slot),
  handover: handover.nullable(),
  waiting: handover.nullable(),
  last: handover.nullable(),
  verified: z.boolean(),
  keyMadeAt: instant.nullable(),
  rotateEveryMs: spanMs.nullable(),
  nextRotationAt: instant.nullable(),
  config: z.enum(['current', 'changed', 'refused', 'none']),
  autoReload: z.boolean(),
  configWaitsUntil: instant.nullable(),
  database: z.boolean().nullable(),
  saltKeySet: z.boolean(),
  keyChange: z
    .object({
      since: instant,
      newAcceptedAt: instant.nullable(),
      oldAcceptedAt: instant.nullable(),
    })
    .nullable(),
  warnings: z.array(warning),
  next: texts,
});

const line = z.object({
  seq: whole,
  at: instant,
  by: text,
  action: text,
  client: text.optional(),
  from: text.optional(),
  to: text.optional(),
  detail: z.record(text, z.union([text, z.number(), z.boolean()])).optional(),
  prev: text.meta({ description: 'SHA-256 of the line before, base64url' }),
});
const verdict = z.union([
  z.object({ ok: z.literal(true), count: whole }),
  z.object({ ok: z.literal(false), line: whole, message: text }),
]);

const settingValue = { value: text.nullable(), set: z.boolean(), origin: text };
const config = z.object({
  settings: z.array(
    z.object({
      ...{ name: text, secret: z.boolean(), ...settingValue },
      restart: z.object(settingValue).nullable(),
    }),
  ),
  envFile: text,
  mistakes: text.nullable(),
});

const sums = {
  ...{ requests: whole, refusals: whole, errors: whole },
  ...{ metered: whole, unmetered: whole, unpriced: whole },
  tokens: z.object({
    ...{ input: whole, output: whole, cached: whole, cacheWrite: whole, reasoning: whole },
  }),
  costUsd: dollars,
};
const usageStore = z.object({
  up: z.boolean(),
  error: text.nullable(),
  lastWrittenAt: instant.nullable(),
  pendingRows: whole,
});
const usage = z.object({
  by: z.enum(USAGE_GROUPS),
  client: text.nullable(),
  model: text.nullable(),
  since: instant,
  until: instant,
  rows: z.array(
    z.object({
      ...{ name: text.nullable(), active: z.boolean().nullable() },
      budgetUsed: z.number().min(0).nullable(),
      ...sums,
    }),
  ),
  total: z.object(sums),
  store: usageStore,
});

const counts = {
  ...{ requests: whole, refusals: whole, errors: whole },
  ...{ tokensIn: whole, tokensOut: whole, costUsd: dollars },
};
const firstChunks = z
  .object({ p50: spanMs, p95: spanMs, count: whole, upTo: z.record(text, whole) })
  .nullable();
const bin = z.object({
  ...{ at: instant, ms: spanMs, ...counts, firstChunkMs: firstChunks },
  refusalsByReason: z.record(text, whole),
  errorsByReason: z.record(text, whole),
  byClient: z.record(text, z.object(counts)),
  byModel: z.record(text, z.object({ ...counts, firstChunkMs: firstChunks })),
});
const live = z.object({
  at: instant,
  history: z.array(bin).exactOptional(),
  second: bin,
  now: z.object({ inFlight: whole, streams: whole, websockets: whole, held: whole }),
  readiness: z.object({ ready: z.boolean(), waitingFor: texts }),
  upstream: upstream.pick({
    ...{ mode: true, slots: true, handover: true, waiting: true, verified: true, config: true },
  }),
  changes: whole,
});
const refused = z.object({
  ...{ at: instant, requestId: text, reason: text, status: whole },
  ...{ client: text.nullable(), generation: text.nullable() },
  ...{ method: text, route: text, address: text, userAgent: text },
});

/** RFC 9457, with `code` for programs and `hints` for people. */
const problem = z.object({
  ...{ type: text, title: text, status: whole, detail: text },
  code: z.enum(PROBLEM_CODES),
  hints: texts,
  who: who.exactOptional(),
  handover: handover.exactOptional(),
  mistakes: texts.exactOptional(),
}) satisfies z.ZodType<Omit<Problem, 'headers' | 'hints'>>;

type Frozen<T> = T extends readonly (infer Each)[]
  ? readonly Frozen<Each>[]
  : T extends object
    ? { readonly [Name in keyof T]: Frozen<T[Name]> }
    : T;

/** What each route answers. */
export const ANSWERS = {
  'GET /api/status': status,
  'GET /api/config': config,
  'GET /api/clients': z.object({ clients: z.array(client) }),
  'GET /api/clients-file': clientsFile,
  'POST /api/clients': rotated,
  'GET /api/clients/{name}': client,
  'PATCH /api/clients/{name}': changed,
  'DELETE /api/clients/{name}': changed,
  'POST /api/clients/{name}/rotate': rotated,
  'POST /api/clients/{name}/rollback': changed,
  'POST /api/clients/{name}/disable': changed,
  'POST /api/clients/{name}/enable': changed,
  'POST /api/generations/{id}/revoke': changed,
  'GET /api/generations/{id}/who': who,
  'GET /api/upstream': upstream,
  'POST /api/upstream/rotate': handover,
  'POST /api/upstream/reload': handover,
  'GET /api/upstream/handovers': z.object({ handovers: z.array(handover) }),
  'GET /api/upstream/handovers/{id}': handover,
  'POST /api/upstream/salt-key': z.object({ saltKey: text }),
  'GET /api/audit': z.object({ lines: z.array(line), count: whole }),
  'GET /api/usage': usage,
  'POST /api/usage/save': usageStore,
  'GET /api/audit/verify': verdict,
  'GET /api/live': live,
  'GET /api/refusals': z.object({ refusals: z.array(refused) }),
  'GET /api/tombstones': z.object({ tombstones: z.array(who) }),
  'GET /api/openapi.json': z.record(text, z.unknown()),
} as const satisfies { readonly [R in AdminRoute]: z.ZodType<AnswerOf<R>> };

type Nothing<T extends never> = T;
/** The routes that may answer what their schema does not allow: with one this does not compile. */
export type NarrowAnswers = Nothing<
  {
    [R in AdminRoute]: AnswerOf<R> extends Frozen<z.output<(typeof ANSWERS)[R]>> ? never : R;
  }[AdminRoute]
>;

/** What has a name of its own in the description, where it stands several times. */
export const NAMED = {
  ...{ Generation: generation, Client: client, Target: target, Who: who, Warning: warning },
  ...{ Rotated: rotated, Changed: changed, Handover: handover, LiveBin: bin, Problem: problem },
  UsageStore: usageStore,
} as const satisfies Readonly<Record<string, z.ZodType>>;
