import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { dotenv, file, key, openOnDisk } from './publisher-disk.ts';

const PLACES: Record<string, readonly string[]> = { master: ['/a', '/e#A', '/e#B'], ci: ['/c'] };
const TARGETS = [file('/a'), dotenv('/e', 'A'), dotenv('/e', 'B'), file('/c', 'ci')];

type Step =
  | { readonly kind: 'publish'; readonly client: string }
  | { readonly kind: 'end'; readonly at: number; readonly fails: boolean }
  | { readonly kind: 'wait'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('publish'), client: fc.constantFrom('master', 'ci') }),
  fc.record({ kind: fc.constant('end'), at: fc.nat(3), fails: fc.boolean() }),
  fc.record({ kind: fc.constant('wait'), ms: fc.nat(20_000) }),
);

/** A publisher in use, what it was asked and what it answered. */
function play() {
  const { disk, publisher, published } = openOnDisk(TARGETS);
  const newest = new Map<string, number>();
  const answers = new Map<string, boolean>();
  let number = 0;
  const end = async (at: number, error?: Error): Promise<void> => {
    const what = disk.under()[at % Math.max(disk.under().length, 1)];
    if (what !== undefined) await disk.end(what, error);
    const paths = disk.under().map((each) => each.split(/[# ]/)[0]);
    expect(new Set(paths).size).toBe(paths.length);
  };
  const publish = async (client: string): Promise<void> => {
    const mine = ++number;
    newest.set(client, mine);
    void publisher
      .publish(client, mine, key(mine))
      .then((done) => answers.set(`${client}-${mine}`, done));
    await vi.advanceTimersByTimeAsync(0);
  };
  const take = async (each: Step): Promise<void> => {
    if (each.kind === 'publish') await publish(each.client);
    else if (each.kind === 'wait') await vi.advanceTimersByTimeAsync(each.ms);
    else await end(each.at, each.fails ? new Error('full') : undefined);
  };
  /** Until nothing is left to write. */
  const finish = async (): Promise<void> => {
    for (let rounds = 0; rounds < 20; rounds++) {
      await vi.advanceTimersByTimeAsync(300_000);
      while (disk.under().length > 0) await end(0);
    }
  };
  return { disk, publisher, published, newest, answers, take, finish };
}

describe('whatever the disk does', () => {
  it('each target ends with the newest key, one write of a file at a time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { disk, publisher, published, newest, answers, take, finish } = play();
        for (const each of steps) await take(each);
        await finish();
        for (const [client, last] of newest) {
          const held = PLACES[client]?.map((place) => disk.held.get(place));
          expect(new Set(held)).toEqual(new Set([`sk-key-${last}`]));
          // Either the answer says so or the word that comes later, and nothing else does.
          const told = published.filter((each) => each === `${client}-${last}`);
          expect(told).toHaveLength(answers.get(`${client}-${last}`) === true ? 0 : 1);
        }
        expect(published).toHaveLength(new Set(published).size);
        expect(vi.getTimerCount()).toBe(0);
        publisher.close();
        vi.useRealTimers();
      }),
      { numRuns: 150 },
    );
  });
});
