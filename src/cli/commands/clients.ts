import { SCOPES, type Scope } from '../../keyring/keyring.ts';
import type { ClientView, GenerationView } from '../../rotation/admin.ts';
import { nearest } from '../../text/nearest.ts';
import { oneLine } from '../../text/safe.ts';
import { addRights, changesIn, RIGHTS_HELP, type RightsFlags } from '../client-flags.ts';
import type { CommandDefinition } from '../command.ts';
import { clientLine, notesOf, renderChange, renderRotation, validKeyLines } from '../key-report.ts';
import { limitWords, renderLimits } from '../limit-report.ts';
import { didYouMean, JSON_FLAG, type JsonFlag, parseClient, wants } from '../options.ts';
import { showAgo, showUntil } from '../phrases.ts';
import { type Cell, renderColumns } from '../table.ts';
import { CommandError, EXIT, type Terminal } from '../terminal.ts';
import { addFileCommands } from './clients-file.ts';

const HELP = `
Each client has keys, scopes, and if you like an end and addresses of its own: different keys for
different environments, one LiteLLM. master always exists, and may do everything.

Examples:
  $ sidecar clients add staging --scope inference --expires 90d --allow-from 10.0.0.0/8
  $ sidecar key show staging
  $ sidecar clients set staging --rpm 60 --usd-per-day 5 --model 'gpt-4o*'
  $ sidecar clients show staging
  $ sidecar clients disable staging
  $ sidecar clients remove staging
`;

const ADD_HELP = `
Scopes: inference (models), passthrough (a provider's raw API), full (everything).
${RIGHTS_HELP}

LiteLLM is told the client's name as that of the end user, so that it attributes what is spent. With
--names-end-users what the client says of its users goes through: Open WebUI and its like need that.

Examples:
  $ sidecar clients add ci
  $ sidecar clients add ci --rpm 60 --parallel 4 --tokens-per-day 2M --usd-per-day 5
  $ sidecar clients add open-webui --names-end-users --model 'gpt-4o*' --model mock
  $ sidecar clients add staging --scope inference --expires 90d --allow-from 10.0.0.0/8

Exit codes: 0 done, 1 refused, for instance because there is one of that name, 2 bad name, scope,
expiry, address, limit or model, 69 no sidecar runs, 73 the state folder cannot be written
`;

const SET_HELP = `
What is not named stays as it is; scopes and keys do in any case. --rpm none takes that limit off;
--model all, --allow-from anywhere and --expires never do so for the others. A list is given whole:
it takes the place of what was there.
${RIGHTS_HELP}

Examples:
  $ sidecar clients set ci --rpm 120 --limit-mode record
  $ sidecar clients set ci --tokens-per-day none --model all
  $ sidecar clients set master --usd-per-day 50

Exit codes: 0 done, 1 refused, 2 unknown client or bad value, 69 no sidecar runs, 73 the state
folder cannot be written
`;

const SHOW_HELP = `
Examples:
  $ sidecar clients show ci
  $ sidecar clients show ci --json | jq .use.usdToday

Exit codes: 0 done, 2 unknown client, 69 no sidecar runs
`;

const SWITCH_HELP = `
Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

const REMOVE_HELP = `
Revokes all of its keys and takes it off every list. If one was used in the last hour, who would
break is shown, and nothing is done without --force.

Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

