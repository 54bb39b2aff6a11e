/** The sidecar as its operator and as a stranger meet it: its admin API, and one key at its door. */
import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { AnswerOf } from '../../src/servers/admin/endpoints.ts';
import { PATH, REQUEST_BODY } from '../harness/payloads.ts';

/** What the admin API answers: the document of a success, or the code of its problem. */
export type Said<T> =
  | { readonly ok: true; readonly body: T }
  | { readonly ok: false; readonly status: number; readonly code: string; readonly detail: string };

export type Admin = ReturnType<typeof createAdmin>;

/** Asks over the socket in the state folder; rejects where the sidecar does not answer. */
export function createAdmin(socketPath: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const ask = <T>(method: string, path: string, fields?: object): Promise<Said<T>> =>
    new Promise((resolve, reject) => {
      const headers = fields === undefined ? {} : { 'content-type': 'application/json' };
      const asked = request({ socketPath, agent, method, path, headers }, (response) => {
        // A sidecar that is killed in the middle of an answer gave none: `text` rejects.
        text(response).then((said) => {
          const { statusCode: status = 0 } = response;
          const body = JSON.parse(said);
          if (status < 300) resolve({ ok: true, body });
          else resolve({ ok: false, status, code: body.code, detail: body.detail ?? '' });
        }, reject);
      });
      asked.once('error', reject).end(fields && JSON.stringify(fields));
    });
  return {
    rotate: (fields: { grace: string; compromised?: boolean; force?: boolean }) =>
      ask<AnswerOf<'POST /api/clients/{name}/rotate'>>(
        'POST',
        '/api/clients/master/rotate',
        fields,
      ),
    revoke: (id: string) => ask('POST', `/api/generations/${id}/revoke`, { force: true }),
    client: () => ask<AnswerOf<'GET /api/clients/{name}'>>('GET', '/api/clients/master'),
    verifyAudit: () => ask<AnswerOf<'GET /api/audit/verify'>>('GET', '/api/audit/verify'),
    handOver: (kind: 'rotate' | 'reload') =>
      ask<AnswerOf<'POST /api/upstream/rotate'>>('POST', `/api/upstream/${kind}`),
    handover: (id: string) =>
      ask<AnswerOf<'POST /api/upstream/rotate'>>('GET', `/api/upstream/handovers/${id}`),
    close: () => agent.destroy(),
  };
}

/** The document of a success; throws what the sidecar said instead. */
export function bodyOf<T>(said: Said<T>, what: string): T {
  if (said.ok) return said.body;
  throw new Error(`${what}: ${said.status} ${said.code} ${said.detail}`);
}

/** What becomes of one request with this key, on a connection of its own. */
export function present(port: number, key: string) {
  return new Promise<{ status: number; refusal: string | undefined; said: string }>(
    (resolve, reject) => {
      const headers = {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'x-bench': 'json litellm',
      };
      const asked = request(
        { host: '127.0.0.1', port, method: 'POST', path: PATH, headers, agent: false },
        (response) => {
          const refusal = response.headers['x-sidecar-refusal']?.toString();
          const { statusCode: status = 0 } = response;
          text(response).then((said) => resolve({ status, refusal, said }), reject);
        },
      );
      asked.setTimeout(10_000, () => asked.destroy(new Error('no answer in 10 s')));
      asked.once('error', reject).end(REQUEST_BODY);
    },
  );
}
