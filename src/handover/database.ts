import { HandoverError } from './admin.ts';
import type { SlotLetter } from './views.ts';

/** Whether LiteLLM has a database, as it says itself. */
export interface Database {
  /** As it said last; undefined: it has not said. */
  known(): boolean | undefined;
  /** Asks it, one question at a time; never rejects. */
  ask(slot: SlotLetter): Promise<boolean | undefined>;
}

export function createDatabase(
  readiness: (slot: SlotLetter) => Promise<{ readonly database: boolean | undefined }>,
): Database {
  let known: boolean | undefined;
  let asking: Promise<boolean | undefined> | undefined;
  const ask = async (slot: SlotLetter): Promise<boolean | undefined> => {
    const { database } = await readiness(slot).catch(() => ({ database: undefined }));
    known = database ?? known;
    return database;
  };
  return {
    known: () => known,
    ask(slot) {
      asking ??= ask(slot).finally(() => {
        asking = undefined;
      });
      return asking;
    },
  };
}

/**
 * What stands in the way of another master key. Without a LITELLM_SALT_KEY LiteLLM encrypts what it
 * stores with its master key (litellm/proxy/common_utils/encrypt_decrypt_utils.py, _get_salt_key),
 * by the same derivation: a salt key that equals the master key of now reads all that is stored.
 * Its own way, LITELLM_MIGRATE_FROM_MASTER_KEY, re-encrypts at a start, while the LiteLLM before
 * still serves from the same database and could read none of it any more.
 */
export const saltKeyUnknown = (database: boolean | undefined, keyFile: string): HandoverError =>
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

/** Why no salt key is made. */
export const saltKeyNotNew = (isSet: boolean, database: boolean | undefined): HandoverError =>
  new HandoverError(
    'salt_key_not_new',
    isSet
      ? 'LiteLLM has a LITELLM_SALT_KEY already, by SIDECAR_LITELLM_SALT_KEY: it must never change'
      : database === undefined
        ? 'LiteLLM does not say whether it has a database: a new salt key could lock it out'
        : 'LiteLLM has a database: what is stored there is encrypted already, and another key ' +
          'could not read it',
    {
      hints: isSet
        ? []
        : database === undefined
          ? ['ask again when LiteLLM answers']
          : ['set LITELLM_SALT_KEY to the master key that LiteLLM runs with now, for good'],
    },
  );
