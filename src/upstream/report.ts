import { join } from 'node:path';
import type { Secret } from '../secret.ts';
import { cut, printable, withoutKeys } from '../text/safe.ts';
import { linesAtEnds } from './file-ends.ts';
import type { SlotName } from './slots.ts';
import { tellingLines } from './telling-lines.ts';
import type { SlotReport } from './verdict.ts';

const ENDS = { first: 4 * 1024, last: 64 * 1024 };
const MOST_LINES = 20;
const LONGEST_LINE = 200;
/** Twice what the launcher writes: one who writes more does not keep our patterns busy. */
const LONGEST_READ = 4000;

/**
 * Reads what the launcher left of the LiteLLM that it started last in a slot: `<slot>.log` in a
 * folder into which LiteLLM's container can write anything. Its lines:
 *
 *     slot-id <what stands in the slot's file "id">
 *     try <1, 2 …>
 *     <what LiteLLM said>
 *     ended <exit status>       unless it runs
 *
 * Undefined where there is none, or where it is anything else. Never rejects.
 *
 * @param key The key of the slot, which may stand in what LiteLLM said in whatever form.
 */
export async function readReport(
  folder: string,
  slot: SlotName,
  key?: Secret,
): Promise<SlotReport | undefined> {
  try {
    const lines = await linesAtEnds(join(folder, `${slot}.log`), ENDS);
    const plain = key?.reveal() ?? '';
    return reportOf(lines, (text) => (plain === '' ? text : text.replaceAll(plain, '[redacted]')));
  } catch {
    return undefined;
  }
}

/** @param hide Takes the slot's key out of a line. */
function reportOf(
  lines: readonly string[],
  hide: (text: string) => string,
): SlotReport | undefined {
  const [first = '', second = '', ...rest] = lines;
  const [, slotId] = /^slot-id ([!-~]{0,200})$/.exec(first) ?? [];
  const [, attempt] = /^try ([1-9]\d{0,8})$/.exec(second) ?? [];
  // A line counts once the line feed behind it is there.
  if (slotId === undefined || attempt === undefined || rest.length === 0) return undefined;

  const endedWith = statusIn(rest);
  const said = (endedWith === undefined ? rest : rest.slice(0, -2))
    .flatMap((line) => line.split('\r'))
    .map((line) => hide(printable(line.slice(0, LONGEST_READ)).trimEnd()));
  return {
    slotId,
    attempt: Number(attempt),
    lines: tellingLines(said, MOST_LINES).map((line) => cut(withoutKeys(line), LONGEST_LINE)),
    endedWith,
    port: portIn(said),
  };
}

/** The last line is the launcher's where it has this form; an exit status has eight bits. */
function statusIn(lines: readonly string[]): number | undefined {
  const [, digits] = /^ended (\d{1,3})$/.exec(lines.at(-2) ?? '') ?? [];
  if (lines.at(-1) !== '' || digits === undefined) return undefined;
  return Number(digits) > 255 ? undefined : Number(digits);
}

/** As uvicorn, hypercorn and gunicorn say it. */
const LISTENING = /(?:Uvicorn running on|Running on|Listening at:) https?:\/\/[^\s"]*?:(\d{1,5})\b/;

/** The first one: what a caller sends can reach the log only after that. */
function portIn(lines: readonly string[]): number | undefined {
  for (const line of lines) {
    const port = Number(LISTENING.exec(line)?.[1]);
    if (port >= 1 && port <= 65_535) return port;
  }
  return undefined;
}
