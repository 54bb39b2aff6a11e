import { relative, resolve } from 'node:path';
import type { Config, PublishTarget } from '../config.ts';
import type { Mistake } from './mistakes.ts';
import { showPlace } from './publish-kind.ts';
import { SETTINGS } from './settings.ts';

/** What the sidecar keeps in its state folder: a key that is written there destroys it. */
const OURS = /^(?:keys|upstream)(?:\/|$)|^(?:keyring|audit|usage|admin)\b[^/]*$/;

/** Publish targets that cannot stand beside each other, or where they are. */
export function publishMistakes(
  { publish = [], state }: Partial<Config>,
  cwd: string,
): readonly Mistake[] {
  const targets = publish.map((target) => ({ ...target, path: resolve(cwd, target.path) }));
  return targets.flatMap((target, at) => {
    const fault =
      clash(target, targets.slice(0, at)) ??
      (state === undefined ? undefined : overState(target, resolve(cwd, state)));
    return fault === undefined ? [] : [fault];
  });
}

const mistake = (target: PublishTarget, why: string, allowed: string): Mistake => ({
  name: SETTINGS.publish.name,
  found: `${showPlace(target)}, ${why}`,
  allowed,
});

function clash(target: PublishTarget, before: readonly PublishTarget[]): Mistake | undefined {
  const same = before.filter(({ path }) => path === target.path);
  if (same.some(({ variable }) => variable === target.variable)) {
    return mistake(target, 'twice', 'each file, and each variable of a dotenv file, once');
  }
  if (same.every(({ kind }) => kind === target.kind)) return undefined;
  return mistake(target, 'which is another kind of target, too', 'a file to be one of the two');
}

function overState(target: PublishTarget, state: string): Mistake | undefined {
  if (!OURS.test(relative(state, target.path))) return undefined;
  return mistake(
    target,
    `where the sidecar keeps what is its own (${SETTINGS.state.name})`,
    'a file elsewhere; the key of each client is in the state folder anyway',
  );
}
