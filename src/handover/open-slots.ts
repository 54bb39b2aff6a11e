import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { lookAtConfig } from '../litellm/config.ts';
import { createSlots } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import { StartupError } from '../startup-error.ts';
import { readOrMakeKey, slotKeyPath, stateError } from '../store/key-files.ts';
import type { HandoverEvents, LitellmChecks, SlotsConfig } from './contracts.ts';
import { isIntact, type Limits } from './observation.ts';
import { createRunner, type Pace } from './runner.ts';
import { createSaltKeyGuard } from './salt-key.ts';
import { createSlotDisk, type SlotDisk } from './slot-disk.ts';
import { endHandover, firstState, type UpstreamState } from './state.ts';
import { createStateFile, type StateFile } from './state-file.ts';
import { createUpstreamAdmin } from './upstream-admin.ts';

interface OpenSlotsOptions {
  readonly config: SlotsConfig;
  readonly checks: LitellmChecks;
  /** Milliseconds since the epoch; never goes back. */
  readonly now: () => number;
  /** What has come for certain: by it the schedule is due. Left out: `now`. */
  readonly sure?: () => number;
  /** Whether this process may still write the state folder. */
  readonly mayWrite: () => boolean;
  /** How long this process did not look, in milliseconds in all; never, where nothing is said. */
  readonly missedMs?: () => number;
  readonly events: HandoverEvents;
  readonly pace?: Pace;
}

/**
 * LiteLLM in slots that a launcher reads. Finds out which slot serves, and puts its folder in place
 * where it is missing. This process must hold the lock of the state folder already.
 *
 * @throws StartupError where the state or the slot cannot be used
 */
export async function openSlots(options: OpenSlotsOptions) {
  const { config, checks } = options;
  const { upstreamRotateEveryMs: everyMs, autoReload, litellmConfig } = config;
  const slots = createSlots({ folder: config.slots });
  const disk = createSlotDisk({ state: config.state, slots, config: litellmConfig });
  const file = createStateFile(config.state);
  const state = await loadState(options, file, disk);
  const saltKey = createSaltKeyGuard({
    isSet: config.saltKeySet,
    readiness: checks.readiness,
    keyFile: (slot) => slotKeyPath(config.state, slot),
  });
  const limits = limitsOf(config);
  const runner = createRunner({
    ...options,
    ...{ file, state, disk, limits, everyMs, autoReload },
    config: litellmConfig && (await lookAtConfig(litellmConfig)),
    mayRotate: saltKey.mayRotate,
  });
  const admin = createUpstreamAdmin({ config, runner, saltKey, limits, now: options.now });
  return {
    ...{ admin, runner },
    /** Where new requests go at the start, and with which key. */
    ...{ active: state.active, key: disk.key(state.active) as Secret },
  };
}

export type OpenSlots = Awaited<ReturnType<typeof openSlots>>;

/** The state with which this process begins, and which is on the disk when this resolves. */
async function loadState(
  options: OpenSlotsOptions,
  file: StateFile,
  disk: SlotDisk,
): Promise<UpstreamState> {
  const { config, now } = options;
  const stored = await file.load();
  await orExplain(config.state, disk.refresh);
  const found = stored ?? guessState(config, disk);
  const here = config.upstreams.length === 1 ? inOneSlot(found, now()) : found;
  const state = await repairActive(options, here, disk);
  const isKnown = stored !== undefined && isDeepStrictEqual(state, stored);
  if (!isKnown) await orExplain(config.state, () => file.save(state));
  return state;
}

function limitsOf({ upstreams, handoverTimeoutMs, probationMs, drainMs }: SlotsConfig): Limits {
  const portOf = (url: URL): number => (url.port === '' ? 80 : Number(url.port));
  const [a, b = a] = upstreams;
  return { handoverTimeoutMs, probationMs, drainMs, ports: { a: portOf(a), b: portOf(b) } };
}

/** The state where none was stored: the slot that is whole is the active one, else slot a. */
function guessState({ upstreams }: SlotsConfig, disk: SlotDisk): UpstreamState {
  const isOnlyB = isIntact(disk.seen('b')) && !isIntact(disk.seen('a'));
  return firstState(upstreams.length === 2 && isOnlyB ? 'b' : 'a');
}

/**
 * The state where SIDECAR_UPSTREAM names one place only, which is slot a: what was tried or served
 * in slot b cannot be reached any more.
 */
function inOneSlot(state: UpstreamState, now: number): UpstreamState {
  const { handover } = state;
  const fault = {
    code: 'not_up',
    message: 'SIDECAR_UPSTREAM names one place only now',
    hint: 'name two places in SIDECAR_UPSTREAM for a handover',
    lastWords: [],
  } as const;
  const next =
    handover === undefined
      ? state
      : endHandover(state, handover, { end: 'rolled_back', fault }, now);
  // The start places the configuration as it is now, so that LiteLLM has to be verified once more.
  return { ...next, active: 'a', verifiedAt: undefined };
}

/** Gives the active slot its key and its folder; a LiteLLM that was verified is left as it runs. */
async function repairActive(
  { config, now }: OpenSlotsOptions,
  state: UpstreamState,
  disk: SlotDisk,
): Promise<UpstreamState> {
  const { active, verifiedAt, keyMadeAt } = state;
  const path = slotKeyPath(config.state, active);
  let madeAt = keyMadeAt[active];
  await orExplain(config.state, async () => {
    // An empty file is refused here and not filled with a new key: a key may have been lost there.
    const { made } = await readOrMakeKey(path);
    if (made) madeAt = now();
    // An older version of the sidecar stored no date: the date of the key's file is the best guess.
    madeAt ??= Math.floor((await stat(path)).mtimeMs);
    await disk.refresh();
  });
  const next = { ...state, keyMadeAt: { ...keyMadeAt, [active]: madeAt } };
  if (verifiedAt !== undefined && isIntact(disk.seen(active))) return next;
  try {
    await disk.place(active, 'setting');
  } catch (cause) {
    throw new StartupError('state', `LiteLLM's slot cannot be made: ${(cause as Error).message}`, {
      hint: 'see SIDECAR_SLOTS and SIDECAR_LITELLM_CONFIG',
      cause,
    });
  }
  // The launcher starts another LiteLLM there, which nobody has verified yet.
  return { ...next, verifiedAt: undefined };
}

async function orExplain(folder: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (cause) {
    throw cause instanceof StartupError ? cause : stateError(folder, cause);
  }
}
