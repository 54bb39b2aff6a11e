import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { digestOf } from '../../src/keyring/key.ts';
import type { Client, Generation, Keyring, Tombstone } from '../../src/keyring/keyring.ts';
import { checkHistory } from './history.ts';
import { createMaster, createStory, HOUR, type Story, staging } from './story.ts';

const changedMaster = (
  { keyring }: Story,
  change: (client: Client) => Partial<Client>,
): Keyring => {
  const master = keyring.clients.get(MASTER);
  if (master === undefined) throw new Error('no master');
  const client = { ...master, ...change(master) };
  return { ...keyring, clients: new Map(keyring.clients).set(MASTER, client) };
};

const changed = (
  story: Story,
  number: number,
  change: (generation: Generation) => Partial<Generation>,
): Keyring =>
  changedMaster(story, ({ generations }) => ({
    generations: generations.map((each) =>
      each.number === number ? { ...each, ...change(each) } : each,
    ),
  }));

const withTombstone = (
  { keyring }: Story,
  key: string,
  change: Partial<Tombstone> | undefined,
): Keyring => {
  const tombstones = new Map(keyring.tombstones);
  const before = tombstones.get(digestOf(key));
  if (before === undefined) throw new Error(`${key} is no tombstone`);
  if (change === undefined) tombstones.delete(digestOf(key));
  else tombstones.set(digestOf(key), { ...before, ...change });
  return { ...keyring, tombstones };
};

/** master-1 retired, master-2 retiring with a deadline, master-3 active. */
function createPast(): Story {
  const story = createMaster();
  story.rotate(MASTER, 'm2', { graceMs: 0 });
  story.now += HOUR;
  story.rotate(MASTER, 'm3');
  story.do({ kind: 'firstUse', client: MASTER, number: 3 });
  return story;
}

describe('what may not happen between two keyrings', () => {
  const story = createPast();
  const { keyring } = story;
  const broken = (after: Keyring): string | undefined => checkHistory(keyring, after);

  const retirement = (change: Partial<NonNullable<Generation['retirement']>>): string | undefined =>
    broken(
      changed(story, 2, ({ retirement: before }) => {
        if (before === undefined) throw new Error('it does not retire');
        return { retirement: { ...before, ...change } };
      }),
    );

  it('that time goes back', () => {
    expect(broken({ ...keyring, changedAt: 1 })).toBe('the time went back');
  });

  it('that a client goes, or a tombstone', () => {
    expect(broken({ ...keyring, clients: new Map() })).toBe('master-2 is gone');
    expect(broken(withTombstone(story, 'm1', undefined))).toBe('master-1 is gone');
    const cut = changedMaster(story, (each) => ({ generations: each.generations.slice(1) }));
    expect(broken(cut)).toBe('master-2 is gone');
    const short = changedMaster(story, (each) => ({ generations: each.generations.slice(0, 1) }));
    expect(broken(short)).toBe('master-3 is gone');
  });

  it('that a key is another', () => {
    const after = changed(story, 3, () => ({ digest: digestOf('x') }));
    expect(broken(after)).toBe('master-3 is another key than before');
  });

  it('that the past of a key changes', () => {
    const past = 'master-3 has another past than before';
    expect(broken(changed(story, 3, () => ({ createdAt: 1 })))).toBe(past);
    expect(broken(changed(story, 3, () => ({ origin: 'declared' })))).toBe(past);
    expect(broken(changed(story, 3, () => ({ afterCompromise: true })))).toBe(past);
  });

  it('that a tombstone changes, above all that it opens something again', () => {
    const said = 'master-1 had ended and is changed';
    const { generations } = story.client(MASTER);
    const [second] = generations;
    if (second === undefined) throw new Error('it retires');
    const again = { ...second, number: 1, digest: digestOf('m1') };
    const opened = changedMaster(story, () => ({ generations: [again, ...generations] }));
    expect(broken(opened)).toBe(said);
    expect(broken(withTombstone(story, 'm1', { state: 'revoked' }))).toBe(said);
    expect(broken(withTombstone(story, 'm1', { endedAt: 1 }))).toBe(said);
    // A store that wrote and read it makes a new object of it.
    expect(broken(withTombstone(story, 'm1', {}))).toBeUndefined();
  });

  it('that a tombstone comes before those that there were', () => {
    const tombstones = new Map([[digestOf('x'), story.tombstone('master-1')]]);
    const after = { ...keyring, tombstones: new Map([...tombstones, ...keyring.tombstones]) };
    expect(broken(after)).toBe('the tombstones of before are not the first ones');
  });

  it('that a key ends and its clock is forgotten', () => {
    const after = createPast();
    after.do({ kind: 'revoke', generation: 'master-2', compromised: false });
    expect(broken(after.keyring)).toBeUndefined();
    expect(broken(withTombstone(after, 'm2', { clockStarted: false }))).toBe(
      'master-2 had a deadline, which was forgotten',
    );
  });

  it('that a publication is forgotten', () => {
    const said = 'master-3 was published, and now it was not, or at another time';
    expect(broken(changed(story, 3, () => ({ publishedAt: undefined })))).toBe(said);
    expect(broken(changed(story, 3, () => ({ publishedAt: 1 })))).toBe(said);
  });

  it('that a promise is broken', () => {
    const said = 'master-2 retires by another promise than before';
    expect(retirement({ rotatedAt: 1 })).toBe(said);
    expect(retirement({ graceMs: 1 })).toBe(said);
    expect(retirement({ latestEnd: 1 })).toBe(said);
    expect(broken(changed(story, 2, () => ({ retirement: undefined })))).toBe(said);
  });

  it('that a deadline moves', () => {
    const said = 'master-2 had a deadline, which moved';
    expect(retirement({ deadline: undefined })).toBe(said);
    expect(retirement({ deadline: 1 })).toBe(said);
  });

  it('that a key comes from nowhere, or is not the one that was staged', () => {
    const one = createMaster();
    const said = 'master-2 was never staged';
    const two = createMaster();
    two.rotate(MASTER, 'm2');
    expect(checkHistory(one.keyring, two.keyring)).toBe(said);
    one.do(staging(MASTER, 'other'));
    expect(checkHistory(one.keyring, two.keyring)).toBe(said);
  });

  it('that the audit becomes shorter', () => {
    const longer = { ...keyring, audit: { count: 2, head: 'x', pending: [] } };
    expect(checkHistory(longer, keyring)).toBe('the audit became shorter');
  });
});

describe('what may happen', () => {
  it('is that a deadline goes with a rollback', () => {
    const story = createPast();
    const before = story.keyring;
    story.do({ kind: 'rollback', client: MASTER });
    expect(checkHistory(before, story.keyring)).toBeUndefined();
  });

  it('is that a client goes that never had a key', () => {
    const story = createStory();
    story.add('ci');
    const before = story.keyring;
    story.do({ kind: 'remove', client: 'ci' });
    expect(checkHistory(before, story.keyring)).toBeUndefined();
  });
});
