import { parse } from 'dotenv';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { setVariable } from '../../src/store/publish.ts';

const set = (text: string): string => setVariable(text, 'KEY', 'sk-new');

describe('a variable of a dotenv file', () => {
  it.each([
    ['KEY=sk-old', 'KEY=sk-new'],
    ['KEY=sk-old\n', 'KEY=sk-new\n'],
    ['A=1\r\nKEY=sk-old\r\nB=2\r\n', 'A=1\r\nKEY=sk-new\r\nB=2\r\n'],
    ['A=1\rKEY=sk-old\rB=2\r', 'A=1\rKEY=sk-new\rB=2\r'],
    ['A=1\r\n\n\r\nKEY=sk-old\nB=2\r\n', 'A=1\r\n\n\r\nKEY=sk-new\nB=2\r\n'],
    ['\uFEFFKEY=sk-old\n', '\uFEFFKEY=sk-new\n'],
    ['  export  KEY = sk-old  \n', '  export  KEY = sk-new  \n'],
    ['KEY: sk-old\n', 'KEY: sk-new\n'],
    ['KEY:\r\nsk-old\r\n', 'KEY:\r\nsk-new\r\n'],
    ['KEY="sk-old"\n', 'KEY="sk-new"\n'],
    ["KEY= 'sk-old' # mine\n", "KEY= 'sk-new' # mine\n"],
    ['KEY=`sk-old`\n', 'KEY=`sk-new`\n'],
    ['KEY=sk-old # mine, "of old"\n', 'KEY=sk-new # mine, "of old"\n'],
    ['KEY=sk-old#mine\n', 'KEY=sk-new#mine\n'],
    ['KEY="sk-old\nsecond line"\nB=2\n', 'KEY="sk-new"\nB=2\n'],
    ['KEY="sk-old\n', 'KEY=sk-new\n'],
    [`${'\r\n'.repeat(30)}KEY=sk-old`, `${'\r\n'.repeat(30)}KEY=sk-new`],
  ])('is changed in its place: %j', (text, changed) => {
    expect(set(text)).toBe(changed);
  });

  it.each([
    ['KEY=\n', 'KEY=sk-new\n'],
    ['KEY=', 'KEY=sk-new'],
    ['KEY= # mine\nB=2', 'KEY=sk-new # mine\nB=2'],
    ['KEY=""\n', 'KEY="sk-new"\n'],
    ['KEY=   \r\nB=2', 'KEY=sk-new   \r\nB=2'],
  ])('is filled in where it is empty: %j', (text, changed) => {
    expect(set(text)).toBe(changed);
  });

  it.each([
    ['', 'KEY=sk-new\n'],
    ['\uFEFF', '\uFEFFKEY=sk-new\n'],
    ['A=1\n', 'A=1\nKEY=sk-new\n'],
    ['A=1', 'A=1\nKEY=sk-new\n'],
    ['A=1\r\nB=2', 'A=1\r\nB=2\r\nKEY=sk-new\r\n'],
    ['# KEY=sk-old\n', '# KEY=sk-old\nKEY=sk-new\n'],
    ['MY_KEY=1\nKEY_2=2\nkey=3\n', 'MY_KEY=1\nKEY_2=2\nkey=3\nKEY=sk-new\n'],
    ['KEY\n', 'KEY\nKEY=sk-new\n'],
    ['A="x\nKEY=sk-in-a-text\n"\n', 'A="x\nKEY=sk-in-a-text\n"\nKEY=sk-new\n'],
    ["A='x\nKEY=sk-in-a-text\n'", "A='x\nKEY=sk-in-a-text\n'\nKEY=sk-new\n"],
    // A line break behind it would give A a value.
    ['A:', 'KEY=sk-new\nA:'],
    ['\uFEFFA:', '\uFEFFKEY=sk-new\nA:'],
  ])('is added where it is missing: %j', (text, changed) => {
    expect(set(text)).toBe(changed);
  });

  it('that is set several times is changed each time: no old key stays, and the last one counts', () => {
    expect(set('KEY=sk-one\nA=1\nexport KEY="sk-two" # old\nKEY=\n')).toBe(
      'KEY=sk-new\nA=1\nexport KEY="sk-new" # old\nKEY=sk-new\n',
    );
  });

  it('that has the value already is left as it is', () => {
    for (const text of ['KEY=sk-new', 'KEY="sk-new" #', '\uFEFFA=1\r\nKEY= sk-new\r\n']) {
      expect(set(text)).toBe(text);
    }
  });

  it.each([
    ['a#b', 'KEY=old # c', "KEY='a#b' # c"],
    ["a#'b", 'KEY=old', 'KEY="a#\'b"'],
    ['a#\'"b', "KEY='old'", 'KEY=`a#\'"b`'],
    ['a"b', 'KEY="old"', 'KEY="a"b"'],
    ['a\\nb', 'KEY="old"', 'KEY=a\\nb'],
    ['"a"', 'KEY=old', `KEY='"a"'`],
    ['$A', 'KEY="old"', 'KEY="$A"'],
  ])('is quoted as it must be: %s', (value, text, changed) => {
    expect(setVariable(text, 'KEY', value)).toBe(changed);
    expect(parse(changed)).toEqual({ KEY: value });
  });

  it('is quoted so that an open quote before it does not end in it', () => {
    expect(setVariable('KEY=old\nA="open\nKEY=old\n', 'KEY', 'a"')).toBe(
      `KEY='a"'\nA="open\nKEY='a"'\n`,
    );
  });

  it.each(['a#\'"`b', 'two\nlines\r', ' a '])('may hold what dotenv can: not %j', (value) => {
    const unheld = (): string => setVariable('A=1\n', 'KEY', value);
    const held = parse(`KEY='${value}'`)['KEY'] === value;
    if (held) expect(parse(unheld())).toEqual({ A: '1', KEY: value });
    else expect(unheld).toThrow(RangeError);
  });

  it('is told without its value where it cannot be set', () => {
    const value = 'sk-#\'"`hush';
    expect(() => setVariable('KEY=old', 'KEY', value)).toThrow(
      'KEY cannot be set in that dotenv file without changing other lines',
    );
  });
});

