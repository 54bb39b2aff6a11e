import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { HandoverEvents, SlotsConfig, SlotTraffic } from '../../src/handover/contracts.ts';
import { type OpenSlots, openSlots } from '../../src/handover/open-slots.ts';
import type { HandoverView } from '../../src/handover/views.ts';
import { type ConfigSeen, lookAtConfig } from '../../src/litellm/config.ts';
import type { SlotLoad, SlotName } from '../../src/litellm/slots.ts';
import type { Secret } from '../../src/secret.ts';
import { type OnStep, onDiskSteps } from '../support/disk-steps.ts';
import { createFakeLauncher, type FakeLauncher } from './fake-launcher.ts';

/** The launcher's clock rules what is counted in `checkMs`; all else is by the clock on the wall. */
const PACE = { tickMs: 5, checkMs: 500, slowCheckMs: 500, troubleMs: 5, sleepMs: 10 };
/** Longer than any busy machine takes; nothing waits for its end. */
const LONG_MS = 20_000;

/** Tries again until `check` passes: for what no event tells of. */
export const soon = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: LONG_MS, interval: 5 });

const NOTHING: SlotLoad = { requests: 0, websockets: 0, mcpSessions: 0 };

/** One process: it is killed by opening the next one. */
export interface Life extends OpenSlots {
  readonly traffic: FakeTraffic;
  /** Steps and ends as they were told, such as `rotate staged`. */
  readonly told: string[];
  readonly notes: string[];
  close(): Promise<void>;
  /** Resolves once its LiteLLM was verified. */
  verified(): Promise<void>;
  /** Resolves once the handover ended. */
  ended(id: string): Promise<HandoverView>;
  step(id: string, state: HandoverView['state']): Promise<HandoverView>;
}

export interface FakeTraffic extends SlotTraffic {
  at: SlotName | undefined;
  key: Secret | undefined;
  readonly loads: Record<SlotName, SlotLoad>;
  readonly ends: SlotName[];
}

export interface Stage {
  readonly root: string;
  readonly launcher: FakeLauncher;
  /** Writes config.yaml. */
  configure(text: string): void;
  digest(): Promise<ConfigSeen>;
  /** Opens the slots as a process does at its start, and serves. */
  open(options?: {
    config?: Partial<SlotsConfig>;
    onStep?: OnStep;
    database?: boolean | 'unknown';
  }): Promise<Life>;
  /** What stands in a folder, but hidden files. */
  list(folder: 'slots' | 'state/upstream'): string[];
  read(path: string): string;
  close(): Promise<void>;
}

export function createStage(): Stage {
  const root = mkdtempSync(join(tmpdir(), 'handover-'));
  for (const folder of ['slots', 'state', 'config']) mkdirSync(join(root, folder));
  const launcher = createFakeLauncher(join(root, 'slots'));
  const lives: Life[] = [];
  const configure = (text: string): void =>
    writeFileSync(join(root, 'config/config.yaml'), `${text}\n`);
  configure('mock');
  const settings: SlotsConfig = {
    state: join(root, 'state'),
    slots: join(root, 'slots'),
    litellmConfig: join(root, 'config'),
    upstreams: launcher.urls,
    ...{ autoReload: false, upstreamRotateEveryMs: 0, saltKeySet: false },
    ...{ handoverTimeoutMs: 3_600_000, probationMs: 500, drainMs: 60_000 },
  };

  return {
    root,
    launcher,
    configure,
    digest: () => lookAtConfig(join(root, 'config')),
    async open({ config = {}, onStep = () => undefined, database = false } = {}) {
      onDiskSteps(root, onStep);
      const told: string[] = [];
      const notes: string[] = [];
      const { events, until } = createEvents(told, notes);
      const opened = await openSlots({
        config: { ...settings, ...config },
        checks: {
          ...launcher,
          readiness: () =>
            Promise.resolve({ database: database === 'unknown' ? undefined : database }),
        },
        ...{ now: launcher.now, pace: PACE, mayWrite: () => true, events },
      });
      const traffic = createTraffic(launcher, opened);
      const { start, close } = opened.runner;
      start(traffic);
      const life = { ...opened, ...waits(opened, until), close, traffic, told, notes };
      lives.push(life);
      return life;
    },
    list: (folder) => readdirSync(join(root, folder)).filter((name) => !name.startsWith('.')),
    read: (path) => readFileSync(join(root, path), 'utf8').trim(),
    async close() {
      for (const life of lives) await life.close();
      launcher.close();
      rmSync(root, { recursive: true });
    },
  };
}

type Until = <T>(what: string, found: () => T | undefined) => Promise<T>;

/** The events of a life, and a way to wait for what each of them may bring. */
function createEvents(told: string[], notes: string[]): { events: HandoverEvents; until: Until } {
  const waiting = new Set<() => void>();
  const note = (into: string[], text: string): void => {
    into.push(text);
    for (const retry of waiting) retry();
  };
  const events: HandoverEvents = {
    onStep: ({ kind, state }) => note(told, `${kind} ${state}`),
    onEnd: ({ kind, state }) => note(told, `${kind} ${state}`),
    onVerified: (slot) => note(notes, `verified ${slot}`),
    onStore: (error) => note(notes, `store ${error?.message ?? 'works'}`),
    onTrouble: (trouble) => note(notes, `trouble ${trouble?.message ?? 'is over'}`),
    onNotBegun: (by, { code }) => note(notes, `${by} ${code}`),
  };
  const until: Until = (what, found) =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        waiting.delete(retry);
        clearTimeout(timer);
      };
      const retry = (): void => {
        const result = found();
        if (result === undefined) return;
        stop();
        resolve(result);
      };
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`not in time: ${what}; told: ${[...told, ...notes].join(', ')}`));
      }, LONG_MS);
      waiting.add(retry);
      retry();
    });
  return { events, until };
}

function createTraffic(launcher: FakeLauncher, { active, key }: OpenSlots): FakeTraffic {
  const loads = { a: NOTHING, b: NOTHING };
  const ends: SlotName[] = [];
  return {
    ...{ loads, ends, at: active, key },
    switchTo(slot, given) {
      this.at = slot;
      this.key = given;
    },
    load: (slot) => loads[slot],
    end(slot) {
      ends.push(slot);
      const { requests } = loads[slot];
      loads[slot] = NOTHING;
      return Promise.resolve(requests);
    },
    isUp: launcher.isUp,
  };
}

const waits = ({ admin }: OpenSlots, until: Until) => ({
  async verified(): Promise<void> {
    await until('LiteLLM is verified', () => admin.status().verified || undefined);
  },
  step: (id: string, state: HandoverView['state']): Promise<HandoverView> =>
    until(`${id} is ${state}`, () => viewIn(admin, id, (view) => view.state === state)),
  ended: (id: string): Promise<HandoverView> =>
    until(`${id} ended`, () => viewIn(admin, id, (view) => view.endedAt !== null)),
});

/** Undefined: nobody has asked for it yet, or it is not so far. */
function viewIn(
  { handover, history }: OpenSlots['admin'],
  id: string,
  isSoFar: (view: HandoverView) => boolean,
): HandoverView | undefined {
  try {
    const view = handover(id);
    return isSoFar(view) ? view : undefined;
  } catch {
    return history().find((view) => view.id === id && isSoFar(view));
  }
}
