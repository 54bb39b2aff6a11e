import type { DeclaredReading, DeclaredValue } from '../config/load.ts';
import { checkDeclaredKey, digestOf } from '../keyring/key.ts';
import { activeOf, MASTER } from '../keyring/keyring.ts';
import { AdminError } from './admin.ts';
import { planDeclared } from './declared-plan.ts';
import type { Keeper } from './keeper.ts';
import type { Rotator } from './rotate.ts';
import type { WarningView } from './views.ts';

/** What became of a declared value. */
export type DeclaredOutcome =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'stale'; readonly message: string }
  | { readonly kind: 'rotated'; readonly where: string }
  /** It does not count; what counted before still does. */
  | { readonly kind: 'refused'; readonly warning: WarningView };

export interface DeclaredKeys {
  /** Acts on what is declared now; never rejects. To be called at the start, and at each change. */
  settle(reading: DeclaredReading): Promise<DeclaredOutcome>;
  /** What `status` repeats until it is mended. */
  warnings(): readonly WarningView[];
}

export interface DeclaredOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly graceMs: number;
}

/** Keeps the client `master` in step with the key that the operator declared. */
export function createDeclaredKeys(options: DeclaredOptions): DeclaredKeys {
  const { keeper } = options;
  let refused: WarningView | undefined;
  /** Of a short key: the warning holds as long as that key is the active one. */
  let short: { readonly digest: string; readonly warning: WarningView } | undefined;

  const judge = async (value: DeclaredValue): Promise<DeclaredOutcome> => {
    const { where, key } = value;
    const check = checkDeclaredKey(key.reveal());
    if (!check.ok) return tooWeak(where, check.reason);
    const digest = digestOf(key.reveal());
    if (check.warning !== undefined) short = { digest, warning: shortKey(where, check.warning) };
    try {
      return await actOn(value, digest, options);
    } catch (error) {
      if (error instanceof AdminError) return notTaken(where, error);
      throw error;
    }
  };

  return {
    async settle(reading) {
      const outcome = await ('fault' in reading ? unreadable(reading.fault) : settled(reading));
      refused = outcome.kind === 'refused' ? outcome.warning : undefined;
      return outcome;
    },
    warnings() {
      const master = keeper.keyring().clients.get(MASTER);
      const active = master && activeOf(master);
      return [
        ...(refused === undefined ? [] : [refused]),
        ...(short !== undefined && short.digest === active?.digest ? [short.warning] : []),
      ];
    },
  };

  function settled({ value }: Extract<DeclaredReading, { value: unknown }>) {
    return value === undefined ? ({ kind: 'nothing' } as const) : judge(value);
  }
}

/** Throws `AdminError` where the keyring does not take it. */
async function actOn(
  { source, where, key }: DeclaredValue,
  digest: string,
  { keeper, rotator, graceMs }: DeclaredOptions,
): Promise<DeclaredOutcome> {
  const by = `declared:${source}`;
  const plan = planDeclared(keeper.keyring(), source, digest);
  if (plan.kind === 'nothing') return plan;
  if (plan.kind === 'stale') {
    const { generation, state } = plan;
    const message = `${where} holds an older key (${generation}, ${state}); newer ones rule`;
    return { kind: 'stale', message };
  }
  if (plan.kind === 'remember') {
    await keeper.change([{ kind: 'remember', source, digest }], by);
    return { kind: 'nothing' };
  }
  const isFirst = keeper.keyring().clients.get(MASTER) === undefined;
  const first = { scopes: ['full'], allowFrom: [], expiresAt: undefined } as const;
  const common = { client: MASTER, compromised: false, idempotency: undefined } as const;
  const newClient = isFirst ? first : undefined;
  await rotator.rotate({ ...common, key, origin: 'declared', source, graceMs, newClient }, by);
  return { kind: 'rotated', where };
}

const refusal = (code: string, message: string, hint: string): DeclaredOutcome => ({
  kind: 'refused',
  warning: { code, message, hint },
});

const unreadable = (fault: string): DeclaredOutcome =>
  refusal('declared_key_unreadable', fault, 'until it can be read, the key before it counts');

const tooWeak = (where: string, reason: string): DeclaredOutcome =>
  refusal(
    'declared_key_refused',
    `${where} cannot guard the gateway: ${reason}`,
    'make a good one with `sidecar key new`; until then the key before it counts',
  );

const notTaken = (where: string, { code, message, hints }: AdminError): DeclaredOutcome =>
  refusal(code, `${where}: ${message}`, hints[0] ?? 'sidecar status');

const shortKey = (where: string, warning: string): WarningView => ({
  code: 'short_declared_key',
  message: `${where}: ${warning}`,
  hint: 'sidecar rotate, or declare a longer one',
});
