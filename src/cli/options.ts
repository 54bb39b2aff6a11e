import { InvalidArgumentError } from 'commander';
import { isClientName } from '../client-name.ts';
import { blocks } from '../config/kinds.ts';
import { readAs, readSpan } from '../config/units.ts';
import { readId, SCOPES, type Scope } from '../keyring/keyring.ts';
import { nearest } from '../text/nearest.ts';
import { CommandError, EXIT } from './terminal.ts';

export const JSON_FLAG = ['--json', 'one json document instead of the text'] as const;

export interface JsonFlag {
  readonly json?: boolean;
}

/** What stands below the options in `--help`: what it does, examples, exit codes. */

export const PROGRAM = `
Examples:
  $ echo "LITELLM_MASTER_KEY=$(sidecar key new)" >> .env
  $ curl -H "Authorization: Bearer $(sidecar key show)" http://localhost:4000/v1/models
  $ sidecar status
  $ sidecar rotate --wait
  $ sidecar clients add staging --scope inference --expires 90d
  $ sidecar upstream status
  $ sidecar check --stream

Environment:
  LITELLM_MASTER_KEY  the key that clients present; without it one is made
  SIDECAR_UPSTREAM    where litellm runs
  SIDECAR_STATE       the folder of what is kept: keys, above all
  NO_COLOR            no colours
  .env in the current folder is read too; \`sidecar config\` shows every setting

Exit codes:
  0   done
  1   it failed, or was refused, for instance because a key is in use
  2   the command line is wrong: an unknown client, a grace without its unit
  64  the configuration is wrong; all mistakes are told at once
  69  a port is in use, or no sidecar runs that could be asked
  73  the state folder cannot be written
  130 Ctrl-C
`;

export const CHECK = `
Sends one tiny chat request to each model, eight at once. The key comes from --key-file, else it is
the newest one of master in SIDECAR_STATE, else the declared one (LITELLM_MASTER_KEY).

Examples:
  $ sidecar check
  $ sidecar check --model nvidia-llama-3-1-405b --stream
  $ sidecar check --url https://llm.example.com --key-file ./ci.key --json

Exit codes: 0 where all answer, 1 where one fails or none is listed, 130 after Ctrl-C
`;

export const KEY_SHOW = `
The key goes to stdout alone, the file that holds it to stderr:
  $ curl -H "Authorization: Bearer $(sidecar key show)" http://localhost:4000/v1/models
  $ sidecar key show staging
  $ docker compose exec sidecar sidecar key show

It is the newest one, declared or made, of master or of the named client. Before a sidecar has
started with a key that you declared (LITELLM_MASTER_KEY), nothing is shown: the exit code is 1.
`;

export const STATUS = `
Shows each client's keys, until when each is good, what could not be published, how LiteLLM is, and
what to do next.

Examples:
  $ sidecar status
  $ sidecar status --json | jq '.clients[].generations[] | select(.state == "retiring")'
  $ sidecar status --json | jq .upstream.slots

Exit codes: 0 where a sidecar answers, 69 where none runs
`;

export const ROTATE = `
Makes a new key that is good at once. The one before it stays good until the grace has passed, which
begins when a newer key is used for the first time. Live streams go on.

--grace 0       ends the old key at once; if it was used in the last hour, that wants --force
--compromised   revokes every older key at once, and cuts what they have in flight; asks nothing
--wait          stays and shows who still uses an older key, until nobody does. A key is used by
                nobody when nothing is under way with it, and it was not seen for a minute since
                the rotation while a newer key is in use, or not for an hour in any case.
                Ctrl-C ends the waiting, and not the rotation
--json          prints what was done as json. It holds the new key; nothing else prints it

Examples:
  $ sidecar rotate
  $ sidecar rotate --wait --grace 7d
  $ sidecar rotate staging --compromised
  $ sidecar rotate --json | jq -r .key

Exit codes: 0 done (with --wait: nobody uses an older key), 1 refused, 2 unknown client or bad
grace, 69 no sidecar runs, 73 the state folder cannot be written, 130 Ctrl-C
`;

export const ROLLBACK = `
The newest key that is still retiring is active again, and the one that replaced it is revoked. Not
after --compromised: what has leaked never comes back.

Examples:
  $ sidecar rollback
  $ sidecar rollback staging

Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

export const REVOKE = `
Ends one key at once, for good. If it was used in the last hour, who would break is shown, and
nothing is done without --force. Streams that began with it go on, but with --compromised they are
cut, and no --force is asked for.

Examples:
  $ sidecar revoke master-2
  $ sidecar revoke staging-1 --compromised

Exit codes: 0 done, 1 refused, 2 unknown generation, 69 no sidecar runs
`;

export const WHO = `
Lists who used a key, the most recent first: the 100 last callers, by address and user agent.

