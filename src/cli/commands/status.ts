import type { UpstreamView } from '../../handover/views.ts';
import type { ClientView, GenerationView, StatusView } from '../../rotation/admin.ts';
import { oneLine } from '../../text/safe.ts';
import { type AdminSession, writeJson } from '../admin-client.ts';
import {
  type Cell,
  type Line,
  nextLines,
  renderColumns,
  renderLines,
  warningLines,
} from '../screen.ts';
import { EXIT, type ExitCode, type Terminal } from '../terminal.ts';
import {
  goodUntil,
  pendingWords,
  renderWho,
  STYLE_OF,
  showAgo,
  showInstant,
  showSetting,
  showSpan,
  showUntil,
  upstreamLine,
} from '../words.ts';

const HEAD = ['client', 'key', 'state', 'made', 'last used', 'good until'] as const;

/** One screen: the keys, and below them a line for whatever an operator should know or do. */
export function renderStatus(terminal: Terminal, view: StatusView, upstream: UpstreamView): string {
  const now = Date.parse(view.now);
  const { stdout } = terminal;
  const up = showSpan(now - Date.parse(view.startedAt));
  const title = `sidecar ${oneLine(view.version)}, up for ${up}; ${showInstant(view.now)}`;
  const rows = view.clients.flatMap((client) => rowsOf(client, now));
  const lines = renderLines(terminal, linesOf(view, upstream, now));
  return `${title}\n\n${renderColumns(terminal, stdout, HEAD, rows)}\n${lines}`;
}

function rowsOf(client: ClientView, now: number): readonly (readonly Cell[])[] {
  const { name, state, generations } = client;
  const first: Cell = state === 'enabled' ? name : { text: `${name} (${state})`, style: 'yellow' };
  if (generations.length === 0) return [[first, '-', '-', '-', '-', 'no key']];
  return generations.map((generation, at) => [
    at === 0 ? first : '',
    ...cellsOf(generation, now),
    `${goodUntil(generation, now).replace(/^good until /, '')}${endOfClient(client, generation)}`,
  ]);
}

function cellsOf(generation: GenerationView, now: number): readonly Cell[] {
  const { id, state, createdAt, lastUsedAt } = generation;
  return [id, { text: state, style: STYLE_OF[state] }, showAgo(createdAt, now), used(lastUsedAt)];

  function used(at: string | null): Cell {
    const text = showAgo(at, now);
    // Somebody will be cut off when it ends.
    return state === 'retiring' && generation.recentCallers > 0 ? { text, style: 'yellow' } : text;
  }
}

const endOfClient = ({ expiresAt }: ClientView, { state }: GenerationView): string =>
  state === 'active' && expiresAt !== null ? `, at the latest ${showInstant(expiresAt)}` : '';

function linesOf(view: StatusView, upstream: UpstreamView, now: number): readonly Line[] {
  const { store } = view;
  const error = store.error ?? 'it cannot be written';
  return [
    ...view.clients.flatMap((client) => pendingLines(client, now)),
    ...warningLines(view),
    upstreamLine(upstream, now),
    store.up
      ? { word: 'store', style: 'dim', text: 'ok' }
      : { word: 'store', style: 'red', text: `${error}; keys rule as they are, nothing is saved` },
    { word: 'schedule', style: 'dim', text: scheduleOf(view, now) },
    ...nextLines(view),
  ];
}

const pendingLines = ({ name, publish }: ClientView, now: number): readonly Line[] =>
  publish
    .filter(({ state }) => state === 'pending')
    .map((target) => ({
      word: 'pending',
      style: 'red',
      text: `the newest key of ${name} is not in ${pendingWords(target, now)}`,
    }));

/** The earliest date alone: with a hundred clients the others are in `--json`. */
function scheduleOf({ rotateEveryMs, clients }: StatusView, now: number): string {
  if (rotateEveryMs === null)
    return 'none; rotate with `sidecar rotate`, or set SIDECAR_ROTATE_EVERY';
  const every = `every ${showSetting(rotateEveryMs)}`;
  const [first] = clients
    .flatMap(({ name, nextRotationAt: at }) => (at === null ? [] : [{ name, at }]))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return first === undefined ? every : `${every}; next ${first.name}, ${showUntil(first.at, now)}`;
}

/** `sidecar status` */
export async function status({ terminal, api }: AdminSession, json: boolean): Promise<ExitCode> {
  const view = await api.status();
  const upstream = await api.upstream();
  if (json) writeJson(terminal, { ...view, upstream });
  else terminal.stdout.write(renderStatus(terminal, view, upstream));
  return EXIT.ok;
}

/** `sidecar who` */
export async function who(
  { terminal, api, time }: AdminSession,
  generation: string,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.who(generation);
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderWho(terminal, view, time.now()));
  return EXIT.ok;
}
