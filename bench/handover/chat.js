/** What the clients of this bench ask, and what is to come back. */

/** The model of the closed loop, which LiteLLM answers by itself. */
export const MOCK_MODEL = 'bench';
export const MOCK_ANSWER = "Hello from the mock of the bench's LiteLLM.";

/** The model behind which the bench's own provider counts. */
export const PACED_MODEL = 'paced';

/** Between two chunks of a stream. */
export const GAP_MS = 250;

/** @param {number} chunks */
export const streamBody = (chunks) =>
  JSON.stringify({
    model: PACED_MODEL,
    stream: true,
    messages: [{ role: 'user', content: `count to ${chunks}` }],
  });

/** How many chunks a request asks for. @param {string} body */
export const chunksAsked = (body) => Number(/count to (\d+)/.exec(body)?.[1] ?? 0);

/** @param {number} number from 0 */
export const word = (number) => `${number} `;

/** What all chunks of a stream together say. @param {number} chunks */
export const wholeText = (chunks) => Array.from({ length: chunks }, (_, i) => word(i)).join('');

/**
 * LiteLLM's config.yaml; YAML reads JSON.
 * @param {number} providerPort
 */
export const litellmConfig = (providerPort) =>
  JSON.stringify({
    model_list: [
      {
        model_name: MOCK_MODEL,
        litellm_params: { model: 'openai/gpt-4o', api_key: 'none', mock_response: MOCK_ANSWER },
      },
      {
        model_name: PACED_MODEL,
        litellm_params: {
          model: `openai/${PACED_MODEL}`,
          api_key: 'none',
          api_base: `http://127.0.0.1:${providerPort}/v1`,
        },
      },
    ],
    router_settings: { num_retries: 0, disable_cooldowns: true },
    general_settings: { master_key: 'os.environ/LITELLM_MASTER_KEY' },
  });
