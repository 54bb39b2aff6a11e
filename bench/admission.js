/**
 * What admission costs with one client of one key, and with 1,000 clients of 8 keys each:
 * `npm run build`, then `node bench/admission.js`. Both are asked for as many different texts, each
 * made anew as a socket would, so that the difference is the keyring's alone.
 */
import { randomInt } from 'node:crypto';
import { digestOf, generateKey } from '../dist/keyring/key.js';
import { EMPTY_KEYRING } from '../dist/keyring/keyring.js';
import { createSnapshots } from '../dist/keyring/snapshot.js';
import { createRouteTable } from '../dist/litellm/routes.js';
import { createBlockLists } from '../dist/proxy/address.js';
import { admit } from '../dist/proxy/decide.js';

const CLIENTS = 1000;
const GENERATIONS = 8;
const ROUNDS = 15;
const REQUESTS = 200_000;
/** The most that the large keyring may cost more. */
const ALLOWED_NS = 100;

const DAY_MS = 86_400_000;
const RETIREMENT = {
  ...{ rotatedAt: Date.now(), graceMs: DAY_MS },
  ...{ latestEnd: Date.now() + DAY_MS, deadline: undefined },
};

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const request = {
  route: classify('/v1/chat/completions'),
  preflight: false,
  address: '10.1.2.3',
};

/** @param {number} clients @param {number} generations */
function keyringOf(clients, generations) {
  /** @type {string[]} */
  const asked = [];
  const createdAt = Date.now();
  const client = (/** @type {string} */ name) => ({
    ...{ name, scopes: ['inference'], allowFrom: [], createdAt, expiresAt: undefined },
    ...{ disabled: false, removed: false, staged: undefined, idempotency: undefined },
    generations: Array.from({ length: generations }, (_, at) => generation(at + 1)),
  });
  const generation = (/** @type {number} */ number) => {
    const key = generateKey();
    const isNewest = number === generations;
    // What has an end costs a look at the clock, whoever's it is.
    if (isNewest) asked.push(key);
    return {
      ...{ number, digest: digestOf(key), origin: 'made', createdAt, publishedAt: createdAt },
      ...{ state: isNewest ? 'active' : 'retiring', afterCompromise: false, endedAt: undefined },
      retirement: isNewest ? undefined : RETIREMENT,
    };
  };
  const named = Array.from({ length: clients }, (_, at) => `client-${at}`);
  const keyring = {
    ...EMPTY_KEYRING,
    clients: new Map(named.map((name) => [name, client(name)])),
  };
  return { snapshot: createSnapshots()(keyring), asked };
}

/** @param {ReturnType<typeof keyringOf>} keyring */
function prepare({ snapshot, asked }) {
  const rules = {
    keyring: snapshot,
    now: Date.now,
    mayComeFrom: createBlockLists(),
    mayManageFrom: () => true,
  };
  const order = Array.from({ length: REQUESTS }, () => asked[randomInt(asked.length)] ?? '');
  return () => {
    const credentials = order.map((key) => ({
      carrier: 'authorization',
      key: Buffer.from(key, 'latin1').toString('latin1'),
    }));
    const startedAt = process.hrtime.bigint();
    let admitted = 0;
    for (const credential of credentials) {
      if (!('refusal' in admit(request, credential, rules))) admitted += 1;
    }
    const ns = Number(process.hrtime.bigint() - startedAt) / REQUESTS;
    if (admitted !== REQUESTS) throw new Error(`${REQUESTS - admitted} requests were refused`);
    return ns;
  };
}

/** @param {readonly number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const one = prepare(keyringOf(1, 1));
const many = prepare(keyringOf(CLIENTS, GENERATIONS));
for (let warm = 0; warm < 3; warm += 1) {
  one();
  many();
}
/** @type {number[]} */
const ofOne = [];
/** @type {number[]} */
const ofMany = [];
for (let round = 0; round < ROUNDS; round += 1) {
  // The order alternates: what the machine does meanwhile meets both.
  if (round % 2 === 0) ofOne.push(one());
  ofMany.push(many());
  if (round % 2 === 1) ofOne.push(one());
}
const more = median(ofMany.map((ns, round) => ns - (ofOne[round] ?? Number.NaN)));
const line = (/** @type {string} */ what, /** @type {number} */ ns) =>
  process.stdout.write(`${what.padEnd(38)}${ns.toFixed(0).padStart(6)} ns\n`);
line('1 client, 1 generation', median(ofOne));
line(`${CLIENTS} clients, ${GENERATIONS} generations each`, median(ofMany));
line(`difference (at most ${ALLOWED_NS})`, more);
process.exitCode = more <= ALLOWED_NS ? 0 : 1;
