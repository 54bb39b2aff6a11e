import { errorMessageIn } from './check-outcome.ts';

/** JSON, or undefined where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const fieldOf = (body: unknown, name: string): unknown =>
  typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined;

const hasChoices = (body: unknown): boolean => {
  const choices = fieldOf(body, 'choices');
  return Array.isArray(choices) && choices.length > 0;
};

/** The error that stands in a body under a 200. */
function errorUnder200(body: unknown): string | undefined {
  if (!fieldOf(body, 'error')) return undefined;
  return errorMessageIn(body) ?? 'an error without a message';
}

/** What is wrong with the body of a 200; undefined: nothing. */
export function faultInAnswer(text: string): string | undefined {
  const body = parseJson(text);
  if (body === undefined) return 'the answer is not json';
  return errorUnder200(body) ?? (hasChoices(body) ? undefined : 'the answer holds no choices');
}

/** Follows the events of a streamed answer and says at its end what was wrong with it. */
export interface StreamVerdict {
  event(data: string): void;
  /** What is wrong with the stream, now that it has ended; undefined: nothing. */
  end(): string | undefined;
}

/**
 * A good stream has events with choices, none with an error (LiteLLM sends those under a 200), and
 * `[DONE]` last.
 */
export function createStreamVerdict(): StreamVerdict {
  let fault: string | undefined;
  let last = '';
  let choices = false;
  return {
    event(data) {
      last = data;
      if (data === '[DONE]') return;
      const body = parseJson(data);
      fault ??= body === undefined ? 'an event is not json' : errorUnder200(body);
      choices ||= hasChoices(body);
    },
    end() {
      if (fault !== undefined) return fault;
      if (last === '') return 'the stream holds no event';
      if (last !== '[DONE]') return 'the stream ended without [DONE]';
      return choices ? undefined : 'the stream holds no choices';
    },
  };
}
