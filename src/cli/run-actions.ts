import { MASTER } from '../keyring/keyring.ts';
import type { ExitCode } from './exit-code.ts';
import type { GatewayActions } from './program.ts';
import { hasColours, say, type Terminal } from './terminal.ts';
import type { Time } from './time.ts';

/** What every action works with. */
export interface Scene {
  readonly terminal: Terminal;
  readonly time: Time;
  /** A signal for Ctrl-C; without it, Ctrl-C ends the process. */
  interrupts(): AbortSignal;
  /** How the command ended; undefined: the process goes on, and sets its own code. */
  end(code: ExitCode | undefined): void;
}

/**
 * What the commands do that need no running sidecar. Each is loaded when it is called: `key new`
 * need not wait for an HTTP server to load.
 */
export function createActions({ terminal, interrupts, end }: Scene): GatewayActions {
  return {
    async serve() {
      const { serve } = await import('./serve.ts');
      await serve({ env: terminal.env, cwd: terminal.cwd });
      end(undefined);
    },
    async keyNew() {
      const { keyNew } = await import('./key.ts');
      end(keyNew(terminal));
    },
    async keyShow(client) {
      const [{ keyShow, keyShowOf }, { keyPlaceOf, readClientSettings, stateFolder }] =
        await Promise.all([import('./key.ts'), import('./settings.ts')]);
      const settings = readClientSettings(terminal);
      end(
        client === MASTER
          ? keyShow(terminal, keyPlaceOf(settings))
          : keyShowOf(terminal, stateFolder(settings), client),
      );
    },
    async config({ json = false }) {
      const [{ renderConfig }, { readSettings }] = await Promise.all([
        import('./config.ts'),
        import('./settings.ts'),
      ]);
      const settings = readSettings(terminal);
      for (const warning of settings.warnings) say(terminal, warning);
      const { stdout } = terminal;
      const view = { json, color: hasColours(terminal, stdout), width: stdout.columns };
      stdout.write(renderConfig(settings, view));
    },
    async check(flags) {
      const [{ check }, { resolveTarget }] = await Promise.all([
        import('./check.ts'),
        import('./check-target.ts'),
      ]);
      const { model: models = [], stream = false, json = false, timeout: timeoutMs } = flags;
      const options = { models, stream, json, timeoutMs };
      end(await check(terminal, resolveTarget(terminal, flags), options, interrupts()));
    },
  };
}
