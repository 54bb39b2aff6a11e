export { redact } from '../text/safe.ts';

const HEADERS = [
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-litellm-api-key',
  'litellm_user_api_key',
  'api-key',
  'x-api-key',
  'x-goog-api-key',
  'ocp-apim-subscription-key',
  'sec-websocket-protocol',
];

/** Fields that are never logged, for pino's `redact`: at the top of a line and two levels down. */
export const REDACTED_PATHS: readonly string[] = HEADERS.flatMap((name) => [
  `["${name}"]`,
  `*["${name}"]`,
  `*.*["${name}"]`,
]);
