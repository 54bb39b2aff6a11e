import type { ServerResponse } from 'node:http';

/** The answers that a server still owes. */
export interface UnderWay {
  add(response: ServerResponse): void;
  /** Their connections end with them, and so does each that comes later. */
  endConnections(): void;
  /** Resolves once nothing is owed, or after so many milliseconds. */
  settled(withinMs: number): Promise<void>;
}

export function createUnderWay(): UnderWay {
  const responses = new Set<ServerResponse>();
  const waiting = new Set<() => void>();
  let ending = false;
  const endWith = (response: ServerResponse): void => {
    if (!response.headersSent) response.setHeader('connection', 'close');
  };
  return {
    add(response) {
      responses.add(response);
      if (ending) endWith(response);
      response.once('close', () => {
        responses.delete(response);
        if (responses.size === 0) for (const tell of waiting) tell();
      });
    },
    endConnections() {
      ending = true;
      for (const response of responses) endWith(response);
    },
    async settled(withinMs) {
      if (responses.size === 0) return;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          waiting.delete(done);
          resolve();
        };
        const timer = setTimeout(done, withinMs);
        waiting.add(done);
      });
    },
  };
}
