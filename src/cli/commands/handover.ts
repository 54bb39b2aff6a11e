import { type Command, Option } from 'commander';
import { HANDOVER_STEPS, type HandoverStep, type HandoverView } from '../../handover/views.ts';
import { oneLine } from '../../text/safe.ts';
import { AdminRefusal } from '../admin-client.ts';
import type { AdminSession, CommandDefinition } from '../command.ts';
import { JSON_FLAG, type JsonFlag } from '../options.ts';
import {
  cutWords,
  handoverName,
  isOver,
  lastWordsOf,
  modelWords,
  showClock,
  stepWords,
} from '../phrases.ts';
import { stopped, watch } from '../progress.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  paint,
  type Style,
  say,
  type Terminal,
  writeJson,
} from '../terminal.ts';

const STEPS_HELP = `
staged    it is prepared, and stored
starting  LiteLLM starts in the other slot
verified  it lists models with its key, and refuses another
switched  new requests go there
draining  the one before finishes what it has in hand, within SIDECAR_DRAIN

What does not come up within SIDECAR_HANDOVER_TIMEOUT is rolled back: the LiteLLM before goes on as
if nothing had been. If the new one dies within SIDECAR_PROBATION of the switch, requests go back.
A handover that is asked for while another one drains waits for it.
`;

const CTRL_C_HELP = `
The command returns when new requests have gone over, with --wait when the LiteLLM before has ended.
Ctrl-C ends the watching, and not the handover.
`;

const EXIT_CODES_HELP = `
Exit codes: 0 done, 1 refused or rolled back, 2 the command line is wrong, 69 no sidecar runs, 73
the state folder cannot be written, 130 Ctrl-C
`;

const ROTATE_HELP = `
A new LiteLLM with a new key takes over. No client holds that key, or learns it.
${STEPS_HELP}${CTRL_C_HELP}
With a database LiteLLM must have a salt key first: see \`sidecar upstream salt-key --help\`.

Examples:
  $ sidecar upstream rotate
  $ sidecar upstream rotate --wait --json | jq -r .state
${EXIT_CODES_HELP}`;

const RELOAD_HELP = `
A new LiteLLM takes over, with the same key and with what SIDECAR_LITELLM_CONFIG names as it is now.
A configuration that does not come up takes nothing down: its last words are shown.
${STEPS_HELP}${CTRL_C_HELP}
Examples:
  $ sidecar upstream reload --dry-run
  $ sidecar upstream reload
  $ sidecar upstream reload --json | jq -r '.models.vanished[]'
${EXIT_CODES_HELP}`;

interface HandoverFlags extends JsonFlag {
  /** Until the LiteLLM before has ended, rather than until new requests have gone over. */
  readonly wait?: boolean;
}

interface ReloadFlags extends HandoverFlags {
  readonly dryRun?: boolean;
}

const WAIT_FLAG = ['--wait', 'stay until the LiteLLM before has ended, too'] as const;

/** `sidecar upstream rotate` and `reload`: the two ways to begin a handover. */
export const handoverCommands: CommandDefinition = (upstream, { ask }) => {
  upstream
    .command('rotate')
    .description('let a LiteLLM with a new key take over; clients notice nothing')
    .option(...WAIT_FLAG)
    .addOption(new Option('--dry-run').hideHelp())
    .option(...JSON_FLAG)
    .addHelpText('after', ROTATE_HELP)
    .action(({ dryRun, ...flags }: ReloadFlags, command: Command) => {
      if (dryRun === true) command.error(DRY_RUN_OF_ROTATE);
      return ask(flags, (session) =>
        handOver(session, () => session.api('POST /api/upstream/rotate'), flags),
      );
    });
  upstream
    .command('reload')
    .description('let one with the configuration as it is now take over')
    .option('--dry-run', 'see whether it comes up, and switch nothing')
    .option(...WAIT_FLAG)
    .option(...JSON_FLAG)
    .addHelpText('after', RELOAD_HELP)
    .action(({ dryRun = false, ...flags }: ReloadFlags) =>
      ask(flags, (session) =>
        handOver(
          session,
          () => session.api('POST /api/upstream/reload', { body: { dryRun } }),
          flags,
        ),
      ),
    );
};

