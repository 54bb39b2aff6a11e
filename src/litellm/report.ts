import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Secret } from '../secret.ts';
import { cut, printable, withoutKeys } from '../text/safe.ts';
import type { SlotName } from './slots.ts';

/** What the launcher left of the LiteLLM that it started last in a slot. Untrusted text. */
export interface SlotReport {
  /** The text of the slot's file `id` at that start; '' where the launcher could not read it. */
  readonly slotId: string;
  /** 1 for the first start with what is in the slot; one more after each death. */
  readonly attempt: number;
  /** What it said last, without control characters and whatever may be a key; at most 20 lines. */
  readonly lines: readonly string[];
  /** Its exit status; undefined: it runs, or the launcher was killed. */
  readonly endedWith: number | undefined;
  /** The port on which it said that it listens. */
  readonly port: number | undefined;
}

/** Bytes that are read of a report. */
const ENDS = { first: 4 * 1024, last: 64 * 1024 };
const MOST_LINES = 20;
const LONGEST_LINE = 200;
/**
 * Characters of a line that the patterns below look at: twice what the launcher writes. A container
 * that writes longer lines of its own cannot keep the patterns busy.
 */
const LONGEST_READ = 4000;

/**
 * Reads what the launcher left of the LiteLLM that it started last in a slot: `<slot>.log` in a
 * folder into which LiteLLM's container can write anything. Its lines:
 *
 *     slot-id <what stands in the slot's file "id">
 *     try <1, 2 …>
 *     <what LiteLLM said>
 *     ended <exit status>       unless LiteLLM runs
 *
 * Undefined where there is no report, or one that has another form. Never rejects.
 *
 * @param key The slot's key, which LiteLLM may have said.
 */
export async function readReport(
  folder: string,
  slot: SlotName,
  key?: Secret,
): Promise<SlotReport | undefined> {
  try {
    const lines = await linesAtEnds(join(folder, `${slot}.log`));
    const plain = key?.reveal() ?? '';
    return reportOf(lines, (text) => (plain === '' ? text : text.replaceAll(plain, '[redacted]')));
  } catch {
    return undefined;
  }
}

/** @param hide Takes the slot's key out of a text. */
function reportOf(
  lines: readonly string[],
  hide: (text: string) => string,
): SlotReport | undefined {
  const [first = '', second = '', ...rest] = lines;
  const [, slotId] = /^slot-id ([!-~]{0,200})$/.exec(first) ?? [];
  const [, attempt] = /^try ([1-9]\d{0,8})$/.exec(second) ?? [];
  // The second line counts once the line feed behind it is there, and then `rest` has an element.
  if (slotId === undefined || attempt === undefined || rest.length === 0) return undefined;

  const endedWith = statusIn(rest);
  const said = (endedWith === undefined ? rest : rest.slice(0, -2))
    .flatMap((line) => line.split('\r'))
    .map((line) => hide(printable(line.slice(0, LONGEST_READ)).trimEnd()));
  return {
    slotId,
    attempt: Number(attempt),
    lines: tellingLines(said).map((line) => cut(withoutKeys(line), LONGEST_LINE)),
    endedWith,
    port: portIn(said),
  };
}

/** The exit status in the launcher's own last line, if there is one; a status has eight bits. */
function statusIn(lines: readonly string[]): number | undefined {
  const [, digits] = /^ended (\d{1,3})$/.exec(lines.at(-2) ?? '') ?? [];
  if (lines.at(-1) !== '' || digits === undefined) return undefined;
  return Number(digits) > 255 ? undefined : Number(digits);
}

/** How uvicorn, hypercorn and gunicorn say where they listen. */
const LISTENING = /(?:Uvicorn running on|Running on|Listening at:) https?:\/\/[^\s"]*?:(\d{1,5})\b/;

/** The first port that is said: what a caller sends can reach the log only after that. */
function portIn(lines: readonly string[]): number | undefined {
  for (const line of lines) {
    const port = Number(LISTENING.exec(line)?.[1]);
    if (port >= 1 && port <= 65_535) return port;
  }
  return undefined;
}

/** What LiteLLM prints at each start, and what the sidecar's own questions leave in its log. */
const NOISE: readonly RegExp[] = [
  /^[\s\u2500-\u259f]*$/,
  // The box around "I don't like how this works...".
  /^#.*#$/,
  /^ *Thank you for using LiteLLM!/,
  /^Give Feedback \/ Get Help:/,
  /"GET \S*\/(?:health\/(?:liveliness|liveness|readiness(?:\/details)?)|v1\/models) HTTP/,
];

/** LiteLLM refuses a key (litellm/proxy/auth/auth_exception_handler.py): one that we made up. */
const REFUSAL = /user_api_key_auth\(\): Exception occured/;
const TRACEBACK = /^Traceback \(most recent call last\):$/;

/** Without what LiteLLM says of a key that it refuses, to its traceback's last line. */
function withoutRefusals(lines: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    if (!REFUSAL.test(lines[at] ?? '')) kept.push(lines[at] ?? '');
    else at = endOfRefusal(lines, at);
  }
  return kept;
}

