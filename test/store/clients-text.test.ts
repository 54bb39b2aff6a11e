import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { digestOf, generateKey, showDigest } from '../../src/keyring/key.ts';
import { createClientsReader } from '../../src/store/clients-text.ts';

const KEY = showDigest(digestOf('one'));
const OTHER = showDigest(digestOf('other'));

const read = (text: string) => createClientsReader()(text);
const mistakesOf = async (text: string): Promise<string[]> =>
  (await read(text)).mistakes.map(({ line, column, message }) => `${line}:${column} ${message}`);

const EXAMPLE = `# who may ask
clients:
  ci:
    keys: [${KEY}, ${OTHER.replace('sha256:', 'SHA256:')}]
    scopes: [passthrough, inference]
    expires: 2027-03-01
    allow_from: [10.0.0.0/8, 192.0.2.7]
    models: [gpt-4o*, mock]
    limits: {rpm: 60, parallel: 4, tokens_per_day: 2M, usd_per_day: 0.50, mode: record}

  # by file
  dev:
    keys_file: dev.key
    names_end_users: true
`;

describe('the text of a clients file', () => {
  it('says of each client what it may do', async () => {
    const { clients, mistakes } = await read(EXAMPLE);
    expect(mistakes).toEqual([]);
    expect(clients).toEqual([
      {
        ...{ name: 'ci', digests: [digestOf('one'), digestOf('other')], keysFile: undefined },
        ...{ scopes: ['inference', 'passthrough'], expiresAt: Date.UTC(2027, 2, 1) },
        ...{ allowFrom: ['10.0.0.0/8', '192.0.2.7/32'], models: ['gpt-4o*', 'mock'] },
        limits: { rpm: 60, parallel: 4, tokensPerDay: 2_000_000, usdPerDay: 0.5, mode: 'record' },
        ...{ namesEndUsers: false, offset: 25 },
      },
      {
        ...{ name: 'dev', digests: [], keysFile: 'dev.key', scopes: ['inference'] },
        ...{ allowFrom: [], models: [], expiresAt: undefined, limits: undefined },
        ...{ namesEndUsers: true, offset: EXAMPLE.indexOf('dev:') },
      },
    ]);
  });

  it.each([
    ['2027-03-01', Date.UTC(2027, 2, 1)],
    ['2027-03-01T12:30:00Z', Date.UTC(2027, 2, 1, 12, 30)],
    ['2027-03-01 12:30+02:00', Date.UTC(2027, 2, 1, 10, 30)],
    ['2020-01-01', Date.UTC(2020, 0, 1)],
  ])('takes %s for an end', async (text, at) => {
    const { clients } = await read(`clients:\n  ci: {keys: [${KEY}], expires: ${text}}\n`);
    expect(clients[0]?.expiresAt).toBe(at);
  });

  it('takes a digest in base64url, too', async () => {
    const digest = digestOf(generateKey());
    const { clients } = await read(`clients:\n  ci: {keys: ["sha256:${digest}="]}\n`);
    expect(clients[0]?.digests).toEqual([digest]);
  });

  it.each([['clients: {}\n'], ['---\nclients: {}\n'], ['{"clients": {}}']])(
    'may have no clients where it says so: %j',
    async (text) => {
      expect(await read(text)).toEqual({ clients: [], mistakes: [] });
    },
  );
});

const ONE = 'must be the digest of a key as `sidecar key digest` prints it: sha256:…';
const DAY = 'must be a day or an instant, such as 2027-03-01 or 2027-03-01T12:00:00Z';
const ALIAS = 'an alias stands for what is written elsewhere: write it out here';
const member = (line: string): string => `clients:\n  ci:\n    keys: [${KEY}]\n    ${line}\n`;

