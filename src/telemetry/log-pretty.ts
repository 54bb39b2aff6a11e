import { createRequire } from 'node:module';
import type PinoPretty from 'pino-pretty';

/**
 * Turns JSON lines into lines for a person. pino-pretty is loaded here and not at the top: a
 * container never needs its 9 MB, and a log has to be there before anything may be awaited.
 */
export const createPrettifier = (colour: boolean): ((line: string) => string) => {
  const load = createRequire(import.meta.url);
  const { prettyFactory } = load('pino-pretty') as typeof PinoPretty;
  return prettyFactory({
    colorize: colour,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
  });
};
