import { parse } from 'dotenv';

const NAME = /(?:^|^)\s*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:\s+?)/;
const VALUE = /\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+/;
/**
 * How dotenv 17 finds a variable (its `LINE`), with a group more: 1 is what stands before the
 * value, 2 the name, 3 the value with its quotes and the white space around it.
 */
const LINE = new RegExp(`(${NAME.source})(${VALUE.source})?\\s*(?:#.*)?(?:$|$)`, 'gm');

/** In which a value may stand, the plainest first. */
const QUOTES = ['', "'", '"', '`'] as const;

/** From and to which character of the text a value stands, quotes included. */
interface Place {
  readonly start: number;
  readonly end: number;
  readonly quote: string;
}

/**
 * The text of a dotenv file with a variable set, and every other byte as it was: comments, blank
 * lines, line breaks, `export`, the quotes and the comment behind the value. Of several definitions
 * dotenv takes the last; all of them are changed, so that no old value stays. Where there is none,
 * a line is added at the end.
 *
 * @throws RangeError where dotenv cannot hold the value, or other variables would change with it
 */
export function setVariable(text: string, name: string, value: string): string {
  const { values, places } = readPlaces(text, name);
  for (const quote of [undefined, ...QUOTES]) {
    for (const changed of candidates(text, places, name, value, quote)) {
      if (changed !== undefined && isRight(changed, values, name, value)) return changed;
    }
  }
  throw new RangeError(`${name} cannot be set in that dotenv file without changing other lines`);
}

/** Ways to write it; `quote` undefined: as each definition is quoted now. */
function candidates(
  text: string,
  places: readonly Place[],
  name: string,
  value: string,
  quote: string | undefined,
): readonly string[] {
  if (places.length > 0) return [splice(text, places, value, quote)];
  const ending = /\r\n/.test(text) ? '\r\n' : '\n';
  const line = `${name}=${quoted(value, quote ?? '')}${ending}`;
  const isWhole = /(?:^\uFEFF?|[\r\n])$/.test(text);
  // At the beginning where the end cannot be completed: after `A:` a line break is a value.
  const [, mark = '', rest = ''] = /^(\uFEFF?)(.*)$/s.exec(text) ?? [];
  return [`${text}${isWhole ? '' : ending}${line}`, `${mark}${line}${rest}`];
}

const quoted = (value: string, quote: string): string => `${quote}${value}${quote}`;

function splice(
  text: string,
  places: readonly Place[],
  value: string,
  quote: string | undefined,
): string {
  let changed = '';
  let from = 0;
  for (const place of places) {
    changed += text.slice(from, place.start) + quoted(value, quote ?? place.quote);
    from = place.end;
  }
  return changed + text.slice(from);
}

/** Whether dotenv reads the value, and every other variable as before. */
function isRight(
  text: string,
  before: Readonly<Record<string, string>>,
  name: string,
  value: string,
): boolean {
  const after = parse(text);
  const names = Object.keys({ ...before, ...after, [name]: value });
  return names.every((each) => after[each] === (each === name ? value : before[each]));
}

/** What dotenv reads, and where the values of one variable stand. */
function readPlaces(text: string, name: string) {
  const values = parse(text);
  const plain = text.replace(/\r\n?/g, '\n');
  const places = [...plain.matchAll(LINE)].flatMap((match) => {
    const [, before = '', found = '', raw = ''] = match;
    return found === name ? [placeOf(match.index + before.length, raw)] : [];
  });
  return { values, places: inOriginal(text, places) };
}

function placeOf(at: number, raw: string): Place {
  const trimmed = raw.trim();
  // White space alone stays behind the value, in front of a comment.
  const start = trimmed === '' ? at : at + raw.indexOf(trimmed);
  const [first = ''] = trimmed;
  const isQuoted = trimmed.length > 1 && /['"`]/.test(first) && trimmed.endsWith(first);
  return { start, end: start + trimmed.length, quote: isQuoted ? first : '' };
}

/** Places of the text whose line breaks dotenv made plain, in the text as it is. */
function inOriginal(text: string, places: readonly Place[]): readonly Place[] {
  if (!text.includes('\r\n')) return places;
  const added: number[] = [];
  let shift = 0;
  for (const { index } of text.matchAll(/\r\n/g)) added.push(index - shift++);
  const original = (at: number): number => {
    const before = added.findIndex((each) => each >= at);
    return at + (before < 0 ? added.length : before);
  };
  return places.map(({ start, end, quote }) => ({
    start: original(start),
    end: original(end),
    quote,
  }));
}
