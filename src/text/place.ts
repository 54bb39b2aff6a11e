/** Where something stands in a text; both are counted from 1. */
export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

/** Says where places of a text are. Its lines are looked for once: 30,000 may be asked for. */
export function createPlaces(text: string): (offset: number) => TextPlace {
  let starts: number[] | undefined;
  return (offset) => {
    starts ??= startsOfLines(text);
    // The number of lines that begin here or before, between these two.
    let [line, most] = [0, starts.length];
    while (line < most) {
      const middle = (line + most) >> 1;
      if ((starts[middle] ?? 0) > offset) most = middle;
      else line = middle + 1;
    }
    return { line, column: offset - (starts[line - 1] ?? 0) + 1 };
  };
}

function startsOfLines(text: string): number[] {
  const starts = [0];
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) {
    starts.push(end + 1);
  }
  return starts;
}
