/** The series of a Prometheus text, `name{labels}` to value. */
export const parseSeries = (text: string): Map<string, number> =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const end = line.lastIndexOf(' ');
        return [line.slice(0, end), Number(line.slice(end + 1))];
      }),
  );

/** The values that a label takes in a family. */
export const labelValues = (text: string, family: string, label: string): Set<string> => {
  const pattern = new RegExp(`^${family}\\{(?:.*,)?${label}="([^"]*)"`);
  return new Set([...parseSeries(text).keys()].flatMap((key) => pattern.exec(key)?.[1] ?? []));
};
