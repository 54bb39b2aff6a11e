import { isClientName, MASTER } from '../client-name.ts';
import { changesBetween, withRights } from './clients.ts';
import {
  type Command,
  generationOf,
  type KeyringErrorCode,
  type KeyringEvent,
  refuse,
  type Transition,
  tombstoneOf,
  unchanged,
} from './command.ts';
import {
  type Client,
  type FileClient,
  type Generation,
  idOf,
  type Keyring,
  MOST_VALID,
  type Tombstone,
} from './keyring.ts';

/** Why a client cannot be as the file has it. */
export interface FileClientFault {
  readonly code: KeyringErrorCode;
  readonly client: string;
  /** The key that is at fault; undefined: it is the client itself. */
  readonly digest: string | undefined;
  /** Without the digest. */
  readonly message: string;
}

/**
 * Makes the clients of the file as it says. It alone rules them: one that was made by command is
 * the file's from then on, and its keys that the file has not are revoked; one that the file had
 * and has no more is removed. What is under way with a key that ends is not cut: to leave the file
 * is how each rotation of a file's key ends. Nothing is carried out where one client is at fault.
 */
export function fileClients(
  keyring: Keyring,
  { clients: wanted, rest }: FileClientsCommand,
  now: number,
): Transition {
  const [fault] = fileClientFaults(keyring, wanted, rest);
  if (fault !== undefined) {
    return refuse(fault.code, `client ${fault.client} of the clients file: ${fault.message}`);
  }
  const names = new Set(wanted.map(({ name }) => name));
  const clients = new Map(keyring.clients);
  const ended: Tombstone[] = [];
  const events: KeyringEvent[] = [];
  const put = (made: Made): void => {
    clients.set(made.client.name, made.client);
    ended.push(...made.ended);
    events.push(...made.events);
  };
  for (const client of keyring.clients.values()) {
    const stays = names.has(client.name) || rest?.has(client.name) === true;
    if (client.inFile && !stays) put(without(client, now));
  }
  for (const each of wanted) {
    const before = keyring.clients.get(each.name);
    if (before === undefined || !isAsInFile(before, each)) put(asInFile(before, each, now));
  }
  if (events.length === 0) return unchanged(keyring);
  if (ended.length === 0) return { ok: true, keyring: { ...keyring, clients }, events };
  const tombstones = new Map(keyring.tombstones);
  for (const each of ended) tombstones.set(each.digest, each);
  return { ok: true, keyring: { ...keyring, clients, tombstones }, events };
}

/**
 * The same change in steps, each of so many clients at the most, so that one of a thousand clients
 * does not hold up the traffic: first those that go, then those that are not as the file has them.
 */
export function fileClientSteps(
  keyring: Keyring,
  wanted: readonly FileClient[],
  most: number,
): readonly FileClientsCommand[] {
  const names = wanted.map(({ name }) => name);
  const inFile = new Set(names);
  const gone = [...keyring.clients.values()]
    .filter((client) => client.inFile && !inFile.has(client.name))
    .map(({ name }) => name);
  const changes = wanted.filter((each) => {
    const before = keyring.clients.get(each.name);
    return before === undefined || !isAsInFile(before, each);
  });
  const steps: FileClientsCommand[] = [];
  for (let at = 0; at < gone.length; at += most) {
    const rest = new Set([...names, ...gone.slice(at + most)]);
    steps.push({ kind: 'fileClients', clients: [], rest });
  }
  for (let at = 0; at < changes.length; at += most) {
    const clients = changes.slice(at, at + most);
    steps.push({ kind: 'fileClients', clients, rest: inFile });
  }
  return steps;
}

type FileClientsCommand = Extract<Command, { kind: 'fileClients' }>;

/** A client after the change, what of it ended, and what is told. */
interface Made {
  readonly client: Client;
  readonly ended: readonly Tombstone[];
  readonly events: readonly KeyringEvent[];
}

/**
 * Everything that keeps these clients from being as the file has them.
 *
 * @param rest names of others that stand in the file, too
 */
export function fileClientFaults(
  keyring: Keyring,
  wanted: readonly FileClient[],
  rest?: ReadonlySet<string>,
): readonly FileClientFault[] {
  const holders = holdersOf(keyring);
  const names = new Set(wanted.map(({ name }) => name));
  const hasLeft = (holder: string): boolean =>
    keyring.clients.get(holder)?.inFile === true && !names.has(holder) && !rest?.has(holder);
  return wanted.flatMap((each) => {
    const { name: client, digests } = each;
    const keys = digests.flatMap((digest) => {
      const holder = holders.get(digest) ?? client;
      const fault = endedFault(keyring, digest) ?? holderFault(holder, client, hasLeft);
      if (fault === undefined) holders.set(digest, client);
      return fault === undefined ? [] : [{ ...fault, client, digest }];
    });
    const own = clientFault(each);
    return own === undefined ? keys : [{ ...own, client, digest: undefined }, ...keys];
  });
}

type Fault = Pick<FileClientFault, 'code' | 'message'>;

function clientFault({ name, digests: { length } }: FileClient): Fault | undefined {
  if (!isClientName(name) || name === MASTER) {
    return { code: 'bad_client_name', message: 'no client of a file may have this name' };
  }
  if (length === 0) return { code: 'no_active_key', message: 'it has no key' };
  if (length <= MOST_VALID) return undefined;
  const message = `it has ${length} keys, and may have ${MOST_VALID}`;
  return { code: 'too_many_generations', message };
}

