import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { DeclaredPlaces } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { UpstreamAdmin } from '../handover/contracts.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import type { Exchanges } from '../proxy/exchanges.ts';
import { AdminError } from '../rotation/admin.ts';
import { clockWords } from '../rotation/describe.ts';
import type { KeyEvents } from '../rotation/events.ts';
import { type Keys, openKeys } from '../rotation/keys.ts';
import type { KeyFiles } from '../rotation/rotate.ts';
import { type AdminApi, createAdminApi } from '../servers/admin/api.ts';
import { type AdminSocket, openAdminSocket } from '../servers/admin/socket.ts';
import { StartupError } from '../startup-error.ts';
import type { AuditRepair } from '../store/audit-log.ts';
import { readAudit, verifyAudit } from '../store/audit-reader.ts';
import { createDisk, type Disk } from '../store/disk.ts';
import { type FaultPoint, noFaults, readStamp, sweepLeftovers } from '../store/durable-file.ts';
import { createFileStore } from '../store/file-store.ts';
import { clientKeyPath, makeStateFolder, readKeyFile, writeKeyFile } from '../store/key-files.ts';
import { StoreError } from '../store/key-store.ts';
import { behindLinks } from '../store/publish.ts';
import type { Log } from '../telemetry/log.ts';

/** What the log says of keys as it happens. No field holds a key or a digest of one. */
export function logKeyEvents(log: Log): Omit<KeyEvents, 'onRotation'> {
  return {
    onChange(event, by) {
      const { kind, ...told } = event;
      const fields =
        'deadline' in told ? { ...told, deadline: new Date(told.deadline).toISOString() } : told;
      const grave = kind === 'revoked' && event.compromised;
      const first = kind === 'rotated' && event.from === undefined;
      const sentence = first ? 'a client has its first key' : SENTENCES[kind];
      log[grave ? 'warn' : 'info']({ ...fields, by }, sentence);
    },
    onStore(error) {
      if (error === undefined) log.info({}, 'the state folder can be written again');
      else log.error({ hint: error.hint }, `keys are not saved: ${error.message}`);
    },
    onPublishFailure(target, error) {
      const where = target === 'state' ? 'the state folder' : target.path;
      log.error({ target: where, why: error.message }, 'a key could not be published');
    },
    onNote: (message) => log.warn({}, message),
    onDeclared(outcome) {
      if (outcome.kind === 'stale') log.warn({}, outcome.message);
      if (outcome.kind === 'refused') {
        const { code, hint, message } = outcome.warning;
        log.error({ code, hint }, `refused: ${message}`);
      }
    },
    onClockJump(jump) {
      const { message, hint } = clockWords(jump.byMs);
      if (jump.followed) log.info({ byMs: jump.byMs }, 'the clock moved forward, and keys with it');
      else log.warn({ byMs: jump.byMs, hint }, message);
    },
    onScheduleFailure: (client, err) =>
      log.error({ client, err }, 'a scheduled rotation failed; it is tried again in a minute'),
    onTombstone: (use) => log.warn({ ...use }, 'a key that ended came back'),
  };
}

