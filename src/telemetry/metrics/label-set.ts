/** What every label says of a value that has none of its own. */
export const OTHER = 'other';

/** The values a label may take, numbered; 0 is `other`. */
export interface LabelSet {
  /** The number of a value; 0 where it has none. */
  indexOf(value: string): number;
  /** The value of a number that `indexOf` gave. */
  valueAt(index: number): string;
}

/**
 * A closed set of label values, so that nobody outside can add a series: those of `known`, and the
 * first `open` others that are met.
 */
export const createLabelSet = (known: readonly string[], open = 0): LabelSet => {
  const values = [...new Set([OTHER, ...known])];
  const indices = new Map(values.map((value, index) => [value, index]));
  const limit = values.length + open;

  return {
    indexOf: (value) => {
      const index = indices.get(value);
      if (index !== undefined) return index;
      if (values.length >= limit) return 0;
      indices.set(value, values.length);
      return values.push(value) - 1;
    },
    valueAt: (index) => values[index] ?? OTHER,
  };
};
