const LINE_END = /\r\n|\n|\r(?!$)/;

/**
 * Reads a server-sent event stream piece by piece; gives the data of each event that is complete.
 */
export interface EventReader {
  /** Whatever has arrived, cut anywhere; the data of the events that it completed, in order. */
  push(text: string): readonly string[];
}

/**
 * WHATWG HTML §9.2.6: lines end in LF, CR or CRLF, `data` lines add up, an empty line dispatches.
 */
export function createEventReader(): EventReader {
  let rest = '';
  let data: string[] = [];

  const takeLine = (line: string): string | undefined => {
    if (line === '') {
      const event = data.length > 0 ? data.join('\n') : undefined;
      data = [];
      return event;
    }
    const field = /^data(?:: ?(.*))?$/s.exec(line);
    if (field !== null) data.push(field[1] ?? '');
    return undefined;
  };

  return {
    push(text) {
      // A CR at the end may be half of a CRLF: LINE_END leaves it for the next piece.
      const lines = (rest + text).split(LINE_END);
      rest = lines.pop() ?? '';
      return lines.map(takeLine).filter((event) => event !== undefined);
    },
  };
}