Examples:
  $ sidecar who master-2
  $ sidecar who master-2 --json | jq -r '.callers[].address'

Exit codes: 0 done, 2 unknown generation, 69 no sidecar runs
`;

export const CLIENTS = `
Each client has keys, scopes, and if you like an end and addresses of its own: different keys for
different environments, one LiteLLM. master always exists, and may do everything.

Examples:
  $ sidecar clients add staging --scope inference --expires 90d --allow-from 10.0.0.0/8
  $ sidecar key show staging
  $ sidecar clients disable staging
  $ sidecar clients remove staging
`;

export const ADD = `
Scopes: inference (models), passthrough (a provider's raw API), full (everything).

Examples:
  $ sidecar clients add ci
  $ sidecar clients add staging --scope inference --expires 90d --allow-from 10.0.0.0/8

Exit codes: 0 done, 1 refused, for instance because there is one of that name, 2 bad name, scope,
expiry or address, 69 no sidecar runs, 73 the state folder cannot be written
`;

export const REMOVE = `
Revokes all of its keys and takes it off every list. If one was used in the last hour, who would
break is shown, and nothing is done without --force.

Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

export const AUDIT = `
Reads the audit in SIDECAR_STATE, whether or not a sidecar runs: who did what to which key, when.

Examples:
  $ sidecar audit --limit 200
  $ sidecar audit --follow
  $ sidecar audit --follow --json | jq 'select(.action == "revoked")'
  $ sidecar audit verify

With --follow, --json prints a document a line. Exit codes: 0 done, 130 after Ctrl-C
`;

export const VERIFY = `
Each line holds the digest of the one before, and the keyring knows the last one: a line that was
edited, removed, moved, added or cut off is found and named.

Exit codes: 0 where the audit is whole, 1 where it is not, or cannot be read
`;

/** The parsers of options and arguments throw commander's `InvalidArgumentError`. */
const wants = (what: string, hint: string | undefined): InvalidArgumentError =>
  new InvalidArgumentError(
    `it wants ${what}${hint === undefined || hint === '' ? '' : ` (${hint})`}`,
  );

const didYouMean = (word: string | undefined): string | undefined =>
  word === undefined ? undefined : `did you mean ${word}?`;

/** Commander's own errors repeat the value, and so would a shell's history of them. */
function refuseKey(text: string): void {
  if (!/^sk-/.test(text)) return;
  throw new CommandError('that is a key; it wants a name or a generation', EXIT.usage, [
    'keys stay off the command line: others can read it there',
    '`sidecar status` lists clients and their generations',
  ]);
}

/** A span as text, checked: the sidecar reads it again. */
function parseSpan(text: string, what: string): string {
  const reading = readSpan(text);
  if ('value' in reading) return text;
  throw wants(what, reading.hint);
}

/** `24h`, `0` */
export const parseGrace = (text: string): string =>
  parseSpan(text, 'a duration with its unit, such as 30m, 24h or 7d, or 0');

/** `90d` */
export function parseExpiry(text: string): string {
  const what = 'a duration from now with its unit, such as 12h or 90d';
  if (/^0(?:ms|s|m|h|d)?$/.test(text))
    throw wants(what, 'a key that is born expired opens nothing');
  return parseSpan(text, what);
}

/** A client's name: whether there is such a client the sidecar says. */
export function parseClient(text: string): string {
  refuseKey(text);
  if (isClientName(text)) return text;
  const lower = text.trim().toLowerCase();
  const what = "a client's name: 1 to 39 lower-case letters, digits and inner hyphens";
  throw wants(what, isClientName(lower) ? didYouMean(lower) : undefined);
}

/** `master-3` */
export function parseGeneration(text: string): string {
  refuseKey(text);
  if (readId(text) !== undefined) return text;
  const isName = isClientName(text) && !/-\d+$/.test(text);
  const hint = isName ? `${text} is a client; \`sidecar status\` lists its keys` : '';
  throw wants('a generation such as master-3', hint);
}

export function parseScope(
  text: string,
  before: readonly Scope[] | undefined = [],
): readonly Scope[] {
  const scope = SCOPES.find((each) => each === text);
  if (scope !== undefined) return [...new Set([...before, scope])];
  throw wants(`one of ${SCOPES.join(', ')}`, didYouMean(nearest(text, SCOPES)));
}

/** One block each, written as the settings do; an address alone is a block of one. */
export function parseBlock(
  text: string,
  before: readonly string[] | undefined = [],
): readonly string[] {
  const reading = readAs(blocks, text);
  if ('value' in reading && reading.value.length > 0) return [...before, ...reading.value];
  const hint = 'hint' in reading ? reading.hint : '';
  throw wants('an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8', hint);
}

/** Lines of the audit. */
export function parseLimit(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= 1000) return Number(text);
  throw wants('a whole number from 1 to 1000', undefined);
}
