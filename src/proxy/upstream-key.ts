import type { KeyPlace } from '../litellm/routes-table.ts';
import type { Secret } from '../secret.ts';

type Field = readonly [name: string, value: string];

/** The field that carries the upstream key to LiteLLM, made once for each way of carrying it. */
export type UpstreamKeyField = (place: KeyPlace, keepAuthorization: boolean) => Field;

/**
 * @param keyHeader the one header that LiteLLM was configured to read; undefined: its own carriers
 */
export function upstreamKeyFields(key: Secret, keyHeader: string | undefined): UpstreamKeyField {
  const plain = key.reveal();
  const bearer: Field = [keyHeader ?? 'authorization', `Bearer ${plain}`];
  // Where `Authorization` is somebody else's, LiteLLM's first carrier is free.
  const beside: Field = [keyHeader ?? 'x-litellm-api-key', `Bearer ${plain}`];
  const basic = Buffer.from(`litellm:${plain}`).toString('base64');
  const elsewhere: Record<Exclude<KeyPlace, 'bearer'>, Field> = {
    google: ['x-goog-api-key', plain],
    basic: ['authorization', `Basic ${basic}`],
  };
  return (place, keepAuthorization) => {
    if (place !== 'bearer') return elsewhere[place];
    return keepAuthorization ? beside : bearer;
  };
}
