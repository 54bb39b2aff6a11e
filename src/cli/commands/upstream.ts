import type { HandoverView, SlotView, UpstreamView } from '../../handover/views.ts';
import { type AdminSession, type CommandDefinition, showResult } from '../command.ts';
import { JSON_FLAG, type JsonFlag } from '../options.ts';
import {
  handoverName,
  isOver,
  keyChangeWords,
  lastWordsOf,
  modelWords,
  showAgo,
  showInstant,
  showSecond,
  showSetting,
  showSpan,
  showUntil,
  stepWords,
} from '../phrases.ts';
import {
  type Cell,
  type LabelledLine,
  nextLines,
  renderColumns,
  renderLines,
  warningLines,
} from '../table.ts';
import { EXIT, type ExitCode, type Style, say, type Terminal } from '../terminal.ts';
import { handoverCommands } from './handover.ts';

const HELP = `
LiteLLM reads its key and its configuration once, at its start. So another LiteLLM is started beside
it, in the other of two slots, and takes over once it has shown that it works: a handover. Clients
keep their keys, and notice nothing; to change what they hold there is \`sidecar rotate\`.

Examples:
  $ sidecar upstream status
  $ sidecar upstream reload --dry-run
  $ sidecar upstream reload
  $ sidecar upstream rotate --wait

It needs both slots and their launcher: SIDECAR_UPSTREAM with two addresses, and SIDECAR_SLOTS.
`;

const STATUS_HELP = `
Shows the slots and what is in flight there, the handover that is under way and the last one, the
age of LiteLLM's key, whether it runs with its configuration as it is now, and its database.

Examples:
  $ sidecar upstream status
  $ sidecar upstream status --json | jq -r .config

Exit codes: 0 where a sidecar answers, 69 where none runs
`;

const HISTORY_HELP = `
Lists the last 20 handovers, the latest first: who asked, how long it took, how it ended, and why.

Examples:
  $ sidecar upstream history
  $ sidecar upstream history --json | jq '.handovers[] | select(.state == "rolled_back") | .fault'

Exit codes: 0 where a sidecar answers, 69 where none runs
`;

const SALT_KEY_HELP = `
With a database LiteLLM encrypts the credentials that it stores: with LITELLM_SALT_KEY, or where
there is none with its own key, which could then never be rotated. This prints a new one, and the
word by which the sidecar knows, as two lines for .env. The sidecar does not keep it.

Only an installation in which nothing is stored yet may take one: where there is one already, or
may be, it is refused. Where something is stored without one, the salt key has to be the key that
LiteLLM runs with now. It must never change, and without it nothing that is stored can be read: keep
a copy with your backups. LiteLLM sees it once its container is recreated.

Examples:
  $ sidecar upstream salt-key >> .env
  $ docker compose exec -T sidecar sidecar upstream salt-key >> .env
  $ docker compose up -d --force-recreate litellm

Exit codes: 0 done, 1 refused, 69 no sidecar runs
`;

/** `sidecar upstream`: LiteLLM's own key and configuration. */
export const upstreamCommand: CommandDefinition = (program, context) => {
  const { ask, show } = context;
  const upstream = program
    .command('upstream')
    .description("LiteLLM's own key and configuration: show them, replace them")
    .addHelpText('after', HELP);
  upstream
    .command('status')
    .description('show where LiteLLM runs, what is handed over, and what to do next')
    .option(...JSON_FLAG)
    .addHelpText('after', STATUS_HELP)
    .action((flags: JsonFlag) => show(flags, (api) => api('GET /api/upstream'), renderUpstream));
  handoverCommands(upstream, context);
  upstream
    .command('history')
    .description('list the last 20 handovers')
    .option(...JSON_FLAG)
    .addHelpText('after', HISTORY_HELP)
    .action((flags: JsonFlag) => ask(flags, (session) => history(session, flags)));
  upstream
    .command('salt-key')
    .description("print a new LITELLM_SALT_KEY, which LiteLLM's database needs; it is not stored")
    .option(...JSON_FLAG)
    .addHelpText('after', SALT_KEY_HELP)
    .action((flags: JsonFlag) => ask(flags, (session) => saltKey(session, flags)));
};