/** Has the form of commander's errors: `program.ts` makes what stands in brackets a hint. */
const DRY_RUN_OF_ROTATE =
  "error: option '--dry-run' is invalid: it belongs to reload " +
  '(sidecar upstream reload --dry-run sees whether the configuration comes up)';

/** Begins a handover, and stays until it has come as far as the flags say. */
async function handOver(
  session: AdminSession,
  begin: () => Promise<HandoverView>,
  { wait = false, json = false }: HandoverFlags,
): Promise<ExitCode> {
  const { terminal } = session;
  let last = await begin();
  const onLook = (view: HandoverView): void => {
    last = view;
  };
  try {
    if (!(await watchHandover(session, last, wait, onLook))) return EXIT.interrupted;
  } finally {
    // The document holds the handover's id, so it is printed however the watching ended.
    if (json) writeJson(terminal, last);
  }
  if (last.state === 'rolled_back') throw rolledBack(last);
  if (!json) terminal.stdout.write(renderHandover(terminal, last));
  return EXIT.ok;
}

const PURPOSE: Readonly<Record<HandoverView['kind'], string>> = {
  rotate: 'a new key',
  reload: 'the configuration as it is now',
  'dry-run': 'a try of the configuration, which switches nothing',
};

const DOING = 'watching';
const GOES_ON = 'the handover goes on without this command; sidecar upstream status shows how';

/**
 * Shows how a handover goes on. Resolves to true where the handover came as far as it is watched,
 * to false where Ctrl-C came first. Throws `CommandError` where the sidecar stays away.
 *
 * @param untilEnd Until the end, rather than until new requests have gone over.
 * @param onLook Told of each look.
 */
async function watchHandover(
  session: AdminSession,
  begun: HandoverView,
  untilEnd: boolean,
  onLook: (view: HandoverView) => void,
): Promise<boolean> {
  const { terminal } = session;
  const signal = session.interrupts();
  const { id, kind, from, to } = begun;
  say(terminal, `${id} has begun: ${PURPOSE[kind]}, from slot ${from} to slot ${to}`, [
    'Ctrl-C ends the watching, and not the handover',
  ]);
  const watched = {
    doing: DOING,
    hint: GOES_ON,
    look: () => lookAt(session, id, signal),
    ...createDisplay(terminal),
    isOver(view: HandoverView): boolean {
      onLook(view);
      return isOver(view) || (!untilEnd && view.switchedAt !== null);
    },
  };
  if ((await watch(session, watched, signal, begun)) !== undefined) return true;
  say(terminal, `stopped watching; ${id} goes on`, ['sidecar upstream status shows how']);
  return false;
}

/** One look. A refusal ends the watching, and says that the handover itself goes on. */
async function lookAt(
  { api }: AdminSession,
  id: string,
  signal: AbortSignal,
): Promise<HandoverView> {
  try {
    return await api('GET /api/upstream/handovers/{id}', { id, signal });
  } catch (error) {
    if (!(error instanceof CommandError) || error.exitCode === EXIT.unavailable) throw error;
    if (error instanceof AdminRefusal && error.code === 'unknown_handover') {
      const message = `the sidecar knows of no ${id} any more`;
      throw stopped(DOING, message, EXIT.failed, 'sidecar upstream history shows the last ones');
    }
    throw stopped(DOING, error.message, error.exitCode, GOES_ON);
  }
}

/** Elsewhere than on a terminal: what a step waits for may be a number that changes each second. */
const SAY_EVERY_MS = 10_000;

/** On a terminal every step in its place; elsewhere a line for each step, and why it waits. */
function createDisplay(terminal: Terminal) {
  const since = new Map<string, string>();
  const said = { state: '', waitsFor: '', at: 0 };
  return {
    draw(view: HandoverView, now: number): readonly string[] {
      since.set(view.state, view.stateSince);
      if (view.switchedAt !== null) since.set('switched', view.switchedAt);
      return drawSteps(terminal, view, since, now);
    },
    sayChange(view: HandoverView, now: number): void {
      const { id, state } = view;
      const waitsFor = view.waitsFor ?? '';
      if (isOver(view) || (state === said.state && waitsFor === said.waitsFor)) return;
      if (state === said.state && now - said.at < SAY_EVERY_MS) return;
      say(terminal, `${oneLine(id)}: ${stepWords(view, now)}`);
      Object.assign(said, { state, waitsFor, at: now });
    },
  };
}