describe('a mistake in it', () => {
  it.each([
    ['', '1:1 it is empty: for no clients write clients: {}'],
    ['# nothing\n', '1:1 it is empty: for no clients write clients: {}'],
    ['clients:\n', '1:9 clients must be a map; for no clients write clients: {}'],
    ['clients: []\n', '1:10 clients must be a map; for no clients write clients: {}'],
    ['- ci\n', '1:1 it must be a map, such as clients: {ci: {keys: [sha256:…]}}'],
    ['client: {}\n', '1:1 there is no member client (did you mean clients?)'],
    [`clients:\n\tci:\n\t\tkeys: [${KEY}]\n`, '2:1 there is a tab: only spaces indent YAML'],
    ['clients:\n  ci:\n', '2:6 ci must be a map with its keys, such as {keys: [sha256:…]}'],
    ['clients:\n  ci\n', '2:3 it must be the name of a client and a colon'],
    ['clients:\n  ci: {}\n', '2:3 ci has no keys'],
    [
      'clients:\n  ci: {keys: [}\n',
      '2:15 this is no YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['clients: {}\n---\nclients: {}\n', '2:1 a second document begins here: the file holds one'],
    [`clients:\n  ci: {keys: [${KEY}], keys: [${OTHER}]}\n`, '2:89 this name stands there twice'],
    ['clients:\n  ci: !!set {keys: [x]}\n', '2:7 this tag is not known: leave it out'],
    [
      `clients:\n  CI: {keys: [${KEY}]}\n`,
      '2:3 a client name has 1 to 39 lower-case letters, digits and hyphens, begins with a letter ' +
        'and does not end with a hyphen',
    ],
    [
      `clients:\n  master: {keys: [${KEY}]}\n`,
      '2:3 master stands in no file: its key is LITELLM_MASTER_KEY',
    ],
    [
      `clients:\n  ci: {keys: [${KEY}], keys_file: x}\n`,
      '2:3 ci has keys and keys_file: one of them is enough',
    ],
    [`clients:\n  ci: {keys: [${KEY}, ${KEY}]}\n`, '2:88 ci.keys has this key twice'],
    [
      `clients:\n  ci: {keys: ${KEY}}\n`,
      '2:14 ci.keys must be a list with something in it, such as [sha256:…]',
    ],
    [
      'clients:\n  ci: {keys: []}\n',
      '2:14 ci.keys must be a list with something in it, such as [sha256:…]',
    ],
    [
      `clients:\n  ci: {keys: [${Array.from({ length: 9 }, (_, at) => showDigest(digestOf(`${at}`))).join(', ')}]}\n`,
      '2:14 ci.keys has too many keys: 8 may be valid at once',
    ],
    ['clients:\n  ci: {keys: [sha256:abc]}\n', `2:15 ci.keys[0] ${ONE}`],
    [
      `clients:\n  ci: {keys: [${KEY.slice(7)}]}\n`,
      `2:15 ci.keys[0] ${ONE} (put sha256: before it)`,
    ],
    [
      `clients:\n  ci: {keys: [${showDigest(digestOf('sk-1234'))}]}\n`,
      `2:15 ci.keys[0] ${ONE} (everybody knows the key of this digest)`,
    ],
    [member('model: [mock]'), '4:5 ci: there is no member model (did you mean models?)'],
    [
      member('__proto__: {}'),
      '4:5 ci: there is no member __proto__ (it may be keys, keys_file, ' +
        'scopes, expires, allow_from, models, names_end_users, limits)',
    ],
    [member('<<: {models: [mock]}'), '4:5 ci: merge keys are not read: write it out'],
    [member('scopes: [admin]'), '4:14 ci.scopes[0] must be one of inference, passthrough, full'],
    [
      member('scopes: []'),
      '4:13 ci.scopes must be a list with something in it, such as [inference]',
    ],
    [
      member('models: []'),
      '4:13 ci.models must be a list with something in it, such as [gpt-4o*]; leave it out for all',
    ],
    [
      member('allow_from: [10.0.0.1/8]'),
      '4:18 ci.allow_from[0] must be an address or a CIDR block, such as 10.0.0.0/8 (did you mean ' +
        '10.0.0.0/8, or 10.0.0.1 alone?)',
    ],
    [member('expires: 2027-02-30'), `4:14 ci.expires ${DAY}`],
    [member('expires: 90d'), `4:14 ci.expires ${DAY}`],
    [member('expires: 2027'), `4:14 ci.expires ${DAY}`],
    [
      member('expires: 2027-03-01T12:00:00'),
      `4:14 ci.expires ${DAY} (did you mean 2027-03-01T12:00:00Z?)`,
    ],
    [member('names_end_users: yes'), '4:22 ci.names_end_users must be true or false'],
    [member('limits: {mode: record}'), '4:13 ci.limits limits nothing: leave it out for no limits'],
    [member('limits: 60'), '4:13 ci.limits must be a map, such as {rpm: 60}'],
    [
      member('limits: {tokens: 5}'),
      '4:14 ci.limits: there is no member tokens (it may be rpm, parallel, tokens_per_day, ' +
        'usd_per_day, mode)',
    ],
    [member('limits: {rpm: 1, mode: block}'), '4:28 ci.limits.mode must be one of refuse, record'],
  ])('%j', async (text, mistake) => {
    expect(await mistakesOf(text)).toEqual([mistake]);
  });

  it.each([
    ['rpm: 0', '0 lets nobody in: leave it out for no limit, or disable the client'],
    ['rpm: -1', 'above 0: leave it out for no limit'],
    ['rpm: 5$', 'did you mean 5?'],
    ['rpm: .nan', ''],
    ['rpm: .inf', ''],
    ['rpm: 1.5', ''],
    ['rpm: true', ''],
    ['usd_per_day: 5$', 'did you mean 5?'],
    ['usd_per_day: 0', '0 lets nobody in: leave it out for no limit, or disable the client'],
    ['tokens_per_day: 2m', 'did you mean 2M?'],
  ])('of a limit: %s', async (limit, hint) => {
    const [mistake] = await mistakesOf(member(`limits: {${limit}}`));
    expect(mistake).toMatch(/^4:\d+ ci\.limits\.\w+ must be /);
    expect(mistake?.endsWith(hint === '' ? mistake : ` (${hint})`)).toBe(true);
  });

  it('is told with all others, each where it stands', async () => {
    const text = `clients:
  ci:
    keys: [${KEY}]
    models: mock
    limits: {rpm: no}
  Dev: {}
  ci: {keys: [${OTHER}]}
`;
    expect((await mistakesOf(text)).map((each) => each.split(' ')[0])).toEqual([
      ...['4:13', '5:19', '6:3', '6:3', '7:3'],
    ]);
  });

  it('holds no key, wherever one was put', async () => {
    const key = generateKey();
    const texts = [
      `clients:\n  ci: {keys: [${key}]}\n`,
      `clients:\n  ${key}: {keys: [${KEY}]}\n`,
      `clients:\n  ci: {keys: [${KEY}], ${key}: 1, models: [${key}], expires: ${key}}\n`,
      `clients:\n  ci: {keys: [${KEY}], limits: {${key}: 1, rpm: ${key}, mode: ${key}}}\n`,
      `${key}: {}\n`,
      `clients: !${key} {}\n`,
      `clients: *${key}\n`,
      `clients: {a: [${key}}\n`,
      `clients: "\\x${key}"\n`,
    ];
    for (const text of texts) {
      const told = await mistakesOf(text);
      expect(told).not.toEqual([]);
      expect(told.join('\n')).not.toContain(key.slice(3, 20));
    }
    expect((await mistakesOf(texts[0] ?? ''))[0]).toContain('make a new one');
  });

  it('repeats nothing of what is no YAML, which may be a secret of any form', async () => {
    const secret = 'SEKRET-tok_9f8e7d6c5b';
    const texts = [
      `clients:\n  ci:\n    keys: |${secret}\n      x\n`,
      `clients:\n  ci:\n    keys: "\\U${secret}"\n`,
      `clients:\n  ci:\n    keys: %${secret}\n`,
      `clients:\n  ci:\n    keys: "${secret}\n`,
      `clients:\n  ci:\n    keys: ${secret}: ${secret}\n`,
      `clients:\n  ci:\n    keys: [x] ${secret}\n`,
      `clients:\n  ci:\n    keys: !<${secret}> [x]\n`,
      `%${secret} x\n---\nclients: {}\n`,
      `%YAML ${secret}\n---\nclients: {}\n`,
    ];
    const told = await Promise.all(texts.map(mistakesOf));
    expect(told.map((each) => each.length)).toEqual(texts.map(() => 1));
    expect(told.flat().join('\n')).not.toContain('SEKRET');
    expect(told[0]).toEqual([
      '3:12 this is no YAML: Block scalar header includes extra characters',
    ]);
  });

  it('is each of 30,000, and holds up nobody for long', { timeout: 60_000 }, async () => {
    const names = Array.from({ length: 30_000 }, (_, at) => `c${at}`);
    const text = `clients:\n${names.map((name) => `  ${name}: {}\n`).join('')}`;
    const turns = monitorEventLoopDelay({ resolution: 1 });
    turns.enable();
    const { mistakes } = await read(text);
    await setTimeout(2);
    turns.disable();
    expect(mistakes).toHaveLength(names.length);
    expect(mistakes.at(-1)).toEqual({ line: 30_001, column: 3, message: 'c29999 has no keys' });
    // All lines before each of them took 11 s.
    expect(turns.max / 1e6).toBeLessThan(5000);
  });

  it('is an alias, which could make a little text a very large one', async () => {
    const levels = Array.from({ length: 9 }, (_, at) => {
      const before = at === 0 ? 'lol' : `*a${at - 1}`;
      return `a${at}: &a${at} [${Array(9).fill(before).join(', ')}]`;
    });
    const told = await mistakesOf(`${levels.join('\n')}\n`);
    expect(new Set(told.map((each) => each.replace(/^\S+ /, '')))).toEqual(new Set([ALIAS]));
    expect(await mistakesOf(`clients:\n  a: &x {keys: [${KEY}]}\n  b: *x\n`)).toEqual([
      `3:6 ${ALIAS}`,
    ]);
  });

  it.each([[''], ['clients:\n  ci: ']])('is a text of nothing but brackets: %j', async (before) => {
    expect(await mistakesOf(`${before}${'['.repeat(20_000)}`)).toEqual([
      expect.stringMatching(/nested too deeply|this is no YAML/),
    ]);
  });
});

it.each([['\u2028'], ['\u2029'], ['\r']])('a comment goes on behind %j', async (mark) => {
  const hidden = `  hidden: {keys: ["${OTHER}"], scopes: [full]}`;
  const text = `clients:\n  ci: # a job${mark}${hidden}\n    keys: [${KEY}]\n`;
  for (const each of [text, `clients:\n  ci: {keys: [${KEY}]}\n  # a job${mark}${hidden}\n`]) {
    const { clients, mistakes } = await read(each);
    expect([clients.map(({ name }) => name), mistakes]).toEqual([['ci'], []]);
  }
});

describe('a file that is read again', () => {
  it('is the same as one that is read for the first time', async () => {
    const again = createClientsReader();
    await again(EXAMPLE);
    const changed = `\n\n${EXAMPLE.replace('rpm: 60', 'rpm: 6')}`;
    expect(await again(changed)).toEqual(await read(changed));
    const broken = changed.replace('rpm: 6,', 'rpm: 0,');
    expect(await again(broken)).toEqual(await read(broken));
    expect((await again(broken)).mistakes).toHaveLength(1);
  });

  it('has the same objects for clients whose lines did not change', async () => {
    const again = createClientsReader();
    const { clients: before } = await again(EXAMPLE);
    const { clients: after } = await again(EXAMPLE.replace('dev.key', 'new.key'));
    expect(after[0]?.digests).toBe(before[0]?.digests);
    expect(after[1]?.keysFile).toBe('new.key');
  });
});

const line = fc.constantFrom(
  ...[
    '  ci:',
    '  dev: # of the team',
    '  "x-1":',
    '    keys:',
    `      - ${KEY}`,
    '',
    '# a comment',
    `# a comment\u2028  hid: {keys: [${OTHER}]}`,
    `  # a comment\r  den: {keys: [${OTHER}]}`,
  ],
  ...[
    `    keys: [${OTHER}]`,
    '    models: [gpt*,',
    '      mock]',
    '    models: [mock]',
    '---',
    '...',
  ],
  ...[
    '  - x',
    '    scopes: "full',
    '      "',
    'x: y',
    '   y: 1',
    '    # deeper',
    '\t',
    '    "a',
    'clients:',
  ],
  ...[
    '    limits: {rpm: 1}',
    '      rpm: 2',
    '    limits:',
    '    keys_file: |',
    '   text',
    '  ]',
    '  }',
  ],
  ...[
    `  a: {keys: [${KEY}],`,
    '  b: &b 1',
    '  c: *b',
    '  ? d',
    '  : e',
    '\r',
    '  ci:\r',
    '  f: 1, g: 2',
  ],
);

it('is read by its lines as it is as a whole', { timeout: 60_000 }, async () => {
  const asWhole = async (text: string) => {
    // A comma's difference, and nobody goes by the lines: the map is in flow style.
    const whole = await createClientsReader()(text.replace(/^clients:/m, '"clients":'));
    return whole;
  };
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 12 }), async (lines) => {
      const text = `clients:\n${lines.join('\n')}\n`;
      const [byLines, whole] = [await read(text), await asWhole(text)];
      expect(byLines.mistakes.length > 0).toBe(whole.mistakes.length > 0);
      if (whole.mistakes.length > 0) return;
      const plain = ({ clients }: typeof whole) =>
        clients.map(({ offset: _, ...client }) => client);
      expect(plain(byLines)).toEqual(plain(whole));
    }),
    { numRuns: 1000 },
  );
});

