import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createGatewayProbe } from '../cli/gateway-probe.ts';
import { findMasterKey, type MasterKeyPlace } from '../cli/key-place.ts';
import { runSteps } from '../cli/progress.ts';
import { localUrl, VERSION } from '../cli/settings.ts';
import { CommandError, EXIT, type ExitCode, paint, say, type Terminal } from '../cli/terminal.ts';
import { renderBanner } from './banner.ts';
import { type Layout, layoutOf, type Prepared, prepare } from './prepare.ts';
import { type SupervisedEnd, type Supervisor, startChild, supervise, tailOf } from './processes.ts';

/** `npm run local`: LiteLLM and the sidecar, until Ctrl-C. Throws `CommandError`. */
export async function runLocal(terminal: Terminal): Promise<ExitCode> {
  const layout = layoutOf(terminal.cwd);
  const stop = new AbortController();
  let supervisor: Supervisor | undefined;
  const forget = onInterrupt(() => {
    const first = !stop.signal.aborted;
    stop.abort(new CommandError('interrupted', EXIT.interrupted));
    if (supervisor === undefined) return;
    if (first) say(terminal, 'finishes what is in hand', ['Ctrl-C again ends it at once']);
    supervisor.interrupt();
  });
  try {
    const prepared = await prepare(terminal, layout, stop.signal);
    stop.signal.throwIfAborted();
    supervisor = start(terminal, layout, prepared);
    const failure = await comeUp(terminal, layout, prepared, supervisor, stop.signal);
    if (failure !== undefined) supervisor.interrupt();
    return conclude(terminal, await supervisor.ended, failure);
  } finally {
    forget();
  }
}

/** A terminal and npm both pass on one Ctrl-C: a signal this soon after another is the same one. */
const SAME_PRESS_MS = 300;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls back for each request to end, one press counted once; returns the undo. */
export function onInterrupt(callback: () => void): () => void {
  let last = Number.NEGATIVE_INFINITY;
  const heard = (): void => {
    const at = Date.now();
    if (at - last < SAME_PRESS_MS) return;
    last = at;
    callback();
  };
  for (const signal of SIGNALS) process.on(signal, heard);
  return () => {
    for (const signal of SIGNALS) process.off(signal, heard);
  };
}

/** The folder that holds `dist` and `deploy`. */
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

function start({ cwd }: Terminal, layout: Layout, prepared: Prepared): Supervisor {
  // Nobody but this machine reaches LiteLLM.
  const launch = ['sh', join(PROJECT, 'deploy', 'launch-litellm.sh'), '--host', '127.0.0.1'];
  const serve = [process.execPath, join(PROJECT, 'dist', 'main.js')];
  const { litellmEnv, sidecarEnv } = prepared;
  const launcher = startChild('litellm', layout.litellmLog, launch, { cwd, env: litellmEnv });
  const sidecar = startChild('the sidecar', layout.sidecarLog, serve, { cwd, env: sidecarEnv });
  return supervise(sidecar, launcher);
}

/**
 * Waits until both answer, and shows the banner. Resolves to what went wrong, but for the end of a
 * process, which the supervisor tells.
 */
async function comeUp(
  terminal: Terminal,
  { litellmLog, sidecarLog }: Layout,
  { settings, ports }: Prepared,
  supervisor: Supervisor,
  stop: AbortSignal,
): Promise<CommandError | undefined> {
  const { config } = settings;
  const traffic = localUrl(config.host, ports.traffic);
  const ops = localUrl(config.opsHost, ports.ops);
  const died = new AbortController();
  void supervisor.ended.then(() => died.abort(new CommandError('a process ended')));
  const signal = AbortSignal.any([stop, died.signal]);
  try {
    const wait = async (note: (text: string) => void): Promise<string> => {
      const started = performance.now();
      await untilReady(ops, signal, () => note(lastWords(litellmLog)));
      return `${((performance.now() - started) / 1000).toFixed(1)} s`;
    };
    const step = { title: 'start litellm and the sidecar', run: wait };
    await runSteps(terminal, [step], { concurrency: 1, keepGoing: false });
    const key = findMasterKey(settings);
    const models = await listedModels(traffic, key, signal);
    if (signal.aborted) return undefined;
    const facts = { traffic, ops, key, models, logs: [sidecarLog, litellmLog] };
    const bold = (text: string): string => paint(terminal, terminal.stdout, 'bold', text);
    terminal.stdout.write(renderBanner(facts, terminal.cwd, bold));
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!(error instanceof CommandError)) throw error;
    const { message, exitCode } = error;
    return new CommandError(
      message,
      exitCode,
      [`all that it said is in ${litellmLog}`],
      tailOf(litellmLog),
    );
  }
}

/** LiteLLM takes 6 s, and up to a minute on a slow machine without a way to the internet. */
const PATIENCE_MS = 5 * 60_000;
const BETWEEN_MS = 200;
const READINESS_WITHIN_MS = 2000;

/**
 * Resolves once `/readyz` of the sidecar says 200. Rejects with the reason of `signal`, or with a
 * `CommandError` after five minutes. `onTry` is called before each try.
 */
async function untilReady(ops: string, signal: AbortSignal, onTry: () => void): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    signal.throwIfAborted();
    onTry();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(READINESS_WITHIN_MS)]);
    const answer = await fetch(`${ops}/readyz`, { signal: limit }).catch(() => undefined);
    await answer?.body?.cancel().catch(() => undefined);
    if (answer?.status === 200) return;
    // A pause that is aborted rejects; the next turn of the loop throws the reason.
    await pause(BETWEEN_MS, undefined, { signal }).catch(() => undefined);
  }
  throw new CommandError('litellm did not come up within 5 minutes', EXIT.failed);
}

/** What LiteLLM said last. The launcher puts the slot before each line, and before an empty one. */
const lastWords = (log: string): string =>
  tailOf(log)
    .map((line) => line.replace(/^\[[ab]\] */, ''))
    .findLast((line) => line !== '') ?? '';

const MODELS_WITHIN_MS = 5000;

/** Asks the sidecar, as its client, which models LiteLLM lists; none where there is no answer. */
async function listedModels(
  traffic: string,
  place: MasterKeyPlace,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (place.kind === 'absent') return [];
  const listed = await createGatewayProbe({
    url: new URL(traffic),
    key: place.key,
    timeoutMs: MODELS_WITHIN_MS,
    version: VERSION,
    signal,
  }).models();
  return 'message' in listed ? [] : [...listed.keys()];
}

function conclude(
  terminal: Terminal,
  end: SupervisedEnd,
  failure: CommandError | undefined,
): ExitCode {
  if (failure !== undefined) throw failure;
  if (end.kind === 'finished') return EXIT.ok;
  if (end.kind === 'killed') return EXIT.interrupted;
  const { name, log } = end.child;
  for (const line of tailOf(log)) terminal.stderr.write(`${line}\n`);
  say(terminal, `${name} ended by itself (${end.how})`, [`all that it said is in ${log}`]);
  return EXIT.failed;
}
