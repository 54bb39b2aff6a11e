import { InvalidArgumentError } from 'commander';
import { isClientName } from '../client-name.ts';
import { readSpan } from '../config/units.ts';
import { readId } from '../keyring/keyring.ts';
import { mayHoldKey } from '../text/safe.ts';
import { CommandError, EXIT } from './terminal.ts';

/** Flags and arguments that several commands take. */
export const JSON_FLAG = ['--json', 'one json document instead of the text'] as const;

/** Flags as commander gives them: one that was not given is not there. */
export interface JsonFlag {
  readonly json?: boolean;
}

/** What a parser throws: commander says it behind the value that was given. */
export const wants = (what: string, hint = ''): InvalidArgumentError =>
  new InvalidArgumentError(`it wants ${what}${hint === '' ? '' : ` (${hint})`}`);

export const didYouMean = (word: string | undefined): string =>
  word === undefined ? '' : `did you mean ${word}?`;

/** A span with its unit. The text goes to the sidecar, which reads it again. */
export function parseSpan(text: string, what: string): string {
  const reading = readSpan(text);
  if ('value' in reading) return text;
  throw wants(what, reading.hint);
}

/** What the audit takes as the name of a person. */
export function parsePerson(text: string): string {
  refuseKey(text);
  if (/^[A-Za-z0-9._@-]{1,64}$/.test(text)) return text;
  throw wants('a name of letters, digits and . _ @ -, such as alice or alice@example.com');
}

/** A client's name. Whether there is such a client is for the sidecar to say. */
export function parseClient(text: string): string {
  refuseKey(text);
  if (isClientName(text)) return text;
  const lower = text.trim().toLowerCase();
  const what = "a client's name: 1 to 39 lower-case letters, digits and inner hyphens";
  throw wants(what, didYouMean(isClientName(lower) ? lower : undefined));
}

/** The id of a generation, such as `master-3`. */
export function parseGeneration(text: string): string {
  refuseKey(text);
  if (readId(text) !== undefined) return text;
  const isName = isClientName(text) && !/-\d+$/.test(text);
  const hint = isName ? `${text} is a client; \`sidecar status\` lists its keys` : '';
  throw wants('a generation such as master-3', hint);
}

/** A key is refused here, in words of its own: those of commander would repeat it. */
function refuseKey(text: string): void {
  if (!/^sk-/.test(text) && !mayHoldKey(text)) return;
  throw new CommandError('that is a key; it wants a name or a generation', EXIT.usage, [
    'keys stay off the command line: others can read it there',
    '`sidecar status` lists clients and their generations',
  ]);
}
