import { afterEach, vi } from 'vitest';
import type { PublishTarget } from '../../src/config/kinds.ts';
import {
  createPublisher,
  type Publisher,
  type PublisherOptions,
} from '../../src/rotation/publisher.ts';
import { Secret } from '../../src/secret.ts';

export const file = (path: string, client = 'master'): PublishTarget => ({
  ...{ client, kind: 'file', path, variable: '' },
});
export const dotenv = (path: string, variable: string, client = 'master'): PublishTarget => ({
  ...{ client, kind: 'dotenv', path, variable },
});
export const key = (number: number): Secret => new Secret(`sk-key-${number}`);

/** A disk of which the test says when each write ends, and how. */
function createDisk() {
  const under: { readonly what: string; end(error?: Error): void }[] = [];
  const held = new Map<string, string>();
  const write = ({ path, variable }: PublishTarget, secret: Secret): Promise<void> => {
    const place = variable === '' ? path : `${path}#${variable}`;
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        under.splice(under.indexOf(entry), 1);
        if (error === undefined) held.set(place, secret.reveal());
        if (error === undefined) resolve();
        else reject(error);
      };
      const entry = { what: `${place} ${secret.reveal()}`, end };
      under.push(entry);
    });
  };
  const end = async (what: string, error?: Error): Promise<void> => {
    const found = under.find((each) => each.what === what);
    if (found === undefined) throw new Error(`${what} is not under way`);
    found.end(error);
    await vi.advanceTimersByTimeAsync(0);
  };
  return { write, end, held, under: () => under.map(({ what }) => what) };
}

let publisher: Publisher | undefined;
afterEach(() => {
  publisher?.close();
  vi.useRealTimers();
});

export function open(targets: readonly PublishTarget[], options: Partial<PublisherOptions> = {}) {
  const published: string[] = [];
  const failures: string[] = [];
  const made = createPublisher({
    targets,
    now: Date.now,
    onPublished: (client, number) => published.push(`${client}-${number}`),
    onNote: () => undefined,
    onFailure: ({ path }, { message }) => failures.push(`${path}: ${message}`),
    ...options,
  });
  publisher = made;
  return { publisher: made, published, failures };
}

/** With a disk and a clock that the test moves. */
export function openOnDisk(
  targets: readonly PublishTarget[],
  options: Partial<PublisherOptions> = {},
) {
  vi.useFakeTimers({ now: 0 });
  const disk = createDisk();
  return { disk, ...open(targets, { write: disk.write, ...options }) };
}
