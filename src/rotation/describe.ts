import { MASTER } from '../client-name.ts';
import { isoOrNull } from '../config/units.ts';
import {
  LIMITED,
  type LimitUse,
  limitShares,
  NEARLY_USED,
  percentOf,
} from '../keyring/client-limits.ts';
import { showDigest } from '../keyring/key.ts';
import {
  type Client,
  endOf,
  type Generation,
  type GenerationUse,
  idOf,
  type Keyring,
  type Tombstone,
} from '../keyring/keyring.ts';
import type { KeyStore, StoreError } from '../store/key-store.ts';
import type {
  ClientsFileView,
  ClientView,
  GenerationView,
  LimitsView,
  StatusView,
  TargetView,
  WarningView,
  WhoView,
} from './admin.ts';
import { nextRotationAt, type Schedule } from './schedule.ts';
import type { ClockJump, SteadyClock } from './steady-clock.ts';

/** What views are made from, beside the keyring. */
export interface ViewSources {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** By generation id; the most recent callers come first. */
  readonly use: (id: string) => GenerationUse | undefined;
  /** Requests and WebSockets under way with a generation. */
  readonly inFlight: (id: string) => number;
  readonly targets: (client: string) => readonly TargetView[];
  readonly limitUse: (client: string) => LimitUse;
  /** Which of these models match nothing that LiteLLM lists. */
  readonly unlisted: (models: readonly string[]) => readonly string[];
  readonly schedule: Schedule;
}

/** A key counts as in use for so many milliseconds after a caller presented it. */
const IN_USE_MS = 3_600_000;
/** How many ended generations a client's view shows. */
const ENDED_SHOWN = 3;

export function generationView(
  client: string,
  generation: Generation | Tombstone,
  sources: ViewSources,
): GenerationView {
  const id = idOf(client, generation.number);
  const { state, origin } = generation;
  const isEnded = 'endedAt' in generation;
  const retirement = isEnded ? undefined : generation.retirement;
  const use = sources.use(id);
  const recent = sources.now() - IN_USE_MS;
  return {
    id,
    client,
    state,
    origin,
    createdAt: new Date(generation.createdAt).toISOString(),
    publishedAt: isoOrNull(generation.publishedAt),
    graceMs: retirement?.graceMs ?? null,
    validUntil: isoOrNull(endOf(generation)),
    clockStarted: isEnded ? generation.clockStarted : retirement?.deadline !== undefined,
    firstUsedAt: isoOrNull(firstOf(use)),
    lastUsedAt: isoOrNull(use?.lastAt),
    uses: use?.count ?? 0,
    recentCallers: use?.callers.filter(({ lastAt }) => lastAt > recent).length ?? 0,
    inFlight: sources.inFlight(id),
  };
}

/** Undefined: it was never used, or nobody knows by whom. */
const firstOf = (use: GenerationUse | undefined): number | undefined =>
  use?.callers.map(({ firstAt }) => firstAt).sort((one, other) => one - other)[0];

/** @param ended the client's tombstones, the newest first */
export function clientView(
  client: Client,
  ended: readonly Tombstone[],
  sources: ViewSources,
): ClientView {
  const shown = [...client.generations, ...ended.slice(0, ENDED_SHOWN)];
  return {
    name: client.name,
    scopes: client.scopes,
    allowFrom: client.allowFrom,
    namesEndUsers: client.namesEndUsers,
    ...limitsOf(client, sources),
    ...{ models: client.models, unlistedModels: sources.unlisted(client.models) },
    inFile: client.inFile,
    createdAt: new Date(client.createdAt).toISOString(),
    ...endOfClient(client, sources.now()),
    generations: shown
      .sort((one, other) => other.number - one.number)
      .map((generation) => generationView(client.name, generation, sources)),
    tombstones: ended.length,
    publish: sources.targets(client.name),
    nextRotationAt: isoOrNull(nextRotationAt(client, sources.schedule)),
  };
}

function limitsOf({ name, limits }: Client, { limitUse }: ViewSources) {
  return { limits: limitsView(limits), use: limits === undefined ? null : limitUse(name) };
}

function limitsView(limits: Client['limits']): LimitsView | null {
  if (limits === undefined) return null;
  const { rpm = null, parallel = null, tokensPerDay = null, usdPerDay = null, mode } = limits;
  return { rpm, parallel, tokensPerDay, usdPerDay, mode };
}

