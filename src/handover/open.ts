import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/settings.ts';
import { generateKey } from '../keyring/key.ts';
import { ConfigTreeError } from '../litellm/config.ts';
import { createSlots, type Slots } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import { StartupError } from '../startup-error.ts';
import { createDisk } from '../store/disk.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import { readOrMakeKey, slotKeyPath } from '../store/key-files.ts';
import type { ConfigSeen } from './automatic.ts';
import type { HandoverEvents, SlotTraffic, UpstreamAdmin, UpstreamLooks } from './contracts.ts';
import { createStateFile } from './ledger.ts';
import { isIntact, type Limits } from './observation.ts';
import { createRunner, type Pace, type Runner } from './runner.ts';
import { createSlotDisk, type SlotDisk } from './slot-disk.ts';
import { ended, firstState, type UpstreamState } from './state.ts';
import { createDatabase, createUpstreamAdmin, mayRotate } from './upstream-admin.ts';
import type { SlotLetter } from './views.ts';

export type SlotsConfig = Pick<
  Config,
  | 'state'
  | 'upstreams'
  | 'litellmConfig'
  | 'autoReload'
  | 'upstreamRotateEveryMs'
  | 'handoverTimeoutMs'
  | 'probationMs'
  | 'drainMs'
  | 'saltKeySet'
> & { readonly slots: string };

export interface SlotsOptions {
  readonly config: SlotsConfig;
  readonly looks: UpstreamLooks;
  /** Milliseconds since the epoch; never goes back. */
  readonly now: () => number;
  /** Whether this process may still write the state folder. */
  readonly mayWrite: () => boolean;
  readonly events: HandoverEvents;
  readonly fault?: FaultPoint;
  readonly pace?: Pace;
}

/** LiteLLM in slots that a launcher reads. */
export interface OpenSlots {
  readonly admin: UpstreamAdmin;
  readonly runner: Omit<Runner, 'start' | 'close'>;
  /** Where new requests go at the start, and with which key. */
  readonly active: SlotLetter;
  readonly key: Secret;
  /** The traffic serves from now on, at `active` with `key`. */
  start(traffic: SlotTraffic): void;
  /** Ends what this process does; the next one goes on with it. */
  close(): Promise<void>;
}

/**
 * Finds out which slot serves, and puts its folder in place where it is missing. The state folder
 * is this process's own already.
 *
 * @throws StartupError where the state or the slot cannot be used
 */
export async function openSlots(options: SlotsOptions): Promise<OpenSlots> {
  const { config } = options;
  const fault = options.fault === undefined ? {} : { fault: options.fault };
  const slots = createSlots({ folder: config.slots });
  const setting = config.litellmConfig;
  let isServing = false;
  const files = createDisk({ isServing: () => isServing, ...fault });
  const disk = createSlotDisk({ state: config.state, slots, config: setting, files, ...fault });
  const file = createStateFile(config.state, files);
  const stored = await file.load();
  await orExplain(config.state, disk.refresh);
  const found = stored ?? guess(config, disk);
  const here = config.upstreams.length === 1 ? inOneSlot(found, options.now()) : found;
  const state = await mendActive(options, here, disk);
  const isKnown = stored !== undefined && isDeepStrictEqual(state, stored);
  if (!isKnown) await orExplain(config.state, () => file.save(state));

  const runner = createRunner({
    ...options,
    ...{ file, state, disk, limits: limitsOf(config) },
    masterKeyLine: (slot) => lineIn(slots, slot, options.looks),
    everyMs: config.upstreamRotateEveryMs,
    autoReload: config.autoReload,
    config: setting === undefined ? undefined : await configSeen(slots, setting),
    mayRotate: () => allowed(),
  });
  const { admin, allowed } = adminOf(options, runner);
  return {
    ...{ admin, runner, active: state.active, key: disk.key(state.active) as Secret },
    start(traffic) {
      isServing = true;
      runner.start(traffic);
    },
    async close() {
      await runner.close();
      files.close();
    },
  };
}

