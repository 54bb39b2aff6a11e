import { existsSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { AuditLine, AuditVerdict } from '../../keyring/audit.ts';
import { StoreError } from '../../store/key-store.ts';
import { oneLine } from '../../text/safe.ts';
import type { CommandContext, CommandDefinition } from '../command.ts';
import { JSON_FLAG, type JsonFlag, wants } from '../options.ts';
import { showCount, showSecond, showSetting } from '../phrases.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  escapeControls,
  isLive,
  paint,
  type Style,
  say,
  type Terminal,
  writeJson,
} from '../terminal.ts';

const HELP = `
Reads the audit in SIDECAR_STATE, whether or not a sidecar runs: who did what to which key, when.

Examples:
  $ sidecar audit --limit 200
  $ sidecar audit --follow
  $ sidecar audit --follow --json | jq 'select(.action == "revoked")'
  $ sidecar audit verify

With --follow, --json prints a document a line. Exit codes: 0 done, 130 after Ctrl-C
`;

const VERIFY_HELP = `
Each line holds the digest of the one before, and the keyring knows the last one: a line that was
edited, removed, moved, added or cut off breaks the chain, and the first place where it is broken
is named.

Exit codes: 0 where the audit is whole, 1 where it is not, or cannot be read
`;

const IN_LOG = 'the audit is in the log: the field `audit` of the lines that say "audit"';

interface AuditFlags extends JsonFlag {
  readonly follow?: boolean;
  /** The last so many lines. */
  readonly limit: number;
}

/** `sidecar audit`, and `sidecar audit verify`. */
export const auditCommand: CommandDefinition = (program, context) => {
  const audit = program
    .command('audit')
    .description('show what was done to keys, when and by whom')
    .option('--follow', 'go on with what comes, until Ctrl-C')
    .addOption(
      new Option('--limit <lines>', 'the last so many lines, up to 1000')
        .argParser(parseLimit)
        .default(50),
    )
    .option(...JSON_FLAG)
    .addHelpText('after', HELP)
    .action(async (flags: AuditFlags) =>
      context.end(await showAudit(context, context.state(IN_LOG), flags)),
    );
  audit
    .command('verify')
    .description('check that no line of it was changed')
    .option(...JSON_FLAG)
    .addHelpText('after', VERIFY_HELP)
    .action(async (_flags: object, command: Command) => {
      // A --json before `verify` is one of `audit`.
      const { json = false } = command.optsWithGlobals<JsonFlag>();
      context.end(await verify(context.terminal, context.state(IN_LOG), json));
    });
};

function parseLimit(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= 1000) return Number(text);
  throw wants('a whole number from 1 to 1000');
}

const LOOK_EVERY_MS = 250;
/** So many lines are read at most by one look at what is new. */
const PAGE = 1000;

/**
 * Prints the last lines of the file in a state folder, whether or not a sidecar runs; with `follow`
 * also whatever comes until Ctrl-C, and in JSON each line is a document of its own then.
 */
async function showAudit(
  { terminal, time, interrupts }: CommandContext,
  state: string,
  { follow = false, limit, json = false }: AuditFlags,
): Promise<ExitCode> {
  const { readAudit } = await import('../../store/audit-reader.ts');
  const { count } = await reading(state, () => readAudit(state, { after: 0, limit: 1 }));
  const after = Math.max(0, count - limit);
  const page = await reading(state, () => readAudit(state, { after, limit }));
  if (!follow) {
    if (json) writeJson(terminal, page);
    else if (page.lines.length === 0) say(terminal, `nothing was recorded so far in ${state}`);
    else for (const line of page.lines) terminal.stdout.write(renderLine(terminal, line));
    return EXIT.ok;
  }
  const write = (line: AuditLine): unknown =>
    terminal.stdout.write(
      json ? `${escapeControls(JSON.stringify(line))}\n` : renderLine(terminal, line),
    );
  page.lines.forEach(write);
  let last = page.lines.at(-1)?.seq ?? count;
  const signal = interrupts();
  while (!signal.aborted) {
    const { lines } = await reading(state, () => readAudit(state, { after: last, limit: PAGE }));
    lines.forEach(write);
    last = lines.at(-1)?.seq ?? last;
    if (lines.length < PAGE) await time.sleep(LOOK_EVERY_MS, signal);
  }
  return EXIT.interrupted;
}