function endedFault({ tombstones }: Keyring, digest: string): Fault | undefined {
  const ended = tombstones.get(digest);
  if (ended === undefined) return undefined;
  const id = idOf(ended.client, ended.number);
  return {
    code: 'key_is_tombstone',
    message: `this key was ${id}, and is ${ended.state} for good`,
  };
}

/** @param hasLeft whether a client that the file ruled stands there no more */
function holderFault(
  holder: string,
  client: string,
  hasLeft: (holder: string) => boolean,
): Fault | undefined {
  if (holder === client) return undefined;
  const advice = `a key does not move to another name, give ${client} a new one`;
  const more = hasLeft(holder) ? `, which stands in the file no more: ${advice}` : '';
  return { code: 'key_of_another_client', message: `this key is one of ${holder}${more}` };
}

/** Whose each key is that is valid, or about to be. */
function holdersOf({ clients }: Keyring): Map<string, string> {
  const holders = new Map<string, string>();
  for (const { name, generations, staged } of clients.values()) {
    for (const { digest } of generations) holders.set(digest, name);
    if (staged !== undefined) holders.set(staged.digest, name);
  }
  return holders;
}

function without(before: Client, now: number): Made {
  const { name, generations } = before;
  const shut = { disabled: true, disabledByHand: false, removed: true, inFile: false };
  const client = { ...before, ...shut, generations: [] };
  const events: KeyringEvent[] = [...generations.map(revokedOf(name))];
  events.push({ kind: 'clientRemoved', client: name });
  return {
    client,
    ended: generations.map((each) => tombstoneOf(name, each, 'revoked', now)),
    events,
  };
}

const revokedOf =
  (client: string) =>
  ({ number }: Generation): KeyringEvent => ({
    kind: 'revoked',
    client,
    generation: idOf(client, number),
    compromised: false,
  });

/** Whether nothing is to be done; asked of each client each time that the file changes. */
function isAsInFile(client: Client, { digests, ...rights }: FileClient): boolean {
  const { generations } = client;
  return (
    client.inFile &&
    generations.length === digests.length &&
    generations.every(({ digest }) => digests.includes(digest)) &&
    withRights(client, rights) === client
  );
}

function asInFile(before: Client | undefined, wanted: FileClient, now: number): Made {
  const { digests, ...rights } = wanted;
  const { name } = wanted;
  const was = before === undefined || before.removed ? undefined : before;
  const base = was ?? newClient(wanted, before?.lastNumber ?? 0, now);
  const staged = base.staged === undefined ? [] : [generationOf(base.staged, undefined)];
  const old = [...base.generations, ...staged];
  const kept = old
    .filter(({ digest }) => digests.includes(digest))
    .map((each): Generation => asActive(each, now));
  const over = old.filter(({ digest }) => !digests.includes(digest));
  const last = base.staged?.number ?? base.lastNumber;
  const fresh = digests
    .filter((digest) => !kept.some((each) => each.digest === digest))
    .map((digest, at) => keyOfFile(digest, last + 1 + at, now));
  const client: Client = {
    ...withRights(base, rights),
    ...{ inFile: true, disabled: false, disabledByHand: false },
    ...{ staged: undefined, idempotency: undefined },
    lastNumber: last + fresh.length,
    generations: [...kept, ...fresh],
  };
  const changes = was === undefined ? {} : changesBetween(was, client);
  const events: KeyringEvent[] = [];
  if (was === undefined) events.push({ kind: 'clientAdded', client: name });
  else if (!was.inFile) events.push({ kind: 'fileRules', client: name });
  if (Object.keys(changes).length > 0) {
    events.push({ kind: 'clientChanged', client: name, changes });
  }
  for (const { number } of fresh) {
    events.push({ kind: 'keyAdded', client: name, generation: idOf(name, number) });
  }
  events.push(...over.map(revokedOf(name)));
  return { client, ended: over.map((each) => tombstoneOf(name, each, 'revoked', now)), events };
}

const newClient = (wanted: FileClient, lastNumber: number, createdAt: number): Client => ({
  ...{ name: wanted.name, scopes: wanted.scopes, allowFrom: wanted.allowFrom },
  ...{ expiresAt: wanted.expiresAt, namesEndUsers: wanted.namesEndUsers },
  ...{ limits: wanted.limits, models: wanted.models },
  ...{ createdAt, lastNumber, generations: [], staged: undefined, idempotency: undefined },
  ...{ inFile: true, disabled: false, disabledByHand: false, removed: false },
});

/** Nobody waits for a file's key to be published: who wrote the file has it. */
const keyOfFile = (digest: string, number: number, now: number): Generation => ({
  number,
  digest,
  state: 'active',
  origin: 'declared',
  createdAt: now,
  publishedAt: now,
  afterCompromise: false,
  retirement: undefined,
});

const asActive = (each: Generation, now: number): Generation =>
  each.state === 'active' && each.publishedAt !== undefined
    ? each
    : { ...each, state: 'active', retirement: undefined, publishedAt: each.publishedAt ?? now };
