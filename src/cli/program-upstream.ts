import { type Command, Option } from 'commander';
import * as help from './program-help-upstream.ts';
import { JSON_FLAG, type JsonFlag } from './program-keys.ts';

/** The flags as commander gives them: what was not given is not there. */
export interface HandoverFlags extends JsonFlag {
  readonly wait?: boolean;
}

export interface ReloadFlags extends HandoverFlags {
  readonly dryRun?: boolean;
}

/** What the commands for LiteLLM's own key and configuration do. */
export interface UpstreamActions {
  upstreamStatus(flags: JsonFlag): Promise<void>;
  upstreamRotate(flags: HandoverFlags): Promise<void>;
  upstreamReload(flags: ReloadFlags): Promise<void>;
  upstreamHistory(flags: JsonFlag): Promise<void>;
  saltKey(flags: JsonFlag): Promise<void>;
}

const WAIT_FLAG = ['--wait', 'stay until the LiteLLM before has ended, too'] as const;

export function addUpstreamCommands(program: Command, actions: UpstreamActions): void {
  const upstream = program
    .command('upstream')
    .description("LiteLLM's own key and configuration: show them, replace them")
    .addHelpText('after', help.UPSTREAM);
  upstream
    .command('status')
    .description('show where LiteLLM runs, what is handed over, and what to do next')
    .option(...JSON_FLAG)
    .addHelpText('after', help.UPSTREAM_STATUS)
    .action((flags: JsonFlag) => actions.upstreamStatus(flags));
  addHandovers(upstream, actions);
  upstream
    .command('history')
    .description('list the last 20 handovers')
    .option(...JSON_FLAG)
    .addHelpText('after', help.UPSTREAM_HISTORY)
    .action((flags: JsonFlag) => actions.upstreamHistory(flags));
  upstream
    .command('salt-key')
    .description("print a new LITELLM_SALT_KEY, which LiteLLM's database needs; it is not stored")
    .option(...JSON_FLAG)
    .addHelpText('after', help.SALT_KEY)
    .action((flags: JsonFlag) => actions.saltKey(flags));
}

function addHandovers(upstream: Command, actions: UpstreamActions): void {
  upstream
    .command('rotate')
    .description('let a LiteLLM with a new key take over; clients notice nothing')
    .option(...WAIT_FLAG)
    .addOption(new Option('--dry-run').hideHelp())
    .option(...JSON_FLAG)
    .addHelpText('after', help.UPSTREAM_ROTATE)
    .action(({ dryRun, ...flags }: ReloadFlags, command: Command) => {
      if (dryRun === true) command.error(help.DRY_RUN_OF_ROTATE);
      return actions.upstreamRotate(flags);
    });
  upstream
    .command('reload')
    .description('let one with the configuration as it is now take over')
    .option('--dry-run', 'see whether it comes up, and switch nothing')
    .option(...WAIT_FLAG)
    .option(...JSON_FLAG)
    .addHelpText('after', help.UPSTREAM_RELOAD)
    .action((flags: ReloadFlags) => actions.upstreamReload(flags));
}
