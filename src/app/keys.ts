import type { Config } from '../config/settings.ts';
import type { LimitUse } from '../keyring/client-limits.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import { AdminError } from '../rotation/admin.ts';
import { clockWords } from '../rotation/describe.ts';
import {
  BY_CLIENTS_FILE,
  ClientsFileError,
  type ClientsFileOutcome,
  linesOf,
} from '../rotation/file-clients.ts';
import { type KeyEvents, type Keys, openKeys } from '../rotation/keys.ts';
import { StartupError } from '../startup-error.ts';
import { checkDeclared, madeKeyPath } from '../store/key-files.ts';
import { StoreError } from '../store/key-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { AppOptions, Base } from './base.ts';
import type { State } from './state.ts';

/** What is told of clients by parts that are built after the keys. */
export interface SeenOfClients {
  limitUse: (client: string) => LimitUse;
  unlisted: (models: readonly string[]) => readonly string[];
}

/**
 * Opens the client keys, with the first one made where there is none, and says where it is.
 *
 * @throws StartupError where the declared key is too weak, or the state folder cannot be used
 */
export async function buildKeys(
  options: AppOptions,
  { exchanges, metrics }: Base,
  state: State,
  seen: SeenOfClients,
): Promise<Keys> {
  const { config, log } = options;
  const keys = await openKeys({
    ...options,
    ...{ store: state.store, keyFiles: state.keyFiles, mayWrite: state.mayWrite },
    events: keyEvents(log, metrics.keyEvents),
    traffic: {
      inFlight: exchanges.countOf,
      cut: (id) => exchanges.cut(({ generation }) => generation === id),
      limitUse: (client) => seen.limitUse(client),
      unlisted: (models) => seen.unlisted(models),
    },
  }).catch((cause: unknown) => {
    throw explained(cause);
  });
  state.onRepair((message) =>
    keys.note({ by: 'sidecar', action: 'audit-repaired', detail: { message } }),
  );
  sayWhichKey(config.state, keys, log);
  return keys;
}

/** @throws StartupError where a key is declared that cannot guard the gateway */
export function refuseWeakKey({ config, log }: AppOptions): void {
  if (config.declaredKey === undefined) return;
  const { warning } = checkDeclared(config.declaredKey);
  if (warning !== undefined) log.warn({}, warning);
}

function explained(cause: unknown): unknown {
  if (cause instanceof StoreError) {
    return new StartupError('state', cause.message, { hint: cause.hint, cause });
  }
  if (cause instanceof ClientsFileError) {
    const { message, hint } = cause;
    return new StartupError('configuration', message, { hint, cause });
  }
  if (cause instanceof AdminError) {
    const [hint = 'let the user that the sidecar runs as write its state folder'] = cause.hints;
    return new StartupError('state', `no key can be made: ${cause.message}`, { hint, cause });
  }
  return cause;
}

/** Says which key clients present, and how to read one that was made; never the key. */
function sayWhichKey(state: Config['state'], { from, admin }: Keys, log: Log): void {
  if (from === 'nobody') {
    log.info({}, 'nobody is master: no key is declared, and none is kept');
    return;
  }
  if (from === 'declared' || state === undefined) {
    log.info({}, 'clients present the declared LITELLM_MASTER_KEY');
    return;
  }
  const sentence = from === 'made' ? 'a key was made for clients' : 'clients present the key';
  log.info({ file: madeKeyPath(state) }, `${sentence}: read it with \`sidecar key show\``);
  for (const { code, message, hint } of admin.status().warnings) {
    if (code === 'short_declared_key') log.warn({ code, hint }, message);
  }
}

