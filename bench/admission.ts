/**
 * What does admission cost? With one client of one key, and with 1,000 clients of 8 keys each, in
 * nanoseconds: a part of `npm run bench`, and `node scripts/run-ts.js bench/admission.ts` by itself.
 * Both are asked for as many different texts, each made anew as a socket would, so that the
 * difference is the keyring's alone.
 */
import { randomInt } from 'node:crypto';
import type { Command } from '../src/keyring/command.ts';
import { digestOf, generateKey } from '../src/keyring/key.ts';
import { EMPTY_KEYRING } from '../src/keyring/keyring.ts';
import { snapshotOf } from '../src/keyring/snapshot.ts';
import { transition } from '../src/keyring/transition.ts';
import { createRouteTable } from '../src/litellm/routes.ts';
import { createBlockLists } from '../src/proxy/address.ts';
import { admit } from '../src/proxy/decide.ts';
import { least } from './harness/report.ts';

/** Nanoseconds, the least of the rounds: with one key, and with 8,000. */
export type AdmissionFigures = typeof figures;

const [CLIENTS, GENERATIONS, ROUNDS, REQUESTS] = [1000, 8, 30, 50_000];

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const route = classify('POST', '/v1/chat/completions');
const request = { route, preflight: false, address: '10.1.2.3' };

/** A keyring as rotations make it, and the newest key of each client. */
function makeKeys(clients: number, generations: number) {
  const now = Date.now();
  let keyring = EMPTY_KEYRING;
  const carryOut = (command: Command) => {
    const done = transition(keyring, command, now);
    if (!done.ok) throw new Error(`${command.kind}: ${JSON.stringify(done)}`);
    keyring = done.keyring;
  };
  const open = { namesEndUsers: false, limits: undefined, models: [] } as const;
  const none = { source: undefined, compromised: false, idempotency: undefined };
  const graces = { graceMs: 86_400_000, maxGraceMs: 86_400_000 };
  const newest = Array.from({ length: clients }, (_, at) => {
    const client = `client-${at}`;
    const about = { scopes: ['inference'], allowFrom: [], expiresAt: undefined } as const;
    carryOut({ kind: 'addClient', client, ...open, ...about });
    const keys = Array.from({ length: generations }, generateKey);
    for (const key of keys) {
      const digest = digestOf(key);
      carryOut({ kind: 'stage', client, digest, origin: 'made', ...none, ...graces });
      carryOut({ kind: 'commit', client, published: true });
    }
    return keys.at(-1) ?? '';
  });
  return { keyring: snapshotOf(keyring), newest };
}

/** What admits `REQUESTS` keys, each the newest of a client; it returns nanoseconds for one. */
function prepare(clients: number, generations: number): () => number {
  // What has an end costs a look at the clock, whoever's it is: so no older key is asked for.
  const { keyring, newest } = makeKeys(clients, generations);
  const places = { mayComeFrom: createBlockLists(), mayManageFrom: () => true };
  const rules = { keyring, now: Date.now, ...places };
  const order = Array.from({ length: REQUESTS }, () => newest[randomInt(newest.length)] ?? '');
  return () => {
    const credentials = order.map((key) => ({
      carrier: 'authorization' as const,
      key: Buffer.from(key, 'latin1').toString('latin1'),
    }));
    const from = process.hrtime.bigint();
    const refused = credentials.filter((each) => 'refusal' in admit(request, each, rules));
    const ns = Number(process.hrtime.bigint() - from) / REQUESTS;
    if (refused.length > 0) throw new Error(`${refused.length} requests were refused`);
    return ns;
  };
}

const [one, many] = [prepare(1, 1), prepare(CLIENTS, GENERATIONS)];
// In turn: what the machine does meanwhile meets both.
const rounds = Array.from({ length: ROUNDS }, () => ({ one: one(), many: many() }));
const figures = {
  one: least(rounds.map((round) => round.one)),
  many: least(rounds.map((round) => round.many)),
};
if (process.send === undefined) console.log(figures);
else process.send(figures, () => process.disconnect());
