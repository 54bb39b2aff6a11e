import type { WhoView } from '../../rotation/admin.ts';
import type { CommandDefinition } from '../command.ts';
import { renderCallers } from '../key-report.ts';
import { JSON_FLAG, type JsonFlag, parseGeneration } from '../options.ts';
import { goodUntilOf, showCount } from '../phrases.ts';
import type { Terminal } from '../terminal.ts';

const HELP = `
Lists who used a key, the most recent first: the 100 last callers, by address and user agent.

Examples:
  $ sidecar who master-2
  $ sidecar who master-2 --json | jq -r '.callers[].address'

Exit codes: 0 done, 2 unknown generation, 69 no sidecar runs
`;

/** `sidecar who` */
export const whoCommand: CommandDefinition = (program, { show }) => {
  program
    .command('who')
    .description('list who uses a key')
    .argument('<generation>', 'which key, such as master-2', parseGeneration)
    .option(...JSON_FLAG)
    .addHelpText('after', HELP)
    .action((id: string, flags: JsonFlag) =>
      show(flags, (api) => api('GET /api/generations/{id}/who', { id }), renderWho),
    );
};

/** What the generation is, and who presents it. */
async function renderWho(view: WhoView, terminal: Terminal, now: number): Promise<string> {
  const { generation, callers } = view;
  const { id, uses, inFlight } = generation;
  const until = goodUntilOf(view.client, generation, now);
  const title = `${id}: ${until}; ${showCount(uses, 'request')} in all`;
  const open = inFlight === 0 ? '' : `, ${inFlight} under way`;
  if (callers.length === 0) return `${title}${open}\nnobody has used it\n`;
  return `${title}${open}\n\n${await renderCallers(terminal, terminal.stdout, view, now)}`;
}
