import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { HandoverEvents, SlotTraffic } from '../../src/handover/contracts.ts';
import { type OpenSlots, openSlots, type SlotsConfig } from '../../src/handover/open-slots.ts';
import type { HandoverView } from '../../src/handover/views.ts';
import type { SlotLoad, SlotName } from '../../src/litellm/slots.ts';
import type { Secret } from '../../src/secret.ts';
import type { FaultPoint } from '../../src/store/durable-file.ts';
import { createFakeLauncher, type FakeLauncher } from './fake-launcher.ts';

/** Everything that waits by the clock waits this many times shorter. */
const FASTER = 50;
const began = performance.now();
const BASE = Date.UTC(2026, 0, 1);

const PACE = { tickMs: 10, checkMs: 500, slowCheckMs: 500, troubleMs: 20, sleepMs: 50 };
const NOTHING: SlotLoad = { requests: 0, websockets: 0, mcpSessions: 0 };

/** One process: it is killed by opening the next one. */
export interface Life extends OpenSlots {
  readonly traffic: FakeTraffic;
  /** Steps and ends as they were told, such as `rotate staged`. */
  readonly told: string[];
  readonly notes: string[];
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
  digest(): Promise<string>;
  /** Opens the slots as a process does at its start, and serves. */
  open(options?: {
    config?: Partial<SlotsConfig>;
    fault?: FaultPoint;
    database?: boolean | 'unknown';
  }): Promise<Life>;
  /** What stands in a folder, but hidden files. */
  list(folder: 'slots' | 'state/upstream'): string[];
  read(path: string): string;
  now(): number;
  close(): Promise<void>;
}

export async function createStage(): Promise<Stage> {
  const root = mkdtempSync(join(tmpdir(), 'handover-'));
  for (const folder of ['slots', 'state', 'config']) mkdirSync(join(root, folder));
  const launcher = await createFakeLauncher(join(root, 'slots'));
  const lives: Life[] = [];
  const now = (): number => BASE + (performance.now() - began) * FASTER;
  const configure = (text: string): void =>
    writeFileSync(join(root, 'config/config.yaml'), `${text}\n`);
  configure('mock');
  const settings: SlotsConfig = {
    state: join(root, 'state'),
    slots: join(root, 'slots'),
    litellmConfig: join(root, 'config'),
    upstreams: launcher.urls,
    ...{ autoReload: false, upstreamRotateEveryMs: 0, saltKeySet: false },
    ...{ handoverTimeoutMs: 60_000, probationMs: 500, drainMs: 60_000 },
  };

  return {
    root,
    launcher,
    configure,
    async digest() {
      const { createSlots } = await import('../../src/litellm/slots.ts');
      return createSlots({ folder: join(root, 'slots') }).digestConfig(join(root, 'config'));
    },
    async open({ config = {}, fault, database = false } = {}) {
      const told: string[] = [];
      const notes: string[] = [];
      const opened = await openSlots({
        config: { ...settings, ...config },
        checks: {
          ...launcher,
          readiness: () =>
            Promise.resolve({ database: database === 'unknown' ? undefined : database }),
          masterKeyLine: () => Promise.resolve(3),
        },
        ...{ now, pace: PACE, mayWrite: () => true, events: eventsInto(told, notes) },
        ...(fault !== undefined && { fault }),
      });
      const traffic = createTraffic(launcher, opened);
      opened.start(traffic);
      const life = { ...opened, ...waits(opened), traffic, told, notes };
      lives.push(life);
      return life;
    },
    list: (folder) => readdirSync(join(root, folder)).filter((name) => !name.startsWith('.')),
    read: (path) => readFileSync(join(root, path), 'utf8').trim(),
    now,
    async close() {
      for (const life of lives) await life.close();
      await launcher.close();
      rmSync(root, { recursive: true });
    },
  };
}

const eventsInto = (told: string[], notes: string[]): HandoverEvents => ({
  onStep: ({ kind, state }) => told.push(`${kind} ${state}`),
  onEnd: ({ kind, state }) => told.push(`${kind} ${state}`),
  onVerified: (slot) => notes.push(`verified ${slot}`),
  onStore: (error) => notes.push(`store ${error?.message ?? 'works'}`),
  onTrouble: (trouble) => notes.push(`trouble ${trouble?.message ?? 'is over'}`),
  onNotBegun: (by, { code }) => notes.push(`${by} ${code}`),
});

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

function waits({ admin }: OpenSlots) {
  const step = async (id: string, state: HandoverView['state']): Promise<HandoverView> =>
    await vi.waitFor(
      () => {
        const view = admin.handover(id);
        if (view.state !== state) throw new Error(`${id} is ${view.state}, not ${state}`);
        return view;
      },
      { timeout: 8000, interval: 10 },
    );
  const ended = async (id: string): Promise<HandoverView> =>
    await vi.waitFor(
      () => {
        const view = admin.handover(id);
        if (view.endedAt === null) throw new Error(`${id} is ${view.state}`);
        return view;
      },
      { timeout: 8000, interval: 10 },
    );
  return { step, ended };
}
