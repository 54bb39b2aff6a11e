import type { AdminSession } from './admin-session.ts';
import type { ExitCode } from './exit-code.ts';
import type { Scene } from './run-actions.ts';
import { readClientSettings, stateFolder } from './settings.ts';

/** What a command does with the running sidecar. */
export type Asking = (session: AdminSession) => Promise<ExitCode>;

/** Runs one command against the running sidecar; its end is that of the command line. */
export type Ask = (json: boolean, command: Asking) => Promise<void>;

export const stateOf = ({ terminal }: Scene): string => stateFolder(readClientSettings(terminal));

export function createAsk(scene: Scene): Ask {
  const { terminal, time, end } = scene;
  return async (json, command) => {
    const { answering, openSession } = await import('./admin-session.ts');
    const session = () => openSession(terminal, time, stateOf(scene));
    end(await answering(terminal, json, () => command(session())));
  };
}
