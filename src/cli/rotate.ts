import { AdminRefusal } from './admin-refusal.ts';
import { type AdminSession, writeJson } from './admin-session.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { renderChange, renderRotation } from './rotate-report.ts';
import { waitForNobody } from './wait.ts';
import { renderCallers } from './who-report.ts';

export interface RotateOptions {
  /** `24h`; undefined: the sidecar's own setting. */
  readonly grace: string | undefined;
  readonly compromised: boolean;
  readonly force: boolean;
  readonly wait: boolean;
  readonly json: boolean;
}

/** `sidecar rotate`; `interrupts` is asked for Ctrl-C once there is something to wait for. */
export async function rotate(
  session: AdminSession,
  client: string,
  { grace, compromised, force, wait, json }: RotateOptions,
  interrupts: () => AbortSignal,
): Promise<ExitCode> {
  const { terminal, api, time } = session;
  const body = { grace, compromised, force };
  const view = await sayingWho(session, () => api.rotate(client, body));
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderRotation(terminal, view, time.now(), compromised));
  if (wait) return await waitForNobody(session, view, interrupts());
  return EXIT.ok;
}

/** `sidecar rollback` */
export async function rollback(
  { terminal, api, time }: AdminSession,
  client: string,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.rollback(client);
  const active = view.client.generations.find(({ state }) => state === 'active');
  const said = `${active?.id ?? client} is the key of ${client} again`;
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderChange(terminal, said, view, time.now()));
  return EXIT.ok;
}

/** `sidecar revoke` */
export async function revoke(
  session: AdminSession,
  generation: string,
  options: { readonly force: boolean; readonly compromised: boolean; readonly json: boolean },
): Promise<ExitCode> {
  const { terminal, api, time } = session;
  const { force, compromised, json } = options;
  const view = await sayingWho(session, () => api.revoke(generation, { force, compromised }));
  const said = `${generation} is revoked: it opens nothing any more`;
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderChange(terminal, said, view, time.now(), compromised));
  return EXIT.ok;
}

/** Where a key is in use, who would break is shown above the refusal. */
export async function sayingWho<T>(session: AdminSession, verb: () => Promise<T>): Promise<T> {
  try {
    return await verb();
  } catch (error) {
    if (!(error instanceof AdminRefusal) || error.who === undefined) throw error;
    const { terminal, time } = session;
    terminal.stderr.write(renderCallers(terminal, terminal.stderr, error.who, time.now()));
    throw error;
  }
}
