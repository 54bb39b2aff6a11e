/**
 * What does admission cost? With one client of one key, and with 1,000 clients of 8 keys each, in
 * nanoseconds: a part of `npm run bench`, and `node scripts/run-ts.js bench/admission.ts` by itself.
 * Both are asked for as many different texts, each made anew as a socket would, so that the
 * difference is the keyring's alone.
 */
import { randomInt } from 'node:crypto';
import { digestOf, generateKey } from '../src/keyring/key.ts';
import { type Client, EMPTY_KEYRING, type Generation } from '../src/keyring/keyring.ts';
import { snapshotOf } from '../src/keyring/snapshot.ts';
import { createRouteTable } from '../src/litellm/routes.ts';
import { createBlockLists } from '../src/proxy/address.ts';
import { admit } from '../src/proxy/decide.ts';
import { least } from './harness/report.ts';

export interface AdmissionFigures {
  /** Nanoseconds with one key; the least of the rounds. */
  readonly one: number;
  /** With 8,000. */
  readonly many: number;
}

const [CLIENTS, GENERATIONS, ROUNDS, REQUESTS] = [1000, 8, 30, 50_000];

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const route = classify('/v1/chat/completions');
const request = { route, preflight: false, address: '10.1.2.3' };

/** What admits `REQUESTS` keys, each the newest of a client; it returns nanoseconds for one. */
function prepare(clients: number, generations: number): () => number {
  const asked: string[] = [];
  const createdAt = Date.now();
  const latestEnd = createdAt + 86_400_000;
  const generation = (number: number): Generation => {
    const key = generateKey();
    const isNewest = number === generations;
    // What has an end costs a look at the clock, whoever's it is.
    if (isNewest) asked.push(key);
    const retirement = {
      rotatedAt: createdAt,
      graceMs: 86_400_000,
      latestEnd,
      deadline: undefined,
    };
    return {
      ...{ number, digest: digestOf(key), origin: 'made', createdAt, publishedAt: createdAt },
      ...{ state: isNewest ? 'active' : 'retiring', afterCompromise: false },
      retirement: isNewest ? undefined : retirement,
    };
  };
  const client = (name: string): Client => ({
    ...{ name, scopes: ['inference'], allowFrom: [], createdAt, expiresAt: undefined },
    ...{
      disabled: false,
      disabledByHand: false,
      removed: false,
      staged: undefined,
      idempotency: undefined,
    },
    lastNumber: generations,
    generations: Array.from({ length: generations }, (_, at) => generation(at + 1)),
  });
  const names = Array.from({ length: clients }, (_, at) => `client-${at}`);
  const all = new Map(names.map((name) => [name, client(name)]));
  const keyring = snapshotOf({ ...EMPTY_KEYRING, clients: all });
  const places = { mayComeFrom: createBlockLists(), mayManageFrom: () => true };
  const rules = { keyring, now: Date.now, ...places };
  const order = Array.from({ length: REQUESTS }, () => asked[randomInt(asked.length)] ?? '');
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
const figures: AdmissionFigures = {
  one: least(rounds.map((round) => round.one)),
  many: least(rounds.map((round) => round.many)),
};
if (process.send === undefined) console.log(figures);
else process.send(figures, () => process.disconnect());
