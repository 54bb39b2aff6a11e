import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isClientName } from '../../src/client-name.ts';
import { publishTargets, showPlace } from '../../src/config/kinds.ts';

const read = (text: string): unknown => {
  const result = publishTargets.read(text);
  return 'value' in result ? result.value : result;
};
const file = (path: string, client = 'master') => ({ client, kind: 'file', path, variable: '' });
const dotenv = (path: string, variable: string, client = 'master') => ({
  ...{ client, kind: 'dotenv', path, variable },
});

describe('publish targets', () => {
  it.each([
    ['', []],
    ['file:/run/keys/master', [file('/run/keys/master')]],
    ['file:key', [file('key')]],
    ['file:/a b/k=v:w', [file('/a b/k=v:w')]],
    ['dotenv:/srv/.env#OPENAI_API_KEY', [dotenv('/srv/.env', 'OPENAI_API_KEY')]],
    ['dotenv:/srv/#1/.env#a.b-c_9', [dotenv('/srv/#1/.env', 'a.b-c_9')]],
    ['staging=file:/k, ci-2=dotenv:.env#K', [file('/k', 'staging'), dotenv('.env', 'K', 'ci-2')]],
  ])('%j are read', (text, targets) => {
    expect(read(text)).toEqual(targets);
  });

  const beginning =
    'it begins with file: or dotenv:; a path with a comma in it cannot be written here';
  const variable = 'behind the # stands the name of a variable';
  const unnamed = 'name the variable: dotenv:/app/.env#API_KEY (in quotes where it stands in .env)';
  const client = 'a client has lower-case letters, digits and hyphens';
  it.each([
    ['/run/key', beginning],
    ['file:/a,b', beginning],
    ['flie:/run/key', 'did you mean file:?'],
    ['https://vault/key', ''],
    ['File:/run/key', 'did you mean file:?'],
    ['file:', 'the path of a file is missing'],
    ['file:/run/', 'it names a folder, not a file in it'],
    ['file:..', 'it names a folder, not a file in it'],
    ['file:/run/key#A', 'a file holds the key alone; with a variable it is dotenv:'],
    ['file:/a\0b', 'the path of a file is missing'],
    ['dotenv:/srv/.env', unnamed],
    ['dotenv:/srv/.env#', variable],
    ['dotenv:/srv/.env#A B', variable],
    ['dotenv:/srv/.env#A=b', variable],
    ['dotenv:#A', 'the path of a file is missing'],
    ['Staging=file:/k', client],
    ['=file:/k', client],
    ['sk-a=file:/k', client],
    [`${'a'.repeat(40)}=file:/k`, client],
  ])('refuses %j', (text, hint) => {
    expect(read(text)).toEqual({ hint });
  });

  it('are shown as they are read, with the client where it is not master', () => {
    const text = 'file:/k,ci=dotenv:.env#K';
    const targets = publishTargets.read(text);
    if (!('value' in targets)) throw new Error('it was not read');
    expect(publishTargets.show(targets.value)).toBe(text);
    expect(targets.value.map(showPlace)).toEqual(['file:/k', 'dotenv:.env#K']);
  });

  it('take the names that the keyring gives its clients, and no others', () => {
    const name = fc.string({ unit: fc.constantFrom(...'ask-0A'), maxLength: 42 });
    fc.assert(
      fc.property(name, (client) => {
        expect(Array.isArray(read(`${client}=file:/k`))).toBe(isClientName(client));
      }),
      { numRuns: 500 },
    );
  });
});
