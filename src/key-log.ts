import type { KeyringEvent } from './keyring/command.ts';
import { clockWords } from './rotation/describe.ts';
import type { KeyEvents } from './rotation/events.ts';
import type { Log } from './telemetry/log.ts';

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
