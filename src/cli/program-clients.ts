import type { Command } from 'commander';
import type { Scope } from '../keyring/keyring.ts';
import { parseBlock, parseClient, parseExpiry, parseScope } from './key-options.ts';
import * as help from './program-help.ts';
import { JSON_FLAG, type JsonFlag } from './program-keys.ts';

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