const SLOT_HEAD = ['slot', 'state', 'up', 'requests', 'websockets', 'mcp sessions', 'url'] as const;

const TITLE: Readonly<Record<UpstreamView['mode'], string>> = {
  slots: 'LiteLLM has two slots',
  'one-slot': 'LiteLLM has one slot, so that nothing can be handed over',
  unmanaged: 'LiteLLM is run by somebody else',
};

/** One screen: the slots, and below them a line for whatever an operator should know or do. */
async function renderUpstream(view: UpstreamView, terminal: Terminal): Promise<string> {
  const now = Date.parse(view.now);
  const title = `${TITLE[view.mode]}; ${showInstant(view.now)}`;
  const { stdout } = terminal;
  const table = await renderColumns(terminal, stdout, SLOT_HEAD, view.slots.map(slotRow));
  return `${title}\n\n${table}\n${renderLines(terminal, linesOf(view, now))}`;
}

const STYLE_OF: Readonly<Record<SlotView['state'], Style>> = {
  active: 'green',
  candidate: 'cyan',
  draining: 'yellow',
  empty: 'dim',
};

function slotRow(slot: SlotView): readonly Cell[] {
  const { name, state, up, requests, websockets, mcpSessions, url } = slot;
  const there: Cell = up ? { text: 'yes', style: 'green' } : { text: 'no', style: 'red' };
  const load = [requests, websockets, mcpSessions].map((count) => count.toLocaleString('en-US'));
  return [
    name,
    { text: state, style: STYLE_OF[state] },
    state === 'empty' ? '-' : there,
    ...load,
  ].concat(url);
}

function linesOf(view: UpstreamView, now: number): readonly LabelledLine[] {
  return [
    ...handoverLines(view, now),
    configLine(view, now),
    ...(view.config === 'refused' ? faultLines(view.last) : []),
    keyLine(view, now),
    ...keyChangeWords(view, now).map(
      (text): LabelledLine => ({ label: 'key change', ...CARE, text }),
    ),
    databaseLine(view),
    ...warningLines(view),
    ...nextLines(view),
  ];
}

const CALM = { style: 'dim' } as const;
const CARE = { style: 'yellow' } as const;
const BAD = { style: 'red' } as const;

function handoverLines(view: UpstreamView, now: number): readonly LabelledLine[] {
  const { mode, handover, waiting, last, verified, config } = view;
  const lineOf = (
    label: string,
    each: HandoverView | null,
    style: Style,
  ): readonly LabelledLine[] => {
    if (each === null) return [];
    const models = isOver(each) ? modelWords(each) : '';
    const text = `${handoverName(each)}: ${stepWords(each, now)}${models && `; ${models}`}`;
    return [{ label, style, text }];
  };
  const none: LabelledLine = { label: 'handover', ...CALM, text: 'none is under way' };
  return [
    ...(handover === null && mode === 'slots' ? [none] : lineOf('under way', handover, 'cyan')),
    ...lineOf('waiting', waiting, 'cyan'),
    ...lineOf('last', last, last?.state === 'rolled_back' ? 'red' : 'dim'),
    ...(config === 'refused' ? [] : faultLines(last)),
    ...(verified ? [] : [UNVERIFIED]),
  ];
}

const UNVERIFIED: LabelledLine = {
  label: 'verified',
  ...CARE,
  text: 'no: LiteLLM was not seen so far to take its key and to list a model',
};

function faultLines(last: HandoverView | null): readonly LabelledLine[] {
  if (last === null || last.fault === null) return [];
  const { fault } = last;
  const below = lastWordsOf(fault);
  return [
    { label: '  why', ...BAD, text: fault.message },
    ...(fault.hint === '' ? [] : [{ label: '  hint', style: 'cyan', text: fault.hint } as const]),
    ...(below.length === 0 ? [] : [{ label: '  litellm', ...CALM, text: 'its last words', below }]),
  ];
}

