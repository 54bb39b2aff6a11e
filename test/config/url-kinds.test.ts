import { describe, expect, it } from 'vitest';
import { publicUrl, upstreams } from '../../src/config/kinds.ts';
import { type Kind, readAs } from '../../src/config/units.ts';

const read = <T>(kind: Kind<T>, text: string): unknown => {
  const result = readAs(kind, text);
  return 'value' in result ? kind.show(result.value) : result;
};

describe('upstreams', () => {
  it.each([
    ['http://litellm:4000', 'http://litellm:4000'],
    ['http://litellm:4000/', 'http://litellm:4000'],
    ['http://litellm:4000, http://litellm:4002', 'http://litellm:4000,http://litellm:4002'],
    ['http://[::1]:4000', 'http://[::1]:4000'],
    ['HTTP://LiteLLM', 'http://litellm'],
  ])('%s', (text, shown) => {
    expect(read(upstreams, text)).toBe(shown);
  });

  it.each([
    ['', 'such as http://litellm:4000'],
    ['litellm:4000', 'did you mean http://litellm:4000?'],
    ['litellm', 'did you mean http://litellm?'],
    ['https://litellm', 'LiteLLM is reached over plain HTTP, on its own network'],
    ['http://litellm/v1', "LiteLLM's root path goes into SIDECAR_ROOT_PATH"],
    ['http://litellm/?', 'it must not hold a query'],
    ['http://litellm/#', 'it must not hold a query'],
    ['http://me:secret@litellm', 'it must not hold credentials'],
    ['http://me@litellm', 'it must not hold credentials'],
    ['http://litellm:0', 'no server is reached at port 0'],
    ['http://a,http://b,http://c', 'there are two slots, and 3 URLs'],
    ['http://a:80,http://A', 'the two slots must differ'],
    ['http://a,ftp://b', ''],
    ['http://a:99999', ''],
    ['http://', ''],
    ['not a url', ''],
  ])('refuses %j', (text, hint) => {
    expect(read(upstreams, text)).toEqual({ hint });
  });
});

describe('the public URL', () => {
  it.each([
    ['https://llm.example', 'https://llm.example'],
    ['https://llm.example/gateway/', 'https://llm.example/gateway'],
    ['http://localhost:4000', 'http://localhost:4000'],
  ])('%s', (text, shown) => {
    expect(read(publicUrl, text)).toBe(shown);
  });

  it.each([
    ['llm.example', 'did you mean http://llm.example?'],
    ['ws://llm.example', ''],
    ['https://a:b@llm.example', 'it must not hold credentials'],
    ['https://llm.example?x=1', 'it must not hold a query'],
  ])('refuses %j', (text, hint) => {
    expect(read(publicUrl, text)).toEqual({ hint });
  });
});
