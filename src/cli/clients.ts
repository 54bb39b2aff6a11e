import type { Scope } from '../keyring/keyring.ts';
import type { ChangeView, ClientView } from '../rotation/admin.ts';
import { type AdminSession, writeJson } from './admin-session.ts';
import { type Cell, renderColumns } from './columns.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { showAgo, showUntil } from './instant.ts';
import { notesOf } from './key-words.ts';
import { sayingWho } from './rotate.ts';
import { renderChange, renderRotation } from './rotate-report.ts';
import type { Terminal } from './terminal.ts';

export interface NewClient {
  readonly scopes: readonly Scope[];
  /** `90d`, from now. */
  readonly expires: string | undefined;
  readonly allowFrom: readonly string[];
}

const HEAD = ['client', 'state', 'key', 'scopes', 'last used', 'expires', 'from'] as const;

/** `sidecar clients list` */
export async function listClients(
  { terminal, api, time }: AdminSession,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.clients();
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderClients(terminal, view.clients, time.now()));
  return EXIT.ok;
}

function renderClients(terminal: Terminal, clients: readonly ClientView[], now: number): string {
  const rows = clients.map((client) => rowOf(client, now));
  return renderColumns(terminal, terminal.stdout, HEAD, rows);
}

function rowOf(client: ClientView, now: number): readonly Cell[] {
  const { name, state, scopes, expiresAt, allowFrom, generations } = client;
  const active = generations.find((generation) => generation.state === 'active');
  const uses = generations.flatMap(({ lastUsedAt }) => (lastUsedAt === null ? [] : [lastUsedAt]));
  // ISO 8601 in UTC sorts as text.
  const last = uses.sort().at(-1) ?? null;
  return [
    name,
    { text: state, style: state === 'enabled' ? 'green' : 'yellow' },
    active?.id ?? '-',
    scopes.join(', '),
    showAgo(last, now),
    expiresAt === null ? 'never' : showUntil(expiresAt, now),
    allowFrom.length === 0 ? 'anywhere' : allowFrom.join(', '),
  ];
}

/** `sidecar clients add` */
export async function addClient(
  { terminal, api, time }: AdminSession,
  name: string,
  { scopes, expires, allowFrom }: NewClient,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.addClient({ name, scopes, expires, allowFrom });
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderRotation(terminal, view, time.now()));
  return EXIT.ok;
}

/** `sidecar clients disable|enable` */
export async function switchClient(
  session: AdminSession,
  name: string,
  to: 'disable' | 'enable',
  json: boolean,
): Promise<ExitCode> {
  const done = { disable: 'disabled: its keys are refused', enable: 'enabled: its keys count' };
  const view = await session.api[to](name);
  return show(session, `${name} is ${done[to]}`, view, json);
}

/** `sidecar clients remove` */
export async function removeClient(
  session: AdminSession,
  name: string,
  force: boolean,
  json: boolean,
): Promise<ExitCode> {
  const { terminal, api } = session;
  const view = await sayingWho(session, () => api.removeClient(name, force));
  const lines = [`${name} is removed, and all of its keys are revoked`, ...notesOf(view, false)];
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(`${lines.join('\n  ')}\n`);
  return EXIT.ok;
}

function show(
  { terminal, time }: AdminSession,
  said: string,
  view: ChangeView,
  json: boolean,
): ExitCode {
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderChange(terminal, said, view, time.now()));
  return EXIT.ok;
}
