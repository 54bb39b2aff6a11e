import { MASTER } from '../client-name.ts';
import type { CallerView, ChangeView, ClientView, RotateView, WhoView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import { cutWords, goodUntilOf, pendingWords, showAgo, showInstant } from './phrases.ts';
import { type Cell, renderColumns } from './table.ts';
import { type Output, paint, type Terminal } from './terminal.ts';

/**
 * What a rotation did, or the making of a client. The key itself is not in it.
 *
 * @param cuts Whether what is in flight was to be cut, so that it is said how much was.
 */
export function renderRotation(
  view: RotateView,
  terminal: Terminal,
  now: number,
  cuts = false,
): string {
  const { client, clientState, generation, previous, publish, cut } = view;
  const published = publish.filter(({ state }) => state === 'published');
  const pending = publish.filter(({ state }) => state === 'pending');
  // A client that has expired is given no key.
  const owner = { state: clientState, expiresAt: null };
  const stillUsed = previous.find(({ state }) => state === 'retiring');
  const lines = [
    `${paint(terminal, terminal.stdout, 'green', generation.id)} is the key of ${client} now`,
    `read it: sidecar key show${client === MASTER ? '' : ` ${client}`}`,
    ...published.map(({ target }) => `published: ${oneLine(target)}`),
    ...pending.map((target) => `pending: ${pendingWords(target, now)}`),
    ...(pending.length > 0
      ? ["no old key's clock starts before every target has the new one"]
      : []),
    ...previous.map((older) => `${older.id}: ${goodUntilOf(owner, older, now)}`),
    ...(cuts || cut > 0 ? [cutWords(cut)] : []),
    ...(clientState === 'disabled'
      ? [`${client} stays disabled: sidecar clients enable ${client} lets it in`]
      : []),
    ...(stillUsed ? [`next: sidecar who ${stillUsed.id} shows who still uses it`] : []),
  ];
  return `${lines.join('\n  ')}\n`;
}

/** What a client is now, after anything but a rotation; `cuts` as for `renderRotation`. */
export function renderChange(
  terminal: Terminal,
  said: string,
  view: ChangeView,
  now: number,
  cuts = false,
): string {
  const { client } = view;
  const lines = [
    paint(terminal, terminal.stdout, 'green', said),
    clientLine(client),
    ...validKeyLines(client, now),
    ...notesOf(view, cuts),
  ];
  return `${lines.join('\n  ')}\n`;
}

/** `ci: enabled, inference from 10.0.0.0/8, until 2027-02-22 14:03 UTC` */
export const clientLine = (client: ClientView): string =>
  `${client.name}: ${client.state}, ${rightsOf(client)}`;

/** `ci-2: active, good until it is rotated`, for each key that is valid. */
export const validKeyLines = (client: ClientView, now: number): readonly string[] =>
  client.generations
    .filter(({ state }) => state === 'active' || state === 'retiring')
    .map((each) => `${each.id}: ${each.state}, ${goodUntilOf(client, each, now)}`);

/** What else there is to say of a change; `cuts` as for `renderRotation`. */
export const notesOf = ({ cut, notes }: ChangeView, cuts: boolean): readonly string[] => [
  ...(cuts || cut > 0 ? [cutWords(cut)] : []),
  ...notes.map((note) => oneLine(note)),
];

/** `inference from 10.0.0.0/8, until 2027-02-22 14:03 UTC`: what a client may do. */
function rightsOf({ scopes, allowFrom, expiresAt, namesEndUsers }: ClientView): string {
  const from = allowFrom.length === 0 ? '' : ` from ${allowFrom.join(', ')}`;
  const until = expiresAt === null ? '' : `, until ${showInstant(expiresAt)}`;
  const names = namesEndUsers ? ', names its end users' : '';
  return `${scopes.join(', ')}${from}${until}${names}`;
}

const CALLER_HEAD = ['address', 'last seen', 'first seen', 'requests', 'user agent'] as const;

/** The callers of one generation as a table; '' where there are none. */
export async function renderCallers(
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
