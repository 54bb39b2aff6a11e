import type { Kind } from './units.ts';

/** One row of the table: all that the parser and the documents know of a setting. */
interface Row<T> {
  /** Of the environment variable. */
  readonly name: string;
  /** How its text becomes a value; a secret one may also come from the file of `NAME_FILE`. */
  readonly kind: Kind<T>;
  /** As it would be written; left out: not set. */
  readonly default?: string;
  readonly required?: true;
  /** `.env` counts before the environment, because an operator edits it while the sidecar runs. */
  readonly dotenvFirst?: true;
  /** What it does, in one line for people. */
  readonly help: string;
}

/** A row with its heading in the documents, and with its default: '' is "not set". */
export interface Setting<T> extends Row<T> {
  readonly section: string;
  readonly default: string;
}

/** Any setting, whatever the type of its value. */
export type AnySetting = Setting<unknown>;

/** The settings under one heading, each with the type of its value: `Config` is made of them. */
export const section = <const R extends Record<string, Row<unknown>>>(title: string, rows: R) =>
  Object.fromEntries(
    Object.entries(rows).map(([field, row]) => [field, { default: '', ...row, section: title }]),
  ) as { readonly [F in keyof R]: R[F] extends Row<infer T> ? Setting<T> : never };

/** The variable that names a file with the secret in it; undefined: the setting is no secret. */
export const fileNameOf = ({ name, kind }: AnySetting): string | undefined =>
  kind.secret === true ? `${name}_FILE` : undefined;
