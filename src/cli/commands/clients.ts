import type { Command } from 'commander';
import type { Scope } from '../../keyring/keyring.ts';
import type { ChangeView, ClientView } from '../../rotation/admin.ts';
import { type AdminSession, writeJson } from '../admin-client.ts';
import { notesOf, renderChange, renderRotation, sayingWho } from '../key-report.ts';
import * as help from '../options.ts';
import {
  JSON_FLAG,
  type JsonFlag,
  parseBlock,
  parseClient,
  parseExpiry,
  parseScope,
} from '../options.ts';
import { showAgo, showUntil } from '../phrases.ts';
import { type Cell, renderColumns } from '../table.ts';
import { EXIT, type ExitCode, type Terminal } from '../terminal.ts';

/** The flags as commander gives them: what was not given is not there. */
export interface AddFlags extends JsonFlag {
  readonly scope?: readonly Scope[];
  readonly expires?: string;
  readonly allowFrom?: readonly string[];
}

export interface RemoveFlags extends JsonFlag {
  readonly force?: boolean;
}

/** What the commands for clients do. */
export interface ClientActions {
  listClients(flags: JsonFlag): Promise<void>;
  addClient(name: string, flags: AddFlags): Promise<void>;
  switchClient(name: string, to: 'disable' | 'enable', flags: JsonFlag): Promise<void>;
  removeClient(name: string, flags: RemoveFlags): Promise<void>;
}

const EXIT_CODES = `
Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

const SWITCHES = {
  disable: 'refuse its keys from now on, until it is enabled again',
  enable: 'take its keys again',
} as const;

export function addClientCommands(program: Command, actions: ClientActions): void {
  const clients = program
    .command('clients')
    .description('list, add, disable, enable or remove the holders of keys')
    .addHelpText('after', help.CLIENTS);
  clients
    .command('list')
    .description('list the clients')
    .option(...JSON_FLAG)
    .action((flags: JsonFlag) => actions.listClients(flags));
  clients
    .command('add')
    .description('add a client with a key of its own')
    .argument('<name>', 'what to call it', parseClient)
    .option('--scope <scope>', 'what it may do (default: inference); may be repeated', parseScope)
    .option('--expires <duration>', 'when its keys end, from now: 90d', parseExpiry)
    .option('--allow-from <block>', 'where it may call from; may be repeated', parseBlock)
    .option(...JSON_FLAG)
    .addHelpText('after', help.ADD)
    .action((name: string, flags: AddFlags) => actions.addClient(name, flags));
  for (const to of ['disable', 'enable'] as const) {
    clients
      .command(to)
      .description(SWITCHES[to])
      .argument('<name>', 'which client', parseClient)
      .option(...JSON_FLAG)
      .addHelpText('after', EXIT_CODES)
      .action((name: string, flags: JsonFlag) => actions.switchClient(name, to, flags));
  }
  clients
    .command('remove')
    .description('revoke all of its keys, and take it off every list')
    .argument('<name>', 'which client', parseClient)
    .option('--force', 'though a key of it is in use')
    .option(...JSON_FLAG)
    .addHelpText('after', help.REMOVE)
    .action((name: string, flags: RemoveFlags) => actions.removeClient(name, flags));
}

export interface NewClient {
  readonly scopes: readonly Scope[];
  /** `90d`, from now. */
  readonly expires: string | undefined;
  readonly allowFrom: readonly string[];
}

const HEAD = ['client', 'state', 'key', 'scopes', 'last used', 'expires', 'from'] as const;

/** `sidecar clients list` */
export async function listClients(
  { terminal, api, time }: AdminSession,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.clients();
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderClients(terminal, view.clients, time.now()));
  return EXIT.ok;
}

function renderClients(terminal: Terminal, clients: readonly ClientView[], now: number): string {
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

/** `sidecar clients add` */
export async function addClient(
  { terminal, api, time }: AdminSession,
  name: string,
  { scopes, expires, allowFrom }: NewClient,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.addClient({ name, scopes, expires, allowFrom });
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderRotation(terminal, view, time.now()));
  return EXIT.ok;
}

/** `sidecar clients disable|enable` */
export async function switchClient(
  session: AdminSession,
  name: string,
  to: 'disable' | 'enable',
  json: boolean,
): Promise<ExitCode> {
  const done = { disable: 'disabled: its keys are refused', enable: 'enabled: its keys count' };
  const view = await session.api[to](name);
  return show(session, `${name} is ${done[to]}`, view, json);
}

/** `sidecar clients remove` */
export async function removeClient(
  session: AdminSession,
  name: string,
  force: boolean,
  json: boolean,
): Promise<ExitCode> {
  const { terminal, api } = session;
  const view = await sayingWho(session, () => api.removeClient(name, force));
  const lines = [`${name} is removed, and all of its keys are revoked`, ...notesOf(view, false)];
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(`${lines.join('\n  ')}\n`);
  return EXIT.ok;
}

function show(
  { terminal, time }: AdminSession,
  said: string,
  view: ChangeView,
  json: boolean,
): ExitCode {
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderChange(terminal, said, view, time.now()));
  return EXIT.ok;
}