function endOfClient({ disabled, expiresAt }: Client, now: number) {
  const isExpired = expiresAt !== undefined && expiresAt <= now;
  const state = disabled ? 'disabled' : isExpired ? 'expired' : 'enabled';
  return { state, expiresAt: isoOrNull(expiresAt) } satisfies WhoView['client'];
}

export function whoView(
  { clients }: Keyring,
  name: string,
  generation: Generation | Tombstone,
  sources: ViewSources,
): WhoView {
  const client = clients.get(name);
  const callers = sources.use(idOf(name, generation.number))?.callers ?? [];
  return {
    generation: generationView(name, generation, sources),
    client: client === undefined ? null : endOfClient(client, sources.now()),
    callers: callers.map(({ address, userAgent, firstAt, lastAt, count }) => ({
      address,
      userAgent,
      firstSeenAt: new Date(firstAt).toISOString(),
      lastSeenAt: new Date(lastAt).toISOString(),
      count,
    })),
  };
}

/**
 * The tombstones that came back, the latest first, each with those callers that presented it after
 * its end. What a caller's `count` says may have begun before.
 */
export function comebacksOf(keyring: Keyring, sources: ViewSources): readonly WhoView[] {
  const since = ({ client, number, endedAt }: Tombstone): number =>
    Math.max(0, (sources.use(idOf(client, number))?.lastAt ?? 0) - endedAt);
  return [...keyring.tombstones.values()]
    .filter((each) => since(each) > 0)
    .map((each) => {
      const view = whoView(keyring, each.client, each, sources);
      const ended = new Date(each.endedAt).toISOString();
      return { ...view, callers: view.callers.filter(({ lastSeenAt }) => lastSeenAt > ended) };
    })
    .sort((one, other) => lastUse(other).localeCompare(lastUse(one)));
}

const lastUse = ({ generation }: WhoView): string => generation.lastUsedAt ?? '';

/** What the status is made from, beside the clients. */
export interface StatusFacts {
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly clock: SteadyClock;
  readonly storeError: () => StoreError | undefined;
  /** Its warnings are what it found, and could not mend so far. */
  readonly store: Pick<KeyStore, 'warnings'>;
  /** Whether anything outlives the process. */
  readonly kept: boolean;
  /** Milliseconds; 0: no schedule. */
  readonly rotateEveryMs: number;
  /** What else an operator should look at. */
  readonly warnings: () => readonly WarningView[];
}

/** One screen: what there is, what is wrong, and what to do next. */
export function statusView(clients: readonly ClientView[], facts: StatusFacts): StatusView {
  const { clock, rotateEveryMs } = facts;
  const failed = facts.storeError();
  return {
    now: new Date(clock.now()).toISOString(),
    version: facts.version,
    startedAt: new Date(facts.startedAt).toISOString(),
    clients,
    store: { kept: facts.kept, up: failed === undefined, error: failed?.message ?? null },
    rotateEveryMs: rotateEveryMs === 0 ? null : rotateEveryMs,
    warnings: [
      ...storeDown(failed),
      ...facts.store.warnings.map(storeWarning),
      ...clockWarnings(clock),
      ...clients.flatMap(limitWarnings),
      ...unlistedWarnings(clients),
      ...facts.warnings(),
    ],
    next: nextSteps(clients),
  };
}

/** What an operator should do next, from what the clients look like. */
function nextSteps(clients: readonly ClientView[]): readonly string[] {
  return clients.flatMap(({ name, state, generations, publish }) => {
    const steps: string[] = [];
    const pending = publish.filter((target) => target.state === 'pending');
    for (const { target } of pending) {
      steps.push(`make ${target} writable: it lacks the newest key of ${name}`);
    }
    const keyless = !generations.some((generation) => generation.state === 'active');
    if (state === 'disabled' && keyless) steps.push(`sidecar rotate ${name}: it has no active key`);
    for (const { id, state: keyState, recentCallers } of generations) {
      if (keyState !== 'retiring' || recentCallers === 0) continue;
      steps.push(
        `sidecar who ${id}: it retires, and ${callerCount(recentCallers)} used it this hour`,
      );
    }
    return steps;
  });
}

const LIMIT_WORDS = {
  rpm: 'requests of the last minute',
  parallel: 'requests in flight',
  tokensPerDay: 'tokens of today',
  usdPerDay: 'dollars of today',
} as const;

