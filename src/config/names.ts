import { editDistance, nearest } from '../text/nearest.ts';
import type { Mistake } from './mistakes.ts';
import { fileNameOf } from './setting.ts';
import { ENV_FILE, EVERY_SETTING, SETTINGS } from './settings.ts';
import { ENVIRONMENT, type Source, valueIn } from './sources.ts';

const PREFIX = 'SIDECAR_';

/** Every variable that means something here. */
export const KNOWN_NAMES: readonly string[] = EVERY_SETTING.flatMap((setting) => {
  const fileName = fileNameOf(setting);
  return fileName === undefined ? [setting.name] : [setting.name, fileName];
});

const OURS = KNOWN_NAMES.filter((name) => name.startsWith(PREFIX)).map((name) =>
  name.slice(PREFIX.length),
);

/** Names that look like ours and are not: each a setting that somebody believes to be in force. */
export const unknownNames = (sources: readonly Source[]): Mistake[] =>
  sources.flatMap((source) =>
    Object.keys(source.values)
      .filter((name) => name.startsWith(PREFIX) && !KNOWN_NAMES.includes(name))
      .filter((name) => valueIn(source, name) !== undefined)
      .map((name) => unknown(name, source)),
  );

/** The value is left out: what was meant may be a secret. */
function unknown(name: string, source: Source): Mistake {
  const hint = hintFor(name);
  return {
    name,
    found: `a name that is not known (${source.name})`,
    allowed: 'the names in .env.example',
    ...(hint === undefined ? {} : { hint }),
  };
}

function hintFor(name: string): string | undefined {
  const bare = name.replace(/_FILE$/, '');
  if (KNOWN_NAMES.includes(bare)) return `only secrets are read from files: set ${bare} itself`;
  const near = nearest(name.slice(PREFIX.length), OURS);
  return near === undefined ? undefined : `did you mean ${PREFIX}${near}?`;
}

/** What says where `.env` is cannot stand in it. */
export const misplaced = (sources: readonly Source[]): Mistake[] =>
  sources
    .filter((source) => source.name !== ENVIRONMENT && valueIn(source, ENV_FILE.name) !== undefined)
    .map((source) => ({
      name: ENV_FILE.name,
      found: `it is set in ${source.name}`,
      allowed: 'the environment only',
    }));

/**
 * A name a slip away from LITELLM_MASTER_KEY: not ours to refuse, and the key would be a made one.
 */
export function misspeltKey(sources: readonly Source[]): string[] {
  const { name: meant } = SETTINGS.declaredKey;
  return sources.flatMap((source) =>
    Object.keys(source.values)
      .filter((name) => !KNOWN_NAMES.includes(name) && Math.abs(name.length - meant.length) <= 2)
      .filter((name) => editDistance(name.toUpperCase(), meant) <= 2)
      .map((name) => `${name} (${source.name}) means nothing here: did you mean ${meant}?`),
  );
}