/** Exit code 1 where the chain is broken, and the line at which it is. */
async function verify(terminal: Terminal, state: string, json: boolean): Promise<ExitCode> {
  const { verifyAudit } = await import('../../store/audit-reader.ts');
  const verdict: AuditVerdict = await reading(state, () => verifyAudit(state));
  if (json) writeJson(terminal, verdict);
  if (verdict.ok) {
    const { count } = verdict;
    if (!json) {
      terminal.stdout.write(
        count === 0
          ? `nothing was recorded so far in ${state}\n`
          : `the audit is whole: ${showCount(count, 'line')}\n`,
      );
    }
    return EXIT.ok;
  }
  const { auditPath } = await import('../../store/keyring-file.ts');
  say(terminal, `${auditPath(state)} is not what was written: ${verdict.message}`, [
    'keep a copy of it, and of the state folder, before anything else',
  ]);
  return EXIT.failed;
}

async function reading<T>(state: string, read: () => Promise<T>): Promise<T> {
  if (!existsSync(state)) {
    throw new CommandError(`there is no state folder ${state}`, EXIT.failed, [
      'name the one that the sidecar runs with: SIDECAR_STATE',
      'in Docker: docker compose exec sidecar sidecar audit',
    ]);
  }
  try {
    return await read();
  } catch (error) {
    if (error instanceof StoreError)
      throw new CommandError(error.message, EXIT.failed, [error.hint]);
    throw error;
  }
}

/** A value of the file on one line: whoever can write to the file may have put anything there. */
const plain = (value: unknown): string => (value === undefined ? '' : oneLine(String(value)));

/** `12  2026-11-24 14:03:11 UTC  cli:alice  rotated  master-2 → master-3  grace 24h` */
function renderLine(terminal: Terminal, line: AuditLine): string {
  const { stdout } = terminal;
  const { seq, at, by, action, client, from, to } = line;
  const moved = from === undefined || to === undefined ? undefined : `${from} → ${to}`;
  const details = Object.entries(line.detail ?? {}).map(([name, value]) => inWords(name, value));
  const parts = [
    `${String(seq).padStart(4)}  ${showSecond(plain(at))}`,
    plain(by).padEnd(16),
    plain(action).padEnd(16),
    plain(moved ?? from ?? to ?? client),
    plain(details.filter((word) => word !== '').join(', ')),
  ];
  const styles: readonly (Style | undefined)[] = ['dim', undefined, 'bold'];
  const painted = parts.map((part, at) =>
    styles[at] === undefined ? part : paint(terminal, stdout, styles[at], part),
  );
  const columns = isLive(terminal, stdout) ? (stdout.columns ?? Infinity) : Infinity;
  if (parts.join('  ').trimEnd().length <= columns) return `${painted.join('  ').trimEnd()}\n`;
  // What was done stands below then, and not wherever the terminal breaks the line.
  const below = painted.slice(3).filter((part) => part !== '');
  const lines = below.join('  ').length + 6 <= columns ? [below.join('  ')] : below;
  const first = painted.slice(0, 3).join('  ').trimEnd();
  return [first, ...lines.map((part) => `      ${part}`)].join('\n').concat('\n');
}

function inWords(name: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? name : '';
  if (typeof value === 'number' && /Ms$/.test(name)) {
    return `${name.slice(0, -2)} ${showSetting(value)}`;
  }
  return `${name} ${plain(value)}`;
}