function configLine(
  { config, autoReload, configWaitsUntil }: UpstreamView,
  now: number,
): LabelledLine {
  const label = 'config';
  const again =
    configWaitsUntil === null ? 'by itself' : `again ${showUntil(configWaitsUntil, now)}`;
  switch (config) {
    case 'current':
      return { label, ...CALM, text: autoReload ? 'current; an edit is tried by itself' : config };
    case 'changed':
      return {
        label,
        ...CARE,
        text: autoReload
          ? `changed since LiteLLM started; it is tried ${again}`
          : 'changed since LiteLLM started; `sidecar upstream reload` takes it',
      };
    case 'refused': {
      const text = 'refused: what stands there now did not come up; LiteLLM goes on as it was';
      return { label, ...BAD, text };
    }
    case 'none':
      return { label, ...CALM, text: 'none: SIDECAR_LITELLM_CONFIG is not set' };
  }
}

function keyLine(view: UpstreamView, now: number): LabelledLine {
  const { mode, keyMadeAt, rotateEveryMs, nextRotationAt } = view;
  const age = keyMadeAt === null ? 'made by somebody else' : `made ${showAgo(keyMadeAt, now)}`;
  const line = (schedule: string): LabelledLine => ({
    label: 'key',
    ...CALM,
    text: age + schedule,
  });
  if (rotateEveryMs !== null) {
    const next = nextRotationAt === null ? '' : `; next ${showUntil(nextRotationAt, now)}`;
    return line(`; rotated every ${showSetting(rotateEveryMs)}${next}`);
  }
  if (mode !== 'slots') return line('');
  return line('; rotate with `sidecar upstream rotate`, or set SIDECAR_UPSTREAM_ROTATE_EVERY');
}

function databaseLine({ database, saltKeySet }: UpstreamView): LabelledLine {
  const label = 'database';
  const salt = saltKeySet ? '; there is a salt key' : '';
  if (database === null) return { label, ...CALM, text: `not asked yet${salt}` };
  if (!database) return { label, ...CALM, text: `none${salt}` };
  if (saltKeySet) return { label, ...CALM, text: `yes${salt}` };
  const text = 'yes, and no word about a salt key: set SIDECAR_LITELLM_SALT_KEY before a rotation';
  return { label, ...CARE, text };
}

const HISTORY_HEAD = ['handover', 'kind', 'by', 'when', 'took', 'outcome', 'why'] as const;

async function history(session: AdminSession, flags: JsonFlag): Promise<ExitCode> {
  const view = await session.api('GET /api/upstream/handovers');
  if (view.handovers.length === 0 && flags.json !== true) {
    say(session.terminal, 'there was no handover so far');
    return EXIT.ok;
  }
  return showResult(session, flags, view, ({ handovers }, terminal, now) => {
    const rows = handovers.map((each) => historyRow(each, now));
    return renderColumns(terminal, terminal.stdout, HISTORY_HEAD, rows);
  });
}

function historyRow(view: HandoverView, now: number): readonly Cell[] {
  const { id, kind, by, state, startedAt, endedAt, waitsFor, fault } = view;
  const took = showSpan((endedAt === null ? now : Date.parse(endedAt)) - Date.parse(startedAt));
  const style = state === 'done' ? 'green' : state === 'rolled_back' ? 'red' : 'cyan';
  const waits = isOver(view) || waitsFor === null ? '' : `waits for ${waitsFor}`;
  const outcome = { text: state.replace('_', ' '), style } as const;
  return [id, kind, by, showSecond(startedAt), took, outcome, fault?.message ?? waits];
}

/** Two lines for `.env` go to stdout, and what to do with them to stderr. */
async function saltKey(session: AdminSession, flags: JsonFlag): Promise<ExitCode> {
  const { terminal, api } = session;
  const view = await api('POST /api/upstream/salt-key');
  const lines = `LITELLM_SALT_KEY=${view.saltKey}\nSIDECAR_LITELLM_SALT_KEY=set\n`;
  const code = await showResult(session, flags, view, () => lines);
  say(terminal, 'a new salt key for LiteLLM; the sidecar does not keep it', [
    'both lines belong into .env, and a copy with your backups',
    'without it nothing that LiteLLM has stored can be read; it must never change',
    "then recreate LiteLLM's container, so that it sees it: " +
      'docker compose up -d --force-recreate litellm',
  ]);
  return code;
}
