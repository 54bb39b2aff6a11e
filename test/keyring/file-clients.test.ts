import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { fileClientFaults, fileClientSteps } from '../../src/keyring/file-clients.ts';
import { checkInvariants } from '../../src/keyring/invariants.ts';
import { digestOf } from '../../src/keyring/key.ts';
import type { Client, FileClient } from '../../src/keyring/keyring.ts';
import { findKey, snapshotOf } from '../../src/keyring/snapshot.ts';
import { createMaster, DAY, type Story, staging } from './story.ts';

const inFile = (
  name: string,
  keys: readonly string[],
  changes: Partial<FileClient> = {},
): FileClient => ({
  ...{ name, digests: keys.map(digestOf), scopes: ['inference'], allowFrom: [] },
  ...{ expiresAt: undefined, namesEndUsers: false, limits: undefined, models: [] },
  ...changes,
});

const read = (story: Story, ...clients: readonly FileClient[]) =>
  story.do({ kind: 'fileClients', clients });

const faultOf = ({ keyring, now }: Story, key: string) =>
  findKey(snapshotOf(keyring), key, () => now).fault;

it('a client of the file has all of its keys at once', () => {
  const story = createMaster();
  const events = read(story, inFile('ci', ['c1', 'c2'], { models: ['gpt-4o*'] }));
  expect(events.map(({ kind }) => kind)).toEqual(['clientAdded', 'keyAdded', 'keyAdded']);
  expect(story.states('ci')).toBe('active active');
  expect(['c1', 'c2'].map((key) => faultOf(story, key))).toEqual([undefined, undefined]);
  expect(snapshotOf(story.keyring).byDigest.get(digestOf('c1'))?.models).toEqual(['gpt-4o*']);
});

it('a key that leaves the file is revoked for good, and not as compromised', () => {
  const story = createMaster();
  read(story, inFile('ci', ['c1', 'c2']));
  const events = read(story, inFile('ci', ['c2']));
  expect(events).toEqual([
    { kind: 'revoked', client: 'ci', generation: 'ci-1', compromised: false },
  ]);
  expect([faultOf(story, 'c1'), faultOf(story, 'c2')]).toEqual(['revoked_key', undefined]);
  const back = story.refused({ kind: 'fileClients', clients: [inFile('ci', ['c1', 'c2'])] });
  expect(back).toMatchObject({
    code: 'key_is_tombstone',
    message: 'client ci of the clients file: this key was ci-1, and is revoked for good',
  });
});

it('a client that leaves the file is removed, and goes on with its numbers when it comes back', () => {
  const story = createMaster();
  read(story, inFile('ci', ['c1', 'c2']), inFile('dev', ['d1']));
  read(story, inFile('dev', ['d1']));
  expect(story.client('ci')).toMatchObject({ removed: true, inFile: false, generations: [] });
  expect(faultOf(story, 'c2')).toBe('revoked_key');
  read(story, inFile('dev', ['d1']), inFile('ci', ['c3']));
  expect(story.generation('ci-3').digest).toBe(digestOf('c3'));
});

it('a file that says the same changes nothing, and keeps each part of a client that is the same', () => {
  const story = createMaster();
  const limits = { rpm: 60, parallel: undefined, tokensPerDay: undefined, usdPerDay: undefined };
  const ci = () =>
    inFile('ci', ['c1', 'c2'], {
      ...{ models: ['gpt-4o*'], allowFrom: ['10.0.0.0/8'] },
      limits: { ...limits, mode: 'refuse' },
    });
  read(story, ci());
  const { keyring } = story;
  const before = story.client('ci');
  expect(read(story, { ...ci(), digests: [digestOf('c2'), digestOf('c1')] })).toEqual([]);
  expect(story.keyring).toBe(keyring);
  const events = read(story, { ...ci(), models: ['mock'] });
  const changes = { models: 'gpt-4o* → mock' };
  expect(events).toEqual([{ kind: 'clientChanged', client: 'ci', changes }]);
  const { allowFrom, limits: same, models } = story.client('ci');
  expect(allowFrom).toBe(before.allowFrom);
  expect(same).toBe(before.limits);
  expect(models).toEqual(['mock']);
});

it('the file rules a client that was made by command, and keeps those of its keys that it has', () => {
  const story = createMaster();
  story.add('ci', { expiresAt: story.now + DAY });
  story.rotate('ci', 'c1');
  story.rotate('ci', 'c2');
  story.rotate('ci', 'c3');
  story.do({ kind: 'disable', client: 'ci' });
  const events = read(story, inFile('ci', ['c2', 'c3', 'new']));
  expect(events.map(({ kind }) => kind)).toEqual([
    ...['fileRules', 'clientChanged', 'keyAdded', 'revoked'],
  ]);
  expect(story.client('ci')).toMatchObject({ disabled: false, expiresAt: undefined, inFile: true });
  expect(story.states('ci')).toBe('revoked active active active');
  expect(story.generation('ci-2').retirement).toBeUndefined();
  expect(story.generation('ci-4').digest).toBe(digestOf('new'));
});

it.each([['staged'], ['other']])('a rotation under way ends; the file has the key %s', (key) => {
  const story = createMaster();
  story.add('ci');
  story.rotate('ci', 'c1');
  story.do(staging('ci', 'staged', { compromised: true }));
  read(story, inFile('ci', ['c1', key]));
  expect(story.client('ci').staged).toBeUndefined();
  expect(story.states('ci')).toBe(key === 'staged' ? 'active active' : 'active revoked active');
  expect(checkInvariants(story.keyring)).toBeUndefined();
  const late = story.refused({ kind: 'commit', client: 'ci', published: true });
  expect(late.code).toBe('client_in_file');
});

