import { MASTER } from '../keyring/keyring.ts';
import type { ChangeView, ClientView, GenerationView, TargetView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import { showCount, showIn, showInstant, showSetting, showUntil } from './instant.ts';
import type { Style } from './terminal.ts';

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
