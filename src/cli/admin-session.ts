import { type AdminClient, createAdminClient } from './admin-client.ts';
import { AdminRefusal, currentUser } from './admin-refusal.ts';
import type { ExitCode } from './exit-code.ts';
import { say, type Terminal } from './terminal.ts';
import type { Time } from './time.ts';

/** What a command that asks the running sidecar works with. */
export interface AdminSession {
  readonly terminal: Terminal;
  readonly time: Time;
  readonly api: AdminClient;
}

/** Opens no connection: the first question does. */
export function openSession(terminal: Terminal, time: Time, state: string): AdminSession {
  const onStarting = (waitMs: number): void =>
    say(terminal, `the sidecar is starting; waiting for it, ${waitMs / 1000} s at most`);
  const { name: actor } = currentUser();
  const api = createAdminClient({ state, actor, time, onStarting });
  return { terminal, time, api };
}

/** One JSON document on stdout. C1 controls are escaped too: a terminal may obey them. */
export function writeJson({ stdout }: Terminal, document: unknown): void {
  const text = JSON.stringify(document, undefined, 2);
  stdout.write(`${escapeControls(text)}\n`);
}

export const escapeControls = (text: string): string =>
  text.replaceAll(/[\u007f-\u009f]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);

/** With `--json` a refusal is a document too; what it says goes to stderr in any case. */
export async function answering(
  terminal: Terminal,
  json: boolean,
  command: () => Promise<ExitCode>,
): Promise<ExitCode> {
  try {
    return await command();
  } catch (error) {
    if (json && error instanceof AdminRefusal) writeJson(terminal, error.document);
    throw error;
  }
}