it('is read as it is written by any program', { timeout: 60_000 }, async () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/).filter((each) => each !== 'master');
  const client = fc.record(
    {
      keys: fc.constant([KEY]),
      models: fc.array(fc.constantFrom('gpt-4o*', 'a/b', 'c'), { minLength: 1, maxLength: 3 }),
      limits: fc.record({ rpm: fc.integer({ min: 1, max: 1e9 }) }),
      names_end_users: fc.boolean(),
    },
    { requiredKeys: ['keys'] },
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, client, { minKeys: 1 }), async (clients) => {
      const [yaml, json] = [
        stringify({ clients }, { aliasDuplicateObjects: false }),
        JSON.stringify({ clients }),
      ];
      const [one, other] = [await read(yaml), await read(json)];
      expect([one.mistakes, other.mistakes]).toEqual([[], []]);
      const plain = ({ clients: list }: typeof one) => list.map(({ offset: _, ...each }) => each);
      expect(plain(one)).toEqual(plain(other));
      expect(one.clients.map((each) => each.name)).toEqual(Object.keys(clients));
      expect(one.clients.map(({ limits }) => limits?.rpm)).toEqual(
        Object.values(clients).map(({ limits }) => limits?.rpm),
      );
    }),
    { numRuns: 200 },
  );
});
