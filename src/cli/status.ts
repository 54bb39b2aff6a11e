import { type AdminSession, writeJson } from './admin-session.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { renderStatus } from './status-report.ts';
import { renderWho } from './who-report.ts';

/** `sidecar status` */
export async function status({ terminal, api }: AdminSession, json: boolean): Promise<ExitCode> {
  const view = await api.status();
  const upstream = await api.upstream();
  if (json) writeJson(terminal, { ...view, upstream });
  else terminal.stdout.write(renderStatus(terminal, view, upstream));
  return EXIT.ok;
}

/** `sidecar who` */
export async function who(
  { terminal, api, time }: AdminSession,
  generation: string,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.who(generation);
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderWho(terminal, view, time.now()));
  return EXIT.ok;
}
