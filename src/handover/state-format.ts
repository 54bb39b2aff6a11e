import { z } from 'zod';
import type { FileData } from '../store/durable-file.ts';
import { unseal } from '../store/keyring-format.ts';
import { otherSlot, type UpstreamState } from './state.ts';
import { HANDOVER_ENDS, HANDOVER_FAULTS } from './views.ts';

const instant = z.number();
const number = z.int().positive();
const slot = z.enum(['a', 'b']);
const kind = z.enum(['rotate', 'reload', 'dry-run']);
const names = z.array(z.string());

const models = z.strictObject({ listed: z.int(), added: names, vanished: names });
const fault = z.strictObject({
  code: z.enum(HANDOVER_FAULTS),
  message: z.string(),
  hint: z.string(),
  lastWords: names,
});
const common = { number, kind, by: z.string(), from: slot, to: slot, startedAt: instant };
const handover = z
  .strictObject({
    ...common,
    step: z.enum(['staged', 'starting', 'verified', 'switched', 'draining']),
    stateSince: instant,
    switchedAt: instant.optional(),
    modelsBefore: names.optional(),
    models: models.optional(),
    verifiedId: z.string().optional(),
    attempt: z.int().optional(),
    fromVerifiedAt: instant.optional(),
  })
  .refine(({ from, to }) => to === otherSlot(from), 'it goes from a slot to itself');
const ended = z.strictObject({
  ...common,
  end: z.enum(HANDOVER_ENDS),
  endedAt: instant,
  switchedAt: instant.optional(),
  models: models.optional(),
  cut: z.int().nonnegative(),
  fault: fault.optional(),
});
const state = z
  .strictObject({
    active: slot,
    verifiedAt: instant.optional(),
    keyMadeAt: z.strictObject({ a: instant.optional(), b: instant.optional() }),
    handover: handover.optional(),
    refusedConfig: z.string().optional(),
    counter: z.int().nonnegative(),
    ended: z.array(ended),
  })
  .refine(({ active, handover: each }) => {
    if (each === undefined) return true;
    const isOver = each.step === 'switched' || each.step === 'draining';
    return active === (isOver ? each.to : each.from);
  }, 'its active slot and its handover do not agree');
const document = z.strictObject({ format: z.literal(1), state, sum: z.string() });

/** The text of `upstream.json`, without its checksum. */
export function encodeState(content: UpstreamState): FileData {
  const [first = '', ...rest] = JSON.stringify(content, undefined, 2).split('\n');
  const indented = [first, ...rest.map((line) => `  ${line}`)].join('\n');
  return [`{\n  "format": 1,\n  "state": ${indented}`];
}

/** Never throws, and quotes nothing of what it reads. */
export function decodeState(
  bytes: Buffer,
): { readonly ok: true; readonly state: UpstreamState } | { readonly ok: false; reason: string } {
  const unsealed = unseal(bytes);
  if (!unsealed.ok) return { ok: false, reason: unsealed.reason };
  const parsed = document.safeParse(unsealed.content);
  if (parsed.success) return { ok: true, state: parsed.data.state };
  return { ok: false, reason: 'it is of another version of the sidecar, or was changed' };
}
