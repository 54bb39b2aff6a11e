import { MASTER } from '../../client-name.ts';
import { generateKey } from '../../keyring/key.ts';
import type { Secret } from '../../secret.ts';
import type { CommandDefinition } from '../command.ts';
import { findClientKey, findKeptKey, findMasterKey, noKeyYet } from '../key-place.ts';
import { parseClient } from '../options.ts';
import { readClientSettings } from '../settings.ts';
import { EXIT, type ExitCode, say, type Terminal } from '../terminal.ts';

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

/** `sidecar key`: a fresh key, or the newest one of a client. */
export const keyCommand: CommandDefinition = (program, { terminal, state, end }) => {
  const key = program.command('key').description('make a key, or show the newest one of a client');
  key
    .command('new')
    .description('print a fresh key; nothing is stored or changed')
    .action(() => {
      terminal.stdout.write(`${generateKey()}\n`);
    });
  key
    .command('show')
    .description("print a client's newest key")
    .argument('[client]', 'whose key', parseClient, MASTER)
    .addHelpText('after', SHOW_HELP)
    .action((client: string) => end(showKey(terminal, state(NOT_KEPT), client)));
};

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
