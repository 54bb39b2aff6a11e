import { InvalidArgumentError } from 'commander';
import { blocks } from '../config/kinds.ts';
import { readAs, readSpan } from '../config/units.ts';
import { isClientName, readId, SCOPES, type Scope } from '../keyring/keyring.ts';
import { nearest } from '../text/nearest.ts';
import { CommandError, EXIT } from './exit-code.ts';

/** The parsers of options and arguments throw commander's `InvalidArgumentError`. */
const wants = (what: string, hint: string | undefined): InvalidArgumentError =>
  new InvalidArgumentError(
    `it wants ${what}${hint === undefined || hint === '' ? '' : ` (${hint})`}`,
  );

const didYouMean = (word: string | undefined): string | undefined =>
  word === undefined ? undefined : `did you mean ${word}?`;

/** Commander's own errors repeat the value, and so would a shell's history of them. */
function refuseKey(text: string): void {
  if (!/^sk-/.test(text)) return;
  throw new CommandError('that is a key; it wants a name or a generation', EXIT.usage, [
    'keys stay off the command line: others can read it there',
    '`sidecar status` lists clients and their generations',
  ]);
}

/** A span as text, checked: the sidecar reads it again. */
function parseSpan(text: string, what: string): string {
  const reading = readSpan(text);
  if ('value' in reading) return text;
  throw wants(what, reading.hint);
}

/** `24h`, `0` */
export const parseGrace = (text: string): string =>
  parseSpan(text, 'a duration with its unit, such as 30m, 24h or 7d, or 0');

/** `90d` */
export function parseExpiry(text: string): string {
  const what = 'a duration from now with its unit, such as 12h or 90d';
  if (/^0(?:ms|s|m|h|d)?$/.test(text))
    throw wants(what, 'a key that is born expired opens nothing');
  return parseSpan(text, what);
}

/** A client's name: whether there is such a client the sidecar says. */
export function parseClient(text: string): string {
  refuseKey(text);
  if (isClientName(text)) return text;
  const lower = text.trim().toLowerCase();
  const what = "a client's name: 1 to 39 lower-case letters, digits and inner hyphens";
  throw wants(what, isClientName(lower) ? didYouMean(lower) : undefined);
}

/** `master-3` */
export function parseGeneration(text: string): string {
  refuseKey(text);
  if (readId(text) !== undefined) return text;
  const isName = isClientName(text) && !/-\d+$/.test(text);
  const hint = isName ? `${text} is a client; \`sidecar status\` lists its keys` : '';
  throw wants('a generation such as master-3', hint);
}

export function parseScope(
  text: string,
  before: readonly Scope[] | undefined = [],
): readonly Scope[] {
  const scope = SCOPES.find((each) => each === text);
  if (scope !== undefined) return [...new Set([...before, scope])];
  throw wants(`one of ${SCOPES.join(', ')}`, didYouMean(nearest(text, SCOPES)));
}

/** One block each, written as the settings do; an address alone is a block of one. */
export function parseBlock(
  text: string,
  before: readonly string[] | undefined = [],
): readonly string[] {
  const reading = readAs(blocks, text);
  if ('value' in reading && reading.value.length > 0) return [...before, ...reading.value];
  const hint = 'hint' in reading ? reading.hint : '';
  throw wants('an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8', hint);
}

/** Lines of the audit. */
export function parseLimit(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= 1000) return Number(text);
  throw wants('a whole number from 1 to 1000', undefined);
}
