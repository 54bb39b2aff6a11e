import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { ApiProblem, createApi, ServerLost } from '../../console/api.ts';

/** A page whose server answers so to what it asks of the API; `told` is what the page is told. */
async function page(answer: (response: ServerResponse) => void) {
  const server = createServer(({ url }, response) => {
    if (url === '/livez') response.end('ok');
    else answer(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  // A browser asks by paths that go from where the page is.
  const { fetch } = globalThis;
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => fetch(new URL(path, origin), init));
  onTestFinished(() => void vi.unstubAllGlobals());
  const told: string[] = [];
  const api = createApi({
    token: 'a-token',
    onRefused: ({ status }) => told.push(`refused by ${status}`),
    onThere: (there) => told.push(there ? 'there' : 'lost'),
  });
  onTestFinished(api.close);
  return { api, told };
}

const says = (status: number, type: string, text: string) => (response: ServerResponse) => {
  response.writeHead(status, { 'content-type': type }).end(text);
};
const PROBLEM = 'application/problem+json';

it.each([502, 503, 504])('takes the %d of a proxy for a server that is lost', async (status) => {
  const { api, told } = await page(says(status, 'text/html', '<h1>nginx</h1>'));
  const asked = api.call('POST /api/clients/{name}/rotate', { target: 'master', body: {} });
  await expect(asked).rejects.toBeInstanceOf(ServerLost);
  expect(told).toEqual(['lost']);
  await vi.waitFor(() => expect(told).toEqual(['lost', 'there']), 5000);
});

it("takes the sidecar's own 503 for an answer", async () => {
  const said = JSON.stringify({ code: 'store_unavailable', detail: 'the disk is full' });
  const { api, told } = await page(says(503, PROBLEM, said));
  await expect(api.call('GET /api/status')).rejects.toMatchObject({
    status: 503,
    message: 'the disk is full',
  });
  expect(told).toEqual([]);
});

it.each([
  [
    'whose token is another',
    401,
    PROBLEM,
    '{"code":"unauthorized","detail":"no"}',
    ['refused by 401'],
  ],
  ['without a token', 404, 'text/plain', 'not found; this port has', ['refused by 404']],
  ['without that client', 404, PROBLEM, '{"code":"unknown_client","detail":"no"}', []],
])(
  'asks for the token anew at a sidecar %s, or does not',
  async (_, status, type, text, wanted) => {
    const { api, told } = await page(says(status, type, text));
    await expect(api.call('GET /api/status')).rejects.toBeInstanceOf(ApiProblem);
    expect(told).toEqual(wanted);
  },
);

it('waits a minute for a report, and takes none that takes longer for a lost server', async () => {
  const { api, told } = await page(() => undefined);
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(AbortSignal.abort());
  onTestFinished(() => void timeout.mockRestore());
  const detail = 'a report took longer than 60 s';
  await expect(api.call('GET /api/usage')).rejects.toMatchObject({ problem: { detail } });
  expect(timeout).toHaveBeenLastCalledWith(60_000);
  expect(told).toEqual([]);
  await expect(api.call('GET /api/status')).rejects.toBeInstanceOf(ServerLost);
  expect(told).toEqual(['lost']);
});
