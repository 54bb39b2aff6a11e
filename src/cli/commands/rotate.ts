import { type Command, Option } from 'commander';
import { MASTER } from '../../client-name.ts';
import { type AdminSession, writeJson } from '../admin-client.ts';
import { renderChange, renderRotation, sayingWho } from '../key-report.ts';
import { waitForOlderKeys } from '../older-keys.ts';
import * as help from '../options.ts';
import {
  JSON_FLAG,
  type JsonFlag,
  parseClient,
  parseGeneration,
  parseGrace,
  parseLimit,
} from '../options.ts';
import { EXIT, type ExitCode } from '../terminal.ts';

/** The flags as commander gives them: what was not given is not there. */
export interface RotateFlags extends JsonFlag {
  readonly grace?: string;
  readonly compromised?: boolean;
  readonly force?: boolean;
  readonly wait?: boolean;
}

export interface RevokeFlags extends JsonFlag {
  readonly force?: boolean;
  readonly compromised?: boolean;
}

export interface AuditFlags extends JsonFlag {
  readonly follow?: boolean;
  readonly limit: number;
}

/** What the commands for keys do. */
export interface KeyActions {
  status(flags: JsonFlag): Promise<void>;
  rotate(client: string, flags: RotateFlags): Promise<void>;
  rollback(client: string, flags: JsonFlag): Promise<void>;
  revoke(generation: string, flags: RevokeFlags): Promise<void>;
  who(generation: string, flags: JsonFlag): Promise<void>;
  audit(flags: AuditFlags): Promise<void>;
  auditVerify(flags: JsonFlag): Promise<void>;
}
/** The commands that look at keys and change them. */
export function addKeyCommands(program: Command, actions: KeyActions): void {
  program
    .command('status')
    .description('show clients, their keys, until when each is good, and what to do next')
    .option(...JSON_FLAG)
    .addHelpText('after', help.STATUS)
    .action((flags: JsonFlag) => actions.status(flags));
  program
    .command('rotate')
    .description('make a new key; the old one stays good for its grace')
    .argument('[client]', 'whose key', parseClient, MASTER)
    .option(
      '--grace <duration>',
      'how long the old key stays good (default: SIDECAR_GRACE)',
      parseGrace,
    )
    .option('--compromised', 'the old keys have leaked: revoke them, cut what they have in flight')
    .option('--force', 'though an old key that ends at once is in use')
    .option('--wait', 'stay, and show who still uses an old key, until nobody does')
    .option(...JSON_FLAG)
    .addHelpText('after', help.ROTATE)
    .action((client: string, flags: RotateFlags) => actions.rotate(client, flags));
  program
    .command('rollback')
    .description('make the key before the newest one active again')
    .argument('[client]', 'whose key', parseClient, MASTER)
    .option(...JSON_FLAG)
    .addHelpText('after', help.ROLLBACK)
    .action((client: string, flags: JsonFlag) => actions.rollback(client, flags));
  program
    .command('revoke')
    .description('end one key at once')
    .argument('<generation>', 'which key, such as master-2', parseGeneration)
    .option('--force', 'though it is in use')
    .option('--compromised', 'it has leaked: cut what it has in flight, too')
    .option(...JSON_FLAG)
    .addHelpText('after', help.REVOKE)
    .action((generation: string, flags: RevokeFlags) => actions.revoke(generation, flags));
  program
    .command('who')
    .description('list who uses a key')
    .argument('<generation>', 'which key, such as master-2', parseGeneration)
    .option(...JSON_FLAG)
    .addHelpText('after', help.WHO)
    .action((generation: string, flags: JsonFlag) => actions.who(generation, flags));
  addAudit(program, actions);
}

function addAudit(program: Command, actions: KeyActions): void {
  const audit = program
    .command('audit')
    .description('show what was done to keys, when and by whom')
    .option('--follow', 'go on with what comes, until Ctrl-C')
    .addOption(
      new Option('--limit <lines>', 'the last so many lines, up to 1000')
        .argParser(parseLimit)
        .default(50),
    )
    .option(...JSON_FLAG)
    .addHelpText('after', help.AUDIT)
    .action((flags: AuditFlags) => actions.audit(flags));
  audit
    .command('verify')
    .description('check that no line of it was changed')
    .option(...JSON_FLAG)
    .addHelpText('after', help.VERIFY)
    .action((_flags: object, command: Command) =>
      // With --json before `verify`, it is the parent's.
      actions.auditVerify(command.optsWithGlobals()),
    );
}

export interface RotateOptions {
  /** `24h`; undefined: the sidecar's own setting. */
  readonly grace: string | undefined;
  readonly compromised: boolean;
  readonly force: boolean;
  readonly wait: boolean;
  readonly json: boolean;
}

/** `sidecar rotate`; `interrupts` is asked for Ctrl-C once there is something to wait for. */
export async function rotate(
  session: AdminSession,
  client: string,
  { grace, compromised, force, wait, json }: RotateOptions,
  interrupts: () => AbortSignal,
): Promise<ExitCode> {
  const { terminal, api, time } = session;
  const body = { grace, compromised, force };
  const view = await sayingWho(session, () => api.rotate(client, body));
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderRotation(terminal, view, time.now(), compromised));
  if (wait) return await waitForOlderKeys(session, view, interrupts());
  return EXIT.ok;
}

/** `sidecar rollback` */
export async function rollback(
  { terminal, api, time }: AdminSession,
  client: string,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.rollback(client);
  const active = view.client.generations.find(({ state }) => state === 'active');
  const said = `${active?.id ?? client} is the key of ${client} again`;
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderChange(terminal, said, view, time.now()));
  return EXIT.ok;
}

/** `sidecar revoke` */
export async function revoke(
  session: AdminSession,
  generation: string,
  options: { readonly force: boolean; readonly compromised: boolean; readonly json: boolean },
): Promise<ExitCode> {
  const { terminal, api, time } = session;
  const { force, compromised, json } = options;
  const view = await sayingWho(session, () => api.revoke(generation, { force, compromised }));
  const said = `${generation} is revoked: it opens nothing any more`;
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderChange(terminal, said, view, time.now(), compromised));
  return EXIT.ok;
}
