import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createEventReader } from '../../src/cli/commands/probe.ts';

const readAll = (pieces: readonly string[]): readonly string[] => {
  const reader = createEventReader();
  return pieces.flatMap((piece) => [...reader.push(piece)]);
};

test('gives the data of each complete event, comments and other fields aside', () => {
  const text =
    ': ping\n\nevent: x\nid: 1\ndata: {"a":1}\n\ndata:two\ndata\ndata: lines\n\ndata: cut';
  expect(readAll([text])).toEqual(['{"a":1}', 'two\n\nlines']);
});

test.each(['\n', '\r\n', '\r'])('takes %j for the end of a line', (end) => {
  const text = `data: 1${end}${end}data: 2${end}${end}data: 3`;
  expect(readAll([text])).toEqual(['1', '2']);
});

test('a field whose name only begins with data is another field', () => {
  expect(readAll(['database: x\n\ndata: y\n\n'])).toEqual(['y']);
});

test('however the stream is cut, the events are the same', () => {
  const line = fc.stringMatching(/^[a-z {}:"]{0,12}$/);
  fc.assert(
    fc.property(
      fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 6 }),
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
      (events, end, sizes) => {
        const block = (lines: string[]) => `${lines.map((l) => `data: ${l}${end}`).join('')}${end}`;
        // A lone CR ends a line only once the next character shows that no LF follows.
        const text = `${events.map(block).join('')}:${end}`;
        const pieces: string[] = [];
        for (let at = 0; at < text.length; ) {
          const size = sizes.next().value as number;
          pieces.push(text.slice(at, at + size));
          at += size;
        }
        expect(readAll(pieces)).toEqual(events.map((lines) => lines.join('\n')));
      },
    ),
  );
});