/** Tells log and metrics of keys as it happens. No field holds a key or a digest of one. */
function keyEvents(log: Log, counted: Base['metrics']['keyEvents']): KeyEvents {
  return {
    onRotation: counted.onRotation,
    onChange(event, by) {
      // `onClientsFile` tells all of it in one line.
      if (by === BY_CLIENTS_FILE) return;
      const { kind, ...told } = event;
      const fields =
        'deadline' in told ? { ...told, deadline: new Date(told.deadline).toISOString() } : told;
      const grave = kind === 'revoked' && event.compromised;
      const first = kind === 'rotated' && event.from === undefined;
      const sentence = first ? 'a client has its first key' : SENTENCES[kind];
      log[grave ? 'warn' : 'info']({ ...fields, by }, sentence);
    },
    onStore(error) {
      counted.onStore(error);
      if (error === undefined) log.info({}, 'the state folder can be written again');
      else log.error({ hint: error.hint }, `changes of keys are not saved: ${error.message}`);
    },
    onPublishFailure(target, error) {
      counted.onPublishFailure(target, error);
      const where = target === 'state' ? 'the state folder' : target.path;
      log.error({ target: where, why: error.message }, 'a key could not be published');
    },
    onNote: (message) => log.warn({}, message),
    onDeclared(outcome) {
      if (outcome.kind === 'stale') log.warn({}, outcome.message);
      if (outcome.kind === 'rotated' && outcome.disabled) {
        const hint = '`sidecar clients enable master` lets it in';
        log.warn({ hint }, `${outcome.where} is the key of master now, which stays disabled`);
      }
      if (outcome.kind === 'refused') {
        const { code, hint, message } = outcome.warning;
        log.error({ code, hint }, `a declared key is not used: ${message}`);
      }
    },
    onClientsFile(outcome) {
      counted.onClientsFile(outcome);
      sayClientsFile(log, outcome);
    },
    onClockJump(jump) {
      const { message, hint } = clockWords(jump);
      if (jump.followed)
        log.info({ byMs: jump.byMs }, 'the clock moved forward, and the ends of keys follow it');
      else log.warn({ byMs: jump.byMs, hint }, message);
    },
    onScheduleFailure: (client, err) =>
      log.error({ client, err }, 'a scheduled rotation failed; it is tried again in a minute'),
    onTombstone: (use) => log.warn({ ...use }, 'a retired or revoked key was used'),
  };
}

/** How many names and ids a line about the clients file has at the most. */
const MOST_NAMED = 20;

/** One line for all that a change of the file did: it may have a thousand clients. */
function sayClientsFile(log: Log, outcome: ClientsFileOutcome): void {
  const { path } = outcome;
  if (outcome.kind === 'mistaken') {
    const mistakes = linesOf(outcome).slice(0, MOST_NAMED);
    log.error({ file: path, mistakes }, 'the clients file has mistakes, and changes nothing');
    return;
  }
  const { clients, events, expired } = outcome;
  const named = (kind: KeyringEvent['kind']) =>
    events
      .flatMap((each) => {
        if (each.kind !== kind) return [];
        return 'generation' in each ? each.generation : each.client;
      })
      .slice(0, MOST_NAMED);
  const told = Object.entries({
    added: named('clientAdded'),
    removed: named('clientRemoved'),
    changed: named('clientChanged'),
    taken: named('fileRules'),
    newKeys: named('keyAdded'),
    revoked: named('revoked'),
  }).filter(([, names]) => names.length > 0);
  log.info({ file: path, clients, ...Object.fromEntries(told) }, 'the clients file rules');
  const names = expired.slice(0, MOST_NAMED);
  if (names.length > 0) {
    log.warn({ file: path, names }, 'clients of the clients file are past their end');
  }
}

const SENTENCES: Readonly<Record<KeyringEvent['kind'], string>> = {
  clientAdded: 'a client was added',
  clientChanged: 'what a client may do was changed',
  fileRules: 'the clients file rules a client that was made by command',
  keyAdded: 'the clients file has a new key for a client',
  rotated: 'a key was rotated',
  clockStarted: 'a newer key is in use: the grace of the older one runs',
  published: 'every publish target has the new key',
  retired: 'a key retired',
  revoked: 'a key was revoked',
  rolledBack: 'a rotation was rolled back',
  clientDisabled: 'a client was disabled',
  clientEnabled: 'a client was enabled',
  clientRemoved: 'a client was removed',
};
