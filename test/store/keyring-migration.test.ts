import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { digestOf } from '../../src/keyring/key.ts';
import { findGeneration, type Keyring, type Tombstone } from '../../src/keyring/keyring.ts';
import { transition } from '../../src/keyring/transition.ts';
import { verifyAudit } from '../../src/store/audit-reader.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { decodeKeyring, encodeKeyring } from '../../src/store/keyring-format.ts';
import { seal } from '../../src/store/sealed.ts';
import { checkHistory } from '../keyring/history.ts';
import { staging } from '../keyring/story.ts';
import { eachInFolder } from '../support/folder.ts';
import { anyKeyring, clientOf, keyringOf, tombstoneOf } from '../support/keyrings.ts';

const folder = eachInFolder('keyring-migration');

/** What a sidecar of format 1 wrote. */
const oldFile = (name: string): URL => new URL(`format-1-${name}.txt`, import.meta.url);
const OLD = await readFile(oldFile('keyring'));

function decoded(bytes: string | Buffer): Keyring {
  const read = decodeKeyring(Buffer.from(bytes));
  if (!read.ok) throw new Error(read.reason);
  return read.stored.keyring;
}

/** A keyring as format 1 had it: what ended stands among the other generations of a client. */
function inFormat1({ clients, tombstones, ...rest }: Keyring): Buffer {
  const rows = [...clients.values()].map(
    ({ lastNumber, disabledByHand, namesEndUsers, limits, models, inFile, ...client }) => {
      const ended = [...tombstones.values()].filter((each) => each.client === client.name);
      const row = [...client.generations, ...ended.map(oldGeneration)];
      return { ...client, generations: row.sort((one, other) => one.number - other.number) };
    },
  );
  const document = { format: 1, version: 7, keyring: { ...rest, clients: rows } };
  return Buffer.from(seal(JSON.stringify(document, null, 2).slice(0, -2)));
}

function oldGeneration({ client: _, clockStarted, ...rest }: Tombstone) {
  const rotatedAt = rest.createdAt + 1;
  const latestEnd = rotatedAt + 900;
  const deadline = clockStarted ? latestEnd : undefined;
  const retirement = { rotatedAt, graceMs: 500, latestEnd, deadline };
  const wasRetiring = clockStarted || rest.state === 'retired';
  return { ...rest, afterCompromise: false, retirement: wasRetiring ? retirement : undefined };
}

const anyTombstone = (each: Tombstone): fc.Arbitrary<Tombstone> =>
  fc
    .record({
      state: fc.constantFrom('retired' as const, 'revoked' as const),
      publishedAt: fc.constantFrom(undefined, each.createdAt),
      clockStarted: fc.boolean(),
    })
    .map((over) => ({ ...each, ...over }));

const anyWithTombstones: fc.Arbitrary<Keyring> = anyKeyring.chain((keyring) =>
  fc
    .tuple(...[...keyring.tombstones.values()].map(anyTombstone))
    .map((list) => ({ ...keyring, tombstones: new Map(list.map((each) => [each.digest, each])) })),
);

const ROTATION = [
  { kind: 'unstage', client: MASTER },
  staging(MASTER, 'new', { compromised: true }),
  { kind: 'commit', client: MASTER, published: true },
] as const;

describe('a keyring of format 1', () => {
  it('is read with every key that is valid, is staged or has ended', () => {
    const keyring = decoded(OLD);
    const client = (name: string) => keyring.clients.get(name);
    const states = (name: string) =>
      Array.from({ length: client(name)?.lastNumber ?? 0 }, (_, at) => {
        return findGeneration(keyring, name, at + 1)?.state;
      });
    expect(states(MASTER)).toEqual(['retired', 'retired', 'retiring', 'active']);
    expect(states('ci')).toEqual(['revoked', 'active']);
    expect([states('gone'), states('shut')]).toEqual([['revoked'], ['active']]);
    const ended = ['m1', 'm2', 'c1', 'g1'].map((key) => keyring.tombstones.get(digestOf(key)));
    expect(ended).toMatchObject([
      { client: MASTER, number: 1, origin: 'declared', clockStarted: true },
      { client: MASTER, number: 2, origin: 'made', clockStarted: false },
      { client: 'ci', number: 1 },
      { client: 'gone', number: 1 },
    ]);
    expect([...keyring.tombstones.values()]).toEqual(ended);
    expect(client('ci')).toMatchObject({
      allowFrom: ['10.0.0.0/8'],
      generations: [{ number: 2, digest: digestOf('c2'), afterCompromise: true }],
      staged: { number: 3, digest: digestOf('c3'), idempotency: { digest: digestOf('twice') } },
    });
    expect([client('gone')?.removed, client('shut')?.disabled]).toEqual([true, true]);
    expect(keyring.declared).toEqual({ dotenv: digestOf('m1') });
  });

  it('has the same keys, clients and tombstones in format 2, whatever changes there', () => {
    fc.assert(
      fc.property(anyWithTombstones, (keyring) => {
        let now = decoded(inFormat1(keyring));
        expect(now).toStrictEqual(keyring);
        for (const command of ROTATION) {
          const done = transition(now, command, keyring.changedAt + 1);
          const next = done.ok ? done.keyring : now;
          const again = decoded(encodeKeyring({ keyring: next, version: 8 }));
          expect(again).toStrictEqual(next);
          expect(checkHistory(now, again)).toBeUndefined();
          now = again;
        }
      }),
      { numRuns: 200 },
    );
  });

  it('with an ended key that stands twice, or has no date of its end, is damaged', () => {
    const faultOf = (...ended: readonly Tombstone[]) => {
      const tombstones = new Map(ended.map((each, at) => [`${at}`, each]));
      return decodeKeyring(inFormat1(keyringOf([clientOf(MASTER, 4)], { tombstones })));
    };
    const one = tombstoneOf(MASTER, 1);
    expect(faultOf(one)).toMatchObject({ ok: true });
    expect(faultOf(one, { ...one, number: 2 })).toMatchObject({
      ...{ ok: false, reason: 'two of its tombstones are the same key' },
    });
    expect(faultOf({ ...one, endedAt: undefined as never })).toMatchObject({
      ...{ ok: false, reason: expect.stringContaining('master-1 has a date that is not') },
    });
  });

  it('stays in its file, byte for byte, until the first change, and in the backup after it', async () => {
    const path = join(folder(), 'keyring.json');
    await copyFile(oldFile('keyring'), path);
    await copyFile(oldFile('audit'), join(folder(), 'audit.jsonl'));
    const store = createFileStore({ folder: folder() });
    const stored = await store.load();
    if (stored === undefined) throw new Error('nothing is stored');
    await store.saveUsage(new Map());
    expect(await readFile(path)).toEqual(OLD);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 19 });
    const { keyring, version } = stored;
    const next = { ...keyring, changedAt: keyring.changedAt + 1 };
    expect(await store.save(next, version)).toBe(version + 1);
    expect(await readFile(`${path}.bak`)).toEqual(OLD);
    const again = await createFileStore({ folder: folder() }).load();
    expect(again).toStrictEqual({ keyring: next, version: version + 1 });
    expect(store.warnings).toEqual([]);
  });
});
