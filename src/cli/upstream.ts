import type { HandoverView } from '../handover/views.ts';
import { type AdminSession, writeJson } from './admin-session.ts';
import { type Cell, renderColumns } from './columns.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { isOver } from './handover-words.ts';
import { showSecond, showSpan } from './instant.ts';
import { say, type Terminal } from './terminal.ts';
import { renderUpstream } from './upstream-report.ts';

/** `sidecar upstream status` */
export async function upstreamStatus(
  { terminal, api }: AdminSession,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.upstream();
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(renderUpstream(terminal, view));
  return EXIT.ok;
}

const HEAD = ['handover', 'kind', 'by', 'when', 'took', 'outcome', 'why'] as const;

/** `sidecar upstream history`: the latest first. */
export async function upstreamHistory(
  { terminal, api, time }: AdminSession,
  json: boolean,
): Promise<ExitCode> {
  const view = await api.handovers();
  if (json) writeJson(terminal, view);
  else if (view.handovers.length === 0) say(terminal, 'there was no handover so far');
  else terminal.stdout.write(renderHistory(terminal, view.handovers, time.now()));
  return EXIT.ok;
}

const renderHistory = (
  terminal: Terminal,
  handovers: readonly HandoverView[],
  now: number,
): string => {
  const rows = handovers.map((each) => rowOf(each, now));
  return renderColumns(terminal, terminal.stdout, HEAD, rows);
};

function rowOf(view: HandoverView, now: number): readonly Cell[] {
  const { id, kind, by, state, startedAt, endedAt, waitsFor, fault } = view;
  const took = showSpan((endedAt === null ? now : Date.parse(endedAt)) - Date.parse(startedAt));
  const style = state === 'done' ? 'green' : state === 'rolled_back' ? 'red' : 'cyan';
  const waits = isOver(view) || waitsFor === null ? '' : `waits for ${waitsFor}`;
  const outcome = { text: state.replace('_', ' '), style } as const;
  return [id, kind, by, showSecond(startedAt), took, outcome, fault?.message ?? waits];
}

/** `sidecar upstream salt-key`: two lines for `.env` on stdout, what to do with them on stderr. */
export async function saltKey({ terminal, api }: AdminSession, json: boolean): Promise<ExitCode> {
  const view = await api.saltKey();
  if (json) {
    writeJson(terminal, view);
  } else {
    terminal.stdout.write(`LITELLM_SALT_KEY=${view.saltKey}\nSIDECAR_LITELLM_SALT_KEY=set\n`);
  }
  say(terminal, 'a new salt key for LiteLLM; the sidecar does not keep it', [
    'both lines belong into .env, and a copy with your backups',
    'without it nothing that LiteLLM has stored can be read; it must never change',
    "then recreate LiteLLM's container, so that it sees it: docker compose up -d --force-recreate",
  ]);
  return EXIT.ok;
}
