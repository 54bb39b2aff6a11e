import { generateKey } from '../keyring/key-format.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { type KeyPlace, noKeyYet } from './key-place.ts';
import { say, type Terminal } from './terminal.ts';

/** `sidecar key new`: a fresh key on stdout, and nothing else anywhere. */
export function keyNew(terminal: Terminal): ExitCode {
  terminal.stdout.write(`${generateKey()}\n`);
  return EXIT.ok;
}

/**
 * `sidecar key show`: the made key on stdout, so that it can stand in `$(…)`, and its file on
 * stderr. A declared key is not repeated: stdout stays empty, and the exit code is 1 so that a
 * script notices.
 */
export function keyShow(terminal: Terminal, place: KeyPlace): ExitCode {
  switch (place.kind) {
    case 'made':
      say(terminal, `the key that the sidecar made, from ${place.file}`);
      terminal.stdout.write(`${place.key.reveal()}\n`);
      return EXIT.ok;
    case 'declared':
      say(terminal, `the key is declared: ${place.where}`, ['it is not repeated here']);
      return EXIT.failed;
    case 'absent':
      throw noKeyYet(place.file);
  }
}
