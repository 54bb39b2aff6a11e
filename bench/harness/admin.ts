/** The sidecar as its operator and as a stranger meet it: its admin API, and one key at its door. */
import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { AnswerOf } from '../../src/servers/admin/endpoints.ts';
import { ask } from './payloads.ts';

/** What the admin API answers: the document of a success, or the code of its problem. */
export type Said<T> =
  | { readonly ok: true; readonly body: T }
  | { readonly ok: false; readonly code: string; readonly detail: string };

const ANSWER_MS = 60_000;

export type Admin = ReturnType<typeof createAdmin>;

/**
 * Asks over the socket in the state folder, and never twice: the command line's own client repeats
 * a question that a kill cut off. Rejects where the sidecar does not answer.
 */
export function createAdmin(socketPath: string) {
  const agent = new Agent({ keepAlive: true });
  const call = <T>(method: string, path: string, fields?: object): Promise<Said<T>> =>
    new Promise((resolve, reject) => {
      const headers = fields === undefined ? {} : { 'content-type': 'application/json' };
      const asked = request({ socketPath, agent, method, path, headers }, (response) => {
        text(response).then((said) => {
          const body = JSON.parse(said);
          resolve(
            response.statusCode === 200 || response.statusCode === 202
              ? { ok: true, body }
              : { ok: false, ...body },
          );
        }, reject);
      });
      asked.setTimeout(ANSWER_MS, () => asked.destroy(new Error(`${path}: no answer in 60 s`)));
      asked.once('error', reject).end(fields && JSON.stringify(fields));
    });
  const master = '/api/clients/master';
  return {
    rotate: (fields: { grace: string; compromised?: boolean; force?: boolean }) =>
      call<AnswerOf<'POST /api/clients/{name}/rotate'>>('POST', `${master}/rotate`, fields),
    revoke: (id: string) => call('POST', `/api/generations/${id}/revoke`, { force: true }),
    client: () => call<AnswerOf<'GET /api/clients/{name}'>>('GET', master),
    verifyAudit: () => call<AnswerOf<'GET /api/audit/verify'>>('GET', '/api/audit/verify'),
    handOver: (kind: 'rotate' | 'reload') =>
      call<AnswerOf<'POST /api/upstream/rotate'>>('POST', `/api/upstream/${kind}`),
    handover: (id: string) =>
      call<AnswerOf<'POST /api/upstream/rotate'>>('GET', `/api/upstream/handovers/${id}`),
    close: () => agent.destroy(),
  };
}

/** The document of a success; throws what the sidecar said instead. */
export function bodyOf<T>(said: Said<T>, what: string): T {
  if (said.ok) return said.body;
  throw new Error(`${what}: ${said.code} ${said.detail}`);
}

/** What becomes of a chat completion with this key; rejects where its answer is cut off. */
export async function present(port: number, key: string, body?: string) {
  const response = await ask(port, { key, ...(body !== undefined && { body }) });
  const refusal = response.headers.get('x-sidecar-refusal') ?? '';
  return { status: response.status, refusal, said: await response.text() };
}