it('a client may have an end that is past, and leave the file with it', () => {
  const story = createMaster();
  read(story, inFile('ci', ['c1'], { expiresAt: story.now - DAY }));
  expect(faultOf(story, 'c1')).toBe('expired_key');
  expect(checkInvariants(story.keyring)).toBeUndefined();
  read(story);
  expect(checkInvariants(story.keyring)).toBeUndefined();
});

it('all faults are told, and nothing is carried out', () => {
  const story = createMaster();
  story.add('cmd');
  story.rotate('cmd', 'k1');
  story.do({ kind: 'revoke', generation: 'cmd-1', compromised: false });
  const clients = [
    inFile(MASTER, ['m9']),
    inFile('empty', []),
    inFile('full', ['1', '2', '3', '4', '5', '6', '7', '8', '9']),
    inFile('thief', ['m1', 'k1']),
    inFile('twin', ['t']),
    inFile('twins', ['t']),
  ];
  const { keyring } = story;
  expect(fileClientFaults(keyring, clients).map(({ digest: _, ...fault }) => fault)).toEqual([
    {
      ...{ code: 'bad_client_name', client: MASTER },
      message: 'no client of a file may have this name',
    },
    { code: 'no_active_key', client: 'empty', message: 'it has no key' },
    {
      ...{ code: 'too_many_generations', client: 'full' },
      message: 'it has 9 keys, and may have 8',
    },
    { code: 'key_of_another_client', client: 'thief', message: 'this key is one of master' },
    {
      ...{ code: 'key_is_tombstone', client: 'thief' },
      message: 'this key was cmd-1, and is revoked for good',
    },
    { code: 'key_of_another_client', client: 'twins', message: 'this key is one of twin' },
  ]);
  story.refused({ kind: 'fileClients', clients });
  expect(story.keyring).toBe(keyring);
});

it('a key does not move to another name: that is told where its client left the file', () => {
  const story = createMaster();
  read(story, inFile('ci', ['c1']), inFile('dev', ['d1']));
  const told = (clients: readonly FileClient[], rest?: ReadonlySet<string>) =>
    fileClientFaults(story.keyring, clients, rest).map(({ message }) => message);
  const [renamed, dev] = [inFile('ci2', ['c1']), inFile('dev', ['d1'])];
  const gone =
    'this key is one of ci, which stands in the file no more: a key does not move to another ' +
    'name, give ci2 a new one';
  expect(told([renamed, dev])).toEqual([gone]);
  expect(told([renamed], new Set(['ci', 'dev']))).toEqual(['this key is one of ci']);
  expect(told([renamed, dev, inFile('ci', ['c2'])])).toEqual(['this key is one of ci']);
  story.add('cmd');
  story.rotate('cmd', 'k1');
  expect(told([inFile('ci2', ['k1'])])).toEqual(['this key is one of cmd']);
});

it.each<[string, Partial<Client>]>([
  ['is disabled', { disabled: true }],
  ['is removed', { removed: true }],
])('no keyring has a client of the file that %s', (_words, changes) => {
  const story = createMaster();
  read(story, inFile('ci', ['c1', 'c2']));
  const client = { ...story.client('ci'), ...changes };
  const clients = new Map(story.keyring.clients).set('ci', client);
  expect(checkInvariants({ ...story.keyring, clients })).toBe(
    'client ci is of the clients file, and is disabled, is removed, or has a key that is not active',
  );
});

it('a change in steps is the change as a whole', () => {
  const client = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    models: fc.constantFrom<readonly string[]>([], ['mock']),
    second: fc.boolean(),
  });
  const file = fc.uniqueArray(client, { selector: ({ name }) => name });
  const clientsOf = (
    list: readonly { name: string; models: readonly string[]; second: boolean }[],
  ) =>
    list.map(({ name, models, second }) =>
      inFile(name, second ? [`${name}1`, `${name}2`] : [`${name}1`], { models }),
    );
  fc.assert(
    fc.property(file, file, fc.integer({ min: 1, max: 4 }), (before, after, most) => {
      const [whole, inSteps] = [createMaster(), createMaster()];
      for (const story of [whole, inSteps]) read(story, ...clientsOf(before));
      // A key that left the file never comes back.
      const wanted = clientsOf(after).map((each) => {
        const kept = whole.keyring.clients.get(each.name);
        return kept?.generations.length === 1 && each.digests.length === 2
          ? { ...each, digests: [...each.digests.slice(0, 1), digestOf(`${each.name}3`)] }
          : each;
      });
      const steps = fileClientSteps(inSteps.keyring, wanted, most);
      const told = steps.flatMap((step) => inSteps.do(step));
      expect([...told].sort(byText)).toEqual([...read(whole, ...wanted)].sort(byText));
      expect(inSteps.keyring.clients).toEqual(whole.keyring.clients);
      expect(inSteps.keyring.tombstones).toEqual(whole.keyring.tombstones);
      for (const { clients } of steps) expect(clients.length).toBeLessThanOrEqual(most);
    }),
  );
});

const byText = (one: unknown, other: unknown): number =>
  JSON.stringify(one) < JSON.stringify(other) ? -1 : 1;
