import { asksAlive } from './reach.ts';

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

/** Asks at once, then twice a second until the first answer, then each five seconds. */
export function createProbe(options: {
  origin: URL;
  rootPath: string;
  /** Called with each change, the first answer included. */
  onChange: (up: boolean) => void;
}): Probe {
  let up = false;
  let known = false;
  let answered = false;
  let stopped = false;
  let asking = false;
  let timer: NodeJS.Timeout | undefined;
  const target = new URL(`${options.rootPath}/`, options.origin);

  const ask = async (): Promise<void> => {
    if (asking || stopped) return;
    asking = true;
    clearTimeout(timer);
    const answer = await asksAlive(target, TIMEOUT_MS);
    asking = false;
    if (stopped) return;
    answered ||= answer;
    const changed = answer !== up || !known;
    up = answer;
    known = true;
    if (changed) options.onChange(up);
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
