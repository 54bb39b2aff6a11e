import type { Registry } from 'prom-client';
import {
  type ClientLimits,
  type LimitMode,
  type LimitUse,
  limitShares,
} from '../keyring/client-limits.ts';
import type { TrafficEvents } from '../proxy/record.ts';
import type { LimitName } from '../refusal.ts';
import { OTHER, registerFamily, type Sample } from './series.ts';

/** What is read of limits at each scrape. */
export interface LimitReadings {
  /** Each client that has some. */
  readonly limits: () => Iterable<{
    readonly client: string;
    readonly limits: ClientLimits;
    readonly use: LimitUse;
  }>;
}

/** Series of each of the two families; a client has one to each of its limits. */
const MAX_SERIES = 190;

/** The families of clients' limits: how much of each is used, and how often it was reached. */
export const createLimitFamilies = (registry: Registry) => {
  const reached = createSeries(({ client, limit, mode = '' }) => ({ client, limit, mode }));
  registerFamily(
    registry,
    {
      name: 'limit_reached_total',
      help: 'Requests that reached a limit of their client, by whether they were refused.',
      type: 'counter',
    },
    reached.all,
  );
  const onLimit: TrafficEvents['onLimit'] = (client, limit, mode) => {
    reached.of({ client, limit, mode }).value += 1;
  };
  return {
    onLimit,
    /** Adds what is read at each scrape. */
    registerReadings({ limits }: LimitReadings): void {
      const used = createSeries(({ client, limit }) => ({ client, limit }));
      const help = 'How much of a limit is used: 1 is all of it.';
      registerFamily(registry, { name: 'limit_used_ratio', help, type: 'gauge' }, () => {
        const shown = new Set<Sample>();
        for (const { client, limits: set, use } of limits()) {
          for (const [limit, share] of namedShares(set, use)) {
            // At 0 before the first, so that the first is an increase.
            reached.of({ client, limit, mode: set.mode });
            const sample = used.of({ client, limit });
            // Of those that share a series the one that has used most is shown.
            sample.value = shown.has(sample) ? Math.max(sample.value, share) : share;
            shown.add(sample);
          }
        }
        return shown;
      });
    },
  };
};

const NAMES = [
  ['rpm', 'rpm'],
  ['parallel', 'parallel'],
  ['tokensPerDay', 'tokens_per_day'],
  ['usdPerDay', 'usd_per_day'],
] as const satisfies readonly (readonly [keyof ClientLimits, LimitName])[];

const namedShares = (limits: ClientLimits, use: LimitUse): [LimitName, number][] => {
  const shares = limitShares(limits, use);
  return NAMES.flatMap(([field, limit]): [LimitName, number][] => {
    const share = shares[field];
    return share === undefined ? [] : [[limit, share]];
  });
};

/** What names a series. */
interface Named {
  readonly client: string;
  readonly limit: LimitName;
  readonly mode?: LimitMode;
}

/** The first `MAX_SERIES` that are met; what comes later is counted for the client `other`. */
const createSeries = (labelsOf: (named: Named) => Record<string, string>) => {
  const samples = new Map<string, Sample>();
  const of = (named: Named): Sample => {
    const key = `${named.client} ${named.limit} ${named.mode}`;
    const known = samples.get(key);
    if (known !== undefined) return known;
    if (samples.size >= MAX_SERIES && named.client !== OTHER)
      return of({ ...named, client: OTHER });
    const sample = { value: 0, sharedLabels: labelsOf(named) };
    samples.set(key, sample);
    return sample;
  };
  return { of, all: () => samples.values() };
};
