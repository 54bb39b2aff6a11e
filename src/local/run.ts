import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runSteps } from '../cli/screen.ts';
import { keyPlaceOf, localUrl } from '../cli/settings.ts';
import { CommandError, EXIT, type ExitCode, paint, say, type Terminal } from '../cli/terminal.ts';
import { type Child, type Layout, layoutOf, startChild, tailOf } from './child.ts';
import { type Prepared, prepare } from './prepare.ts';
import { describe, listedModels, renderScreen } from './screen.ts';

/** LiteLLM takes 6 s, and up to a minute on a slow machine without a way to the internet. */
const PATIENCE_MS = 5 * 60_000;
const BETWEEN_MS = 200;
const ONE_LOOK_MS = 2000;

/**
 * Resolves once `/readyz` of the sidecar says 200. Rejects with the reason of `signal`, or with a
 * `CommandError` after five minutes. `look` is called before each try.
 */
export async function untilReady(
  ops: string,
  signal: AbortSignal,
  look: () => void,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    signal.throwIfAborted();
    look();
    if (await answers(`${ops}/readyz`, signal)) return;
    // The next turn says why it was aborted.
    await pause(BETWEEN_MS, undefined, { signal }).catch(() => undefined);
  }
  throw new CommandError('litellm did not come up within 5 minutes', EXIT.failed);
}

async function answers(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ONE_LOOK_MS)]);
    const response = await fetch(url, { signal: limit });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** How the two ended: as asked, at once, or because one of them died. */
export type End =
  | { readonly kind: 'finished' }
  | { readonly kind: 'killed' }
  | { readonly kind: 'died'; readonly child: Child; readonly how: string };

export interface Supervisor {
  /** When both have gone. */
  readonly ended: Promise<End>;
  /** The first call ends both gracefully, the second at once. */
  interrupt(): void;
}

/**
 * Watches the sidecar and LiteLLM's launcher. The sidecar goes first: it finishes what it has in
 * hand, and for that LiteLLM must still be there. Where one dies, the other is ended.
 */
export function supervise(sidecar: Child, launcher: Child): Supervisor {
  let ending = false;
  let killed = false;
  let death: { child: Child; how: string } | undefined;

  const end = async (): Promise<void> => {
    ending = true;
    sidecar.end();
    await sidecar.exited;
    launcher.end();
  };
  const watch = async (child: Child): Promise<void> => {
    const how = await child.exited;
    if (ending) return;
    death = { child, how };
    await end();
  };
  const both = Promise.all([sidecar.exited, launcher.exited, watch(sidecar), watch(launcher)]);

  return {
    ended: both.then((): End => {
      // What a launcher that died left behind in its group goes too.
      for (const child of [sidecar, launcher]) child.kill();
      if (killed) return { kind: 'killed' };
      return death === undefined ? { kind: 'finished' } : { kind: 'died', ...death };
    }),
    interrupt() {
      if (!ending) {
        void end();
        return;
      }
      killed = true;
      sidecar.kill();
      launcher.kill();
    },
  };
}

/** The folder that holds `dist` and `deploy`. */
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const TAIL_LINES = 20;

export interface LocalOptions {
  readonly platform: string;
  /** Calls back for each Ctrl-C; returns the undo. */
  onInterrupt(callback: () => void): () => void;
}

/** `npm run local`: LiteLLM and the sidecar, until Ctrl-C. Throws `CommandError`. */
export async function runLocal(terminal: Terminal, options: LocalOptions): Promise<ExitCode> {
  const layout = layoutOf(terminal.cwd);
  const stop = new AbortController();
  let supervisor: Supervisor | undefined;
  const forget = options.onInterrupt(() => {
    const first = !stop.signal.aborted;
    stop.abort(new CommandError('interrupted', EXIT.interrupted));
    if (supervisor === undefined) return;
    if (first) say(terminal, 'finishes what is in hand', ['Ctrl-C again ends it at once']);
    supervisor.interrupt();
  });
  try {
    const prepared = await prepare(terminal, layout, options.platform, stop.signal);
    stop.signal.throwIfAborted();
    supervisor = start(terminal, layout, prepared);
    const failure = await comeUp(terminal, layout, prepared, supervisor, stop.signal);
    if (failure !== undefined) supervisor.interrupt();
    return conclude(terminal, await supervisor.ended, failure);
  } finally {
    forget();
  }
}

function start(terminal: Terminal, layout: Layout, prepared: Prepared): Supervisor {
  const { cwd } = terminal;
  const launcher = startChild({
    name: 'litellm',
    command: 'sh',
    // Nobody but this machine reaches it.
    args: [join(PROJECT, 'deploy', 'launch-litellm.sh'), '--host', '127.0.0.1'],
    cwd,
    env: prepared.litellmEnv,
    log: layout.litellmLog,
  });
  const sidecar = startChild({
    name: 'the sidecar',
    command: process.execPath,
    args: [join(PROJECT, 'dist', 'main.js')],
    cwd,
    env: prepared.sidecarEnv,
    log: layout.sidecarLog,
  });
  return supervise(sidecar, launcher);
}

/** Waits and shows the screen. Resolves to what went wrong; the end of a process is not that. */
async function comeUp(
  terminal: Terminal,
  layout: Layout,
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
      await untilReady(ops, signal, () => note(lastWords(layout.litellmLog)));
      return `${((performance.now() - started) / 1000).toFixed(1)} s`;
    };
    const step = { title: 'start litellm and the sidecar', run: wait };
    await runSteps(terminal, [step], { concurrency: 1, keepGoing: false });
    const place = keyPlaceOf(settings);
    const models = await listedModels(traffic, place, signal);
    if (signal.aborted) return undefined;
    const running = describe(place, { traffic, ops }, models, layout, terminal.cwd);
    const bold = (text: string): string => paint(terminal, terminal.stdout, 'bold', text);
    terminal.stdout.write(renderScreen(running, bold));
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof CommandError) return withTail(error, layout.litellmLog);
    throw error;
  }
}

/** The launcher puts the slot before each line; litellm's banner has empty ones. */
const lastWords = (log: string): string =>
  tailOf(log, TAIL_LINES)
    .map((line) => line.replace(/^\[[ab]\] */, ''))
    .findLast((line) => line !== '') ?? '';

const withTail = ({ message, exitCode }: CommandError, log: string): CommandError =>
  new CommandError(message, exitCode, [`all that it said is in ${log}`], tailOf(log, TAIL_LINES));

function conclude(terminal: Terminal, end: End, failure: CommandError | undefined): ExitCode {
  if (failure !== undefined) throw failure;
  if (end.kind === 'finished') return EXIT.ok;
  if (end.kind === 'killed') return EXIT.interrupted;
  const { name, log } = end.child;
  for (const line of tailOf(log, TAIL_LINES)) terminal.stderr.write(`${line}\n`);
  say(terminal, `${name} ended by itself (${end.how})`, [`all that it said is in ${log}`]);
  return EXIT.failed;
}

/** A terminal and npm both pass on one Ctrl-C: what comes this soon after is the same one. */
const SAME_PRESS_MS = 300;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls back for each request to end, one press counted once; returns the undo. */
export function onInterrupt(callback: () => void, now: () => number = Date.now): () => void {
  let last = Number.NEGATIVE_INFINITY;
  const heard = (): void => {
    const at = now();
    if (at - last < SAME_PRESS_MS) return;
    last = at;
    callback();
  };
  for (const signal of SIGNALS) process.on(signal, heard);
  return () => {
    for (const signal of SIGNALS) process.off(signal, heard);
  };
}
