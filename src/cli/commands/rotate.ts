import { MASTER } from '../../client-name.ts';
import type { ChangeView } from '../../rotation/admin.ts';
import type { AdminClient } from '../admin-client.ts';
import { type AdminSession, type CommandDefinition, showResult } from '../command.ts';
import { renderChange, renderRotation } from '../key-report.ts';
import { waitForOlderKeys } from '../older-keys.ts';
import { JSON_FLAG, type JsonFlag, parseClient, parseGeneration, parseSpan } from '../options.ts';
import type { ExitCode, Terminal } from '../terminal.ts';

const ROTATE_HELP = `
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

const ROLLBACK_HELP = `
The newest key that is still retiring is active again, and the one that replaced it is revoked. Not
after --compromised: what has leaked never comes back. It is for the key that is active when it
begins: where that is another one before it is done, nothing is.

Examples:
  $ sidecar rollback
  $ sidecar rollback staging

Exit codes: 0 done, 1 refused, 2 unknown client, 69 no sidecar runs
`;

const REVOKE_HELP = `
Ends one key at once, for good. If it was used in the last hour, who would break is shown, and
nothing is done without --force. Streams that began with it go on, but with --compromised they are
cut, and no --force is asked for.

Examples:
  $ sidecar revoke master-2
  $ sidecar revoke staging-1 --compromised

Exit codes: 0 done, 1 refused, 2 unknown generation, 69 no sidecar runs
`;

interface RotateFlags extends JsonFlag {
  /** `24h`; undefined: the sidecar's own setting. */
  readonly grace?: string;
  readonly compromised?: boolean;
  readonly force?: boolean;
  readonly wait?: boolean;
}

interface RevokeFlags extends JsonFlag {
  readonly force?: boolean;
  readonly compromised?: boolean;
}

/** `sidecar rotate` */
export const rotateCommand: CommandDefinition = (program, { ask }) => {
  program
    .command('rotate')
    .description('make a new key; the old one stays good for its grace')
    .argument('[client]', 'whose key', parseClient, MASTER)
    .option(
      '--grace <duration>',
      'how long the old key stays good (default: SIDECAR_GRACE)',
      (text: string) => parseSpan(text, 'a duration with its unit, such as 30m, 24h or 7d, or 0'),
    )
    .option('--compromised', 'the old keys have leaked: revoke them, cut what they have in flight')
    .option('--force', 'though an old key that ends at once is in use')
    .option('--wait', 'stay, and show who still uses an old key, until nobody does')
    .option(...JSON_FLAG)
    .addHelpText('after', ROTATE_HELP)
    .action((client: string, flags: RotateFlags) =>
      ask(flags, (session) => rotate(session, client, flags)),
    );
};

/** `sidecar rollback` */
export const rollbackCommand: CommandDefinition = (program, { show }) => {
  program
    .command('rollback')
    .description('make the key before the newest one active again')
    .argument('[client]', 'whose key', parseClient, MASTER)
    .option(...JSON_FLAG)
    .addHelpText('after', ROLLBACK_HELP)
    .action((name: string, flags: JsonFlag) =>
      show(flags, (api) => rollBack(api, name), renderRollback),
    );
};

/** `sidecar revoke` */
export const revokeCommand: CommandDefinition = (program, { show }) => {
  program
    .command('revoke')
    .description('end one key at once')
    .argument('<generation>', 'which key, such as master-2', parseGeneration)
    .option('--force', 'though it is in use')
    .option('--compromised', 'it has leaked: cut what it has in flight, too')
    .option(...JSON_FLAG)
    .addHelpText('after', REVOKE_HELP)
    .action((id: string, { force = false, compromised = false, ...flags }: RevokeFlags) => {
      const body = { force, compromised };
      const said = `${id} is revoked: it opens nothing any more`;
      return show(
        flags,
        (api) => api('POST /api/generations/{id}/revoke', { id, body }),
        (view, terminal, now) => renderChange(terminal, said, view, now, compromised),
      );
    });
};

async function rotate(session: AdminSession, name: string, flags: RotateFlags): Promise<ExitCode> {
  const { grace, compromised = false, force = false, wait = false } = flags;
  const body = { grace, compromised, force };
  const view = await session.api('POST /api/clients/{name}/rotate', { name, body });
  const code = await showResult(session, flags, view, (_, terminal, now) =>
    renderRotation(view, terminal, now, compromised),
  );
  // Ctrl-C is asked for once there is something to wait for.
  return wait ? await waitForOlderKeys(session, view, session.interrupts()) : code;
}

async function rollBack(api: AdminClient, name: string): Promise<ChangeView> {
  const { generations } = await api('GET /api/clients/{name}', { name });
  const from = generations.find(({ state }) => state === 'active')?.id;
  return await api('POST /api/clients/{name}/rollback', { name, body: { from } });
}

function renderRollback(view: ChangeView, terminal: Terminal, now: number): string {
  const { name, generations } = view.client;
  const active = generations.find(({ state }) => state === 'active');
  return renderChange(terminal, `${active?.id ?? name} is the key of ${name} again`, view, now);
}
