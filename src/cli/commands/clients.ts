import { blocks } from '../../config/kinds.ts';
import { SCOPES, type Scope } from '../../keyring/keyring.ts';
import type { ClientView } from '../../rotation/admin.ts';
import { nearest } from '../../text/nearest.ts';
import type { CommandDefinition } from '../command.ts';
import { notesOf, renderChange, renderRotation } from '../key-report.ts';
import { didYouMean, JSON_FLAG, type JsonFlag, parseClient, parseSpan, wants } from '../options.ts';
import { showAgo, showUntil } from '../phrases.ts';
import { type Cell, renderColumns } from '../table.ts';
import type { Terminal } from '../terminal.ts';

const HELP = `
Each client has keys, scopes, and if you like an end and addresses of its own: different keys for
different environments, one LiteLLM. master always exists, and may do everything.

Examples:
  $ sidecar clients add staging --scope inference --expires 90d --allow-from 10.0.0.0/8
  $ sidecar key show staging
  $ sidecar clients disable staging
  $ sidecar clients remove staging
`;

const ADD_HELP = `
Scopes: inference (models), passthrough (a provider's raw API), full (everything).

LiteLLM is told the client's name as that of the end user, so that it attributes what is spent. With
--names-end-users what the client says of its users goes through: Open WebUI and its like need that.

Examples:
  $ sidecar clients add ci
  $ sidecar clients add open-webui --names-end-users
  $ sidecar clients add staging --scope inference --expires 90d --allow-from 10.0.0.0/8

Exit codes: 0 done, 1 refused, for instance because there is one of that name, 2 bad name, scope,
expiry or address, 69 no sidecar runs, 73 the state folder cannot be written
`;

const SWITCH_HELP = `
Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

const REMOVE_HELP = `
Revokes all of its keys and takes it off every list. If one was used in the last hour, who would
break is shown, and nothing is done without --force.

Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

interface AddFlags extends JsonFlag {
  readonly scope?: readonly Scope[];
  /** `90d`, from now. */
  readonly expires?: string;
  readonly allowFrom?: readonly string[];
  readonly namesEndUsers?: boolean;
}

interface RemoveFlags extends JsonFlag {
  readonly force?: boolean;
}

/** The two states of a client that an operator chooses. */
const SWITCHES = {
  disable: {
    about: 'refuse its keys from now on, until it is enabled again',
    done: 'disabled: its keys are refused',
  },
  enable: { about: 'take its keys again', done: 'enabled: its keys count' },
} as const;

/** `sidecar clients`: the named holders of keys. */
export const clientsCommand: CommandDefinition = (program, { show }) => {
  const clients = program
    .command('clients')
    .description('list, add, disable, enable or remove the holders of keys')
    .addHelpText('after', HELP);
  clients
    .command('list')
    .description('list the clients')
    .option(...JSON_FLAG)
    .action((flags: JsonFlag) => show(flags, (api) => api('GET /api/clients'), renderClients));
  clients
    .command('add')
    .description('add a client with a key of its own')
    .argument('<name>', 'what to call it', parseClient)
    .option('--scope <scope>', 'what it may do (default: inference); one, or a,b', parseScope)
    .option('--expires <duration>', 'when its keys end, from now: 90d', parseExpiry)
    .option('--allow-from <block>', 'where it may call from; may be repeated', parseBlock)
    .option('--names-end-users', 'it speaks for many, and says to LiteLLM whose a request is')
    .option(...JSON_FLAG)
    .addHelpText('after', ADD_HELP)
    .action((name: string, flags: AddFlags) => {
      const { scope = ['inference'], expires, allowFrom = [], namesEndUsers } = flags;
      const places = { scopes: [...scope], allowFrom: [...allowFrom] };
      const body = { name, ...places, expires, namesEndUsers };
      return show(flags, (api) => api('POST /api/clients', { body }), renderRotation);
    });
  for (const to of ['disable', 'enable'] as const) {
    clients
      .command(to)
      .description(SWITCHES[to].about)
      .argument('<name>', 'which client', parseClient)
      .option(...JSON_FLAG)
      .addHelpText('after', SWITCH_HELP)
      .action((name: string, flags: JsonFlag) =>
        show(
          flags,
          (api) => api(`POST /api/clients/{name}/${to}`, { name }),
          (view, terminal, now) =>
            renderChange(terminal, `${name} is ${SWITCHES[to].done}`, view, now),
        ),
      );
  }
  clients
    .command('remove')
    .description('revoke all of its keys, and take it off every list')
    .argument('<name>', 'which client', parseClient)
    .option('--force', 'though a key of it is in use')
    .option(...JSON_FLAG)
    .addHelpText('after', REMOVE_HELP)
    .action((name: string, flags: RemoveFlags) => {
      const query = flags.force === true ? ({ force: 'true' } as const) : {};
      return show(
        flags,
        (api) => api('DELETE /api/clients/{name}', { name, query }),
        (view) => {
          const done = `${name} is removed, and all of its keys are revoked`;
          return `${[done, ...notesOf(view, false)].join('\n  ')}\n`;
        },
      );
    });
};

/** One scope, or several with commas between them. */
function parseScope(text: string, before: readonly Scope[] | undefined = []): readonly Scope[] {
  const scopes = text.split(',').map((each) => {
    const word = each.trim().toLowerCase();
    const scope = SCOPES.find((known) => known === word);
    if (scope !== undefined) return scope;
    throw wants(`one of ${SCOPES.join(', ')}`, didYouMean(nearest(word, SCOPES)));
  });
  return [...new Set([...before, ...scopes])];
}

/** A span from now, `90d`. */
function parseExpiry(text: string): string {
  const what = 'a duration from now with its unit, such as 12h or 90d';
  if (/^0(?:ms|s|m|h|d)?$/.test(text))
    throw wants(what, 'a key that is born expired opens nothing');
  return parseSpan(text, what);
}

/** Blocks as the settings write them, one or a list; an address alone is a block of one. */
function parseBlock(text: string, before: readonly string[] | undefined = []): readonly string[] {
  const reading = blocks.read(text);
  if ('value' in reading && reading.value.length > 0) return [...before, ...reading.value];
  const hint = 'hint' in reading ? reading.hint : '';
  throw wants('an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8', hint);
}

const HEAD = ['client', 'state', 'key', 'scopes', 'last used', 'expires', 'from'] as const;

function renderClients(
  { clients }: { readonly clients: readonly ClientView[] },
  terminal: Terminal,
  now: number,
): Promise<string> {
  const rows = clients.map((client) => rowOf(client, now));
  return renderColumns(terminal, terminal.stdout, HEAD, rows);
}

function rowOf(client: ClientView, now: number): readonly Cell[] {
  const { name, state, scopes, expiresAt, allowFrom, generations } = client;
  const active = generations.find((generation) => generation.state === 'active');
  const uses = generations.flatMap(({ lastUsedAt }) => (lastUsedAt === null ? [] : [lastUsedAt]));
  // ISO 8601 in UTC sorts as text.
  const last = uses.sort().at(-1) ?? null;
  return [
    name,
    { text: state, style: state === 'enabled' ? 'green' : 'yellow' },
    active?.id ?? '-',
    scopes.join(', '),
    showAgo(last, now),
    expiresAt === null ? 'never' : showUntil(expiresAt, now),
    allowFrom.length === 0 ? 'anywhere' : allowFrom.join(', '),
  ];
}
