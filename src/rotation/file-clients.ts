import { setImmediate } from 'node:timers/promises';
import type { KeyringEvent } from '../keyring/command.ts';
import { fileClientFaults, fileClientSteps } from '../keyring/file-clients.ts';
import { digestOf } from '../keyring/key.ts';
import { type FileClient, type Keyring, readId } from '../keyring/keyring.ts';
import type { ClientsFileMistake } from '../store/clients-text.ts';
import type { ClientsReading } from '../store/clients-watch.ts';
import type { KeyFiles } from '../store/key-files.ts';
import { type Actor, AdminError, type KeyAdmin, type WarningView } from './admin.ts';
import type { Keeper } from './keeper.ts';

/** By whom the clients file changes clients, for the audit. */
export const BY_CLIENTS_FILE: Actor = 'clients-file';

/** What became of a reading of the clients file. */
export type ClientsFileOutcome =
  | {
      readonly kind: 'rules';
      readonly path: string;
      /** Of the whole file, with those that it names: alike where all of that is. Holds no key. */
      readonly mark: string;
      /** How many clients the file has. */
      readonly clients: number;
      readonly events: readonly KeyringEvent[];
      /** Clients whose end is past. */
      readonly expired: readonly string[];
    }
  /** The clients stay as they were. */
  | {
      readonly kind: 'mistaken';
      readonly path: string;
      readonly mistakes: readonly ClientsFileMistake[];
    };

