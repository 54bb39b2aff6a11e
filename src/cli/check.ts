import { createGateway, type Gateway } from './check-gateway.ts';
import { type CheckedModel, type Outcome, summarise } from './check-outcome.ts';
import type { GatewayProblem } from './check-problem.ts';
import { inWords, renderJson, renderSummary, renderTable } from './check-report.ts';
import type { CheckTarget } from './check-target.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { runSteps } from './progress.ts';
import { paint, say, type Terminal } from './terminal.ts';
import { readVersion } from './version.ts';

export interface CheckOptions {
  /** Only these; empty: all that are listed. */
  readonly models: readonly string[];
  readonly stream: boolean;
  readonly json: boolean;
  readonly timeoutMs: number;
}

/** Enough to be quick, few enough that a provider's rate limit is not what is measured. */
const AT_ONCE = 8;
/** Of a table that goes to a file or a pipe. */
const WIDTH = 100;

/**
 * `sidecar check`: each model of the gateway gets a tiny chat request through the sidecar.
 * `signal` is Ctrl-C: what is known by then is shown.
 */
export async function check(
  terminal: Terminal,
  target: CheckTarget,
  options: CheckOptions,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { timeoutMs } = options;
  const gateway = createGateway({ ...target, timeoutMs, signal, version: readVersion() });
  const listed = await gateway.models();
  if (signal.aborted) return EXIT.interrupted;
  const models = pick(listed, options.models);
  if ('message' in models) {
    const at = `${target.url.href}, with the key from ${target.keySource}`;
    say(terminal, `${models.message} (${at})`, models.hints);
    if (options.json) terminal.stdout.write(renderJson(target.url, [], models));
    return EXIT.failed;
  }
  const rows = await probeAll(terminal, gateway, models, options.stream);
  report(terminal, target.url, rows, options);
  if (signal.aborted) return EXIT.interrupted;
  return summarise(rows).passed ? EXIT.ok : EXIT.failed;
}

/** The models to ask: those that were named, or all that are listed. */
function pick(
  listed: readonly string[] | GatewayProblem,
  named: readonly string[],
): readonly string[] | GatewayProblem {
  if ('message' in listed || (named.length === 0 && listed.length > 0)) return listed;
  if (named.length > 0) return [...new Set(named)];
  const hints = ["name one in the model_list of config.yaml; litellm's own log says what it read"];
  return { message: 'the gateway lists no model', hints, refusal: undefined };
}

async function probeAll(
  terminal: Terminal,
  gateway: Gateway,
  models: readonly string[],
  stream: boolean,
): Promise<readonly CheckedModel[]> {
  const outcomes = new Map<string, Outcome>();
  const probe = async (model: string): Promise<string> => {
    const outcome: Outcome = model.includes('*')
      ? { state: 'skipped', error: 'a pattern; name one of its models with --model' }
      : await gateway.probe(model, stream);
    outcomes.set(model, outcome);
    if (outcome.state === 'failed') throw new Error(inWords(outcome));
    return inWords(outcome);
  };
  const steps = models.map((model) => ({ title: model, run: () => probe(model) }));
  await runSteps(terminal, steps, { concurrency: AT_ONCE, keepGoing: true });
  return models.map((model) => ({
    model,
    outcome: outcomes.get(model) ?? { state: 'unfinished' },
  }));
}

function report(
  terminal: Terminal,
  url: URL,
  rows: readonly CheckedModel[],
  { json, stream }: CheckOptions,
): void {
  const { stdout } = terminal;
  if (json) {
    stdout.write(renderJson(url, rows));
    return;
  }
  const painted = (style: 'green' | 'red' | 'yellow' | 'dim', text: string): string =>
    paint(terminal, stdout, style, text);
  stdout.write(`${renderTable(rows, stream, painted, stdout.columns ?? WIDTH)}\n`);
  stdout.write(`${renderSummary(rows)}\n`);
}
