import type { HandoverView, SlotView, UpstreamView } from '../handover/views.ts';
import { type Cell, renderColumns } from './columns.ts';
import { handoverName, isOver, lastWordsOf, modelWords, stepWords } from './handover-words.ts';
import { showAgo, showInstant, showSetting, showUntil } from './instant.ts';
import type { Style, Terminal } from './terminal.ts';
import { keyChangeWords } from './upstream-line.ts';
import { type Line, nextLines, renderLines, warningLines } from './word-lines.ts';

const HEAD = ['slot', 'state', 'up', 'requests', 'websockets', 'mcp sessions', 'url'] as const;

const TITLE: Readonly<Record<UpstreamView['mode'], string>> = {
  slots: 'LiteLLM has two slots',
  'one-slot': 'LiteLLM has one slot, so that nothing can be handed over',
  unmanaged: 'LiteLLM is run by somebody else',
};

/** One screen: the slots, and below them a line for whatever an operator should know or do. */
export function renderUpstream(terminal: Terminal, view: UpstreamView): string {
  const now = Date.parse(view.now);
  const title = `${TITLE[view.mode]}; ${showInstant(view.now)}`;
  const table = renderColumns(terminal, terminal.stdout, HEAD, view.slots.map(rowOf));
  return `${title}\n\n${table}\n${renderLines(terminal, linesOf(view, now))}`;
}

const STYLE_OF: Readonly<Record<SlotView['state'], Style>> = {
  active: 'green',
  candidate: 'cyan',
  draining: 'yellow',
  empty: 'dim',
};

function rowOf(slot: SlotView): readonly Cell[] {
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

function linesOf(view: UpstreamView, now: number): readonly Line[] {
  return [
    ...handoverLines(view, now),
    configLine(view),
    ...(view.config === 'refused' ? faultLines(view.last) : []),
    keyLine(view, now),
    ...keyChangeWords(view, now).map((text): Line => ({ word: 'key change', ...CARE, text })),
    databaseLine(view),
    ...warningLines(view),
    ...nextLines(view),
  ];
}

const CALM = { style: 'dim' } as const;
const CARE = { style: 'yellow' } as const;
const BAD = { style: 'red' } as const;

function handoverLines(view: UpstreamView, now: number): readonly Line[] {
  const { mode, handover, waiting, last, verified, config } = view;
  const lineOf = (word: string, each: HandoverView | null, style: Style): readonly Line[] => {
    if (each === null) return [];
    const models = isOver(each) ? modelWords(each) : '';
    const text = `${handoverName(each)}: ${stepWords(each, now)}${models && `; ${models}`}`;
    return [{ word, style, text }];
  };
  const none: Line = { word: 'handover', ...CALM, text: 'none is under way' };
  return [
    ...(handover === null && mode === 'slots' ? [none] : lineOf('under way', handover, 'cyan')),
    ...lineOf('waiting', waiting, 'cyan'),
    ...lineOf('last', last, last?.state === 'rolled_back' ? 'red' : 'dim'),
    ...(config === 'refused' ? [] : faultLines(last)),
    ...(verified ? [] : [UNVERIFIED]),
  ];
}

const UNVERIFIED: Line = {
  word: 'verified',
  ...CARE,
  text: 'no: LiteLLM was not seen so far to take its key and to list a model',
};

function faultLines(last: HandoverView | null): readonly Line[] {
  if (last === null || last.fault === null) return [];
  const { fault } = last;
  const below = lastWordsOf(fault);
  return [
    { word: '  why', ...BAD, text: fault.message },
    ...(fault.hint === '' ? [] : [{ word: '  hint', style: 'cyan', text: fault.hint } as const]),
    ...(below.length === 0 ? [] : [{ word: '  litellm', ...CALM, text: 'its last words', below }]),
  ];
}

function configLine({ config, autoReload }: UpstreamView): Line {
  const word = 'config';
  switch (config) {
    case 'current':
      return { word, ...CALM, text: autoReload ? 'current; an edit is tried by itself' : config };
    case 'changed':
      return {
        word,
        ...CARE,
        text: autoReload
          ? 'changed since LiteLLM started; it is tried by itself'
          : 'changed since LiteLLM started; `sidecar upstream reload` takes it',
      };
    case 'refused': {
      const text = 'refused: what stands there now did not come up; LiteLLM goes on as it was';
      return { word, ...BAD, text };
    }
    case 'none':
      return { word, ...CALM, text: 'none: SIDECAR_LITELLM_CONFIG is not set' };
  }
}

function keyLine(view: UpstreamView, now: number): Line {
  const { mode, keyMadeAt, rotateEveryMs, nextRotationAt } = view;
  const age = keyMadeAt === null ? 'made by somebody else' : `made ${showAgo(keyMadeAt, now)}`;
  const line = (schedule: string): Line => ({ word: 'key', ...CALM, text: age + schedule });
  if (rotateEveryMs !== null) {
    const next = nextRotationAt === null ? '' : `; next ${showUntil(nextRotationAt, now)}`;
    return line(`; rotated every ${showSetting(rotateEveryMs)}${next}`);
  }
  if (mode !== 'slots') return line('');
  return line('; rotate with `sidecar upstream rotate`, or set SIDECAR_UPSTREAM_ROTATE_EVERY');
}

function databaseLine({ database, saltKeySet }: UpstreamView): Line {
  const word = 'database';
  const salt = saltKeySet ? '; there is a salt key' : '';
  if (database === null) return { word, ...CALM, text: `not asked yet${salt}` };
  if (!database) return { word, ...CALM, text: `none${salt}` };
  if (saltKeySet) return { word, ...CALM, text: `yes${salt}` };
  const text = 'yes, and no word about a salt key: set SIDECAR_LITELLM_SALT_KEY before a rotation';
  return { word, ...CARE, text };
}
