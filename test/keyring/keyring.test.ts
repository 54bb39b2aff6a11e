import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isClientName, MASTER } from '../../src/client-name.ts';
import { checkInvariants } from '../../src/keyring/invariants.ts';
import {
  activeOf,
  type Client,
  createTombstones,
  type Generation,
  idOf,
  isValid,
  type Keyring,
  MOST_VALID,
  readId,
  replacedIn,
  validIn,
} from '../../src/keyring/keyring.ts';
import { createMaster, DAY, HOUR, type Story } from './story.ts';

describe('the id of a generation', () => {
  it('is read as it is written', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/).filter(isClientName);
    fc.assert(
      fc.property(name, fc.integer({ min: 1 }), (client, number) => {
        expect(readId(idOf(client, number))).toEqual({ client, number });
      }),
    );
  });

  it.each(['', 'master', 'master-', 'master-0', 'master-01', 'master--1', 'master-1 ', '-1'])(
    'is not %j',
    (id) => {
      expect(readId(id)).toBeUndefined();
    },
  );
});

/** What can happen to a row, where it can. */
const CHANGES: Record<string, (story: Story, at: number) => void> = {
  rotate(story, at) {
    const { generations } = story.client(MASTER);
    if (generations.filter(isValid).length < MOST_VALID) story.rotate(MASTER, `k${at}`);
  },
  handOver(story) {
    const number = story.client(MASTER).generations.at(-1)?.number ?? 0;
    story.do({ kind: 'firstUse', client: MASTER, number });
  },
  revoke(story) {
    const oldest = story.client(MASTER).generations.find(({ state }) => state === 'retiring');
    if (oldest === undefined) return;
    story.do({ kind: 'revoke', generation: `master-${oldest.number}`, compromised: false });
  },
  rollback(story) {
    if (!story.states(MASTER).includes('retiring')) return;
    story.do({ kind: 'rollback', client: MASTER });
  },
  day(story) {
    story.now += DAY + 1;
    story.do({ kind: 'pass' });
  },
};

describe('the valid generations of a row', () => {
  it('are those that a look at each of them finds, however the row came to be', () => {
    const change = fc.constantFrom(...Object.values(CHANGES));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const story = createMaster();
        for (const [at, change] of changes.entries()) {
          change(story, at);
          const client = story.client(MASTER);
          expect(validIn(client.generations)).toEqual(client.generations.filter(isValid));
          expect(activeOf(client)).toBe(client.generations.find(({ state }) => state === 'active'));
        }
      }),
    );
  });

  it('are none in an empty row', () => {
    expect(validIn([])).toEqual([]);
  });
});

describe('a row with others in the place of some', () => {
  it('has them where those were, and is another row', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3');
    const row = story.client(MASTER).generations;
    const [first, second, third] = row as [Generation, Generation, Generation];
    const other = { ...second };
    const next = replacedIn(row, [[second, other]]);
    expect(next).toHaveLength(3);
    expect(next.map((each, at) => [each === row[at], each === other])).toEqual([
      [true, false],
      [false, true],
      [true, false],
    ]);
    expect(row).toEqual([first, second, third]);
    expect(row[1]).toBe(second);
  });
});

/** Master whose generations 1 to `ended` are retired; the one after them is active. */
function createRow(ended: number): Story {
  const story = createMaster();
  for (let number = 2; number <= ended + 1; number += 1) {
    story.now += HOUR;
    story.rotate(MASTER, `m${number}`, { graceMs: 0 });
  }
  return story;
}

const rowOf = (story: Story): readonly Generation[] => story.client(MASTER).generations;

