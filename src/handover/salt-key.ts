import { generateKey } from '../keyring/key.ts';
import type { SlotName } from '../litellm/slots.ts';
import { HandoverError, type LitellmChecks } from './contracts.ts';
import type { SaltKeyView } from './views.ts';

interface SaltKeyGuardOptions {
  /** Whether SIDECAR_LITELLM_SALT_KEY says that LiteLLM has a LITELLM_SALT_KEY. */
  readonly isSet: boolean;
  readonly readiness: LitellmChecks['readiness'];
  /** Where the master key of the LiteLLM in this slot stands. */
  readonly keyFile: (slot: SlotName) => string;
}

/**
 * Keeps the credentials readable that LiteLLM stores in its database. Without a LITELLM_SALT_KEY
 * LiteLLM encrypts them with its master key (litellm/proxy/common_utils/encrypt_decrypt_utils.py,
 * _get_salt_key), by the same derivation: a salt key that equals the present master key reads all
 * that is stored. LiteLLM's own way, LITELLM_MIGRATE_FROM_MASTER_KEY, re-encrypts at a start, while
 * the LiteLLM before still serves from the same database and could read none of it any more.
 */
export function createSaltKeyGuard({ isSet, readiness, keyFile }: SaltKeyGuardOptions) {
  let known: boolean | undefined;
  let asking: Promise<boolean | undefined> | undefined;
  const ask = async (slot: SlotName): Promise<boolean | undefined> => {
    const { database } = await readiness(slot).catch(() => ({ database: undefined }));
    known = database ?? known;
    return database;
  };
  const askDatabase = (slot: SlotName): Promise<boolean | undefined> => {
    asking ??= ask(slot).finally(() => {
      asking = undefined;
    });
    return asking;
  };

  return {
    /** Whether LiteLLM has a database, as it said last; undefined: it has not said. */
    database: () => known,
    /** Asks the LiteLLM of this slot whether it has a database; never rejects. */
    askDatabase,
    /** @throws HandoverError where the master key of the LiteLLM in this slot may not change */
    async mayRotate(slot: SlotName): Promise<void> {
      if (isSet) return;
      const database = await askDatabase(slot);
      if (database !== false) throw saltKeyUnknown(database, keyFile(slot));
    },
    /**
     * What a rotation would be refused with, as far as LiteLLM has said; undefined: it would not.
     */
    rotationRefusal: (slot: SlotName): HandoverError | undefined =>
      isSet || known !== true ? undefined : saltKeyUnknown(known, keyFile(slot)),
    /** A new salt key. @throws HandoverError where something may be encrypted already */
    async newSaltKey(slot: SlotName): Promise<SaltKeyView> {
      if (isSet) throw saltKeyIsSet();
      const database = await askDatabase(slot);
      if (database !== false) throw saltKeyMayBeNeeded(database);
      return { saltKey: generateKey() };
    },
  };
}

export type SaltKeyGuard = ReturnType<typeof createSaltKeyGuard>;

const saltKeyUnknown = (database: boolean | undefined, keyFile: string): HandoverError =>
  new HandoverError(
    'salt_key_unknown',
    database === undefined
      ? 'LiteLLM does not say whether it has a database, and what it stores there may be ' +
          'encrypted with its master key'
      : 'LiteLLM has a database, and nothing says that it has a LITELLM_SALT_KEY: with another ' +
          'master key it could not read the credentials that it stored',
    {
      hints: [
        ...(database === undefined ? ['ask again when LiteLLM answers'] : []),
        'if LiteLLM has a LITELLM_SALT_KEY: set SIDECAR_LITELLM_SALT_KEY=set',
        'if it has none: set its LITELLM_SALT_KEY, for good, to the master key that it runs with ' +
          `now (it stands in ${keyFile}), restart it, then set SIDECAR_LITELLM_SALT_KEY=set`,
      ],
    },
  );

const saltKeyIsSet = (): HandoverError =>
  new HandoverError(
    'salt_key_not_new',
    'LiteLLM has a LITELLM_SALT_KEY already, by SIDECAR_LITELLM_SALT_KEY: it must never change',
  );

const saltKeyMayBeNeeded = (database: boolean | undefined): HandoverError =>
  database === undefined
    ? new HandoverError(
        'salt_key_not_new',
        'LiteLLM does not say whether it has a database: a new salt key could lock it out',
        { hints: ['ask again when LiteLLM answers'] },
      )
    : new HandoverError(
        'salt_key_not_new',
        'LiteLLM has a database: what is stored there is encrypted already, and another key ' +
          'could not read it',
        { hints: ['set LITELLM_SALT_KEY to the master key that LiteLLM runs with now, for good'] },
      );
