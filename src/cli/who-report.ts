import type { CallerView, WhoView } from '../rotation/admin.ts';
import { type Cell, renderColumns } from './columns.ts';
import { showAgo, showCount } from './instant.ts';
import { goodUntil } from './key-words.ts';
import type { Output, Terminal } from './terminal.ts';

const HEAD = ['address', 'last seen', 'first seen', 'requests', 'user agent'] as const;

const rowOf = (caller: CallerView, now: number): readonly Cell[] => [
  caller.address,
  showAgo(caller.lastSeenAt, now),
  showAgo(caller.firstSeenAt, now),
  caller.count.toLocaleString('en-US'),
  caller.userAgent === '' ? { text: '(none)', style: 'dim' } : caller.userAgent,
];

/** The callers of one generation as a table; '' where there are none. */
export function renderCallers(
  terminal: Terminal,
  output: Output,
  { callers }: WhoView,
  now: number,
): string {
  const rows = callers.map((caller) => rowOf(caller, now));
  return rows.length === 0 ? '' : renderColumns(terminal, output, HEAD, rows);
}

/** `sidecar who`: what the generation is, and who presents it. */
export function renderWho(terminal: Terminal, view: WhoView, now: number): string {
  const { generation, callers } = view;
  const { id, uses, inFlight } = generation;
  const title = `${id}: ${goodUntil(generation, now)}; ${showCount(uses, 'request')} in all`;
  const open = inFlight === 0 ? '' : `, ${inFlight} under way`;
  if (callers.length === 0) return `${title}${open}\nnobody has used it\n`;
  return `${title}${open}\n\n${renderCallers(terminal, terminal.stdout, view, now)}`;
}