function drawSteps(
  terminal: Terminal,
  view: HandoverView,
  since: ReadonlyMap<string, string>,
  now: number,
): readonly string[] {
  const { stderr } = terminal;
  const at = HANDOVER_STEPS.indexOf(view.state as HandoverStep);
  const rows = stepsOf(view, since).map((step) => {
    const place = HANDOVER_STEPS.indexOf(step);
    if (place === at) return paint(terminal, stderr, 'cyan', `● ${stepWords(view, now)}`);
    const began = since.get(step);
    const when = began === undefined ? '' : ` since ${showClock(began)}`;
    if (place < at || isOver(view)) return paint(terminal, stderr, 'green', `✔ ${step}${when}`);
    return paint(terminal, stderr, 'dim', `· ${step}`);
  });
  const title = `${handoverName(view)}, from slot ${view.from} to slot ${view.to}`;
  return [oneLine(title), ...rows.map((row) => `  ${row}`)];
}

/** A dry run tries the configuration and ends before the switch: its last step is `verified`. */
const STEPS_OF_A_DRY_RUN = HANDOVER_STEPS.slice(0, HANDOVER_STEPS.indexOf('verified') + 1);

/** The steps that are shown; `waiting` only where the handover had to wait. */
function stepsOf(
  { kind }: HandoverView,
  since: ReadonlyMap<string, string>,
): readonly HandoverStep[] {
  const steps = kind === 'dry-run' ? STEPS_OF_A_DRY_RUN : HANDOVER_STEPS;
  return steps.filter((step) => step !== 'waiting' || since.has(step));
}

/** Why a handover was rolled back, as this command ends. */
function rolledBack({ id, from, fault }: HandoverView): CommandError {
  const why = oneLine(fault?.message ?? 'the log of the sidecar says why');
  const hints = fault === null || fault.hint === '' ? [] : [oneLine(fault.hint)];
  const words = fault === null ? [] : lastWordsOf(fault).map((line) => `  ${line}`);
  return new CommandError(
    `${id} was rolled back, and LiteLLM in slot ${from} goes on: ${why}`,
    EXIT.failed,
    hints,
    words.length === 0 ? [] : ["LiteLLM's last words:", ...words],
  );
}

/** What a handover did that came as far as it was watched. */
function renderHandover(terminal: Terminal, view: HandoverView): string {
  const models = modelWords(view);
  const lines = [
    paint(terminal, terminal.stdout, 'green', doneWords(view)),
    ...slotBeforeWords(view),
    ...(models === '' ? [] : [models]),
    ...namesOf(terminal, 'appeared', 'green', view.models?.added ?? []),
    ...namesOf(terminal, 'vanished', 'yellow', view.models?.vanished ?? []),
    ...nextWords(view).map((words) => `next: ${words}`),
  ];
  return `${lines.join('\n  ')}\n`;
}

function doneWords({ kind, to }: HandoverView): string {
  if (kind === 'dry-run') return `the configuration came up in slot ${to}; nothing was switched`;
  return `LiteLLM in slot ${to} answers new requests, with ${PURPOSE[kind]}`;
}

function slotBeforeWords(view: HandoverView): readonly string[] {
  const { kind, from, cut } = view;
  if (kind === 'dry-run') return [];
  if (!isOver(view)) return [`the one in slot ${from} finishes what it has in hand`];
  return [`the one in slot ${from} has ended`, ...(cut > 0 ? [cutWords(cut)] : [])];
}

function nextWords(view: HandoverView): readonly string[] {
  if (view.kind === 'dry-run') return ['sidecar upstream reload switches to it'];
  return isOver(view) ? [] : ['sidecar upstream status shows what is left'];
}

/** Of a few hundred models the others are in `--json`. */
const MOST_NAMES = 20;

function namesOf(
  terminal: Terminal,
  word: string,
  style: Style,
  names: readonly string[],
): readonly string[] {
  const more = names.length - MOST_NAMES;
  return [
    ...names
      .slice(0, MOST_NAMES)
      .map((name) => `${paint(terminal, terminal.stdout, style, word)}: ${oneLine(name, 200)}`),
    ...(more > 0 ? [`and ${more} more that ${word}`] : []),
  ];
}
