import type { HandoverView } from '../handover/views.ts';
import { oneLine } from '../text/safe.ts';
import { CommandError, EXIT } from './exit-code.ts';
import { isOver, lastWordsOf, modelWords } from './handover-words.ts';
import { cutWords } from './key-words.ts';
import { paint, type Style, type Terminal } from './terminal.ts';

/** Of a few hundred models the others are in `--json`. */
const MOST_NAMES = 20;

/** What a handover did that came to where it was to. */
export function renderHandover(terminal: Terminal, view: HandoverView): string {
  const models = modelWords(view);
  const lines = [
    paint(terminal, terminal.stdout, 'green', doneWords(view)),
    ...restWords(view),
    ...(models === '' ? [] : [models]),
    ...namesOf(terminal, 'appeared', 'green', view.models?.added ?? []),
    ...namesOf(terminal, 'vanished', 'yellow', view.models?.vanished ?? []),
    ...nextWords(view).map((words) => `next: ${words}`),
  ];
  return `${lines.join('\n  ')}\n`;
}

function doneWords({ kind, to }: HandoverView): string {
  if (kind === 'dry-run') return `the configuration came up in slot ${to}; nothing was switched`;
  const how = kind === 'rotate' ? 'a new key' : 'the configuration as it is now';
  return `LiteLLM in slot ${to} answers new requests, with ${how}`;
}

function restWords(view: HandoverView): readonly string[] {
  const { kind, from, cut } = view;
  if (kind === 'dry-run') return [];
  if (!isOver(view)) return [`the one in slot ${from} finishes what it has in hand`];
  return [`the one in slot ${from} has ended`, ...(cut > 0 ? [cutWords(cut)] : [])];
}

function nextWords(view: HandoverView): readonly string[] {
  if (view.kind === 'dry-run') return ['sidecar upstream reload switches to it'];
  return isOver(view) ? [] : ['sidecar upstream status shows what is left'];
}

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

/** Why one was rolled back, as this command ends. */
export function rolledBack({ id, from, fault }: HandoverView): CommandError {
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
