import type { Config } from '../config.ts';
import type { Kind } from './kind.ts';

/** The headings under which the settings stand in the documents, in their order. */
export const SECTIONS = [
  'Keys',
  'Rotation',
  'LiteLLM',
  'Places',
  'Routes',
  'Requests',
  'Ending',
  'Log',
] as const;

/** One row of the table: all that the parser and the documents know of a setting. */
export interface Setting<T> {
  /** Of the environment variable. */
  readonly name: string;
  readonly section: (typeof SECTIONS)[number];
  readonly kind: Kind<T>;
  /** As it would be written; '' is "not set". */
  readonly default: string;
  readonly required?: true;
  /** Which of two places counts: the environment, unless `.env` is what an operator edits. */
  readonly dotenvFirst?: true;
  /** What it does, in one line for people. */
  readonly text: string;
}

/** Each field of the configuration, once. */
export type Settings = { readonly [F in keyof Config]: Setting<Config[F]> };

/** A row whose value is for somebody else to know. */
export type AnySetting = Setting<unknown>;

/** The variable that names a file with the secret in it; undefined: the setting is no secret. */
export const fileNameOf = (setting: AnySetting): string | undefined =>
  setting.kind.secret === true ? `${setting.name}_FILE` : undefined;
