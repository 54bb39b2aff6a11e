import { generateKey } from '../../keyring/key.ts';
import type { Secret } from '../../secret.ts';
import { findClientKey, type MasterKeyPlace, noKeyYet } from '../key-place.ts';
import { EXIT, type ExitCode, say, type Terminal } from '../terminal.ts';

/** `sidecar key new`: a fresh key on stdout, and nothing else anywhere. */
export function keyNew(terminal: Terminal): ExitCode {
  terminal.stdout.write(`${generateKey()}\n`);
  return EXIT.ok;
}

/**
 * `sidecar key show`: the newest key of `master` on stdout, so that it can stand in `$(…)`, and its
 * file on stderr. A declared key that no sidecar has taken up is not repeated: stdout stays empty,
 * and the exit code is 1 so that a script notices.
 */
export function keyShow(terminal: Terminal, place: MasterKeyPlace): ExitCode {
  switch (place.kind) {
    case 'made':
      return show(terminal, 'master', place);
    case 'declared':
      say(terminal, `the key is declared: ${place.where}`, ['it is not repeated here']);
      return EXIT.failed;
    case 'absent':
      throw noKeyYet(place.file);
  }
}

/** `sidecar key show <client>`. Throws `CommandError`. */
export const keyShowOf = (terminal: Terminal, state: string, client: string): ExitCode =>
  show(terminal, client, findClientKey(state, client));

function show(
  terminal: Terminal,
  client: string,
  { file, key }: { readonly file: string; readonly key: Secret },
): ExitCode {
  say(terminal, `the newest key of ${client}, from ${file}`);
  terminal.stdout.write(`${key.reveal()}\n`);
  return EXIT.ok;
}
