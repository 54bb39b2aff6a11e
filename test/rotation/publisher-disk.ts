import { afterEach, vi } from 'vitest';
import type { PublishTarget } from '../../src/config/kinds.ts';
import { createPublisher, type Publisher } from '../../src/rotation/publisher.ts';
import { Secret } from '../../src/secret.ts';

export const file = (path: string, client = 'master'): PublishTarget => ({
  ...{ client, kind: 'file', path, variable: '' },
});
export const dotenv = (path: string, variable: string, client = 'master'): PublishTarget => ({
  ...{ client, kind: 'dotenv', path, variable },
});
export const key = (number: number): Secret => new Secret(`sk-key-${number}`);

type WriteTo = (place: string, secret: Secret) => Promise<void>;
/** What writes instead of the disk, where a test says so. */
const instead = vi.hoisted(() => ({ write: undefined as WriteTo | undefined }));
vi.mock('../../src/store/publish.ts', async (original) => {
  const real = await original<typeof import('../../src/store/publish.ts')>();
  const mocked: Pick<typeof real, 'publishToFile' | 'publishToDotenv'> = {
    publishToFile: (path, secret, tell) =>
      instead.write?.(path, secret) ?? real.publishToFile(path, secret, tell),
    publishToDotenv: (path, name, secret, tell) =>
      instead.write?.(`${path}#${name}`, secret) ?? real.publishToDotenv(path, name, secret, tell),
  };
  return { ...real, ...mocked };
});

/** A disk of which the test says when each write ends, and how. */
function createDisk() {
  const under: { readonly what: string; end(error?: Error): void }[] = [];
  const held = new Map<string, string>();
  const write: WriteTo = (place, secret) =>
    new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        under.splice(under.indexOf(entry), 1);
        if (error === undefined) held.set(place, secret.reveal());
        if (error === undefined) resolve();
        else reject(error);
      };
      const entry = { what: `${place} ${secret.reveal()}`, end };
      under.push(entry);
    });
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
  instead.write = undefined;
  vi.useRealTimers();
});

export function open(targets: readonly PublishTarget[]) {
  const published: string[] = [];
  const failures: string[] = [];
  const notes: string[] = [];
  const made = createPublisher({
    targets,
    now: Date.now,
    onPublished: (client, number) => published.push(`${client}-${number}`),
    onNote: (message) => notes.push(message),
    onFailure: ({ path }, { message }) => failures.push(`${path}: ${message}`),
  });
  publisher = made;
  return { publisher: made, published, failures, notes };
}

/** With a disk and a clock that the test moves. */
export function openOnDisk(targets: readonly PublishTarget[]) {
  vi.useFakeTimers({ now: 0 });
  const disk = createDisk();
  instead.write = disk.write;
  return { disk, ...open(targets) };
}