const SENTENCES: Readonly<Record<KeyringEvent['kind'], string>> = {
  clientAdded: 'a client was added',
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

export interface KeyServiceOptions {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly version: string;
  readonly places: DeclaredPlaces;
  readonly exchanges: Exchanges;
  /** What the metrics count of keys. */
  readonly count: Pick<KeyEvents, 'onRotation' | 'onPublishFailure' | 'onStore'>;
  readonly fault: FaultPoint | undefined;
}

/** The keys of a running sidecar, and the ways in which an operator reaches them. */
export interface KeyService {
  readonly keys: Keys;
  /** Whether the state folder is still this process's. */
  readonly mayWrite: () => boolean;
  /** Opens the admin API on its socket, for operators who may ask about LiteLLM too. */
  serve(upstream: UpstreamAdmin): AdminApi;
  close(): Promise<void>;
}

/**
 * Takes the state folder for this process, and opens what it holds.
 *
 * @throws StartupError where another sidecar has it, or it cannot be used
 */
export async function openKeyService(options: KeyServiceOptions): Promise<KeyService> {
  const { config, log } = options;
  const { state } = config;
  await makeStateFolder(state);
  const onError = (err: unknown): void => log.error({ err }, 'an admin request failed');
  const socket = await openAdminSocket({ path: join(state, 'admin.sock'), onError });
  try {
    let isServing = false;
    const disk = createDisk({
      isServing: () => isServing,
      ...(options.fault !== undefined && { fault: options.fault }),
    });
    const keys = await openOrExplain(options, socket, disk);
    isServing = true;
    const audit = {
      read: (after: number, limit: number) => readAudit(state, { after, limit }),
      verify: () => verifyAudit(state),
    };
    const serve = (upstream: UpstreamAdmin): AdminApi => {
      const api = createAdminApi({ admin: keys.admin, upstream, audit, onError });
      socket.serve(api);
      return api;
    };
    const close = async (): Promise<void> => {
      // The folder is let go when nothing is written to it any more.
      await socket.drain();
      await keys.close();
      disk.close();
      await socket.close();
    };
    return { keys, mayWrite: socket.isStillOurs, serve, close };
  } catch (error) {
    await socket.close();
    throw error;
  }
}

async function openOrExplain(
  options: KeyServiceOptions,
  socket: AdminSocket,
  disk: Disk,
): Promise<Keys> {
  const { config, log, exchanges, count, fault } = options;
  const { state } = config;
  const told = logKeyEvents(log);
  const events: KeyEvents = {
    ...told,
    onRotation: count.onRotation,
    onStore(error) {
      count.onStore(error);
      told.onStore(error);
    },
    onPublishFailure(target, error) {
      count.onPublishFailure(target, error);
      told.onPublishFailure(target, error);
    },
  };
  const early: string[] = [];
  let keys: Keys | undefined;
  const onRepair = ({ message }: AuditRepair): void => {
    if (keys === undefined) early.push(message);
    else keys.noteRepair(message);
  };
  await sweepAll(config);
  try {
    keys = await openKeys({
      ...options,
      store: createFileStore({ folder: state, onRepair, disk }),
      keyFiles: keyFilesIn(state, disk),
      events,
      traffic: {
        inFlight: exchanges.countOf,
        cut: (id) => exchanges.cut(({ generation }) => generation === id),
      },
      mayWrite: socket.isStillOurs,
      fault: fault ?? noFaults,
    });
    early.forEach(keys.noteRepair);
    return keys;
  } catch (cause) {
    throw explained(cause, state);
  }
}

/** A process that was killed while it wrote a key may have left half a file with it. */
async function sweepAll({ state, publish }: Config): Promise<void> {
  await sweepLeftovers(dirname(clientKeyPath(state, 'master')));
  for (const { path } of publish) {
    const target = await behindLinks(path).catch(() => path);
    await sweepLeftovers(dirname(target), basename(target));
  }
}

function keyFilesIn(state: string, disk: Disk): KeyFiles {
  return {
    write: (client, key) => writeKeyFile(clientKeyPath(state, client), key, disk),
    read: (client) => readKeyFile(clientKeyPath(state, client)),
    isThere: async (client) => (await readStamp(clientKeyPath(state, client))) !== undefined,
    remove: (client) => rm(clientKeyPath(state, client), { force: true }),
  };
}

function explained(cause: unknown, state: string): unknown {
  if (cause instanceof StoreError) {
    return new StartupError('state', cause.message, { hint: cause.hint, cause });
  }
  if (cause instanceof AdminError) {
    const [hint = `let the user that the sidecar runs as write ${state}`] = cause.hints;
    return new StartupError('state', `no key can be made: ${cause.message}`, { hint, cause });
  }
  return cause;
}
