/** Handovers under load, each beside a LiteLLM that only comes and goes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HandoverView } from '../../src/handover/views.ts';
import { type Admin, bodyOf } from '../harness/admin.ts';
import { residentBytes } from '../harness/machine.ts';
import { progress, say } from '../harness/processes.ts';
import { beginLoad, type LoadFigures, type Span, wallMs } from './clients.ts';
import { type Gateway, startGateway } from './gateway.ts';

export interface Effort {
  readonly cycles: number;
  readonly streamSeconds: number;
  readonly clients: number;
  readonly streams: number;
  readonly warmMs: number;
  /** Kills of the sidecar, at the least. */
  readonly kills: number;
}

/** How long what comes after a switch, or after the start of the other LiteLLM, is watched. */
const AFTER_MS = 2000;

/** The streams end by themselves: what has to be cut is a fault. */
const SETTINGS = { SIDECAR_DRAIN: '5m', SIDECAR_PROBATION: '5s' };

/** Often while steps are short, so that few go unseen. Milliseconds. */
const LOOK_MS = 20;

export const hasEnded = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

export const look = async (admin: Admin, id: string): Promise<HandoverView> =>
  bodyOf(await admin.handover(id), id);

/** @throws where it has not ended after `patienceMs` */
export async function untilEnded(admin: Admin, id: string, patienceMs: number) {
  const from = performance.now();
  for (;;) {
    const view = await look(admin, id);
    if (hasEnded(view)) return view;
    if (performance.now() - from > patienceMs) throw new Error(`${id} stays ${view.state}`);
    await sleep(LOOK_MS);
  }
}

/** One LiteLLM that came and went, and one that took over. */
export interface Cycle {
  /** From the start to its first answer, and AFTER_MS more. */
  readonly beside: Span;
  /** From the request to the switch, and AFTER_MS more; without a switch to the end. */
  readonly handover: Span;
  readonly view: HandoverView;
  /** The sidecar's resident memory in the end, in MB. */
  readonly memory: number;
}

export interface RunFigures {
  readonly load: LoadFigures;
  readonly cycles: readonly Cycle[];
  readonly wrongAfterwards: readonly string[];
}

async function runCycle(gateway: Gateway, kind: 'rotate' | 'reload'): Promise<Cycle> {
  const from = wallMs();
  await gateway.startBeside(AFTER_MS);
  const beside = { from, to: wallMs() };
  const admin = gateway.admin();
  const { id } = bodyOf(await admin.handOver(kind), 'a handover');
  const view = await untilEnded(admin, id, 600_000);
  const to = wallMs();
  const switchedAt = view.switchedAt === null ? to : Date.parse(view.switchedAt);
  const handover = { from: Date.parse(view.startedAt), to: switchedAt + AFTER_MS };
  const memory = residentBytes([gateway.sidecarPid()]) / 1e6;
  return { beside, handover, view, memory };
}

export async function measureRuns(
  folder: string,
  options: { bin: string; key: string; effort: Effort },
): Promise<RunFigures> {
  const { key, effort } = options;
  const gateway = await startGateway(folder, { ...options, settings: SETTINGS });
  const load = beginLoad({ ...effort, port: gateway.port, key });
  await sleep(effort.warmMs);
  load.begin();
  const cycles: Cycle[] = [];
  for (let at = 0; at < effort.cycles; at += 1) {
    progress(`cycle ${at + 1} of ${effort.cycles}`);
    const from = wallMs();
    const cycle = await runCycle(gateway, at % 2 === 0 ? 'rotate' : 'reload');
    cycles.push(cycle);
    const { kind, state, fault } = cycle.view;
    const took = ((wallMs() - from) / 1000).toFixed(0);
    const why = fault === null ? '' : `: ${fault.code}, ${fault.message}`;
    say(`cycle ${at + 1}: ${kind} ${state} in ${took} s${why}; ${load.failed()} requests failed`);
  }
  const figures = await load.end();
  const wrongAfterwards = await gateway.inspect();
  const cut = figures.streams.flatMap(({ fault }) => fault ?? []);
  const wrong = [...cut.map((fault) => `a stream: ${fault}`), ...wrongAfterwards];
  for (const [what, count] of figures.faults) wrong.push(`a request: ${what} (${count})`);
  if (wrong.length > 0) for (const line of [...wrong, ...gateway.lastWords()]) say(`  ${line}`);
  await gateway.stop();
  return { load: figures, cycles, wrongAfterwards };
}
