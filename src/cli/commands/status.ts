import type { HandoverView, SlotView, UpstreamView } from '../../handover/views.ts';
import type { ClientView, GenerationView, StatusView } from '../../rotation/admin.ts';
import { oneLine } from '../../text/safe.ts';
import type { AdminClient } from '../admin-client.ts';
import type { CommandDefinition } from '../command.ts';
import { limitLines } from '../limit-report.ts';
import { JSON_FLAG, type JsonFlag } from '../options.ts';
import {
  goodUntilOf,
  handoverName,
  keyChangeWords,
  pendingWords,
  showAgo,
  showClock,
  showCount,
  showInstant,
  showSetting,
  showSpan,
  showUntil,
  stepWords,
} from '../phrases.ts';
import {
  type Cell,
  type LabelledLine,
  nextLines,
  renderColumns,
  renderLines,
  warningLines,
} from '../table.ts';
import type { Style, Terminal } from '../terminal.ts';

const HELP = `
Shows each client's keys, until when each is good, what could not be published, what is used of
limits, which clients the file rules, how LiteLLM is, and what to do next.

Examples:
  $ sidecar status
  $ sidecar status --json | jq '.clients[].generations[] | select(.state == "retiring")'
  $ sidecar status --json | jq .upstream.slots

Exit codes: 0 where a sidecar answers, 69 where none runs
`;

/** `sidecar status` */
export const statusCommand: CommandDefinition = (program, { show }) => {
  program
    .command('status')
    .description('show clients, their keys, until when each is good, and what to do next')
    .option(...JSON_FLAG)
    .addHelpText('after', HELP)
    .action((flags: JsonFlag) => {
      const question = async (api: AdminClient) => {
        const view = await api('GET /api/status');
        return { ...view, upstream: await api('GET /api/upstream') };
      };
      return show(flags, question, renderStatus);
    });
};

const HEAD = ['client', 'key', 'state', 'made', 'last used', 'good until'] as const;

/** One screen: the keys, and below them a line for whatever an operator should know or do. */
async function renderStatus(
  { upstream, ...view }: StatusView & { readonly upstream: UpstreamView },
  terminal: Terminal,
): Promise<string> {
  const now = Date.parse(view.now);
  const { stdout } = terminal;
  const up = showSpan(now - Date.parse(view.startedAt));
  const title = `sidecar ${oneLine(view.version)}, up for ${up}; ${showInstant(view.now)}`;
  const rows = view.clients.flatMap((client) => rowsOf(client, now));
  const lines = renderLines(terminal, linesOf(view, upstream, now));
  const first = renderLines(terminal, isAway(upstream) ? awayLines(upstream, now) : []);
  return `${title}\n${first}\n${await renderColumns(terminal, stdout, HEAD, rows)}\n${lines}`;
}

function rowsOf(client: ClientView, now: number): readonly (readonly Cell[])[] {
  const { name, state, generations } = client;
  const first: Cell = state === 'enabled' ? name : { text: `${name} (${state})`, style: 'yellow' };
  if (generations.length === 0) return [[first, '-', '-', '-', '-', 'no key']];
  return generations.map((generation, at) => {
    const until = goodUntilOf(client, generation, now).replace(/^good until /, '');
    const cells = cellsOf(generation, now);
    return [at === 0 ? first : '', ...cells, `${until}${endOfClient(client, generation)}`];
  });
}

function cellsOf(generation: GenerationView, now: number): readonly Cell[] {
  const { id, state, createdAt, lastUsedAt } = generation;
  return [id, { text: state, style: STYLE_OF[state] }, showAgo(createdAt, now), used(lastUsedAt)];

  function used(at: string | null): Cell {
    const text = showAgo(at, now);
    // Whoever still uses a retiring key is refused when the key ends.
    return state === 'retiring' && generation.recentCallers > 0 ? { text, style: 'yellow' } : text;
  }
}

const STYLE_OF: Readonly<Record<GenerationView['state'], Style>> = {
  active: 'green',
  retiring: 'yellow',
  retired: 'dim',
  revoked: 'red',
};

const endOfClient = (client: ClientView, { state }: GenerationView): string =>
  client.state === 'enabled' && state === 'active' && client.expiresAt !== null
    ? `, at the latest ${showInstant(client.expiresAt)}`
    : '';

function linesOf(view: StatusView, upstream: UpstreamView, now: number): readonly LabelledLine[] {
  const { store } = view;
  const error = store.error ?? 'it cannot be written';
  return [
    ...view.clients.flatMap((client) => pendingLines(client, now)),
    ...limitLines(view.clients),
    ...fileLines(view.clients),
    ...warningLines(view),
    ...(isAway(upstream) ? [] : [upstreamLine(upstream, now)]),
    store.up
      ? { label: 'store', style: 'dim', text: store.kept ? 'ok' : NOTHING_KEPT }
      : { label: 'store', style: 'red', text: `${error}; keys rule as they are, nothing is saved` },
    ...(store.kept
      ? [{ label: 'schedule', style: 'dim', text: scheduleOf(view, now) } as const]
      : []),
    ...nextLines(view),
  ];
}

