import { generateKey } from '../../src/keyring/key.ts';
import type { Stage } from './stage.ts';

/** How the suites reach the stage, which is set before the first test. */
export type Given = () => Stage;

/** Well formed, and nobody's. */
export const STRANGER = generateKey();

export const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

/** A chat request to the sidecar. */
export const chat = (
  { sidecar, key }: Stage,
  model: string,
  more: {
    readonly content?: string;
    readonly stream?: boolean;
    readonly signal?: AbortSignal;
    readonly headers?: Readonly<Record<string, string>>;
  } = {},
): Promise<Response> => {
  const { content = 'hi', stream = false, signal, headers } = more;
  return fetch(`${sidecar.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(key), 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model, stream, messages: [{ role: 'user', content }] }),
    ...(signal && { signal }),
  });
};

/** The sidecar's refusal in an answer; undefined: LiteLLM answered. */
export const refusalIn = (response: Response): string | undefined =>
  response.headers.get('x-sidecar-refusal') ?? undefined;
