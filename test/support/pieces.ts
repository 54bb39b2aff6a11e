/** The bytes in pieces that end at these places, each a copy, as it comes from a socket. */
export const cutAt = (bytes: Buffer, places: readonly number[]): Buffer[] =>
  [...places.filter((place) => place < bytes.length).toSorted((a, b) => a - b), bytes.length]
    .map((end, index, ends) => Buffer.from(bytes.subarray(index === 0 ? 0 : ends[index - 1], end)))
    .filter((piece) => piece.length > 0);
