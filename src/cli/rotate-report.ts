import type { ChangeView, RotateView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import {
  clientWords,
  cutWords,
  goodUntil,
  notesOf,
  pendingWords,
  showCommand,
} from './key-words.ts';
import { paint, type Terminal } from './terminal.ts';

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
