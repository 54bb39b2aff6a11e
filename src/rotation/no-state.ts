import { AdminError, type KeyAdmin } from './admin.ts';

/** The verbs that change something: those that answer later. */
type ChangingVerb = {
  [V in keyof KeyAdmin]: ReturnType<KeyAdmin[V]> extends Promise<unknown> ? V : never;
}[keyof KeyAdmin];

const refuse = (): Promise<never> =>
  Promise.reject(
    new AdminError(
      'no_state',
      'nothing was changed: this sidecar keeps nothing (SIDECAR_STATE=none)',
      {
        hints: [
          'clients are changed in the file of SIDECAR_CLIENTS, for all replicas at once',
          'master is given a new key by a new LITELLM_MASTER_KEY, best in LITELLM_MASTER_KEY_FILE',
          'to change keys by command, give it a state folder: SIDECAR_STATE',
        ],
      },
    ),
  );

// A record, so that a verb that is added does not compile until it stands here.
const REFUSED: Readonly<Record<ChangingVerb, () => Promise<never>>> = {
  rotate: refuse,
  rollback: refuse,
  revoke: refuse,
  addClient: refuse,
  setClient: refuse,
  disable: refuse,
  enable: refuse,
  remove: refuse,
};

/**
 * The verbs where nothing is kept. A change would end with the process, and be one replica's alone:
 * those that look are left, and those that change refuse with `no_state`.
 */
export const withoutChanges = (admin: KeyAdmin): KeyAdmin => ({ ...admin, ...REFUSED });

/** Why there is no audit to be read, where nothing is kept. */
export const noAudit = (): AdminError =>
  new AdminError('no_state', 'no audit is kept (SIDECAR_STATE=none)', {
    hints: ['each of its lines is in the log: the field `audit` of the lines that say "audit"'],
  });
