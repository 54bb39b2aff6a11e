import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import type {
  ChangeView,
  ClientView,
  GenerationView,
  RotateView,
  StatusView,
  WhoView,
} from '../../src/rotation/admin.ts';
import { bodyOf } from './ask.ts';

/** An answer of the admin API that is no success. */
export interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly hints: readonly string[];
  readonly who?: WhoView;
}

export interface AdminAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** One call on a sidecar's admin socket, as the command line makes it. */
export async function adminCall(
  { state }: { readonly state: string },
  method: string,
  path: string,
  { body, headers = {} }: { body?: object; headers?: Readonly<Record<string, string>> } = {},
): Promise<AdminAnswer> {
  const sent = request({
    agent: false,
    socketPath: join(state, 'admin.sock'),
    method,
    path,
    headers: {
      'x-sidecar-actor': 'test',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
  });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const text = (await bodyOf(response)).toString();
  return { status: response.statusCode ?? 0, body: JSON.parse(text) };
}

type Place = { readonly state: string };

/** The same, where it must succeed. */
async function succeed<T>(
  sidecar: Place,
  method: string,
  path: string,
  more: { body?: object; headers?: Readonly<Record<string, string>> } = {},
): Promise<T> {
  const { status, body } = await adminCall(sidecar, method, path, more);
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
  return body as T;
}

/** Where it must not: the problem, with its status. */
export async function refused(
  sidecar: Place,
  path: string,
  body: object = {},
  method = 'POST',
): Promise<Problem & { readonly status: number }> {
  // A DELETE has no body here: Node's client would send it without a length.
  const more = method === 'DELETE' ? {} : { body };
  const answer = await adminCall(sidecar, method, path, more);
  if (answer.status < 300) throw new Error(`${path} was done: ${JSON.stringify(answer.body)}`);
  return { ...(answer.body as Problem), status: answer.status };
}

export interface RotateBody {
  readonly grace?: string;
  readonly compromised?: boolean;
  readonly force?: boolean;
}

/** Rotates, and gives what was answered with the new key as a `Sidecar` that `ask` can use. */
export async function rotate<S extends Place>(
  sidecar: S,
  body: RotateBody = {},
  { client = 'master', headers = {} }: { client?: string; headers?: Record<string, string> } = {},
): Promise<RotateView & { readonly as: S & { readonly key: string } }> {
  const path = `/api/clients/${client}/rotate`;
  const view = await succeed<RotateView>(sidecar, 'POST', path, { body, headers });
  return { ...view, as: { ...sidecar, key: view.key ?? '' } };
}

export const addClient = async <S extends Place>(
  sidecar: S,
  body: {
    name: string;
    scopes?: string[];
    expires?: string;
    allowFrom?: string[];
    namesEndUsers?: boolean;
    limits?: object;
    models?: string[];
  },
): Promise<RotateView & { readonly as: S & { readonly key: string } }> => {
  const view = await succeed<RotateView>(sidecar, 'POST', '/api/clients', { body });
  return { ...view, as: { ...sidecar, key: view.key ?? '' } };
};

export const change = (sidecar: Place, path: string, body: object = {}): Promise<ChangeView> =>
  succeed(sidecar, 'POST', `/api/${path}`, { body });

export const setClient = (sidecar: Place, name: string, body: object): Promise<ChangeView> =>
  succeed(sidecar, 'PATCH', `/api/clients/${name}`, { body });

export const status = (sidecar: Place): Promise<StatusView> =>
  succeed(sidecar, 'GET', '/api/status');

export const clientOf = (sidecar: Place, name = 'master'): Promise<ClientView> =>
  succeed(sidecar, 'GET', `/api/clients/${name}`);

export const who = (sidecar: Place, generation: string): Promise<WhoView> =>
  succeed(sidecar, 'GET', `/api/generations/${generation}/who`);

/** One generation as the admin API shows it. */
export async function generationOf(sidecar: Place, id: string): Promise<GenerationView> {
  return (await who(sidecar, id)).generation;
}

/** Each generation's state, by id: what must be as it was after a refusal. */
export async function statesOf(sidecar: Place, name = 'master'): Promise<Record<string, string>> {
  const { generations } = await clientOf(sidecar, name);
  return Object.fromEntries(generations.map(({ id, state }) => [id, state]));
}

/** The keyring as it stands on the disk. */
export const keyringText = ({ state }: Place): Promise<string> =>
  readFile(join(state, 'keyring.json'), 'utf8');

/** The key that stands in the state folder for a client. */
export const keyFileOf = async ({ state }: Place, client = 'master'): Promise<string> =>
  (await readFile(join(state, 'keys', client), 'utf8')).trim();
