import { MASTER } from '../../client-name.ts';
import { keyTextFault } from '../../config/kinds.ts';
import { checkDeclaredKey, digestOf, generateKey, showDigest } from '../../keyring/key.ts';
import type { Secret } from '../../secret.ts';
import type { CommandDefinition } from '../command.ts';
import { findClientKey, findKeptKey, findMasterKey, noKeyYet } from '../key-place.ts';
import { parseClient } from '../options.ts';
import { readClientSettings } from '../settings.ts';
import { CommandError, EXIT, type ExitCode, say, type Terminal } from '../terminal.ts';

const SHOW_HELP = `
The key goes to stdout alone, the file that holds it to stderr:
  $ curl -H "Authorization: Bearer $(sidecar key show)" http://localhost:4000/v1/models
  $ sidecar key show staging
  $ docker compose exec sidecar sidecar key show

It is the newest one, declared or made, of master or of the named client. Before a sidecar has
started with a key that you declared (LITELLM_MASTER_KEY), nothing is shown: the exit code is 1.
`;

const NOT_KEPT =
  'master presents the declared LITELLM_MASTER_KEY; whoever made the keys of others has those';

const DIGEST_HELP = `
The key comes from stdin, never from the command line, which other programs see. On a terminal it is
asked for, and not shown. White space around it does not count.

Examples:
  $ sidecar key new | tee ci.key | sidecar key digest
  $ sidecar key digest < ci.key

Exit codes: 0 done, 1 there is no key, or one that could not guard the gateway, 130 Ctrl-C
`;

/** `sidecar key`: a fresh key, the digest of one, or the newest one of a client. */
export const keyCommand: CommandDefinition = (program, { terminal, state, end }) => {
  const key = program
    .command('key')
    .description('make a key, show the newest one of a client, or digest one');
  key
    .command('new')
    .description('print a fresh key; nothing is stored or changed')
    .action(() => {
      terminal.stdout.write(`${generateKey()}\n`);
    });
  key
    .command('digest')
    .description('read a key from stdin, and print its digest for the clients file')
    .addHelpText('after', DIGEST_HELP)
    .action(async () => end(await printDigest(terminal)));
  key
    .command('show')
    .description("print a client's newest key")
    .argument('[client]', 'whose key', parseClient, MASTER)
    .addHelpText('after', SHOW_HELP)
    .action((client: string) => end(showKey(terminal, state(NOT_KEPT), client)));
};

async function printDigest(terminal: Terminal): Promise<ExitCode> {
  const key = (await readHidden(terminal)).trim();
  if (key === '') throw new CommandError('there is no key on stdin');
  const check = checkDeclaredKey(key);
  const fault = keyTextFault(key) ?? (check.ok ? undefined : check.reason);
  if (fault !== undefined) {
    const hints = ['`sidecar key new` makes a good one'];
    throw new CommandError(`this key cannot guard the gateway: ${fault}`, EXIT.failed, hints);
  }
  if (check.ok && check.warning !== undefined) say(terminal, check.warning);
  terminal.stdout.write(`${showDigest(digestOf(key))}\n`);
  return EXIT.ok;
}

/** Longer than any key, so that `sidecar key digest < /dev/zero` ends. */
const LONGEST_INPUT = 64 * 1024;

/** All of stdin; or the line that a person types, which is not shown. */
async function readHidden({ stdin, stderr }: Terminal): Promise<string> {
  const input = stdin?.();
  if (input === undefined) return '';
  const isTyped = input.isTTY === true && input.setRawMode !== undefined;
  if (isTyped) {
    stderr.write('key: ');
    input.setRawMode?.(true);
  }
  let text = '';
  try {
    for await (const piece of input) {
      text += piece.toString();
      if (isTyped && text.includes(CTRL_C))
        throw new CommandError('nothing was read', EXIT.interrupted);
      if (text.length > LONGEST_INPUT || (isTyped && lineIn(text) !== text)) break;
    }
  } finally {
    if (isTyped) {
      input.setRawMode?.(false);
      stderr.write('\n');
    }
  }
  return isTyped ? withoutErased(lineIn(text)) : text;
}

/** A terminal in raw mode sends what these keys mean otherwise as characters. */
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';

/** What was typed before Enter or Ctrl-D. */
const lineIn = (text: string): string => {
  const ends = ['\r', '\n', CTRL_D].map((end) => text.indexOf(end)).filter((at) => at >= 0);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
};

/** Backspace takes back the character before it. */
function withoutErased(text: string): string {
  const kept: string[] = [];
  for (const each of text) {
    if (each === '\u007f' || each === '\b') kept.pop();
    else kept.push(each);
  }
  return kept.join('');
}

/**
 * The key goes to stdout, so that it can stand in `$(…)`, and its file to stderr. A declared key
 * that no sidecar has taken up is not repeated: stdout stays empty, and the exit code is 1, so that
 * a script notices.
 */
function showKey(terminal: Terminal, state: string, client: string): ExitCode {
  if (client !== MASTER) return writeKey(terminal, client, findClientKey(state, client));
  const kept = findKeptKey(state);
  if (kept !== undefined) return writeKey(terminal, client, kept);
  const place = findMasterKey(readClientSettings(terminal));
  switch (place.kind) {
    case 'made':
      return writeKey(terminal, client, place);
    case 'declared':
      say(terminal, `the key is declared: ${place.where}`, ['it is not repeated here']);
      return EXIT.failed;
    case 'absent':
      throw noKeyYet(place.file);
  }
}

function writeKey(
  terminal: Terminal,
  client: string,
  { file, key }: { readonly file: string; readonly key: Secret },
): ExitCode {
  say(terminal, `the newest key of ${client}, from ${file}`);
  terminal.stdout.write(`${key.reveal()}\n`);
  return EXIT.ok;
}
