/** What stands below the options of `sidecar upstream … --help`. */

export const UPSTREAM = `
LiteLLM reads its key and its configuration once, at its start. So another LiteLLM is started beside
it, in the other of two slots, and takes over once it has shown that it works: a handover. Clients
keep their keys, and notice nothing; to change what they hold there is \`sidecar rotate\`.

Examples:
  $ sidecar upstream status
  $ sidecar upstream reload --dry-run
  $ sidecar upstream reload
  $ sidecar upstream rotate --wait

It needs both slots and their launcher: SIDECAR_UPSTREAM with two addresses, and SIDECAR_SLOTS.
`;

export const UPSTREAM_STATUS = `
Shows the slots and what is in flight there, the handover that is under way and the last one, the
age of LiteLLM's key, whether it runs with its configuration as it is now, and its database.

Examples:
  $ sidecar upstream status
  $ sidecar upstream status --json | jq -r .config

Exit codes: 0 where a sidecar answers, 69 where none runs
`;

const STEPS = `
staged    it is prepared, and stored
starting  LiteLLM starts in the other slot
verified  it lists models with its key, and refuses another
switched  new requests go there
draining  the one before finishes what it has in hand, within SIDECAR_DRAIN

What does not come up within SIDECAR_HANDOVER_TIMEOUT is rolled back: the LiteLLM before goes on as
if nothing had been. If the new one dies within SIDECAR_PROBATION of the switch, requests go back.
A handover that is asked for while another one drains waits for it.
`;

const CTRL_C = `
The command returns when new requests have gone over, with --wait when the LiteLLM before has ended.
Ctrl-C ends the watching, and not the handover.
`;

const EXIT_CODES = `
Exit codes: 0 done, 1 refused or rolled back, 2 the command line is wrong, 69 no sidecar runs, 73
the state folder cannot be written, 130 Ctrl-C
`;

export const UPSTREAM_ROTATE = `
A new LiteLLM with a new key takes over. No client holds that key, or learns it.
${STEPS}${CTRL_C}
With a database LiteLLM must have a salt key first: see \`sidecar upstream salt-key --help\`.

Examples:
  $ sidecar upstream rotate
  $ sidecar upstream rotate --wait --json | jq -r .state
${EXIT_CODES}`;

export const UPSTREAM_RELOAD = `
A new LiteLLM takes over, with the same key and with what SIDECAR_LITELLM_CONFIG names as it is now.
A configuration that does not come up takes nothing down: its last words are shown.
${STEPS}${CTRL_C}
Examples:
  $ sidecar upstream reload --dry-run
  $ sidecar upstream reload
  $ sidecar upstream reload --json | jq -r '.models.vanished[]'
${EXIT_CODES}`;

export const UPSTREAM_HISTORY = `
Lists the last 20 handovers, the latest first: who asked, how long it took, how it ended, and why.

Examples:
  $ sidecar upstream history
  $ sidecar upstream history --json | jq '.handovers[] | select(.state == "rolled_back") | .fault'

Exit codes: 0 where a sidecar answers, 69 where none runs
`;

export const SALT_KEY = `
With a database LiteLLM encrypts the credentials that it stores: with LITELLM_SALT_KEY, or where
there is none with its own key, which could then never be rotated. This prints a new one, and the
word by which the sidecar knows, as two lines for .env. The sidecar does not keep it.

Only an installation in which nothing is stored yet may take one: where there is one already, or
may be, it is refused. Where something is stored without one, the salt key has to be the key that
LiteLLM runs with now. It must never change, and without it nothing that is stored can be read: keep
a copy with your backups. LiteLLM sees it once its container is recreated.

Examples:
  $ sidecar upstream salt-key >> .env
  $ docker compose exec -T sidecar sidecar upstream salt-key >> .env
  $ docker compose up -d --force-recreate

Exit codes: 0 done, 1 refused, 69 no sidecar runs
`;

/** Said as commander says it, with the way out in brackets. */
export const DRY_RUN_OF_ROTATE =
  "error: option '--dry-run' is invalid: it belongs to reload " +
  '(sidecar upstream reload --dry-run sees whether the configuration comes up)';
