import { afterEach } from 'vitest';
import { type FakeUpstream, type Script, startFakeUpstream } from './fake-upstream.ts';
import { type Settings, type Sidecar, type Surroundings, startSidecar } from './sidecar.ts';

/** A sidecar and the LiteLLM behind it. */
export interface Stage {
  readonly sidecar: Sidecar;
  readonly upstream: FakeUpstream;
}

/** Makes stages, and takes them down after each test of the file it is called in. */
export function createStages() {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return async (
    options: {
      script?: Script;
      settings?: Settings;
      surroundings?: Surroundings;
      /** Whether LiteLLM takes the sidecar's key; it does where nothing is said. */
      takesKey?: boolean;
      /** What it lists when the sidecar asks with that key; nothing where nothing is said. */
      models?: readonly string[];
    } = {},
  ): Promise<Stage> => {
    const upstream = await startFakeUpstream(options.script);
    upstream.takesKey(options.takesKey ?? true);
    upstream.lists(options.models ?? []);
    ends.push(upstream.stop);
    const sidecar = await startSidecar(upstream.port, options.settings, options.surroundings);
    ends.push(sidecar.stop);
    // From here on what is said of LiteLLM's going is about what the test does to it.
    await eventually(() => (sidecar.logText().includes('LiteLLM answers') ? true : undefined));
    return { sidecar, upstream };
  };
}

/** Resolves once a look finds what it waits for. For what tells nobody: gauges, logs. */
export async function eventually<Found>(look: () => Found | undefined): Promise<Found> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}

/** Resolves to a number that grows, once it has not grown for a while. */
export async function settled(read: () => number): Promise<number> {
  for (let before = read(); ; ) {
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    const now = read();
    if (now === before) return now;
    before = now;
  }
}

/** Resolves once the sidecar has found LiteLLM away: who asked for it is held by then. */
export const foundAway = (sidecar: Sidecar) =>
  eventually(() => sidecar.logLines().find(({ msg }) => msg === 'LiteLLM is away'));

/** The one access line with this property, once it was written. */
export const accessLine = (sidecar: Sidecar, outcome?: string) =>
  eventually(() => sidecar.accessLines().find((line) => line['outcome'] === outcome));

/** A series of the sidecar's metrics; 0 where it is not there. */
export async function series(sidecar: Sidecar, name: string): Promise<number> {
  const text = await sidecar.metrics();
  const line = text.split('\n').find((each) => each.startsWith(`litellm_sidecar_${name} `));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
}
