import type { Registry } from 'prom-client';
import { REFUSAL_CODES, type RefusalCode } from '../../refusal.ts';
import { createCounters } from './counter.ts';

/** Counts what the sidecar itself refused, by its code. */
export const createRefusals = (registry: Registry): { increment(reason: RefusalCode): void } =>
  createCounters(registry, {
    name: 'refusals_total',
    help: 'Requests that the sidecar refused.',
    label: 'reason',
    values: REFUSAL_CODES,
  });
