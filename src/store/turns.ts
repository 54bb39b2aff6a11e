/** Work that is done one piece after the other, in the order in which it came. */
export interface Turns {
  /** Calls `work` once all that came before is over; resolves or rejects as it does. */
  <T>(work: () => Promise<T>): Promise<T>;
  /** Resolves once all that came so far is over. */
  settled(): Promise<void>;
}

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
  const settled = async (): Promise<void> => {
    await last;
  };
  return Object.assign(inTurn, { settled });
}
