import { showDuration } from '../config/units.ts';
import type { HandoverFault, HandoverView, SlotView, UpstreamView } from '../handover/views.ts';
import { MASTER } from '../keyring/keyring.ts';
import type {
  CallerView,
  ChangeView,
  ClientView,
  GenerationView,
  RotateView,
  TargetView,
  WhoView,
} from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import { type Cell, type Line, renderColumns } from './screen.ts';
import { type Output, paint, type Style, type Terminal } from './terminal.ts';

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

/**
 * An instant for people: `2026-11-24 14:03 UTC`. Always UTC, as in the log and the audit: a command
 * in a container knows no other zone, and two places must not name one instant differently.
 */
export const showInstant = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;

/** The same to the second. */
export const showSecond = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;

/** The time of day alone, of what is a matter of minutes: `14:03:11 UTC`. */
export const showClock = (iso: string): string => `${iso.slice(11, 19)} UTC`;

/** Milliseconds, rounded down to one unit: `4 s`, `90 min`, `23 h`, `30 d`. */
export function showSpan(ms: number): string {
  if (ms < 2 * MINUTE) return `${Math.floor(Math.max(0, ms) / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`;
  return ms < 2 * DAY ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / DAY)} d`;
}

/** A span as one writes it in a setting: `24h` rather than `1d`, then `3d`. */
export const showSetting = (ms: number): string =>
  ms > 0 && ms <= 2 * DAY && ms % HOUR === 0 ? `${ms / HOUR}h` : showDuration(ms);

/** `4 s ago`; null is never. What lies ahead, by a clock that jumped, is now. */
export const showAgo = (iso: string | null, now: number): string =>
  iso === null ? 'never' : `${showSpan(now - Date.parse(iso))} ago`;

/** To the nearest: a grace of 30 d that began a second ago ends in 30 d. */
export function showIn(ms: number): string {
  const unit = ms < 2 * MINUTE ? SECOND : ms < 2 * HOUR ? MINUTE : ms < 2 * DAY ? HOUR : DAY;
  return `in ${showSpan(ms + unit / 2)}`;
}

/** `2026-11-24 14:03 UTC (in 23 h)`, or `(4 s ago)` where it has passed. */
export function showUntil(iso: string, now: number): string {
  const left = Date.parse(iso) - now;
  const relative = left > 0 ? showIn(left) : `${showSpan(-left)} ago`;
  return `${showInstant(iso)} (${relative})`;
}

/** `1 request`, `2 requests`. */
export const showCount = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;

/** What a handover is for. */
export const PURPOSE: Readonly<Record<HandoverView['kind'], string>> = {
  rotate: 'a new key',
  reload: 'the configuration as it is now',
  'dry-run': 'a try of the configuration, which switches nothing',
};

export const isOver = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

/** `handover-12 (rotate by cli:alice)` */
export const handoverName = ({ id, kind, by }: HandoverView): string =>
  oneLine(`${id} (${kind} by ${by})`);

/** `starting since 14:03:11 UTC (6 s); waits for LiteLLM in slot b to answer` */
export function stepWords(view: HandoverView, now: number): string {
  const { state, stateSince, endedAt, waitsFor } = view;
  if (isOver(view)) return `${state.replace('_', ' ')} ${showAgo(endedAt ?? stateSince, now)}`;
  const since = `since ${showClock(stateSince)} (${showSpan(now - Date.parse(stateSince))})`;
  return oneLine(`${state} ${since}${waitsFor === null ? '' : `; waits for ${waitsFor}`}`);
}

/** `12 models, 2 appeared, 1 vanished`; '' where nobody knows yet. */
export function modelWords({ models }: HandoverView): string {
  if (models === null) return '';
  const { listed, added, vanished } = models;
  const changes = [
    ...(added.length > 0 ? [`${added.length} appeared`] : []),
    ...(vanished.length > 0 ? [`${vanished.length} vanished`] : []),
  ];
  return `${showCount(listed, 'model')}, ${changes.length > 0 ? changes.join(', ') : 'as before'}`;
}

/** Of a traceback the beginnings of lines mean something; so much of them stays. */
const DEEPEST = 40;

/** LiteLLM's last words, a line each, without what a terminal would obey. */
export const lastWordsOf = ({ lastWords }: HandoverFault): readonly string[] =>
  lastWords.map((line) => {
    const depth = /^ */.exec(line)?.[0].length ?? 0;
    return `${' '.repeat(Math.min(depth, DEEPEST))}${oneLine(line)}`;
  });

/** Until when a generation opens anything, in words that stand behind its name. */
export function goodUntil(generation: GenerationView, now: number): string {
  const { state, validUntil, clockStarted } = generation;
  if (state === 'active') return 'good until it is rotated';
  if (validUntil === null) return state;
  if (state !== 'retiring') return `${state} ${showUntil(validUntil, now)}`;
  if (clockStarted) return `good until ${showUntil(validUntil, now)}`;
  return `good until ${atTheLatest(generation, validUntil, now)}`;
}

function atTheLatest({ graceMs }: GenerationView, validUntil: string, now: number): string {
  const latest = `at the latest ${showUntil(validUntil, now)}`;
  if (graceMs === null) return latest;
  const after = graceMs === 0 ? '' : `${showSetting(graceMs)} after `;
  return `${after}the new key's first use, ${latest}`;
}

