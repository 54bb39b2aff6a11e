import { askHealth } from './ask.ts';

/** What is known of LiteLLM's health from asking it now and then. */
export interface Probe {
  /** What the last answer, or the last refused connection, said; false before any. */
  up(): boolean;
  /** LiteLLM has answered since this process began; it stays so. */
  answeredOnce(): boolean;
  /** Traffic saw it go or come: asks again soon instead of at its turn. */
  wake(): void;
  stop(): void;
}

const UNTIL_FIRST_MS = 500;
const STEADY_MS = 5000;
const TIMEOUT_MS = 3000;
/** LiteLLM's one event loop stops for seconds when it makes a page or a tokenizer: it works on. */
const SILENCES = 3;

/** Asks at once, then twice a second until the first answer, then each five seconds. */
export function createProbe(options: {
  origin: URL;
  rootPath: string;
  /** Milliseconds that an answer may take; 3,000 where nothing is said. */
  timeoutMs?: number;
  /** Somebody else has just heard it answer: it is up until it says otherwise. */
  knownUp?: boolean;
  /** Called with each change, the first answer included where nothing was known before. */
  onChange: (up: boolean) => void;
}): Probe {
  let up = options.knownUp ?? false;
  let known = up;
  let answered = up;
  let stopped = false;
  let asking = false;
  let silences = 0;
  let timer: NodeJS.Timeout | undefined;
  const target = new URL(`${options.rootPath}/`, options.origin);

  const note = (isUp: boolean): void => {
    const changed = isUp !== up || !known;
    answered ||= isUp;
    up = isUp;
    known = true;
    if (changed) options.onChange(up);
  };

  const ask = async (): Promise<void> => {
    if (asking || stopped) return;
    asking = true;
    clearTimeout(timer);
    const health = await askHealth(target, options.timeoutMs ?? TIMEOUT_MS);
    asking = false;
    if (stopped) return;
    silences = health === 'silent' ? silences + 1 : 0;
    const busy = up && silences > 0 && silences < SILENCES;
    note(health === 'alive' || busy);
    timer = setTimeout(() => void ask(), answered && up ? STEADY_MS : UNTIL_FIRST_MS);
  };
  void ask();

  return {
    up: () => up,
    answeredOnce: () => answered,
    wake: () => void ask(),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
