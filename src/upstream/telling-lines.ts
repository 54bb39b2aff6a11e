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
