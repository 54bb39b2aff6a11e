import { expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { type Command, KEYRING_ERRORS, type KeyringFault } from '../../src/keyring/command.ts';
import { digestOf } from '../../src/keyring/key.ts';
import { transition } from '../../src/keyring/transition.ts';
import { adding, createMaster, DAY, type Story, staging } from './story.ts';

const verb = (kind: 'rollback' | 'disable' | 'enable' | 'remove', client: string): Command => ({
  kind,
  client,
});
const revoke = (generation: string): Command => ({ kind: 'revoke', generation, compromised: true });

/** A keyring with everything in it, and digests in places where only names should be. */
function createAll(): Story {
  const story = createMaster();
  story.rotate(MASTER, 'm2', { compromised: true });
  for (const client of ['old', 'off', 'busy', 'full', 'ends']) {
    story.add(client, client === 'ends' ? { expiresAt: story.now + DAY } : {});
    story.rotate(client, `${client} 1`);
  }
  story.rotate('old', 'old 2');
  story.do(verb('disable', 'off'));
  story.do(staging('busy', 'busy 2'));
  for (let number = 2; number <= 8; number++) story.rotate('full', `full ${number}`);
  story.add('bare');
  const rights = { scopes: ['inference' as const], allowFrom: [], expiresAt: undefined };
  const free = { namesEndUsers: false, limits: undefined, models: [] };
  const filed = { name: 'filed', digests: [digestOf('filed 1')], ...rights, ...free };
  story.do({ kind: 'fileClients', clients: [filed] });
  story.now += DAY;
  return story;
}

const COMMANDS: readonly Command[] = [
  ...[digestOf('m1'), 'sk-a8fj3k2l9sdf', 'stagin'].flatMap((odd): Command[] => [
    ...[staging(odd, 'new'), verb('remove', odd), revoke(odd), revoke(`${odd}-1`)],
    ...[
      adding(odd, { scopes: [odd as never] }),
      { kind: 'firstUse' as const, client: odd, number: 1 },
    ],
  ]),
  ...[adding(MASTER), adding('ci', { scopes: [] }), adding('ci', { expiresAt: 1 })],
  { kind: 'setClient', client: 'old', changes: { limits: { mode: 'record' } } },
  { kind: 'setClient', client: MASTER, changes: { expiresAt: 9e15 } },
  ...[adding('-'), staging('ends', 'new'), staging(MASTER, 'new', { graceMs: -1 })],
  ...[
    verb('disable', 'off'),
    verb('enable', 'old'),
    verb('remove', MASTER),
    verb('enable', 'bare'),
  ],
  ...[staging('full', 'new'), staging('busy', 'new'), { kind: 'unstage', client: 'old' } as const],
  ...[staging(MASTER, 'm2'), staging('old', 'old 1'), staging(MASTER, 'm1')],
  ...[staging(MASTER, 'busy 2'), staging('old', 'off 1'), revoke('master-1'), revoke('master-9')],
  ...[verb('disable', 'filed'), adding('filed'), revoke('filed-1'), staging('filed', 'new')],
  ...[verb('rollback', MASTER), verb('rollback', 'ends'), verb('rollback', 'off')],
  { kind: 'rollback', client: MASTER, from: 'sk-a8fj3k2l9sdf' },
];

const faults = (): KeyringFault[] => {
  const { keyring, now } = createAll();
  return COMMANDS.map((command) => {
    const done = transition(keyring, command, now);
    if (done.ok) throw new Error(`carried out: ${JSON.stringify(command)}`);
    return done.fault;
  });
};

it('every fault there is has a message of its own', () => {
  const codes = new Set(faults().map(({ code }) => code));
  expect([...codes].sort()).toEqual([...KEYRING_ERRORS].sort());
});

it('no fault says a digest, or what may be a key', () => {
  const { clients, tombstones } = createAll().keyring;
  const valid = [...clients.values()].flatMap((client) =>
    [...client.generations, ...(client.staged ? [client.staged] : [])].map(({ digest }) => digest),
  );
  const digests = [...valid, ...tombstones.keys()];
  expect(digests.length).toBeGreaterThan(15);
  const said = JSON.stringify(faults());
  for (const digest of [...digests, digestOf('new'), 'sk-a8fj3k2l9sdf']) {
    expect(said).not.toContain(digest);
  }
  expect(said).not.toMatch(/[\w-]{40,}/);
});

it('every fault is in lower case, without a full stop', () => {
  for (const { message, hints } of faults()) {
    for (const line of [message, ...hints]) {
      expect(line).toMatch(/^(?:[a-z`]|SIDECAR_).*[^.\s]$/);
    }
  }
});