/** A clients file that no sidecar starts with. */
export class ClientsFileError extends Error {
  override readonly name = 'ClientsFileError';
  /** What to do about it. */
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

interface FileClientsOptions {
  readonly path: string;
  readonly keeper: Keeper;
  readonly keyFiles: Pick<KeyFiles, 'read' | 'remove'>;
  /** Clients with a publish target: the sidecar has no key of a file's client to publish. */
  readonly published: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of each reading that settled; must not throw. */
  readonly onOutcome: (outcome: ClientsFileOutcome) => void;
}

/**
 * Keeps the clients in step with the clients file, from now on.
 *
 * @throws ClientsFileError where the file has mistakes
 */
export async function followClientsFile(options: FileClientsOptions) {
  const { path, onOutcome } = options;
  // With what reads YAML, which costs nothing where there is no such file.
  const { createClientsWatch, openClientsFile, readSettled } = await import(
    '../store/clients-watch.ts'
  );
  const file = openClientsFile(path);
  const settled = await readSettled(file);
  let outcome = await settle(options, settled);
  if (outcome.kind === 'mistaken') throw mistaken(outcome);
  onOutcome(outcome);
  let working: Promise<void> = Promise.resolve();
  const watch = createClientsWatch({
    file,
    settled,
    onSettled: (reading) => {
      working = working.then(async () => {
        outcome = await settle(options, reading);
        onOutcome(outcome);
      });
    },
  });
  return {
    /** What `sidecar status` repeats until the file is mended. */
    warnings: (): readonly WarningView[] =>
      outcome.kind === 'mistaken' ? [warningOf(outcome)] : [],
    /** Nothing is changed any more by what stands in the file. */
    async close(): Promise<void> {
      watch.stop();
      await working;
    },
  };
}

/** @throws ClientsFileError where a file had clients, and none is named any more */
export function refuseWithoutFile(keyring: Keyring): void {
  const names = [...keyring.clients.values()]
    .filter(({ inFile }) => inFile)
    .map(({ name }) => name);
  if (names.length === 0) return;
  throw new ClientsFileError(
    `SIDECAR_CLIENTS is not set, and a clients file rules ${named(names)}`,
    'name that file; for no such clients name one with `clients: {}`, which ends their keys',
  );
}

/** Makes what a reading says so, all of it or nothing. */
async function settle(
  { path, keeper, keyFiles, published, now }: FileClientsOptions,
  reading: ClientsReading,
): Promise<ClientsFileOutcome> {
  const { clients, mark } = reading;
  const mistakes = [
    ...mistakesIn(keeper.keyring(), reading),
    ...clients
      .filter(({ name }) => published.has(name))
      .map(({ name }) => reading.mistake(name, undefined, PUBLISHED)),
  ];
  if (mistakes.length > 0) return { kind: 'mistaken', path, mistakes };
  try {
    const events = await carryOut(keeper, clients);
    await dropKeyFiles(keeper, keyFiles, events);
    const expired = expiredIn(clients, now());
    return { kind: 'rules', path, mark, clients: clients.length, events, expired };
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    const mistake = { line: 0, column: 0, message: error.message };
    return { kind: 'mistaken', path, mistakes: [mistake] };
  }
}

const PUBLISHED =
  'SIDECAR_PUBLISH names it, and a key of which only the digest is known has no copy';

/** So many clients change before others have their turn: 2 ms of the serving thread's time. */
const CHANGED_AT_ONCE = 50;

/** Each step rules at once; all are saved with the last one. */
async function carryOut(keeper: Keeper, clients: readonly FileClient[]) {
  const steps = fileClientSteps(keeper.keyring(), clients, CHANGED_AT_ONCE);
  const events: KeyringEvent[] = [];
  for (const [at, step] of steps.entries()) {
    await setImmediate();
    const durability = at === steps.length - 1 ? 'at-once' : 'later';
    events.push(...(await keeper.change([step], BY_CLIENTS_FILE, durability)));
  }
  return events;
}

/** A key that the sidecar made stands in `keys/<client>` for as long as it is good. */
async function dropKeyFiles(
  keeper: Keeper,
  keyFiles: FileClientsOptions['keyFiles'],
  events: readonly KeyringEvent[],
): Promise<void> {
  const ended = events.filter(({ kind }) => kind === 'revoked' || kind === 'clientRemoved');
  for (const name of new Set(ended.map(({ client }) => client))) {
    const key = await keyFiles.read(name).catch(() => undefined);
    if (key === undefined) continue;
    const digest = digestOf(key.reveal());
    const { generations = [] } = keeper.keyring().clients.get(name) ?? {};
    if (generations.some((each) => each.digest === digest)) continue;
    await keyFiles.remove(name).catch(() => undefined);
  }
}

/** The mistakes of the file itself, or else what this keyring has against it. */
export function mistakesIn(
  keyring: Keyring,
  reading: ClientsReading,
): readonly ClientsFileMistake[] {
  if (reading.mistakes.length > 0) return reading.mistakes;
  return fileClientFaults(keyring, reading.clients).map(({ client, digest, message }) =>
    reading.mistake(client, digest, message),
  );
}

/** The clients whose end is past. */
export const expiredIn = (clients: readonly FileClient[], now: number): string[] =>
  clients.flatMap(({ name, expiresAt = Infinity }) => (expiresAt <= now ? [name] : []));

type Mistaken = Extract<ClientsFileOutcome, { kind: 'mistaken' }>;

/** More mistakes are counted, and not shown. */
const MOST_SHOWN = 50;

/** Each mistake on a line, as compilers write them: `/etc/clients.yaml:7:12: …`. */
export function linesOf({ path, mistakes }: Mistaken): readonly string[] {
  const lines = mistakes.slice(0, MOST_SHOWN).map(({ line, column, message }) => {
    return line === 0 ? `${path}: ${message}` : `${path}:${line}:${column}: ${message}`;
  });
  const more = mistakes.length - lines.length;
  return more === 0 ? lines : [...lines, `and ${more} more`];
}

function mistaken(outcome: Mistaken): ClientsFileError {
  const message = ['the clients file has mistakes', ...linesOf(outcome)].join('\n  ');
  return new ClientsFileError(message, `sidecar clients check ${outcome.path}`);
}

function warningOf(outcome: Mistaken): WarningView {
  const [first = '', ...others] = linesOf(outcome);
  const more = others.length === 0 ? '' : `, and ${outcome.mistakes.length - 1} more`;
  return {
    code: 'clients_file_mistaken',
    message: `the clients file changes nothing: ${first}${more}`,
    hint: `its clients stay as they were; sidecar clients check ${outcome.path}`,
  };
}

const named = (names: readonly string[]): string =>
  names.length <= 3
    ? names.join(', ')
    : `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`;

/** The verbs, but for the clients that the file rules: of those it alone may change anything. */
export function outsideFile(admin: KeyAdmin, path: string, keyring: () => Keyring): KeyAdmin {
  const unlessInFile = async <T>(name: string, verb: () => Promise<T>): Promise<T> => {
    if (keyring().clients.get(name)?.inFile !== true) return await verb();
    throw new AdminError('client_in_file', `the clients file alone rules ${name}`, {
      hints: [`change it there: ${path}`],
    });
  };
  return {
    ...admin,
    rotate: (request, by) => unlessInFile(request.client, () => admin.rotate(request, by)),
    addClient: (request, by) => unlessInFile(request.name, () => admin.addClient(request, by)),
    setClient: (request, by) => unlessInFile(request.name, () => admin.setClient(request, by)),
    rollback: (name, from, by) => unlessInFile(name, () => admin.rollback(name, from, by)),
    disable: (name, by) => unlessInFile(name, () => admin.disable(name, by)),
    enable: (name, by) => unlessInFile(name, () => admin.enable(name, by)),
    remove: (name, force, by) => unlessInFile(name, () => admin.remove(name, force, by)),
    revoke: (request, by) =>
      unlessInFile(readId(request.generation)?.client ?? '', () => admin.revoke(request, by)),
  };
}