export const STYLE_OF: Readonly<Record<GenerationView['state'], Style>> = {
  active: 'green',
  retiring: 'yellow',
  retired: 'dim',
  revoked: 'red',
};

/** The command that prints a client's newest key. */
export const showCommand = (client: string): string =>
  client === MASTER ? 'sidecar key show' : `sidecar key show ${client}`;

/** What ended with a key that was compromised, streams and WebSockets included. */
export function cutWords(cut: number): string {
  if (cut === 0) return 'nothing was in flight that had to be cut';
  return `${showCount(cut, 'request')} in flight ${cut === 1 ? 'was' : 'were'} cut`;
}

/** Why a publish target lacks the newest key, and when it is tried again. */
export function pendingWords({ target, error, nextTryAt }: TargetView, now: number): string {
  const why = error === null ? 'not written yet' : oneLine(error);
  if (nextTryAt === null) return `${oneLine(target)}: ${why}`;
  const left = Date.parse(nextTryAt) - now;
  return `${oneLine(target)}: ${why}; tried again ${left > 0 ? showIn(left) : 'now'}`;
}

/** `inference from 10.0.0.0/8, until 2027-02-22 14:03 UTC`: what a client may do. */
export function clientWords({ scopes, allowFrom, expiresAt }: ClientView): string {
  const from = allowFrom.length === 0 ? '' : ` from ${allowFrom.join(', ')}`;
  const until = expiresAt === null ? '' : `, until ${showInstant(expiresAt)}`;
  return `${scopes.join(', ')}${from}${until}`;
}

/** What else is to be known of a change; `cuts`: it was to cut what is in flight. */
export const notesOf = ({ cut, notes }: ChangeView, cuts: boolean): readonly string[] => [
  ...(cuts || cut > 0 ? [cutWords(cut)] : []),
  ...notes.map((note) => oneLine(note)),
];

/** What a rotation did; `cuts`: it was to cut what is in flight. The key itself is not in it. */
export function renderRotation(
  terminal: Terminal,
  view: RotateView,
  now: number,
  cuts = false,
): string {
  const { client, generation, previous, publish, cut } = view;
  const there = publish.filter(({ state }) => state === 'published');
  const pending = publish.filter(({ state }) => state === 'pending');
  const lines = [
    `${paint(terminal, terminal.stdout, 'green', generation.id)} is the key of ${client} now`,
    `  read it: ${showCommand(client)}`,
    ...there.map(({ target }) => `  published: ${oneLine(target)}`),
    ...pending.map((target) => `  pending: ${pendingWords(target, now)}`),
    ...(pending.length > 0
      ? ["  no old key's clock starts before every target has the new one"]
      : []),
    ...previous.map((older) => `  ${older.id}: ${goodUntil(older, now)}`),
    ...(cuts || cut > 0 ? [`  ${cutWords(cut)}`] : []),
    ...nextLines(view).map((line) => `  next: ${line}`),
  ];
  return `${lines.join('\n')}\n`;
}

