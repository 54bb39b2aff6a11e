import { MASTER } from '../client-name.ts';
import { keyTextFault } from '../config/kinds.ts';
import type { DeclaredPlaces, DeclaredReading, DeclaredValue } from '../config/load.ts';
import { checkDeclaredKey, digestOf, generateKey } from '../keyring/key.ts';
import {
  activeOf,
  type DeclaredSource,
  type GenerationState,
  idOf,
  type Keyring,
} from '../keyring/keyring.ts';
import { Secret } from '../secret.ts';
import type { KeyFiles } from '../store/key-files.ts';
import { AdminError, type WarningView } from './admin.ts';
import type { Keeper } from './keeper.ts';
import type { Rotator } from './rotate.ts';

const MASTER_ROTATION = { client: MASTER, compromised: false, idempotency: undefined } as const;
/** The scopes and limits that the first start gives to `master`. */
const NEW_MASTER = {
  scopes: ['full'],
  allowFrom: [],
  expiresAt: undefined,
  namesEndUsers: true,
  limits: undefined,
  models: [],
} as const;

/** What became of a declared value. */
export type DeclaredOutcome =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'stale'; readonly message: string }
  /** `disabled`: nobody is let in with it, as `master` is disabled and stays so. */
  | { readonly kind: 'rotated'; readonly where: string; readonly disabled: boolean }
  /** The declared value is not used; the key that was active before stays active. */
  | {
      readonly kind: 'refused';
      readonly warning: WarningView;
      /** It is taken as soon as there is room for it, or the disk can be written again. */
      readonly waits: boolean;
    };

/** What is refused by these is refused by the state of things, and not for what the key is. */
const PASSING: ReadonlySet<string> = new Set([
  ...['too_many_generations', 'rotation_under_way', 'store_unavailable', 'publish_failed'],
]);

interface DeclaredOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly graceMs: number;
}

export type DeclaredKeys = ReturnType<typeof createDeclaredKeys>;

/** Keeps the client `master` in step with the key that the operator declared. */
export function createDeclaredKeys(options: DeclaredOptions) {
  let refusal: WarningView | undefined;
  /** The warning about a short key, which holds as long as that key is the active one. */
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
      if (!(error instanceof AdminError)) throw error;
      const { code, message, hints } = error;
      const outcome = refused(code, `${where}: ${message}`, hints[0] ?? 'sidecar status');
      return { ...outcome, waits: PASSING.has(code) };
    }
  };

  return {
    /** Acts on what is declared now. To be called at the start, and at each change. */
    async settle(reading: DeclaredReading): Promise<DeclaredOutcome> {
      let outcome: DeclaredOutcome = { kind: 'nothing' };
      if ('fault' in reading) outcome = unreadable(reading.fault);
      else if (reading.value !== undefined) outcome = await judge(reading.value);
      refusal = outcome.kind === 'refused' ? outcome.warning : undefined;
      return outcome;
    },
    /** The key that `master` has by the state folder: a short one is no better for being there. */
    noteKept(key: Secret): void {
      const check = checkDeclaredKey(key.reveal());
      if (!check.ok || check.warning === undefined) return;
      const warning = shortKey(`the key of ${MASTER}`, check.warning);
      short ??= { digest: digestOf(key.reveal()), warning };
    },
    /** What `sidecar status` repeats until the declared value is mended. */
    warnings(): readonly WarningView[] {
      const master = options.keeper.keyring().clients.get(MASTER);
      const active = master && activeOf(master);
      return [
        ...(refusal === undefined ? [] : [refusal]),
        ...(short !== undefined && short.digest === active?.digest ? [short.warning] : []),
      ];
    },
  };
}

/** @throws AdminError where the keyring does not take the value */
async function actOn(
  { source, where, key }: DeclaredValue,
  digest: string,
  { keeper, rotator, graceMs }: DeclaredOptions,
): Promise<DeclaredOutcome> {
  const by = `declared:${source}`;
  const plan = planDeclared(keeper.keyring(), source, digest);
  switch (plan.kind) {
    case 'nothing':
      return { kind: 'nothing' };
    case 'stale': {
      const older = `${where} holds an older key (${plan.generation}, ${plan.state})`;
      return { kind: 'stale', message: `${older}; the newer one stays active` };
    }
    case 'remember':
      await keeper.change([{ kind: 'remember', source, digest }], by);
      return { kind: 'nothing' };
    case 'rotate': {
      const isFirst = keeper.keyring().clients.get(MASTER) === undefined;
      const newClient = isFirst ? NEW_MASTER : undefined;
      const rotation = { ...MASTER_ROTATION, key, source, graceMs, newClient };
      await rotator.activate({ ...rotation, origin: 'declared' }, by);
      const disabled = keeper.keyring().clients.get(MASTER)?.disabled === true;
      return { kind: 'rotated', where, disabled };
    }
  }
}

