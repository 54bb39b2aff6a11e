import type { ClientActions } from './program-clients.ts';
import type { KeyActions } from './program-keys.ts';
import type { Scene } from './run-actions.ts';
import { type Ask, createAsk, stateOf } from './run-asking.ts';

/** What the commands do that look at keys and clients, or change them. */
export function createKeyActions(scene: Scene): KeyActions & ClientActions {
  const { terminal, time, interrupts, end } = scene;
  const state = (): string => stateOf(scene);
  const ask = createAsk(scene);
  return {
    ...createClientActions(ask),
    status: ({ json = false }) =>
      ask(json, async (session) => (await import('./status.ts')).status(session, json)),
    rotate: (client, flags) => {
      const { grace, compromised = false, force = false, wait = false, json = false } = flags;
      const options = { grace, compromised, force, wait, json };
      return ask(json, async (session) =>
        (await import('./rotate.ts')).rotate(session, client, options, interrupts),
      );
    },
    rollback: (client, { json = false }) =>
      ask(json, async (session) => (await import('./rotate.ts')).rollback(session, client, json)),
    revoke: (generation, { force = false, compromised = false, json = false }) =>
      ask(json, async (session) => {
        const { revoke } = await import('./rotate.ts');
        return await revoke(session, generation, { force, compromised, json });
      }),
    who: (generation, { json = false }) =>
      ask(json, async (session) => (await import('./status.ts')).who(session, generation, json)),
    async audit({ follow = false, limit, json = false }) {
      const { showAudit } = await import('./audit.ts');
      end(await showAudit(terminal, time, state(), { follow, limit, json }, interrupts));
    },
    async auditVerify({ json = false }) {
      const { verify } = await import('./audit.ts');
      end(await verify(terminal, state(), json));
    },
  };
}

function createClientActions(ask: Ask): ClientActions {
  const load = () => import('./clients.ts');
  return {
    listClients: ({ json = false }) =>
      ask(json, async (session) => (await load()).listClients(session, json)),
    addClient: (name, { scope: scopes = ['inference'], expires, allowFrom = [], json = false }) =>
      ask(json, async (session) =>
        (await load()).addClient(session, name, { scopes, expires, allowFrom }, json),
      ),
    switchClient: (name, to, { json = false }) =>
      ask(json, async (session) => (await load()).switchClient(session, name, to, json)),
    removeClient: (name, { force = false, json = false }) =>
      ask(json, async (session) => (await load()).removeClient(session, name, force, json)),
  };
}
