import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Secret } from '../secret.ts';
import { cut, printable, withoutKeys } from '../text/safe.ts';
import type { SlotName } from './slots.ts';
import type { SlotReport } from './verify.ts';

/**
 * The whole lines of a file's first and last bytes; all of its lines where that is all of it. Who
 * writes it is not trusted: no link is followed, nothing but a plain file is read, none waits.
 *
 * @throws Error where there is no plain file, or it cannot be read.
 */
export async function linesAtEnds(
  path: string,
  bytes: { readonly first: number; readonly last: number },
): Promise<readonly string[]> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  // A FIFO would wait for a writer, and a link lead to what only the sidecar may read.
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new Error(`${path} is no plain file`);
    const { first, last } = bytes;
    if (found.size <= first + last) return linesOf(await read(file, 0, found.size));
    const head = linesOf(await read(file, 0, first));
    const tail = linesOf(await read(file, found.size - last, last));
    // What stands at the gap is cut, and may be half a key.
    return [...head.slice(0, -1), ...tail.slice(1)];
  } finally {
    await file.close();
  }
}

async function read(file: FileHandle, from: number, length: number): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, from);
  return buffer.toString('utf8', 0, bytesRead);
}

/** The last one is what stands behind the last line feed: '' where the text ends in one. */
const linesOf = (text: string): readonly string[] => text.split('\n');

/** What LiteLLM prints at each start, and what the sidecar's own questions leave in its log. */
const NOISE: readonly RegExp[] = [
  /^[\s\u2500-\u259f]*$/,
  // The box around "I don't like how this works...".
  /^#.*#$/,
  /^ *Thank you for using LiteLLM!/,
  /^Give Feedback \/ Get Help:/,
  /"GET \S*\/(?:health\/(?:liveliness|liveness|readiness)|v1\/models) HTTP/,
];

/** A frame of a Python traceback. Without `in`, it is where a syntax error stands. */
const FRAME = /^( *)File "([^"]*)", line \d+(, in .*)?$/;
/** Python's own files, and those of what is installed beside LiteLLM, which is there as well. */
const INSTALLED = /\/lib\/python3|\/bin\/|^</;
const CARETS = /^[ ~^]+$/;

/**
 * The last lines of a log of LiteLLM's that say something. A start that fails ends in a traceback
 * of up to 150 lines. All but its last frame, what follows that, and frames in the operator's own
 * files are Python's and LiteLLM's insides.
 */
export function tellingLines(lines: readonly string[], most: number): readonly string[] {
  const left = lines.filter((line) => !NOISE.some((pattern) => pattern.test(line)));
  return withoutInsides(left).slice(-most);
}

function withoutInsides(lines: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < lines.length; ) {
    const end = endOfFrame(lines, at);
    const [line = ''] = lines.slice(at, at + 1);
    if (end === undefined) kept.push(line);
    else if (isTelling(line) || !FRAME.test(lines[end] ?? '')) kept.push(...frame(lines, at, end));
    at = end ?? at + 1;
  }
  return kept;
}

/** The line behind a frame: it holds what stands deeper. Undefined: no frame begins here. */
function endOfFrame(lines: readonly string[], at: number): number | undefined {
  const indent = FRAME.exec(lines[at] ?? '')?.[1]?.length;
  if (indent === undefined) return undefined;
  let end = at + 1;
  while (end < lines.length && (lines[end] ?? '').search(/[^ ]/) > indent) end++;
  return end;
}

const isTelling = (line: string): boolean => !INSTALLED.test(FRAME.exec(line)?.[2] ?? '');

function frame(lines: readonly string[], at: number, end: number): readonly string[] {
  const whole = lines.slice(at, end);
  // The carets below a syntax error point at it; all others underline the whole line.
  const isCall = FRAME.exec(lines[at] ?? '')?.[3] !== undefined;
  return isCall ? whole.filter((line) => !CARETS.test(line)) : whole;
}

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
