/** Lines that wait for a write, as bytes. */
export interface Gather {
  append(line: string): void;
  /** Bytes that wait. */
  size(): number;
  /** All that waits; nothing waits afterwards. */
  take(): Buffer;
}

/** UTF-8 has at most three bytes for a UTF-16 unit. */
const MOST_BYTES_A_UNIT = 3;

/**
 * Gathers lines outside the heap: strings that wait would live through collections, and cost more
 * there than all the rest of their making.
 *
 * @param capacity bytes to begin with; it grows as it must
 */
export const createGather = (capacity: number): Gather => {
  let bytes = Buffer.allocUnsafeSlow(capacity);
  let size = 0;
  return {
    append: (line) => {
      const most = size + line.length * MOST_BYTES_A_UNIT;
      if (most > bytes.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(most, bytes.length * 2));
        bytes.copy(larger, 0, 0, size);
        bytes = larger;
      }
      size += bytes.write(line, size);
    },
    size: () => size,
    take: () => {
      const taken = bytes.subarray(0, size);
      bytes = Buffer.allocUnsafeSlow(capacity);
      size = 0;
      return taken;
    },
  };
};