describe('the tombstones at the beginning of a row', () => {
  it('are not known before they were noted', () => {
    expect(createTombstones().countIn(rowOf(createRow(3)))).toBe(0);
  });

  it('are known afterwards, and what is valid is not among them', () => {
    const row = rowOf(createRow(3));
    const tombstones = createTombstones();
    tombstones.note(row);
    expect(row).toHaveLength(4);
    expect(tombstones.countIn(row)).toBe(3);
  });

  it('end where a valid one stands between them', () => {
    const story = createRow(2);
    story.rotate(MASTER, 'x4');
    story.rotate(MASTER, 'x5');
    story.do({ kind: 'revoke', generation: 'master-4', compromised: false });
    expect(story.states(MASTER)).toBe('retired retired retiring revoked active');
    const tombstones = createTombstones();
    tombstones.note(rowOf(story));
    expect(tombstones.countIn(rowOf(story))).toBe(2);
  });

  it('stay known while the row goes on behind them, and become more', () => {
    const story = createRow(2);
    const tombstones = createTombstones();
    tombstones.note(rowOf(story));
    story.rotate(MASTER, 'x4', { graceMs: 0 });
    expect(story.states(MASTER)).toBe('retired retired retired active');
    expect(tombstones.countIn(rowOf(story))).toBe(2);
    tombstones.note(rowOf(story));
    expect(tombstones.countIn(rowOf(story))).toBe(3);
  });

  it('are not known any more where one of them is another object, or missing', () => {
    const row = rowOf(createRow(3));
    const tombstones = createTombstones();
    tombstones.note(row);
    expect(tombstones.countIn(row.map((each, at) => (at === 1 ? { ...each } : each)))).toBe(0);
    expect(tombstones.countIn(row.slice(1))).toBe(0);
    expect(tombstones.countIn(row.slice(0, 2))).toBe(0);
    expect(tombstones.countIn(row)).toBe(3);
  });

  it('are not known at an instant before the one they were noted at', () => {
    const row = rowOf(createRow(3));
    const tombstones = createTombstones();
    tombstones.note(row, 1000);
    expect(tombstones.countIn(row, 999)).toBe(0);
    expect(tombstones.countIn(row, 1000)).toBe(3);
  });

  it('are none in a row without any', () => {
    const tombstones = createTombstones();
    const row = rowOf(createMaster());
    tombstones.note(row);
    expect(tombstones.countIn(row)).toBe(0);
    tombstones.note([]);
    expect(tombstones.countIn([])).toBe(0);
  });
});

describe('a keyring that was found sound', () => {
  const story = createRow(4);
  const { keyring } = story;
  const withRow = (generations: readonly Generation[]): Keyring => {
    const client: Client = { ...story.client(MASTER), generations };
    return { ...keyring, clients: new Map(keyring.clients).set(MASTER, client) };
  };
  const put = (number: number, changes: Partial<Generation>): Keyring =>
    withRow(rowOf(story).map((each) => (each.number === number ? { ...each, ...changes } : each)));

  it('is looked at again where one of its tombstones is another', () => {
    expect(checkInvariants(keyring)).toBeUndefined();
    expect(checkInvariants(put(1, { endedAt: undefined }))).toBe(
      'master-1 has ended, and the date of its end is missing',
    );
    expect(checkInvariants(put(2, { number: 1 }))).toBe(
      'client master has numbers that are not in order',
    );
    expect(checkInvariants(keyring)).toBeUndefined();
  });

  it('is looked at again where it is said to be older than what is in it', () => {
    expect(checkInvariants(keyring)).toBeUndefined();
    const broken = 'client master has a date after the last change of the keyring';
    expect(checkInvariants({ ...keyring, changedAt: keyring.changedAt - HOUR })).toBe(broken);
    // The same where it is the first of them that ended last, and its client is another object.
    const changedAt = keyring.changedAt + HOUR;
    const late = { ...put(1, { endedAt: changedAt }), changedAt };
    expect(checkInvariants(late)).toBeUndefined();
    const client = late.clients.get(MASTER);
    if (client === undefined) throw new Error('no master');
    const clients = new Map(late.clients).set(MASTER, { ...client });
    expect(checkInvariants({ ...late, clients, changedAt: keyring.changedAt })).toBe(broken);
  });

  it('is held to the order between its tombstones and what follows them', () => {
    expect(checkInvariants(keyring)).toBeUndefined();
    expect(checkInvariants(put(5, { number: 4 }))).toBe(
      'client master has numbers that are not in order',
    );
  });
});
