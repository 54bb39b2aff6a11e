import { z } from 'zod';
import { duration, span } from './duration.ts';
import { type Kind, optional } from './kind.ts';
import { rootPath } from './path-kinds.ts';
import { flag, path } from './plain-kinds.ts';
import type { Settings } from './setting.ts';
import { upstreams } from './url-kinds.ts';

const SECOND = 1000;

/** The word `set`. Who writes the salt key itself here must not find it in a log. */
const wordSet: Kind<boolean> = {
  schema: z
    .string()
    .regex(/^(?:set)?$/i)
    .transform((text) => text !== ''),
  allowed: 'set: the word alone, and not the salt key itself',
  hidden: true,
  show: (isSet) => (isSet ? 'set' : ''),
};

/** Of the table of settings: where LiteLLM runs, and how one takes over from another. */
export const UPSTREAM_SETTINGS = {
  upstreams: {
    name: 'SIDECAR_UPSTREAM',
    section: 'LiteLLM',
    kind: upstreams,
    default: '',
    required: true,
    text: 'where LiteLLM runs, or the two places (slots) where it may run',
  },
  slots: {
    name: 'SIDECAR_SLOTS',
    section: 'LiteLLM',
    kind: optional(path),
    default: '',
    text: "the folder that LiteLLM's launcher reads; not set: LiteLLM is started by somebody else",
  },
  reports: {
    name: 'SIDECAR_REPORTS',
    section: 'LiteLLM',
    kind: optional(path),
    default: '',
    text: "the folder where the launcher leaves LiteLLM's last words; not set: nobody hears them",
  },
  litellmConfig: {
    name: 'SIDECAR_LITELLM_CONFIG',
    section: 'LiteLLM',
    kind: optional(path),
    default: '',
    text: "LiteLLM's config.yaml, or the folder that holds it; copied into the slot",
  },
  autoReload: {
    name: 'SIDECAR_AUTO_RELOAD',
    section: 'LiteLLM',
    kind: flag,
    default: 'false',
    text: 'an edit of SIDECAR_LITELLM_CONFIG is tried, and switched to, by itself',
  },
  upstreamRotateEveryMs: {
    name: 'SIDECAR_UPSTREAM_ROTATE_EVERY',
    section: 'LiteLLM',
    kind: span({ least: SECOND }),
    default: '0',
    text: "how often LiteLLM's own key is rotated by itself; it needs both slots; 0: never",
  },
  handoverTimeoutMs: {
    name: 'SIDECAR_HANDOVER_TIMEOUT',
    section: 'LiteLLM',
    kind: span({ least: SECOND, zero: 'no LiteLLM comes up in no time' }),
    default: '5m',
    text: 'how long a LiteLLM that takes over may take to come up and list its models',
  },
  probationMs: {
    name: 'SIDECAR_PROBATION',
    section: 'LiteLLM',
    kind: duration,
    default: '90s',
    text: 'after a switch: how long the LiteLLM before is kept, in case the new one dies',
  },
  saltKeySet: {
    name: 'SIDECAR_LITELLM_SALT_KEY',
    section: 'LiteLLM',
    kind: wordSet,
    default: '',
    text: 'set: LiteLLM has a LITELLM_SALT_KEY, so that its database outlives a new master key',
  },
  rootPath: {
    name: 'SIDECAR_ROOT_PATH',
    section: 'LiteLLM',
    kind: rootPath,
    default: '',
    text: 'the SERVER_ROOT_PATH that LiteLLM runs with',
  },
} satisfies Partial<Settings>;
