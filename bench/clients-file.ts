/**
 * What does a clients file of a thousand clients cost? The processor's time of a reload, the longest
 * turn of the serving thread meanwhile, both the least of some and the median, and the memory of
 * each client. The whole sidecar runs in this process, on Linux.
 * `node --expose-gc scripts/run-ts.js bench/clients-file.ts`.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { startApp } from '../src/app/app.ts';
import { systemClock } from '../src/clock.ts';
import { loadConfig, openDeclaredPlaces, openUpstreamKeyPlaces } from '../src/config/load.ts';
import { generateKey } from '../src/keyring/key.ts';
import { EMPTY_KEYRING } from '../src/keyring/keyring.ts';
import { snapshotOf } from '../src/keyring/snapshot.ts';
import { transition } from '../src/keyring/transition.ts';
import { createClientsReader } from '../src/store/clients-text.ts';
import { createLog } from '../src/telemetry/log.ts';
import { least, median } from './harness/report.ts';

const CLIENTS = 1000;
const ROUNDS = 15;

const digest = (): string => `sha256:${randomBytes(32).toString('hex')}`;
const entryOf = (nth: number): string => `  team-${nth}:
    keys: [${digest()}, ${digest()}]
    expires: 2027-03-01
    allow_from: [10.0.0.0/8]
    models: [gpt-4o*, mock]
    limits: {rpm: 60, parallel: 4, tokens_per_day: 2M, usd_per_day: 5, mode: refuse}
`;
const folder = join(tmpdir(), `clients-file-${process.pid}`);
const path = `${folder}.yaml`;
const entries = Array.from({ length: CLIENTS }, (_, nth) => entryOf(nth));
const write = (): void => writeFileSync(path, `clients:\n${entries.join('')}`);

/** Milliseconds that this thread has been on a processor. */
const onProcessor = (): number =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;

let ruled = 0;
const log = createLog({
  level: 'info',
  destination: {
    write(text) {
      if (text.includes('the clients file rules')) ruled += 1;
    },
  },
  clock: systemClock,
});

async function startSidecar() {
  const upstream = createServer((_, response) => response.end('{"data": []}')).listen(0);
  const places = {
    cwd: tmpdir(),
    env: {
      SIDECAR_UPSTREAM: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
      ...{ SIDECAR_UPSTREAM_KEY: generateKey(), LITELLM_MASTER_KEY: generateKey() },
      ...{ SIDECAR_STATE: folder, SIDECAR_CLIENTS: path, SIDECAR_HOST: '127.0.0.1' },
      ...{ SIDECAR_PORT: '0', SIDECAR_OPS_PORT: '0', SIDECAR_USAGE_KEEP: '0' },
      ...{ SIDECAR_DRAIN_DELAY: '0', SIDECAR_DRAIN: '200ms' },
    },
  };
  const loaded = loadConfig(places);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.mistakes));
  const { drain } = await startApp({
    config: loaded.config,
    settings: { ...loaded, load: () => loadConfig(places) },
    ...{ log, clock: systemClock, version: 'bench', nodeVersion: process.versions.node },
    ...{ places: openDeclaredPlaces(places), upstreamKeyPlaces: openUpstreamKeyPlaces(places) },
    usageProgram: new URL('file:///none'),
  });
  return async () => {
    await drain();
    upstream.close();
  };
}

/** Writes the file, and waits until it rules: what the whole process took, in milliseconds. */
async function cost(): Promise<number> {
  const [before, from] = [ruled, process.cpuUsage()];
  write();
  while (ruled === before) await setTimeout(5);
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

/** The same, and the longest turn of this thread meanwhile. */
async function longestTurn(): Promise<number> {
  const before = ruled;
  write();
  let longest = 0;
  for (let last = onProcessor(); ruled === before; ) {
    await setImmediate();
    longest = Math.max(longest, onProcessor() - last);
    last = onProcessor();
  }
  return longest;
}

async function report(what: string, change: (nth: number) => void, rounds: number): Promise<void> {
  const [costs, turns]: number[][] = [[], []];
  for (let nth = 0; nth < 2 * rounds; nth += 1) {
    change(nth);
    if (nth % 2 === 0) costs?.push(await cost());
    else turns?.push(await longestTurn());
  }
  const figures = `${least(costs ?? []).toFixed(0)} ms, longest turn ${least(turns ?? []).toFixed(1)} ms`;
  const middle = `median ${median(costs ?? []).toFixed(0)} and ${median(turns ?? []).toFixed(1)}`;
  process.stdout.write(`${what.padEnd(30)} ${figures} (${middle})\n`);
}

async function heap(): Promise<number> {
  for (let nth = 0; nth < 4; nth += 1) {
    globalThis.gc?.();
    await setTimeout(30);
  }
  return process.memoryUsage().heapUsed;
}

/** Bytes that a reader, a keyring and a snapshot keep of each client. */
async function memory(): Promise<number> {
  const read = createClientsReader();
  const keep = async (text: string) => {
    const { clients } = await read(text);
    const done = transition(EMPTY_KEYRING, { kind: 'fileClients', clients }, 1);
    if (!done.ok) throw new Error(done.fault.message);
    return { keyring: done.keyring, snapshot: snapshotOf(done.keyring) };
  };
  // The first time what is compiled takes memory, too.
  for (let nth = 0; nth < 3; nth += 1) await keep(`clients:\n${entries.join('')}`);
  await keep(`clients:\n${entryOf(0)}`);
  const text = `clients:\n${entries.join('')}`;
  const before = await heap();
  const kept = await keep(text);
  const after = await heap();
  if (kept.keyring.clients.size !== CLIENTS) throw new Error('there are fewer');
  return (after - before) / CLIENTS;
}

process.stdout.write(`memory of a client: ${(await memory()).toFixed(0)} B\n`);
write();
const stop = await startSidecar();
await report('one of a thousand changed', (nth) => entries.splice(nth, 1, entryOf(nth)), ROUNDS);
const renew = () => entries.splice(0, CLIENTS, ...entries.map((_, nth) => entryOf(nth)));
await report('all of a thousand changed', renew, 3);
await stop();
rmSync(folder, { recursive: true });
rmSync(path);
