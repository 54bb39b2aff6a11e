import type { Verdict } from '../litellm/verify.ts';
import { isIdle, type Observation } from './observation.ts';
import type { SlotLoad } from './ports.ts';
import type { Handover } from './state.ts';

const UNTIL: Readonly<Record<Verdict['kind'], string>> = {
  good: 'to list its models',
  silent: 'to answer',
  refuses_key: 'to take the key of its slot',
  accepts_any_key: 'to refuse a key that was made up',
  no_models: 'to list a model',
  not_litellm: 'to answer as LiteLLM does',
};

const counted = (count: number, one: string, many = `${one}s`): string[] =>
  count === 0 ? [] : [`${count} ${count === 1 ? one : many}`];

/** `2 requests, 1 WebSocket and 1 MCP session`. */
export function loadWords({ requests, websockets, mcpSessions }: SlotLoad): string {
  const parts = [
    ...counted(requests, 'request'),
    ...counted(websockets, 'WebSocket'),
    ...counted(mcpSessions, 'MCP session'),
  ];
  const last = parts.pop() ?? 'nothing';
  return parts.length === 0 ? last : `${parts.join(', ')} and ${last}`;
}

/** What a handover waits for; undefined: nothing. */
export function waitsFor({ step, from, to }: Handover, { slots }: Observation): string | undefined {
  if (step === 'staged') return `LiteLLM in slot ${from} to list its models`;
  if (step === 'starting') {
    const kind = slots[to].look?.verdict.kind ?? 'silent';
    return `LiteLLM in slot ${to} ${UNTIL[kind]}`;
  }
  if (step !== 'draining') return undefined;
  const { load } = slots[from];
  if (isIdle(load)) return `LiteLLM in slot ${to} to show that it lives on`;
  return `${loadWords(load)} in slot ${from} to end`;
}
