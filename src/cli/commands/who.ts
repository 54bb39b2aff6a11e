import type { CallerView, WhoView } from '../../rotation/admin.ts';
import { AdminRefusal } from '../admin-client.ts';
import { JSON_FLAG, type JsonFlag, parseGeneration } from '../options.ts';
import { goodUntil, showAgo, showCount } from '../phrases.ts';
import { type AdminSession, type CommandDefinition, show } from '../scene.ts';
import { type Cell, renderColumns } from '../table.ts';
import type { Output, Terminal } from '../terminal.ts';

const HELP = `
Lists who used a key, the most recent first: the 100 last callers, by address and user agent.

Examples:
  $ sidecar who master-2
  $ sidecar who master-2 --json | jq -r '.callers[].address'

Exit codes: 0 done, 2 unknown generation, 69 no sidecar runs
`;

/** `sidecar who` */
export const whoCommand: CommandDefinition = (program, { ask }) => {
  program
    .command('who')
    .description('list who uses a key')
    .argument('<generation>', 'which key, such as master-2', parseGeneration)
    .option(...JSON_FLAG)
    .addHelpText('after', HELP)
    .action((id: string, flags: JsonFlag) =>
      ask(flags, async (session) => {
        const { terminal, api, time } = session;
        const view = await api.get('/api/generations/{id}/who', { id });
        return show(session, flags, view, () => renderWho(terminal, view, time.now()));
      }),
    );
};

/** Where a change is refused because a key is in use, who would break stands above the refusal. */
export async function sayingWho<T>(
  { terminal, time }: AdminSession,
  change: () => Promise<T>,
): Promise<T> {
  try {
    return await change();
  } catch (error) {
    if (!(error instanceof AdminRefusal) || error.who === undefined) throw error;
    const { stderr } = terminal;
    stderr.write(await renderCallers(terminal, stderr, error.who, time.now()));
    throw error;
  }
}

/** What the generation is, and who presents it. */
async function renderWho(terminal: Terminal, view: WhoView, now: number): Promise<string> {
  const { generation, callers } = view;
  const { id, uses, inFlight } = generation;
  const title = `${id}: ${goodUntil(generation, now)}; ${showCount(uses, 'request')} in all`;
  const open = inFlight === 0 ? '' : `, ${inFlight} under way`;
  if (callers.length === 0) return `${title}${open}\nnobody has used it\n`;
  return `${title}${open}\n\n${await renderCallers(terminal, terminal.stdout, view, now)}`;
}

const CALLER_HEAD = ['address', 'last seen', 'first seen', 'requests', 'user agent'] as const;

/** The callers of one generation as a table; '' where there are none. */
async function renderCallers(
  terminal: Terminal,
  output: Output,
  { callers }: WhoView,
  now: number,
): Promise<string> {
  const rows = callers.map((caller) => callerRow(caller, now));
  return rows.length === 0 ? '' : await renderColumns(terminal, output, CALLER_HEAD, rows);
}

const callerRow = (caller: CallerView, now: number): readonly Cell[] => [
  caller.address,
  showAgo(caller.lastSeenAt, now),
  showAgo(caller.firstSeenAt, now),
  caller.count.toLocaleString('en-US'),
  caller.userAgent === '' ? { text: '(none)', style: 'dim' } : caller.userAgent,
];