describe('whatever else a dotenv file holds', () => {
  const NAME = 'OPENAI_API_KEY';
  const key = fc.constant(0).map(generateKey);
  const eol = fc.constantFrom('\n', '\r\n');
  const others = fc.constantFrom(
    ...['', '  ', '# a comment', `# ${NAME}=sk-old`, 'A=1', 'export B="two" # b', "C='#'", 'D'],
    ...['E=', 'F: yaml', '<<<<', `MY_${NAME}=x`, `${NAME}_2=y`, `A="x\n${NAME}=in a text\n"`],
    ...[`G='\n${NAME}="in a text"\n'`, 'H="open', "I='open", 'A=again', 'J=`b`', '\u2028', 'K=ü'],
  );
  /** Lines of ours, with the new value between the two parts. */
  const OURS: readonly (readonly [old: string, before: string, after: string])[] = [
    ['=sk-old', '=', ''],
    ['="sk-old"', '="', '"'],
    ["='sk-old' # c", "='", "' # c"],
    [' = sk-old', ' = ', ''],
    ['=', '=', ''],
    ['= # c', '=', ' # c'],
    [': sk-old', ': ', ''],
    ['=`o`#c', '=`', '`#c'],
    // Where an open quote before it ends in front of it.
    ['=in a text', '=', ''],
    ['="in a text"', '="', '"'],
  ];
  const definition = fc
    .tuple(fc.constantFrom('', 'export ', ' '), fc.constantFrom(...OURS))
    .map(([start, [old]]) => `${start}${NAME}${old}`);
  const withValue = (line: string, value: string): string | undefined => {
    const [, start = '', rest, end = ''] =
      new RegExp(`^(\\uFEFF?(?:export | )?)${NAME}(.*?)(\r?\n)?$`).exec(line) ?? [];
    const [, before = '', after = ''] = OURS.find(([old]) => old === rest) ?? [];
    return rest === undefined ? undefined : `${start}${NAME}${before}${value}${after}${end}`;
  };
  const fileOf = (lines: fc.Arbitrary<string>) =>
    fc
      .tuple(fc.constantFrom('', '\uFEFF'), fc.array(fc.tuple(lines, eol)), fc.boolean())
      .map(([mark, all, whole]) => {
        const text = mark + all.map((pair) => pair.join('')).join('');
        return whole ? text : text.replace(/\r?\n$/, '');
      });
  const without = (values: Record<string, string>): Record<string, string> => {
    const { [NAME]: _, ...rest } = values;
    return rest;
  };

  it('stays: each other variable, and each other line byte for byte', () => {
    const file = fileOf(fc.oneof(others, { arbitrary: definition, weight: 2 }));
    fc.assert(
      fc.property(file, key, (text, value) => {
        const changed = setVariable(text, NAME, value);
        const [before, after] = [parse(text), parse(changed)];
        expect(after[NAME]).toBe(value);
        expect(without(after)).toEqual(without(before));
        if (before[NAME] === undefined) {
          expect(changed.replace(new RegExp(`(?:^|\r?\n?)${NAME}=${value}\r?\n$`), '')).toBe(
            text.replace(/\r?\n$/, ''),
          );
        } else {
          const lines = changed.split(/(?<=\n)/);
          text.split(/(?<=\n)/).forEach((line, at) => {
            if (lines[at] !== line) expect(lines[at]).toBe(withValue(line, value));
          });
        }
        expect(setVariable(changed, NAME, value)).toBe(changed);
      }),
      { numRuns: 2000 },
    );
  });

  it('loses the old key wherever it was in force', () => {
    const old = generateKey();
    const dead = fc.constantFrom('A=1', '# none', `${NAME}=${old}`, `export ${NAME}="${old}" # x`);
    fc.assert(
      fc.property(fileOf(dead), key, (text, value) => {
        expect(setVariable(text, NAME, value)).not.toContain(old);
      }),
    );
  });

  it('is no reason to fail or to lose a variable, whatever it is', () => {
    const unit = fc.constantFrom(...'AK=:#\'"`\\ \n\r\uFEFF.-x'.split(''), 'export ', 'KEY=');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 40 }), key, (text, value) => {
        const { KEY, ...before } = parse(text);
        const { KEY: set, ...after } = parse(setVariable(text, 'KEY', value));
        expect(set).toBe(value);
        expect(after).toEqual(before);
      }),
      { numRuns: 5000 },
    );
  });
});
