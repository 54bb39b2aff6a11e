import { generateKey } from '../keyring/key.ts';
import { HandoverError, type UpstreamAdmin } from './admin.ts';
import { type Database, saltKeyNotNew, saltKeyUnknown } from './database.ts';
import { handoverId, viewOf, viewOfEnded } from './handover-views.ts';
import { unknownHandover } from './requests.ts';
import { type StatusSources, statusOf } from './status.ts';
import type { HandoverView, SlotLetter } from './views.ts';

export interface UpstreamAdminOptions extends Omit<StatusSources, 'database'> {
  readonly database: Database;
  /** Whether SIDECAR_LITELLM_CONFIG is set. */
  readonly hasConfig: boolean;
  /** @throws HandoverError where LiteLLM's key may not be changed */
  readonly mayRotate: () => Promise<void>;
}

/** The verbs of an operator where the sidecar tells a launcher what to run. */
export function createUpstreamAdmin(options: UpstreamAdminOptions): UpstreamAdmin {
  const { runner, database, saltKeySet, urls, hasConfig, mayRotate } = options;
  const sources: StatusSources = { ...options, database: database.known };
  const active = (): SlotLetter => runner.state().active;
  const history = (): readonly HandoverView[] =>
    [...runner.state().ended].reverse().map(viewOfEnded);
  const mustHaveSlots = (): void => {
    if (urls.length === 1) throw noSlots('LiteLLM has one place only, so nothing can take over');
  };

  return {
    status() {
      // For the next time: it is never waited for here.
      if (database.known() === undefined) void database.ask(active());
      return statusOf(sources);
    },
    history,
    handover(id) {
      const { handover } = runner.state();
      if (handover !== undefined && handoverId(handover.number) === id) {
        return viewOf(handover, runner.observe());
      }
      const waiting = runner.waiting();
      if (waiting?.id === id) return waiting;
      const found = history().find((each) => each.id === id);
      if (found === undefined) throw unknownHandover(id);
      return found;
    },
    async rotate(by) {
      mustHaveSlots();
      await mayRotate();
      return await runner.ask('rotate', by);
    },
    async reload({ dryRun }, by) {
      mustHaveSlots();
      if (!hasConfig) {
        throw new HandoverError('nothing_to_reload', 'SIDECAR_LITELLM_CONFIG is not set', {
          hints: ["set it to LiteLLM's config.yaml, or to the folder that holds it"],
        });
      }
      return await runner.ask(dryRun ? 'dry-run' : 'reload', by);
    },
    saltKey: () => newSaltKey(saltKeySet, () => database.ask(active())),
  };
}

/** @throws HandoverError where something may be encrypted already */
export async function newSaltKey(
  isSet: boolean,
  ask: () => Promise<boolean | undefined>,
): Promise<{ readonly saltKey: string }> {
  const has = isSet ? undefined : await ask();
  if (isSet || has !== false) throw saltKeyNotNew(isSet, has);
  return { saltKey: generateKey() };
}

/** Whether LiteLLM's key may be changed. @throws HandoverError */
export async function mayRotate(
  saltKeySet: boolean,
  ask: () => Promise<boolean | undefined>,
  keyFile: () => string,
): Promise<void> {
  if (saltKeySet) return;
  const has = await ask();
  if (has !== false) throw saltKeyUnknown(has, keyFile());
}

export const noSlots = (message: string): HandoverError =>
  new HandoverError('no_slots', message, {
    hints: ['see SIDECAR_SLOTS, and two places in SIDECAR_UPSTREAM'],
  });
