import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { digestOf, generateKey, showDigest } from '../../src/keyring/key.ts';
import { openClientsFile, readSettled } from '../../src/store/clients-watch.ts';
import { eachInFolder } from '../support/folder.ts';

const folder = eachInFolder('clients-watch');
const entry = (name: string, key: string): string =>
  `  ${name}: {keys: ["${showDigest(digestOf(key))}"]}\n`;

it('a file that is being written is not read before it is whole', async () => {
  const path = join(folder(), 'clients.yaml');
  await writeFile(path, `clients:\n${entry('ci', generateKey())}`);
  const file = openClientsFile(path);
  let readings = 0;
  const reading = await readSettled({
    ...file,
    async read() {
      const found = await file.read();
      readings += 1;
      // Another program goes on with it behind the first two looks.
      if (readings < 3) await appendFile(path, entry(`dev-${readings}`, generateKey()));
      return found;
    },
  });
  expect(reading.clients.map(({ name }) => name)).toEqual(['ci', 'dev-1', 'dev-2']);
  expect(readings).toBe(4);
});

it('a key in a file of keys is digested, and a mistake says in which line it is', async () => {
  const [one, two] = [generateKey(), generateKey()];
  const path = join(folder(), 'clients.yaml');
  await writeFile(path, 'clients:\n  ci: {keys_file: ci.key}\n');
  await writeFile(join(folder(), 'ci.key'), `# two\n\n${one}\r\n  ${showDigest(digestOf(two))}\n`);
  const file = openClientsFile(path);
  const { clients, mark } = await file.read();
  expect(clients[0]?.digests).toEqual([digestOf(one), digestOf(two)]);
  expect(file.files()).toEqual([path, join(folder(), 'ci.key')]);
  await writeFile(join(folder(), 'ci.key'), `${one}\nsha256:abc\n"${two}"\n`);
  const next = await file.read();
  expect(next.mark).not.toBe(mark);
  expect(next.mistakes.map(({ line, message }) => `${line} ${message}`)).toEqual([
    '2 ci.keys_file: line 2 of the file: it is no digest as `sidecar key digest` prints it',
    '2 ci.keys_file: line 3 of the file: it begins or ends with a quote: leave the quotes out',
  ]);
  expect(JSON.stringify(next)).not.toContain(two);
});

it.each([
  ['an empty one', '', 'it is empty: for no clients write clients: {}'],
  ['one in UTF-16', Buffer.from('\ufeffclients: {}\n', 'utf16le'), 'it is not UTF-8'],
  ['one of 10 MB', 'x'.repeat(10_000_000), 'it is larger than 1MiB'],
])('%s is a mistake', async (_what, content, message) => {
  const path = join(folder(), 'clients.yaml');
  await writeFile(path, content);
  const { mistakes } = await openClientsFile(path).read();
  expect(mistakes.map((each) => each.message)).toEqual([message]);
});

it('a byte order mark is no part of it', async () => {
  const path = join(folder(), 'clients.yaml');
  await writeFile(path, `\ufeffclients:\n${entry('ci', generateKey())}`);
  const { clients, mistakes } = await openClientsFile(path).read();
  expect([clients.length, mistakes]).toEqual([1, []]);
});

it('a mistake in a client stands in its lines, at its key where that is written there', async () => {
  const path = join(folder(), 'clients.yaml');
  const [one, two] = [generateKey(), generateKey()];
  await writeFile(path, `clients:\n${entry('ci', one)}${entry('dev', two)}  by: {keys_file: k}\n`);
  await writeFile(join(folder(), 'k'), one);
  const { mistake } = await openClientsFile(path).read();
  const at = (name: string, key?: string) => {
    const { line, column } = mistake(name, key && digestOf(key), 'no');
    return `${line}:${column}`;
  };
  expect([
    at('ci', one),
    at('ci', two),
    at('dev', two),
    at('dev'),
    at('by', one),
    at('by'),
  ]).toEqual([...['2:16', '2:3', '3:17', '3:3', '4:3', '4:3']]);
  expect(mistake('dev', digestOf(two), 'no').message).toBe('dev: no');
});
