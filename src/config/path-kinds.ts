import { got, type Kind, listOf, type Reading, reading, wrong } from './kind.ts';

/** Segments as they are after decoding; what would be ambiguous there has no place in a rule. */
const SEGMENTS = /^(?:\/[^/?#%\\*,\s\p{Cc}]+)*$/u;
const hasDots = (path: string): boolean => /\/\.{1,2}(?:\/|$)/.test(path);

function readRootPath(text: string): Reading<string> {
  const path = text.endsWith('/') ? text.slice(0, -1) : text;
  if (SEGMENTS.test(path) && !hasDots(path)) return got(path);
  return wrong(/^[\w-]+$/.test(path) ? `did you mean /${path}?` : '');
}

/** LiteLLM's SERVER_ROOT_PATH: '' or '/llm', without a slash at its end. */
export const rootPath: Kind<string> = {
  schema: reading(readRootPath),
  allowed: 'a path such as /llm',
  show: (path) => path,
};

function readPattern(text: string): Reading<string> {
  const below = text.endsWith('/*');
  const path = text.slice(0, below ? -2 : undefined);
  // LiteLLM answers a slash at a path's end with a redirect to the path without it.
  const bare = !below && path.endsWith('/') ? path.slice(0, -1) : path;
  if (text.startsWith('/') && SEGMENTS.test(bare) && !/[{}]/.test(bare) && !hasDots(bare)) {
    return got(below ? `${bare}/*` : bare || '/');
  }
  if (!text.startsWith('/')) return wrong('it begins with a slash');
  if (text.includes('%')) return wrong('write it decoded: %2F as /, %3A as :');
  return /[*{}]/.test(path) ? wrong('only /* at the end stands for something else') : wrong();
}

/** Paths of LiteLLM's, decoded, root path removed; `/*` at the end covers what lies below, too. */
export const pathPatterns: Kind<readonly string[]> = listOf(
  { schema: reading(readPattern), allowed: '', show: (text) => text },
  'absolute paths with commas between them, each with or without /* at its end',
);