const NOTHING_KEPT = 'nothing is kept (SIDECAR_STATE=none): a restart begins with the settings';

const isAway = (view: UpstreamView): boolean => activeOf(view)?.up !== true;

/** Where LiteLLM is away nothing else matters as much: it stands above all. */
function awayLines(view: UpstreamView, now: number): readonly LabelledLine[] {
  const { url } = activeOf(view) ?? { url: '' };
  const text =
    view.mode === 'unmanaged'
      ? `start it, or mend SIDECAR_UPSTREAM: it is asked at ${url}`
      : 'docker compose logs litellm says why, and `sidecar upstream status` what it said last';
  return [upstreamLine(view, now), { label: '  hint', style: 'cyan', text }];
}

/** LiteLLM in one line of `sidecar status`; `sidecar upstream status` has the rest. */
function upstreamLine(view: UpstreamView, now: number): LabelledLine {
  const parts = [
    placeWords(view, now),
    ...refusedWords(view),
    ...configWords(view, now),
    ...[view.handover, view.waiting].flatMap((each) => handoverWords(each, now)),
    ...keyChangeWords(view, now).map((words) => `key change ${words}`),
    ...warningWords(view),
  ];
  return { label: 'litellm', style: styleOf(view), text: parts.join('; ') };
}

const activeOf = ({ slots }: UpstreamView): SlotView | undefined =>
  slots.find(({ state }) => state === 'active');

/** `away since 14:03:11 UTC (5 min)` */
function upWord(slot: SlotView | undefined, now: number): string {
  if (slot?.up === true) return 'up';
  const since = slot?.downSince ?? null;
  if (since === null) return 'away';
  return `away since ${showClock(since)} (${showSpan(now - Date.parse(since))})`;
}

function placeWords(view: UpstreamView, now: number): string {
  const active = activeOf(view);
  if (view.mode === 'unmanaged') return `somebody else runs it, ${upWord(active, now)}`;
  return active === undefined ? 'none is active' : `slot ${active.name}, ${upWord(active, now)}`;
}

function configWords(view: UpstreamView, now: number): readonly string[] {
  const { config, autoReload, configWaitsUntil } = view;
  if (config === 'none') return [];
  if (configWaitsUntil !== null) {
    return [`config changed, tried again ${showUntil(configWaitsUntil, now)}`];
  }
  if (config === 'refused') return ['config refused: `sidecar upstream status` says why'];
  if (config === 'current' || autoReload) return [`config ${config}`];
  return ['config changed: `sidecar upstream reload` takes it'];
}

const handoverWords = (view: HandoverView | null, now: number): readonly string[] =>
  view === null ? [] : [`${handoverName(view)}: ${stepWords(view, now).replace('; ', ', ')}`];

/** Where LiteLLM refuses the sidecar's key no request is answered: that is said in full. */
const refusedWords = ({ warnings }: UpstreamView): readonly string[] =>
  warnings.flatMap(({ code, message, hint }) =>
    code === 'upstream_key_refused' ? [`${message}: ${hint}`] : [],
  );

const warningWords = ({ warnings }: UpstreamView): readonly string[] =>
  warnings.length === 0
    ? []
    : [`${showCount(warnings.length, 'warning')}: \`sidecar upstream status\``];

function styleOf(view: UpstreamView): LabelledLine['style'] {
  if (activeOf(view)?.up !== true || refusedWords(view).length > 0) return 'red';
  const isCalm = view.config !== 'refused' && view.warnings.length === 0;
  return isCalm ? 'dim' : 'yellow';
}

const pendingLines = ({ name, publish }: ClientView, now: number): readonly LabelledLine[] =>
  publish
    .filter(({ state }) => state === 'pending')
    .map((target) => ({
      label: 'pending',
      style: 'red',
      text: `the newest key of ${name} is not in ${pendingWords(target, now)}`,
    }));

/** How many clients of the file are named. */
const MOST_NAMED = 10;

function fileLines(clients: readonly ClientView[]): readonly LabelledLine[] {
  const names = clients.filter(({ inFile }) => inFile).map(({ name }) => name);
  if (names.length === 0) return [];
  const more = names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : '';
  const text = `rules ${names.slice(0, MOST_NAMED).join(', ')}${more}`;
  return [{ label: 'clients file', style: 'dim', text }];
}

/** Only the next rotation: there may be a hundred clients, and `--json` has the dates of all. */
function scheduleOf({ rotateEveryMs, clients }: StatusView, now: number): string {
  if (rotateEveryMs === null)
    return 'none; rotate with `sidecar rotate`, or set SIDECAR_ROTATE_EVERY';
  const every = `every ${showSetting(rotateEveryMs)}`;
  const [first] = clients
    .flatMap(({ name, nextRotationAt: at }) => (at === null ? [] : [{ name, at }]))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return first === undefined ? every : `${every}; next ${first.name}, ${showUntil(first.at, now)}`;
}
