import type { Child } from './child.ts';

/** How the two ended: as asked, at once, or because one of them died. */
export type End =
  | { readonly kind: 'finished' }
  | { readonly kind: 'killed' }
  | { readonly kind: 'died'; readonly child: Child; readonly how: string };

export interface Supervisor {
  /** When both have gone. */
  readonly ended: Promise<End>;
  /** The first call ends both gracefully, the second at once. */
  interrupt(): void;
}

/**
 * Watches the sidecar and LiteLLM's launcher. The sidecar goes first: it finishes what it has in
 * hand, and for that LiteLLM must still be there. Where one dies, the other is ended.
 */
export function supervise(sidecar: Child, launcher: Child): Supervisor {
  let ending = false;
  let killed = false;
  let death: { child: Child; how: string } | undefined;

  const end = async (): Promise<void> => {
    ending = true;
    sidecar.end();
    await sidecar.exited;
    launcher.end();
  };
  const watch = async (child: Child): Promise<void> => {
    const how = await child.exited;
    if (ending) return;
    death = { child, how };
    await end();
  };
  const both = Promise.all([sidecar.exited, launcher.exited, watch(sidecar), watch(launcher)]);

  return {
    ended: both.then((): End => {
      // What a launcher that died left behind in its group goes too.
      for (const child of [sidecar, launcher]) child.kill();
      if (killed) return { kind: 'killed' };
      return death === undefined ? { kind: 'finished' } : { kind: 'died', ...death };
    }),
    interrupt() {
      if (!ending) {
        void end();
        return;
      }
      killed = true;
      sidecar.kill();
      launcher.kill();
    },
  };
}
