import { InvalidArgumentError } from 'commander';
import { readDuration } from '../config/units.ts';
import { CommandError, EXIT } from './exit-code.ts';

/** undici, which is beneath fetch, gives up after 300 s by itself. */
const LONGEST_MS = 300_000;

/**
 * `30s`, `1500ms`, `2m` in milliseconds: 1 ms to 5 m. Throws commander's `InvalidArgumentError`.
 */
export function parseTimeout(text: string): number {
  const reading = readDuration(text);
  if ('value' in reading && reading.value >= 1 && reading.value <= LONGEST_MS) return reading.value;
  const hint = 'hint' in reading && reading.hint !== '' ? ` (${reading.hint})` : '';
  throw new InvalidArgumentError(`it wants a duration from 1ms to 5m, such as 30s${hint}`);
}

/**
 * A URL of a gateway: http or https, a path where it stands under one. Throws commander's
 * `InvalidArgumentError`, or `CommandError` where the value must not be repeated.
 */
export function parseGatewayUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('it wants http:// or https:// and a host');
  }
  if (url.username !== '' || url.password !== '') {
    // Not commander's error, which would repeat the password.
    throw new CommandError('--url may hold no user and no password', EXIT.usage, [
      'the key goes into a file, and its path to --key-file',
    ]);
  }
  if (url.search !== '' || url.hash !== '') {
    throw new InvalidArgumentError('it may hold no ? and no #');
  }
  return url;
}
