import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mayUseModels } from '../../src/keyring/model-globs.ts';
import { boundaryOf, FormModelScan, QueryModelScan } from '../../src/litellm/form-scan.ts';
import { type ModelFault, ModelJudge } from '../../src/litellm/model-names.ts';
import { cutAt } from '../support/pieces.ts';

const ALLOWED = ['whisper*'];
type Verdict = 'passes' | 'none' | ModelFault;

function scan(pieces: Iterable<Buffer>, boundary: string | undefined = 'XX'): Verdict {
  const judge = new ModelJudge(mayUseModels(ALLOWED));
  const scanned = boundary === '' ? new QueryModelScan(judge) : new FormModelScan(judge, boundary);
  for (const piece of pieces) {
    const fault = scanned.read(piece);
    if (fault !== undefined) return fault;
  }
  return scanned.end() ?? (judge.isNamed ? 'passes' : 'none');
}

const scanText = (text: string, boundary?: string): Verdict =>
  scan([Buffer.from(text, 'latin1')], boundary);
const denied = (model: string) => ({ model });
const unreadable = (why = '') => ({ why: expect.stringContaining(why) as string });

const part = (value: string, ...fields: string[]): string =>
  `--XX\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n${value}\r\n`;
const field = (name: string, value: string): string =>
  part(value, `Content-Disposition: form-data; name="${name}"`);
const file = (bytes: string): string =>
  part(
    bytes,
    'Content-Disposition: form-data; name="file"; filename="a.wav"',
    'Content-Type: audio/wav',
  );
const form = (...parts: string[]): string => `${parts.join('')}--XX--\r\n`;

describe('the boundary of a form', () => {
  it.each([
    ['multipart/form-data; boundary=XX', 'XX'],
    ['Multipart/Form-Data;boundary="a b"', undefined],
    ['multipart/form-data; boundary="----a=b:c"', '----a=b:c'],
    [
      'multipart/form-data;  boundary=----formdata-undici-012345678901',
      '----formdata-undici-012345678901',
    ],
    ['multipart/form-data', undefined],
    ['multipart/form-data; boundary=a; boundary=b', undefined],
    ['multipart/form-data; charset=utf-16; boundary=a', undefined],
    ['multipart/form-data; boundary=a; charset=utf-7', undefined],
    ["multipart/form-data; boundary*=utf-8''a", undefined],
    [`multipart/form-data; boundary=${'a'.repeat(71)}`, undefined],
    ['multipart/form-data; boundary=', undefined],
  ])('%s', (type, boundary) => expect(boundaryOf(type)).toBe(boundary));
});