interface AddFlags extends RightsFlags {
  readonly scope?: readonly Scope[];
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
export const clientsCommand: CommandDefinition = (program, context) => {
  const { show } = context;
  const clients = program
    .command('clients')
    .description('the holders of keys: list, add and change them, or check their file')
    .addHelpText('after', HELP);
  clients
    .command('list')
    .description('list the clients')
    .option(...JSON_FLAG)
    .action((flags: JsonFlag) => show(flags, (api) => api('GET /api/clients'), renderClients));
  clients
    .command('show')
    .description('show what a client may do, what it uses of its limits, and its keys')
    .argument('<name>', 'which client', parseClient)
    .option(...JSON_FLAG)
    .addHelpText('after', SHOW_HELP)
    .action((name: string, flags: JsonFlag) =>
      show(flags, (api) => api('GET /api/clients/{name}', { name }), renderClient),
    );
  const add = clients
    .command('add')
    .description('add a client with a key of its own')
    .argument('<name>', 'what to call it', parseClient)
    .option('--scope <scope>', 'what it may do (default: inference); one, or a,b', parseScope);
  addRights(add)
    .addHelpText('after', ADD_HELP)
    .action((name: string, { scope = ['inference'], ...flags }: AddFlags) => {
      const body = { name, scopes: [...scope], ...changesIn(flags) };
      return show(flags, (api) => api('POST /api/clients', { body }), renderRotation);
    });
  const set = clients
    .command('set')
    .description('change what a client may do: its limits, models, end and addresses')
    .argument('<name>', 'which client', parseClient);
  addRights(set)
    .option('--no-names-end-users', 'LiteLLM is told its own name again')
    .addHelpText('after', SET_HELP)
    .action((name: string, flags: RightsFlags) => {
      const body = changesIn(flags);
      if (Object.keys(body).length === 0) throw nothingToSet(name);
      return show(
        flags,
        (api) => api('PATCH /api/clients/{name}', { name, body }),
        (view, terminal, now) => renderChange(terminal, `${name} is set`, view, now),
      );
    });
  addFileCommands(clients, context);
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

const nothingToSet = (name: string): CommandError =>
  new CommandError('nothing is said that could be set', EXIT.usage, [
    `such as sidecar clients set ${name} --rpm 60; sidecar clients set --help lists the flags`,
  ]);

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

/** A client on one screen: its rights, what it uses of its limits, and its valid keys. */
async function renderClient(client: ClientView, terminal: Terminal, now: number): Promise<string> {
  const { models, unlistedModels, limits, inFile } = client;
  const over = limits?.mode === 'record' ? 'only recorded' : 'refused';
  const lines = [
    clientLine(client),
    `models: ${models.length === 0 ? 'all' : models.join(', ')}`,
    ...(unlistedModels.length > 0 ? [`LiteLLM does not list: ${unlistedModels.join(', ')}`] : []),
    limits === null ? 'limits: none' : `limits: what is over one is ${over}`,
    ...(inFile ? ['the clients file rules it: no command changes it'] : []),
  ];
  const table = await renderLimits(terminal, client, now);
  const keys = validKeyLines(client, now);
  const parts = [lines.map((line) => oneLine(line)), table === '' ? [] : [table.trimEnd()], keys];
  return `${parts
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n')}\n`;
}

/** A column of the list; one with `ifAny` is there where a client has something in it. */
interface ClientColumn {
  readonly title: string;
  readonly of: (client: ClientView, now: number) => Cell;
  readonly ifAny?: true;
}

const COLUMNS: readonly ClientColumn[] = [
  { title: 'client', of: ({ name }) => name },
  { title: 'state', of: stateOf },
  {
    title: 'key',
    of: ({ generations }) =>
      generations
        .filter(isActive)
        .map(({ id }) => id)
        .join(', ') || '-',
  },
  { title: 'scopes', of: ({ scopes }) => scopes.join(', ') },
  { title: 'models', of: ({ models }) => models.join(', '), ifAny: true },
  { title: 'limits', of: limitWords, ifAny: true },
  { title: 'last used', of: ({ generations }, now) => showAgo(lastUseOf(generations), now) },
  {
    title: 'expires',
    of: ({ expiresAt }, now) => (expiresAt === null ? 'never' : showUntil(expiresAt, now)),
  },
  { title: 'from', of: ({ allowFrom }) => allowFrom.join(', ') || 'anywhere' },
];

function renderClients(
  { clients }: { readonly clients: readonly ClientView[] },
  terminal: Terminal,
  now: number,
): Promise<string> {
  const columns = COLUMNS.filter(
    ({ ifAny, of }) => ifAny === undefined || clients.some((client) => of(client, now) !== ''),
  );
  const head = columns.map(({ title }) => title);
  const rows = clients.map((client) => columns.map(({ of }) => of(client, now)));
  return renderColumns(terminal, terminal.stdout, head, rows);
}

function stateOf({ state, inFile }: ClientView): Cell {
  const text = inFile ? `${state}, in the file` : state;
  return { text, style: state === 'enabled' ? 'green' : 'yellow' };
}

const isActive = ({ state }: GenerationView): boolean => state === 'active';

/** ISO 8601 in UTC sorts as text. */
const lastUseOf = (generations: readonly GenerationView[]): string | null =>
  generations
    .flatMap(({ lastUsedAt }) => (lastUsedAt === null ? [] : [lastUsedAt]))
    .sort()
    .at(-1) ?? null;