function limitWarnings({ name, limits, use, inFile }: ClientView): readonly WarningView[] {
  if (limits === null || use === null) return [];
  const shares = limitShares(limits, use);
  const near = LIMITED.flatMap((limit) => {
    const share = shares[limit] ?? 0;
    return share < NEARLY_USED ? [] : [`${percentOf(share)} % of its ${LIMIT_WORDS[limit]}`];
  });
  if (near.length === 0) return [];
  const raise = inFile ? 'the clients file raises them' : `sidecar clients set ${name} raises them`;
  return [
    {
      code: 'limit_nearly_used',
      message: `${name} has used ${near.join(' and ')}`,
      hint: `sidecar clients show ${name} tells of its limits, and ${raise}`,
    },
  ];
}

/** One for all clients: where LiteLLM lists less than before there may be a hundred of them. */
function unlistedWarnings(clients: readonly ClientView[]): readonly WarningView[] {
  const found = clients.filter(({ unlistedModels }) => unlistedModels.length > 0);
  const words = found
    .slice(0, MOST_NAMED)
    .map(({ name, unlistedModels }) => `${name} ${unlistedModels.slice(0, MOST_NAMED).join(', ')}`);
  if (words.length === 0) return [];
  const more = found.length > words.length ? `; and ${found.length - words.length} more` : '';
  return [
    {
      code: 'models_not_listed',
      message: `clients may use what LiteLLM does not list: ${words.join('; ')}${more}`,
      hint: 'sidecar check lists its models; a name that is misspelled opens nothing',
    },
  ];
}

/** How many clients a warning names, and models of each. */
const MOST_NAMED = 5;

const callerCount = (count: number): string => (count === 1 ? '1 caller' : `${count} callers`);

const storeWarning = (message: string): WarningView => ({
  code: 'store_warning',
  message,
  hint: 'sidecar audit verify',
});

function storeDown(failed: StoreError | undefined): readonly WarningView[] {
  if (failed === undefined) return [];
  return [{ code: 'store_down', message: failed.message, hint: failed.hint }];
}

function clockWarnings(clock: SteadyClock): readonly WarningView[] {
  const jump = clock.jump();
  return jump === undefined ? [] : [{ code: 'clock_jump', ...clockWords(jump) }];
}

const CLOCK_UNITS = [
  ['days', 86_400_000],
  ['hours', 3_600_000],
  ['minutes', 60_000],
] as const;

/** What is said of a wall clock that differs from the time that has passed. */
export function clockWords({ byMs, onTrial }: ClockJump): {
  readonly message: string;
  readonly hint: string;
} {
  const size = Math.abs(byMs);
  const [unit, length] = CLOCK_UNITS.find(([, each]) => size >= 2 * each) ?? ['seconds', 1000];
  const ahead = byMs > 0 ? 'ahead of' : 'behind';
  const much = `the clock is ${Math.round(size / length)} ${unit} ${ahead}`;
  if (onTrial === true) {
    return {
      message: `${much} all that is stored: keys that ended by it are refused`,
      hint: 'set it right if it is wrong: after 5 minutes what ended by it is stored as ended',
    };
  }
  return {
    message: `${much} the time that has passed`,
    hint: 'no deadline moved: set the clock right, or restart the sidecar if it is right now',
  };
}

/** What a clients file with the same clients says. */
export function clientsFileView({ clients }: Keyring): ClientsFileView {
  const named = [...clients.values()].filter(({ name, removed }) => !removed && name !== MASTER);
  const isIn = ({ disabled, generations }: Client): boolean => !disabled && generations.length > 0;
  return {
    clients: named.filter(isIn).map((client) => ({
      ...{ name: client.name, scopes: client.scopes, allowFrom: client.allowFrom },
      ...{ namesEndUsers: client.namesEndUsers, limits: limitsView(client.limits) },
      ...{ models: client.models, inFile: client.inFile, expiresAt: isoOrNull(client.expiresAt) },
      keys: client.generations.map((each) => ({
        id: idOf(client.name, each.number),
        digest: showDigest(each.digest),
        validUntil: isoOrNull(endOf(each)),
      })),
    })),
    leftOut: named.filter((client) => !isIn(client)).map(({ name }) => name),
  };
}
