/** The admin API of the sidecar, as its operator asks it. */
import { Pool } from 'undici';
import type { AnswerOf } from '../../src/servers/admin/endpoints.ts';

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
  const pool = new Pool('http://sidecar', { socketPath, headersTimeout: ANSWER_MS });
  const call = async <T>(method: 'GET' | 'POST', path: string, fields?: object) => {
    const headers = fields === undefined ? {} : { 'content-type': 'application/json' };
    const body = fields === undefined ? null : JSON.stringify(fields);
    const answer = await pool.request({ method, path, headers, body });
    const said = await answer.body.json();
    const isOk = answer.statusCode === 200 || answer.statusCode === 202;
    return (isOk ? { ok: true, body: said } : { ok: false, ...(said as object) }) as Said<T>;
  };
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
    close: () => pool.destroy(),
  };
}

/** The document of a success; throws what the sidecar said instead. */
export function bodyOf<T>(said: Said<T>, what: string): T {
  if (said.ok) return said.body;
  throw new Error(`${what}: ${said.code} ${said.detail}`);
}