describe('a form', () => {
  it.each<[string, string, unknown]>([
    ['with its model first', form(field('model', 'whisper-1'), file('\0\r\n--X')), 'passes'],
    [
      'with its model last',
      form(file('\r\n--XY'.slice(0, 5)), field('model', 'whisper-1')),
      'passes',
    ],
    ['without a line at its end', form(field('model', 'whisper-1')).slice(0, -2), 'passes'],
    ['without a model', form(file('x')), 'none'],
    ['that names a file model', form(file('name="model"\r\n\r\nevil')), 'none'],
    ['with another model', form(field('model', 'evil'), file('x')), denied('evil')],
    ['with two', form(field('model', 'whisper-1'), field('model', 'evil')), denied('evil')],
    [
      'with two, in the other order',
      form(field('model', 'evil'), field('model', 'whisper-1')),
      denied('evil'),
    ],
    ['with a list', form(field('model[]', 'evil')), denied('evil')],
    ['with a list alone', form(field('model[]', 'whisper-1')), 'none'],
    ['with models alone', form(field('models', 'whisper-1')), 'none'],
    ['with a deployment alone', form(field('deployment_id', 'whisper-1')), 'none'],
    ['with several in one', form(field('model', 'whisper-1,evil')), denied('evil')],
    ['with a line in its model', form(field('model', 'whisper-1\r\n--X')), 'passes'],
    [
      'with fallbacks',
      form(field('model', 'whisper-1'), field('fallbacks', '["whisper-1"]')),
      unreadable('fallbacks'),
    ],
    [
      'with a nested member',
      form(field('model', 'whisper-1'), field('extra_body[model]', 'whisper-1')),
      unreadable('extra_body'),
    ],
    [
      'whose model is a file',
      form(part('whisper-1', 'Content-Disposition: form-data; name="model"; filename="a"')),
      unreadable('file'),
    ],
    [
      'whose model is a file by another name',
      form(part('whisper-1', 'Content-Disposition: form-data; name="model"; filename*=utf-8\'\'a')),
      unreadable('file'),
    ],
    ['whose model is not ASCII', form(field('model', 'whisper-\xe9')), unreadable('ASCII')],
    ['whose model is too long', form(field('model', 'x'.repeat(70_000))), unreadable('too long')],
    ['whose fields are too many', form(part('x', `x: ${'y'.repeat(9000)}`)), unreadable('fields')],
  ])('%s', (_, text, verdict) => expect(scanText(text)).toEqual(verdict));

  const disposition = 'Content-Disposition: form-data;';
  it.each([
    ['nothing', ''],
    ['JSON', '{"model":"whisper-1"}'],
    ['with a preamble', `x\r\n${form(field('model', 'whisper-1'))}`],
    ['that does not end', field('model', 'whisper-1')],
    [
      'with another one behind it',
      `${form(field('model', 'whisper-1'))}${form(field('model', 'evil'))}`,
    ],
    ['with padding behind a boundary', form(field('a', 'b')).replace('--XX\r\n', '--XX \r\n')],
    [
      'with padding behind a later boundary',
      form(field('a', 'b'), field('c', 'd').replace('XX\r\n', 'XX\t\r\n')),
    ],
    ['with line feeds alone', form(field('model', 'whisper-1')).replaceAll('\r\n', '\n')],
    ['with a part without a name', form(part('x', 'Content-Type: text/plain'))],
    ['with a part without fields', form(part('x'))],
    ['with a name without quotes', form(part('evil', `${disposition} name=model`))],
    ['with two names', form(part('evil', `${disposition} name="a"; name="model"`))],
    ['with an extended name', form(part('evil', `${disposition} name="a"; name*=utf-8''model`))],
    ['with a name in pieces', form(part('evil', `${disposition} name*0="mo"; name*1="del"`))],
    ['with an escape in its name', form(part('evil', `${disposition} name="mod\\el"`))],
    [
      'with two dispositions',
      form(part('evil', `${disposition} name="a"`, `${disposition} name="model"`)),
    ],
    ['with a space that is none to all', form(part('x', `${disposition} name="model"\xa0`))],
    ['with a field that goes on', form(part('evil', disposition, ' name="model"'))],
    ['with a carriage return in a field', form(part('evil', `${disposition} name="a"\rx: y`))],
  ])('%s is not readable', (_, text) => expect(scanText(text)).toEqual(unreadable()));

  it('is judged alike wherever it is cut', () => {
    const model = fc.constantFrom('whisper-1', 'whisper-2', 'evil', '');
    const bytes = fc.string({ unit: fc.constantFrom('\r', '\n', '-', 'X', 'a'), maxLength: 30 });
    const parts = fc.array(
      fc.oneof(
        model.map((name) => field('model', name)),
        // A boundary in a file ends it.
        bytes.filter((each) => !`\r\n${each}`.includes('\r\n--XX')).map(file),
      ),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(parts, fc.array(fc.nat(900), { maxLength: 30 }), (each, places) => {
        const whole = Buffer.from(form(...each), 'latin1');
        const verdict = scan([whole]);
        expect(scan(cutAt(whole, places))).toEqual(verdict);
        expect(scan(cutAt(whole, [...whole.keys()]))).toEqual(verdict);
        const names = each.filter((text) => text.includes('"model"'));
        if (names.some((text) => text.includes('evil'))) expect(verdict).toHaveProperty('model');
      }),
      { numRuns: 300 },
    );
  });

  it('of 25 MB is looked through with little in memory', () => {
    const judge = new ModelJudge(mayUseModels(ALLOWED));
    const scanned = new FormModelScan(judge, 'XX');
    const chunk = Buffer.alloc(64 * 1024, '\r\n--XY');
    scanned.read(Buffer.from(file('').slice(0, -2)));
    for (let at = 0; at < 400; at++) expect(scanned.read(chunk)).toBeUndefined();
    expect(scanned.read(Buffer.from(`\r\n${form(field('model', 'evil'))}`))).toEqual(
      denied('evil'),
    );
  });
});

describe('a form like a query', () => {
  it.each<[string, unknown]>([
    ['model=whisper-1&a=b', 'passes'],
    ['a=b', 'none'],
    ['model=evil', denied('evil')],
    ['mod%65l=ev%69l', denied('evil')],
    ['model=whisper-1&model=evil', denied('evil')],
    ['model=evil+%2B1', denied('evil +1')],
    ['model%5B%5D=evil', denied('evil')],
    ['model=whisper-1&user_config=x', unreadable('user_config')],
    ['a=b;model=evil', unreadable()],
    ['{"model":"evil","a":"&model=whisper-1&"}', unreadable()],
    ['model=whisper-1\n', unreadable()],
    [`a=${'b'.repeat(70_000)}`, unreadable('too long')],
  ])('%s', (text, verdict) => {
    expect(scanText(text, '')).toEqual(verdict);
    expect(scan(cutAt(Buffer.from(text), [1, 3, 4, 9]), '')).toEqual(verdict);
  });
});
