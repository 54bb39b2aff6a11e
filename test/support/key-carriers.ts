/**
 * LiteLLM's carriers in LiteLLM's order, written out once more: what a test holds the sidecar to must
 * not be read from it (litellm/proxy/auth/user_api_key_auth.py).
 */
export const KEY_CARRIERS = [
  'x-litellm-api-key',
  'authorization',
  'api-key',
  'x-api-key',
  'x-goog-api-key',
  'ocp-apim-subscription-key',
] as const;