/** The index of the last line of a refusal that begins at `at`. */
function endOfRefusal(lines: readonly string[], at: number): number {
  let end = at;
  if (/^Requester IP Address:/.test(lines[end + 1] ?? '')) end++;
  if (!TRACEBACK.test(lines[end + 1] ?? '')) return end;
  end++;
  while (end + 1 < lines.length && /^ /.test(lines[end + 1] ?? '')) end++;
  // The line of the exception itself.
  return Math.min(end + 1, lines.length - 1);
}

/** The first line of a frame of a Python traceback; without `in`, a syntax error stands there. */
const FRAME = /^( *)File "([^"]*)", line \d+(, in .*)?$/;
/** Files of Python's own, and of installed packages, of which LiteLLM is one. */
const INSTALLED = /\/lib\/python3|\/bin\/|^</;
/** Underlines the part of a line that a frame is about. */
const CARETS = /^[ ~^]+$/;

/**
 * The last lines of a log of LiteLLM's that say something to the operator. A start that fails ends
 * in a traceback of up to 150 lines. Its frames show the insides of Python and of LiteLLM: kept are
 * those in the operator's own files, and the last one with what follows it.
 */
function tellingLines(all: readonly string[]): readonly string[] {
  const lines = withoutRefusals(all).filter((line) => !NOISE.some((noise) => noise.test(line)));
  const kept: string[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? '';
    const end = endOfFrame(lines, at);
    if (end === undefined) {
      kept.push(line);
    } else if (isTelling(line) || !FRAME.test(lines[end] ?? '')) {
      kept.push(...frameLines(lines.slice(at, end)));
    }
    at = end ?? at + 1;
  }
  return kept.slice(-MOST_LINES);
}

/** The index behind a frame, which holds all deeper lines; undefined: no frame begins here. */
function endOfFrame(lines: readonly string[], at: number): number | undefined {
  const indent = FRAME.exec(lines[at] ?? '')?.[1]?.length;
  if (indent === undefined) return undefined;
  let end = at + 1;
  while (end < lines.length && (lines[end] ?? '').search(/[^ ]/) > indent) end++;
  return end;
}

const isTelling = (line: string): boolean => !INSTALLED.test(FRAME.exec(line)?.[2] ?? '');

function frameLines(frame: readonly string[]): readonly string[] {
  // The carets below a syntax error point at its place; those below a call underline all of it.
  const isCall = FRAME.exec(frame[0] ?? '')?.[3] !== undefined;
  return isCall ? frame.filter((line) => !CARETS.test(line)) : frame;
}

/**
 * The whole lines within a file's first and last bytes; all of its lines where those bytes are all
 * of it. LiteLLM's container writes that file and is not trusted: no link is followed, and nothing
 * but a plain file is read.
 *
 * @throws Error where there is no plain file, or it cannot be read.
 */
async function linesAtEnds(path: string): Promise<readonly string[]> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  // Opening a FIFO waits for its writer, and a link may lead to what only the sidecar may read.
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new Error(`${path} is no plain file`);
    const { first, last } = ENDS;
    if (found.size <= first + last) return linesOf(await read(file, 0, found.size));
    const head = linesOf(await read(file, 0, first));
    const tail = linesOf(await read(file, found.size - last, last));
    // The lines at the gap are cut off, and may hold half of a key.
    return [...head.slice(0, -1), ...tail.slice(1)];
  } finally {
    await file.close();
  }
}

async function read(file: FileHandle, from: number, length: number): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, from);
  return buffer.toString('utf8', 0, bytesRead);
}

/** The last element is what stands behind the last line feed: '' where the text ends in one. */
const linesOf = (text: string): readonly string[] => text.split('\n');