function adminOf({ config, looks, now }: SlotsOptions, runner: Runner) {
  const { saltKeySet, state, upstreams, litellmConfig, autoReload } = config;
  const database = createDatabase(looks.readiness);
  const active = (): SlotLetter => runner.state().active;
  const keyFile = (): string => slotKeyPath(state, active());
  const allowed = () => mayRotate(saltKeySet, () => database.ask(active()), keyFile);
  const admin = createUpstreamAdmin({
    ...{ runner, database, saltKeySet, keyFile, autoReload, now },
    limits: limitsOf(config),
    urls: upstreams,
    everyMs: config.upstreamRotateEveryMs,
    hasConfig: litellmConfig !== undefined,
    mayRotate: allowed,
  });
  return { admin, allowed };
}

function limitsOf({ upstreams, handoverTimeoutMs, probationMs, drainMs }: SlotsConfig): Limits {
  const portOf = (url: URL): number => (url.port === '' ? 80 : Number(url.port));
  const [a, b = a] = upstreams;
  return { handoverTimeoutMs, probationMs, drainMs, ports: { a: portOf(a), b: portOf(b) } };
}

/** Where nothing was stored: the slot that is whole, else slot a. */
function guess({ upstreams }: SlotsConfig, disk: SlotDisk): UpstreamState {
  const isOnlyB = isIntact(disk.seen('b')) && !isIntact(disk.seen('a'));
  return firstState(upstreams.length === 2 && isOnlyB ? 'b' : 'a');
}

/** With one place there is slot a; what was tried or ran in slot b cannot be reached any more. */
function inOneSlot(state: UpstreamState, now: number): UpstreamState {
  const { handover } = state;
  const fault = {
    code: 'not_up',
    message: 'LiteLLM has one place only now',
    hint: 'name two places in SIDECAR_UPSTREAM for a handover',
    lastWords: [],
  } as const;
  const next =
    handover === undefined ? state : ended(state, handover, { end: 'rolled_back', fault }, now);
  // What stands there is placed anew if it changed, and so is verified anew.
  return { ...next, active: 'a', verifiedAt: undefined };
}

/** The active slot gets a key and its folder; one that was verified is left as it runs. */
async function mendActive(
  { config, now }: SlotsOptions,
  state: UpstreamState,
  disk: SlotDisk,
): Promise<UpstreamState> {
  const { active, verifiedAt, keyMadeAt } = state;
  const path = slotKeyPath(config.state, active);
  let madeAt = keyMadeAt[active];
  await orExplain(config.state, async () => {
    // An empty file is no missing one: a key may have been lost there.
    const { made } = await readOrMakeKey(path, generateKey);
    if (made) madeAt = now();
    // An installation from before there was a state: its file's date is the best that is known.
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
  // Another LiteLLM runs there now.
  return { ...next, verifiedAt: undefined };
}

async function configSeen(slots: Slots, path: string): Promise<ConfigSeen> {
  try {
    return { digest: await slots.digestConfig(path) };
  } catch (error) {
    if (error instanceof ConfigTreeError) return { error: error.message };
    throw error;
  }
}

/** Where the slot's own copy of config.yaml sets a key. */
async function lineIn(
  slots: Slots,
  slot: SlotLetter,
  looks: Pick<UpstreamLooks, 'masterKeyLine'>,
): Promise<number | undefined> {
  const folder = await slots.configOf(slot);
  return folder === undefined ? undefined : await looks.masterKeyLine(folder);
}

async function orExplain(folder: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (cause) {
    if (cause instanceof StartupError) throw cause;
    const message = `the state folder cannot be used: ${(cause as Error).message}`;
    const hint = `let the user that the sidecar runs as write ${folder}, or set SIDECAR_STATE`;
    throw new StartupError('state', message, { hint, cause });
  }
}
