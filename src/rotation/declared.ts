import type { DeclaredReading, DeclaredValue } from '../config/declared.ts';
import { checkDeclaredKey } from '../keyring/declared-key.ts';
import { digestOf } from '../keyring/digest.ts';
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
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; hint: string };

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
export function createDeclaredKeys({ keeper, rotator, graceMs }: DeclaredOptions): DeclaredKeys {
  let refused: WarningView | undefined;
  /** Of a short key: the warning holds as long as that key is the active one. */
  let short: { readonly digest: string; readonly warning: WarningView } | undefined;

  const refuse = (code: string, message: string, hint: string): DeclaredOutcome => {
    refused = { code, message, hint };
    return { kind: 'refused', code, message, hint };
  };

  const act = async (value: DeclaredValue): Promise<DeclaredOutcome> => {
    const { source, where, key } = value;
    const digest = digestOf(key.reveal());
    const check = checkDeclaredKey(key.reveal());
    if (!check.ok) {
      const hint = 'make a good one with `sidecar key new`; until then the key before it counts';
      return refuse(
        'declared_key_refused',
        `${where} cannot guard the gateway: ${check.reason}`,
        hint,
      );
    }
    if (check.warning !== undefined) {
      const message = `${where}: ${check.warning}`;
      const hint = 'sidecar rotate, or declare a longer one';
      short = { digest, warning: { code: 'short_declared_key', message, hint } };
    }
    const plan = planDeclared(keeper.keyring(), source, digest);
    if (plan.kind === 'nothing') return { kind: 'nothing' };
    if (plan.kind === 'stale') {
      const { generation, state } = plan;
      const message = `${where} holds an older key (${generation}, ${state}); newer ones rule`;
      return { kind: 'stale', message };
    }
    const by = `declared:${source}`;
    if (plan.kind === 'remember') {
      await keeper.change([{ kind: 'remember', source, digest }], by);
      return { kind: 'nothing' };
    }
    const first = keeper.keyring().clients.get(MASTER) === undefined;
    const scopes = ['full'] as const;
    const newClient = first ? { scopes, allowFrom: [], expiresAt: undefined } : undefined;
    const rotation = {
      client: MASTER,
      key,
      origin: 'declared',
      source,
      graceMs,
      newClient,
    } as const;
    await rotator.rotate({ ...rotation, compromised: false, idempotency: undefined }, by);
    return { kind: 'rotated', where };
  };

  return {
    async settle(reading) {
      refused = undefined;
      if ('fault' in reading) {
        const hint = 'until it can be read, the key before it counts';
        return refuse('declared_key_unreadable', reading.fault, hint);
      }
      if (reading.value === undefined) return { kind: 'nothing' };
      try {
        return await act(reading.value);
      } catch (error) {
        if (!(error instanceof AdminError)) throw error;
        const [hint = 'sidecar status'] = error.hints;
        return refuse(error.code, `${reading.value.where}: ${error.message}`, hint);
      }
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
}
