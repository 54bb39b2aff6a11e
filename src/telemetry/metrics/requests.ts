import type { Registry } from 'prom-client';
import type { ExchangeRecord } from '../../proxy/record.ts';
import { registerFamily, type Sample } from './family.ts';
import { createLabelSet, type LabelSet, OTHER } from './label-set.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
/** `-` is nobody: a request that was refused before a client was recognised. */
export const NOBODY = '-';
/** Of the 5,000 that all families may have together; common use needs some dozens. */
const MAX_SERIES = 1800;

/**
 * A status as a number below 1024: itself, or one of these. Combinations beyond the limit keep
 * their class, as `5xx`, which a query for `status=~"5.."` still counts.
 */
const NONE = 0;
const UNKNOWN = 1;
const FIRST_CLASS = 2;

const statusIndex = (status: number): number => {
  if (status >= 100 && status <= 599 && Number.isInteger(status)) return status;
  return status === 0 ? NONE : UNKNOWN;
};
const classOf = (index: number): number =>
  index < 100 ? index : FIRST_CLASS + Math.trunc(index / 100) - 1;

const statusText = (index: number): string => {
  if (index >= 100) return String(index);
  if (index >= FIRST_CLASS) return `${index - FIRST_CLASS + 1}xx`;
  return index === NONE ? 'none' : OTHER;
};

/** Counts finished exchanges in `requests_total`; each label set has at most 63 values. */
export const createRequests = (
  registry: Registry,
  routes: LabelSet,
  clients: LabelSet,
): { count(record: ExchangeRecord, route: number): void } => {
  const methods = createLabelSet(METHODS);
  const samples = new Map<number, Sample>();
  const family = { name: 'requests_total', help: 'Requests that ended, refused ones included.' };
  registerFamily(registry, { ...family, type: 'counter' }, () => samples.values());

  const sampleOf = (client: number, route: number, method: number, status: number): Sample => {
    // One small integer a combination (6 + 6 + 3 + 10 bits): looked up without making a string.
    const key = (client << 19) | (route << 13) | (method << 10) | status;
    const known = samples.get(key);
    if (known) return known;
    if (samples.size >= MAX_SERIES && key >= 100) return sampleOf(0, 0, 0, classOf(status));
    const sample: Sample = {
      value: 0,
      sharedLabels: {
        client: clients.valueAt(client),
        route: routes.valueAt(route),
        method: methods.valueAt(method),
        status: statusText(status),
      },
    };
    samples.set(key, sample);
    return sample;
  };

  return {
    count: (record, route) => {
      const client = clients.indexOf(record.client);
      const method = methods.indexOf(record.method);
      sampleOf(client, route, method, statusIndex(record.status)).value += 1;
    },
  };
};