const nextLines = ({ previous }: RotateView): readonly string[] =>
  previous
    .filter(({ state }) => state === 'retiring')
    .slice(0, 1)
    .map(({ id }) => `sidecar who ${id} shows who still uses it`);

/** What a client is now, after anything but a rotation; `cuts` as above. */
export function renderChange(
  terminal: Terminal,
  said: string,
  view: ChangeView,
  now: number,
  cuts = false,
): string {
  const { client } = view;
  const valid = client.generations.filter(
    ({ state }) => state === 'active' || state === 'retiring',
  );
  const lines = [
    paint(terminal, terminal.stdout, 'green', said),
    `  ${client.name}: ${client.state}, ${clientWords(client)}`,
    ...valid.map((each) => `  ${each.id}: ${each.state}, ${goodUntil(each, now)}`),
    ...notesOf(view, cuts).map((note) => `  ${note}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** LiteLLM in one line of `sidecar status`; `sidecar upstream status` has the rest. */
export function upstreamLine(view: UpstreamView, now: number): Line {
  const parts = [
    placeWords(view),
    ...configWords(view),
    ...[view.handover, view.waiting].flatMap((each) => handoverWords(each, now)),
    ...keyChangeWords(view, now).map((words) => `key change ${words}`),
    ...warningWords(view),
  ];
  return { word: 'litellm', style: styleOf(view), text: parts.join('; ') };
}

const activeOf = ({ slots }: UpstreamView): SlotView | undefined =>
  slots.find(({ state }) => state === 'active');

const upWord = (slot: SlotView | undefined): string => (slot?.up === true ? 'up' : 'away');

function placeWords(view: UpstreamView): string {
  const active = activeOf(view);
  if (view.mode === 'unmanaged') return `somebody else runs it, ${upWord(active)}`;
  return active === undefined ? 'none is active' : `slot ${active.name}, ${upWord(active)}`;
}

function configWords({ config, autoReload }: UpstreamView): readonly string[] {
  if (config === 'none') return [];
  if (config === 'refused') return ['config refused: `sidecar upstream status` says why'];
  if (config === 'current' || autoReload) return [`config ${config}`];
  return ['config changed: `sidecar upstream reload` takes it'];
}

const handoverWords = (view: HandoverView | null, now: number): readonly string[] =>
  view === null ? [] : [`${handoverName(view)}: ${stepWords(view, now).replace('; ', ', ')}`];

/** `since 14:03:11 UTC (6 s ago): the new key was accepted 3 s ago, …`; nothing where none is. */
export function keyChangeWords({ keyChange }: UpstreamView, now: number): readonly string[] {
  if (keyChange === null) return [];
  const { since, newAcceptedAt, oldAcceptedAt } = keyChange;
  const accepted = (at: string | null): string =>
    at === null ? 'not accepted so far' : `accepted ${showAgo(at, now)}`;
  const when = `since ${showClock(since)} (${showAgo(since, now)})`;
  return [`${when}: new key ${accepted(newAcceptedAt)}, old key ${accepted(oldAcceptedAt)}`];
}

const warningWords = ({ warnings }: UpstreamView): readonly string[] =>
  warnings.length === 0
    ? []
    : [`${showCount(warnings.length, 'warning')}: \`sidecar upstream status\``];

function styleOf(view: UpstreamView): Line['style'] {
  if (activeOf(view)?.up !== true) return 'red';
  const isCalm = view.config !== 'refused' && view.warnings.length === 0;
  return isCalm ? 'dim' : 'yellow';
}

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
