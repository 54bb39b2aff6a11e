import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endHandover, type UpstreamState } from '../../src/handover/state.ts';
import { createStateFile } from '../../src/handover/state-file.ts';
import { StartupError } from '../../src/startup-error.ts';
import { StoreError } from '../../src/store/key-store.ts';
import { failAt } from '../support/disk-steps.ts';
import { handingOver, START, serving } from './scene.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-file-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const path = (): string => join(folder, 'upstream.json');

const full = handingOver(
  'draining',
  {
    modelsBefore: ['one', 'two'],
    models: { listed: 1, added: [], vanished: ['two'] },
    ...{ verifiedId: 'id-b', attempt: 2, fromVerifiedAt: START },
  },
  { refusedConfig: 'digest' },
);
const fault = { code: 'died', message: 'm', hint: 'h', lastWords: ['"quoted"\n', 'ü'] } as const;

describe('upstream.json', () => {
  it('holds a state as it was, for its owner alone', async () => {
    const file = createStateFile(folder);
    expect(await file.load()).toBeUndefined();
    const { handover } = full;
    const states: readonly UpstreamState[] = [
      serving(),
      full,
      endHandover(
        full,
        handover as NonNullable<typeof handover>,
        { end: 'rolled_back', fault },
        START,
      ),
    ];
    for (const state of states) {
      await file.save(state);
      expect(await file.load()).toEqual(JSON.parse(JSON.stringify(state)));
      expect(readdirSync(folder)).toEqual(['upstream.json']);
    }
  });

  it('keeps the last twenty handovers that ended', () => {
    let state = full;
    for (let number = 1; number <= 30; number++) {
      const handover = { ...(full.handover as NonNullable<typeof full.handover>), number };
      state = endHandover(state, handover, { end: 'done' }, START);
    }
    expect(state.ended.map(({ number }) => number)).toEqual(
      Array.from({ length: 20 }, (_, at) => at + 11),
    );
    expect(state.counter).toBe(30);
  });

  it.each([
    ['is empty', () => ''],
    ['is half written', (text: string) => text.slice(0, 100)],
    ['was edited', (text: string) => text.replace('"active": "b"', '"active": "a"')],
  ])('that %s is an error with what to do, and never an empty state', async (_, damage) => {
    const file = createStateFile(folder);
    await file.save(full);
    writeFileSync(path(), damage(readFileSync(path(), 'utf8')));
    const error = await file.load().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(StartupError);
    expect(error).toMatchObject({ kind: 'state', hint: expect.stringContaining('delete it') });
    expect(String(error)).toContain(path());
  });

  it.each([
    ['goes from a slot to itself', { to: 'a' as const }],
    ['was switched to, and is not active', { step: 'starting' as const }],
  ])('does not take a handover that %s', async (_, changes) => {
    const file = createStateFile(folder);
    const handover = { ...(full.handover as NonNullable<typeof full.handover>), ...changes };
    await file.save({ ...full, handover });
    await expect(file.load()).rejects.toThrow('cannot be used');
  });

  it('says what to do where the disk is full, and keeps the one before', async () => {
    await createStateFile(folder).save(serving());
    failAt(folder, 'rename upstream.json', 'ENOSPC');
    const failing = createStateFile(folder);
    const error = await failing.save(full).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ hint: expect.stringContaining('free some space') });
    expect(await failing.load()).toEqual(serving());
    expect(readdirSync(folder)).toEqual(['upstream.json']);
  });
});
