import type { ClientView, GenerationView } from '../src/rotation/admin.ts';
import { countWords } from './words.ts';

// What a verb for keys will do, before it is done. Pure.

export const isValid = ({ state }: GenerationView): boolean =>
  state === 'active' || state === 'retiring';

export const activeIn = ({ generations }: ClientView): GenerationView | undefined =>
  generations.find(({ state }) => state === 'active');

/** The newest first, as a client's view has them. */
export const retiringIn = ({ generations }: ClientView): readonly GenerationView[] =>
  generations.filter(({ state }) => state === 'retiring');

/** What becomes of the keys before the new one. */
export type Ending = 'grace' | 'at-once' | 'leaked';

/** The ending that is meant: a grace of nothing (`0`, `0h`) is an end at once. */
export const endingOf = (chosen: Ending, grace: string): Ending =>
  chosen === 'grace' && /^0(?:0*(?:ms|[smhd]))?$/.test(grace.trim()) ? 'at-once' : chosen;

/** A verb for keys, with what it depends on. */
export type KeyVerb =
  | { readonly kind: 'rotate'; readonly ending: Ending }
  | { readonly kind: 'revoke'; readonly id: string; readonly leaked: boolean }
  | { readonly kind: 'rollback' | 'disable' | 'enable' | 'remove' };

/** The spans that rule where nobody names one: `SIDECAR_GRACE` and `SIDECAR_MAX_GRACE`. */
export interface Graces {
  readonly grace: string;
  readonly maxGrace: string;
}

/** The keys that open nothing any more once a verb is done. */
export function endedBy(verb: KeyVerb, client: ClientView): readonly GenerationView[] {
  const active = client.generations.filter(({ state }) => state === 'active');
  switch (verb.kind) {
    case 'rotate':
      if (verb.ending === 'grace') return [];
      return verb.ending === 'at-once' ? active : client.generations.filter(isValid);
    case 'revoke':
      return client.generations.filter((each) => each.id === verb.id && isValid(each));
    case 'rollback':
      return active;
    case 'enable':
      return [];
    default:
      return client.generations.filter(isValid);
  }
}

/** Whether the sidecar refuses a verb for a key that was used in the last hour, unless forced. */
export const wantsForce = (verb: KeyVerb): boolean =>
  verb.kind === 'remove' ||
  (verb.kind === 'revoke' && !verb.leaked) ||
  (verb.kind === 'rotate' && verb.ending === 'at-once');

/** Whether somebody used a key in the last hour, or uses it now. */
export const isInUse = ({ recentCallers, inFlight }: GenerationView): boolean =>
  recentCallers > 0 || inFlight > 0;

/** What will happen, a sentence each. */
export function whatWillHappen(
  verb: KeyVerb,
  client: ClientView,
  graces: Graces,
): readonly string[] {
  const { name } = client;
  switch (verb.kind) {
    case 'rotate':
      return rotationWords(verb.ending, client, graces);
    case 'rollback':
      return rollbackWords(client);
    case 'revoke':
      return [
        `${verb.id} ends at once, for good.`,
        verb.leaked
          ? cutWords(endedBy(verb, client))
          : 'Streams that began with it go on to their end.',
        ...(activeIn(client)?.id === verb.id
          ? [`It is the active key: ${name} has none then, until it is rotated.`]
          : []),
      ];
    case 'disable':
      return [
        `Every key of ${name} is refused from now on, until it is enabled again.`,
        'What is under way goes on to its end.',
      ];
    case 'enable':
      return [`The keys of ${name} count again.`];
    case 'remove':
      return [
        `Every key of ${name} is revoked, and it is taken off every list.`,
        'Its keys never become good again, not even for another client of its name.',
      ];
  }
}

function rotationWords(ending: Ending, client: ClientView, graces: Graces): readonly string[] {
  const { name, publish, state } = client;
  const active = activeIn(client);
  const older = retiringIn(client).map(({ id }) => id);
  const places = publish.map(({ target }) => target);
  return [
    `A new key of ${name} is made, and is good at once.`,
    ...(active === undefined ? [] : endOfActive(ending, active.id, graces)),
    ...(older.length > 0 && ending !== 'leaked'
      ? [`${older.join(', ')} ${older.length === 1 ? 'keeps the end it has' : 'keep their ends'}.`]
      : []),
    ...(ending === 'leaked' ? leakedWords(client) : []),
    ...(places.length > 0 ? [`It is written to ${places.join(', ')}.`] : []),
    ...(state === 'disabled' ? [`${name} stays disabled: no key of it is taken.`] : []),
  ];
}

function endOfActive(ending: Ending, id: string, { grace, maxGrace }: Graces): readonly string[] {
  if (ending === 'leaked') return [];
  if (ending === 'at-once') return [`${id} ends at once.`];
  return [
    `${id} stays good for ${grace} after the new key is first used with success, ` +
      `and for ${maxGrace} at most.`,
  ];
}

function leakedWords(client: ClientView): readonly string[] {
  const valid = client.generations.filter(isValid);
  const ids = valid.map(({ id }) => id).join(', ');
  return [
    `Every older key is revoked at once: ${ids}.`,
    cutWords(valid),
    'There is no way back: no rollback goes behind this.',
  ];
}

function cutWords(generations: readonly GenerationView[]): string {
  const inFlight = generations.reduce((sum, each) => sum + each.inFlight, 0);
  if (inFlight === 0) return 'Nothing is under way with it that would be cut.';
  const are = inFlight === 1 ? 'is' : 'are';
  return `${countWords(inFlight, 'request')} under way, streams included, ${are} cut.`;
}

function rollbackWords(client: ClientView): readonly string[] {
  const active = activeIn(client);
  const [before] = retiringIn(client);
  if (before === undefined) return ['There is no retiring key to go back to.'];
  return [
    `${before.id} is the key of ${client.name} again.`,
    ...(active === undefined ? [] : [`${active.id} is revoked at once, for good.`]),
    `The sidecar does not keep the key of ${before.id}: only those who hold it have it.`,
  ];
}

/**
 * The `Idempotency-Key` of a rotation: of two people who press the same button at once, and of one
 * who presses it again because no answer came, one rotation is made, and both are shown its key.
 * The newest key's number rises with each rotation, also behind a rollback.
 */
export const rotationKeyOf = ({ name, generations }: ClientView): string =>
  `console-rotate-${generations[0]?.id ?? name}`;