/** What a declared value means to the keyring. */
type DeclaredPlan =
  /** The value is the active key, or about to be, and was acted on. */
  | { readonly kind: 'nothing' }
  /** The value is the active key: the sidecar published it there, or the operator moved it. */
  | { readonly kind: 'remember' }
  /** The value was acted on before, and newer keys have come since: that is no rotation. */
  | { readonly kind: 'stale'; readonly generation: string; readonly state: GenerationState }
  /** A new value: a rotation, or a refusal where the keyring knows it as an older one. */
  | { readonly kind: 'rotate' };

/** Decides what a declared value, known by its digest, does to the client `master`. */
export function planDeclared(
  keyring: Keyring,
  source: DeclaredSource,
  digest: string,
): DeclaredPlan {
  const master = keyring.clients.get(MASTER);
  const remembered = keyring.declared[source] === digest;
  const active = master && activeOf(master);
  // What the sidecar publishes may be read here before its rotation is complete.
  if (master?.staged?.digest === digest) return { kind: 'nothing' };
  if (active?.digest === digest) return { kind: remembered ? 'nothing' : 'remember' };
  const ended = keyring.tombstones.get(digest);
  const older =
    master?.generations.find((each) => each.digest === digest) ??
    (ended?.client === MASTER ? ended : undefined);
  if (remembered && older !== undefined) {
    return { kind: 'stale', generation: idOf(MASTER, older.number), state: older.state };
  }
  return { kind: 'rotate' };
}

const refused = (code: string, message: string, hint: string) => ({
  kind: 'refused' as const,
  warning: { code, message, hint },
  waits: false,
});

const unreadable = (fault: string): DeclaredOutcome =>
  refused('declared_key_unreadable', fault, 'until it can be read, the previous key stays active');

const tooWeak = (where: string, reason: string): DeclaredOutcome =>
  refused(
    'declared_key_refused',
    `${where} cannot guard the gateway: ${reason}`,
    'make a good one with `sidecar key new`; until then the previous key stays active',
  );

const shortKey = (where: string, warning: string): WarningView => ({
  code: 'short_declared_key',
  message: `${where}: ${warning}`,
  hint: 'sidecar rotate, or declare a longer one',
});

interface FirstKeyOptions extends DeclaredOptions {
  readonly keyFiles: KeyFiles;
  readonly declared: DeclaredKeys;
  readonly places: DeclaredPlaces;
}

/** Where the key of `master` came from, at this start; `nobody`: it has none. */
type FirstKey = 'declared' | 'made' | 'found' | 'nobody';

/**
 * Sees to it that `master` has a key when requests come: the declared one, the one that an older
 * sidecar, which had no keyring yet, left in the state folder, or a new one.
 *
 * @returns where it came from, what is declared, and what became of that
 * @throws AdminError where a first key cannot be made
 */
export async function firstKey({ declared, places, ...options }: FirstKeyOptions) {
  const reading = await places.read();
  const outcome = await declared.settle(reading);
  const key = 'value' in reading ? reading.value?.key : undefined;
  const from = await originOf(options, key);
  const kept = await options.keyFiles.read(MASTER).catch(() => undefined);
  if (kept !== undefined) declared.noteKept(kept);
  return { from, reading, outcome };
}

/** @param declared the key that is declared now */
async function originOf(
  { keeper, rotator, keyFiles, graceMs }: Omit<FirstKeyOptions, 'declared' | 'places'>,
  declared: Secret | undefined,
): Promise<FirstKey> {
  const master = keeper.keyring().clients.get(MASTER);
  if (master === undefined) {
    // Without a place to keep it, a key that is made here would be known to nobody.
    if (!keyFiles.keeps) return 'nobody';
    const kept = await keyFiles.read(MASTER);
    if (kept === undefined && (await keyFiles.isThere(MASTER))) throw emptyFile();
    const fault = kept && keptFault(kept.reveal());
    if (fault !== undefined) throw badFile(`the key file of ${MASTER}: ${fault}`);
    const key = kept ?? new Secret(generateKey());
    const rotation = { ...MASTER_ROTATION, key, source: undefined, graceMs };
    await rotator.activate({ ...rotation, origin: 'made', newClient: NEW_MASTER }, 'sidecar');
    return kept === undefined ? 'made' : 'found';
  }
  if (declared === undefined || digestOf(declared.reveal()) !== activeOf(master)?.digest) {
    return 'found';
  }
  // An older sidecar kept no copy of a declared key; after a rollback there is none either.
  const kept = await keyFiles.read(MASTER);
  if (kept?.reveal() !== declared.reveal()) await rotator.publishActive(MASTER, declared);
  return 'declared';
}

/** Why a key that was found cannot guard the gateway, as one that is declared could not. */
function keptFault(key: string): string | undefined {
  const check = checkDeclaredKey(key);
  return keyTextFault(key) ?? (check.ok ? undefined : check.reason);
}

/** A new key in place of an emptied file would lock out whoever holds the key that was in it. */
const emptyFile = (): AdminError => badFile(`the key file of ${MASTER} is empty`);

const badFile = (message: string): AdminError =>
  new AdminError('publish_failed', message, {
    hints: [`put the key back into keys/${MASTER} of the state folder, or delete that file`],
  });
