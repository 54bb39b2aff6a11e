import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UsageReader, UsageReading } from '../../src/litellm/usage.ts';
import { EventUsage } from '../../src/litellm/usage-events.ts';
import { JsonUsage } from '../../src/litellm/usage-json.ts';
import { ANSWERS, readAnswer } from '../support/answers.ts';

interface Told {
  readonly reading: UsageReading;
  readonly chunks: number;
  readonly model: string;
}

const recorded = ANSWERS.map(({ name }) => {
  const { headers, body } = readAnswer(name);
  const isStream = headers['content-type']?.startsWith('text/event-stream') === true;
  return { name, body, isStream };
});
const written = recorded.filter(({ body }) => body.includes('Wort 1'));
const streams = recorded.filter(({ isStream }) => isStream);

const told = (pieces: Iterable<Buffer>, isStream: boolean, whole = true): Told => {
  const reader: UsageReader = isStream ? new EventUsage() : new JsonUsage();
  for (const piece of pieces) reader.read(piece);
  return { reading: reader.end(whole), chunks: reader.chunks, model: reader.model };
};

/** The bytes in pieces that end at these places. */
const cutAt = (bytes: Buffer, places: readonly number[]): Buffer[] =>
  [...places.toSorted((a, b) => a - b), bytes.length].map((end, index, ends) =>
    // A copy, as it comes from a socket: nothing stands before it or behind it.
    Buffer.from(bytes.subarray(index === 0 ? 0 : ends[index - 1], end)),
  );

/** With a long text where the model's begins: no answer here is as long as some are. */
const lengthened = (body: Buffer, length: number): Buffer => {
  const text = body.toString('latin1');
  const at = text.indexOf('Wort 1');
  return Buffer.from(text.slice(0, at) + 'w'.repeat(length) + text.slice(at), 'latin1');
};

describe('however an answer is cut, its usage reads the same', () => {
  it.each(recorded)('$name: at each byte', ({ body, isStream }) => {
    const whole = told([body], isStream);
    for (let at = 0; at <= body.length; at++) {
      expect(told(cutAt(body, [at]), isStream), `cut at ${at}`).toEqual(whole);
    }
    expect(told(cutAt(body, [...body.keys()]), isStream)).toEqual(whole);
  });

  it('in any pieces, and if it is long', () => {
    const lengths = fc.constantFrom(0, 100, 15_900, 16_384, 20_000, 70_000);
    const pieces = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.constantFrom(...written), lengths, pieces, (answer, length, shares) => {
        const { isStream } = answer;
        const body = lengthened(answer.body, length);
        const places = shares.map((share) => Math.round(share * body.length));
        expect(told(cutAt(body, places), isStream)).toEqual(told([body], isStream));
        const { reading } = told([answer.body], isStream);
        if ('tokens' in reading) expect(told([body], isStream).reading).toEqual(reading);
      }),
      { numRuns: 300 },
    );
  });

  it.each(['\r', '\r\n'])('and with lines that end in %j', (end) => {
    for (const { body } of streams) {
      const other = Buffer.from(body.toString('latin1').replaceAll('\n', end), 'latin1');
      const whole = told([body], true);
      for (const size of [1, 2, 3, 7, 100, 10_000]) {
        const places = [...other.keys()].filter((at) => at % size === 0);
        expect(told(cutAt(other, places), true)).toEqual(whole);
      }
    }
  });
});

describe('an answer that ended early', () => {
  const ended = fc.constantFrom(...recorded).chain((answer) =>
    fc.record({
      answer: fc.constant(answer),
      end: fc.integer({ min: 0, max: answer.body.length - 1 }),
      whole: answer.name.startsWith('google-s') ? fc.constant(false) : fc.boolean(),
    }),
  );

  // Where Google counts on from event to event, the last of a stream that was ended counts.
  it('has its usage or none, and never another', () => {
    fc.assert(
      fc.property(ended, ({ answer: { body, isStream }, end, whole }) => {
        const { reading } = told([body.subarray(0, end)], isStream, whole);
        if ('tokens' in reading) expect(reading).toEqual(told([body], isStream).reading);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('whatever comes', () => {
  const words = ['"usage"', '"usageMetadata"', ':', '{', '}', '[', ']', '"', '\\', ',', '1', '-1'];
  const lines = ['data:', 'data: ', 'event: error', '\n', '\r', '\n\n', ' ', '"prompt_tokens"'];
  const text = fc.array(fc.constantFrom(...words, ...lines, 'é', '\0'), { maxLength: 60 });

  it('is read without an error, to the same end', () => {
    fc.assert(
      fc.property(text, fc.boolean(), fc.boolean(), (parts, isStream, whole) => {
        const bytes = Buffer.from(parts.join(''));
        const pieces = parts.map((part) => Buffer.from(part));
        expect(told(pieces, isStream, whole)).toEqual(told([bytes], isStream, whole));
      }),
      { numRuns: 3000 },
    );
  });

  it('of JSON, what is found is what JSON.parse finds', () => {
    const usage = fc.oneof(
      fc.record({ prompt_tokens: fc.nat(9), completion_tokens: fc.nat(9) }),
      fc.constantFrom(null, 'usage', 3, [], {}),
    );
    const any = fc.jsonValue({ maxDepth: 3 });
    const object = fc.dictionary(
      fc.oneof(fc.constantFrom('usage', 'a"', 'usage\\', '{'), fc.string({ maxLength: 5 })),
      fc.oneof(usage, any, fc.record({ usage })),
      { maxKeys: 6 },
    );
    fc.assert(
      fc.property(object, fc.nat(2), (answer, spaces) => {
        const { reading } = told([Buffer.from(JSON.stringify(answer, null, spaces))], false);
        const said = answer['usage'] as { prompt_tokens?: number } | null | undefined;
        if (typeof said?.prompt_tokens === 'number') {
          const input = said.prompt_tokens;
          const { completion_tokens: output } = said as { completion_tokens: number };
          if (input + output > 0) expect(reading).toMatchObject({ tokens: { input, output } });
        } else expect(reading).not.toHaveProperty('tokens');
      }),
      { numRuns: 2000 },
    );
  });
});
