import { z } from 'zod';

/** How a setting's text becomes its value, and back. `read(show(value))` is the value again. */
export interface Kind<T> {
  /** From trimmed text; '' is "not set". */
  readonly schema: z.ZodType<T, string>;
  /** What may be written, as a phrase. */
  readonly allowed: string;
  /** Never shown, and also taken from the file that `NAME_FILE` names. */
  readonly secret?: true;
  /** No secret, but easily taken for the place of one: what is wrong is not shown. */
  readonly hidden?: true;
  show(value: T): string;
}

/** A value, or what to tell the operator ('' where `allowed` says it all). */
export type Reading<T> = { readonly value: T } | { readonly hint: string };

export const got = <T>(value: T): Reading<T> => ({ value });
export const wrong = (hint = ''): Reading<never> => ({ hint });

/** A schema of a function that reads text. */
export const reading = <T>(read: (text: string) => Reading<T>): z.ZodType<T, string> =>
  z.string().transform((text, context) => {
    const result = read(text);
    if ('value' in result) return result.value;
    // Not the message: zod puts words of its own where that is empty.
    context.addIssue({ code: 'custom', params: { hint: result.hint } });
    return z.NEVER;
  });

/** The value of a text, by its kind. */
export function readAs<T>(kind: Kind<T>, text: string): Reading<T> {
  const result = kind.schema.safeParse(text);
  if (result.success) return got(result.data);
  const [issue] = result.error.issues;
  const hint: unknown = issue?.code === 'custom' ? issue.params?.['hint'] : undefined;
  return wrong(typeof hint === 'string' ? hint : '');
}

/** The same kind, where nothing may be set at all. */
export const optional = <T>(kind: Kind<T>): Kind<T | undefined> => ({
  ...kind,
  schema: z
    .string()
    .transform((text) => (text === '' ? undefined : text))
    .pipe(kind.schema.optional()),
  show: (value) => (value === undefined ? '' : kind.show(value)),
});

/**
 * Several, with commas between them. Commas alone are a mistake: an empty list may mean
 * "everybody".
 */
export const listOf = <T>(kind: Kind<T>, allowed: string): Kind<readonly T[]> => ({
  ...kind,
  allowed,
  schema: reading((text) => {
    const places = splitList(text);
    return places.length === 0 && text !== ''
      ? wrong('there is nothing between the commas')
      : got(places);
  }).pipe(z.array(kind.schema)),
  show: (values) => values.map((value) => kind.show(value)).join(','),
});

/** The places of a comma list that hold something. */
export const splitList = (text: string): string[] =>
  text
    .split(',')
    .map((place) => place.trim())
    .filter((place) => place !== '');
