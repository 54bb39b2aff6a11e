import type { Dialect } from '../litellm/routes-table.ts';

/** What the fields of an answer count: requests by the minute, or tokens by the day. */
export type CountedThing = 'requests' | 'tokens';

/** The names of an API's three fields: the limit, what is left of it, when it is whole again. */
type Names = readonly [limit: string, remaining: string, reset: string];

const openaiNames = (thing: CountedThing): Names => [
  `x-ratelimit-limit-${thing}`,
  `x-ratelimit-remaining-${thing}`,
  `x-ratelimit-reset-${thing}`,
];
const anthropicNames = (thing: CountedThing): Names => [
  `anthropic-ratelimit-${thing}-limit`,
  `anthropic-ratelimit-${thing}-remaining`,
  `anthropic-ratelimit-${thing}-reset`,
];
const OPENAI = { requests: openaiNames('requests'), tokens: openaiNames('tokens') };
const ANTHROPIC = { requests: anthropicNames('requests'), tokens: anthropicNames('tokens') };

/** All of them, for `Access-Control-Expose-Headers`. */
export const LIMIT_FIELDS = [OPENAI, ANTHROPIC]
  .flatMap(({ requests, tokens }) => [...requests, ...tokens])
  .join(', ');

const THING_OF = new Map<string, CountedThing>();
for (const { requests, tokens } of [OPENAI, ANTHROPIC]) {
  for (const name of requests) THING_OF.set(name, 'requests');
  for (const name of tokens) THING_OF.set(name, 'tokens');
}

/** The bit by which ASCII's small letters differ from its capitals. */
const LOWER_CASE = 0x20;
const [R, T] = [0x72, 0x74];

/** Takes out what LiteLLM or a provider says of the same: of a limit that is not this client's. */
export function removeLimitFields(fields: string[], things: ReadonlySet<CountedThing>): void {
  for (let at = fields.length - 2; at >= 0; at -= 2) {
    const name = fields[at] ?? '';
    // `x-r…` or `ant…`: of LiteLLM's forty fields, `x-litellm-…`, no more is looked at.
    const third = name.charCodeAt(2) | LOWER_CASE;
    if (third !== R && third !== T) continue;
    const thing = THING_OF.get(name.toLowerCase());
    if (thing !== undefined && things.has(thing)) fields.splice(at, 2);
  }
}

/** What is said of a limit. */
interface Standing {
  /** As it is shown. */
  readonly limit: string;
  readonly remaining: number;
  /** When all of it is there again: milliseconds from now, and since the epoch. */
  readonly fullIn: number;
  readonly fullAt: number;
}

/** Adds the fields of one limit in the form that the SDK of a route reads. */
export function pushLimitFields(
  fields: string[],
  dialect: Dialect,
  thing: CountedThing,
  { limit, remaining, fullIn, fullAt }: Standing,
): void {
  const isAnthropic = dialect === 'anthropic';
  const names = (isAnthropic ? ANTHROPIC : OPENAI)[thing];
  const reset = isAnthropic ? instantOf(fullAt) : durationOf(fullIn);
  fields.push(names[0], limit, names[1], String(remaining), names[2], reset);
}

/** As OpenAI writes durations ("Rate limits" in its guides): `1s`, `6m0s`; whole seconds, up. */
export function durationOf(ms: number): string {
  const all = Math.ceil(ms / 1000);
  const seconds = all % 60;
  const minutes = Math.floor(all / 60) % 60;
  const hours = Math.floor(all / 3600);
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

/** RFC 3339, as Anthropic has it ("Rate limits" in its reference): whole seconds, up. */
export function instantOf(ms: number): string {
  const second = Math.ceil(ms / 1000);
  // Answers of one second tell of the same instant, and the end of the day is one for a day.
  for (const made of lastInstants) if (made.second === second) return made.text;
  const text = `${new Date(second * 1000).toISOString().slice(0, -5)}Z`;
  lastInstants.unshift({ second, text });
  lastInstants.length = MOST_INSTANTS;
  return text;
}

const MOST_INSTANTS = 4;
const lastInstants = Array.from({ length: MOST_INSTANTS }, () => ({ second: -1, text: '' }));
