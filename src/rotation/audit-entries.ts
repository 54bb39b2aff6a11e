import type { AuditEntry } from '../keyring/audit.ts';
import type { KeyringEvent } from '../keyring/command.ts';

/** They come of time, traffic and disks, whoever's change was under way when they were seen. */
const BY_ITSELF: ReadonlySet<KeyringEvent['kind']> = new Set([
  'retired',
  'clockStarted',
  'published',
]);

/** What the audit says of one event. `at` is milliseconds since the epoch. */
export function auditEntryOf(event: KeyringEvent, by: string, at: number): AuditEntry {
  const action = event.kind.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const doer = BY_ITSELF.has(event.kind) ? 'sidecar' : by;
  const common = { at: new Date(at).toISOString(), by: doer, action, client: event.client };
  switch (event.kind) {
    case 'rotated': {
      const { from, to, origin, graceMs, compromised } = event;
      return { ...common, from, to, detail: { origin, graceMs, compromised } };
    }
    case 'rolledBack':
      return { ...common, from: event.from, to: event.to };
    case 'clockStarted': {
      const deadline = new Date(event.deadline).toISOString();
      return { ...common, from: event.generation, to: event.by, detail: { deadline } };
    }
    case 'revoked':
      return { ...common, from: event.generation, detail: { compromised: event.compromised } };
    case 'published':
    case 'retired':
      return { ...common, from: event.generation };
    default:
      return common;
  }
}
