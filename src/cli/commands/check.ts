import { resolve } from 'node:path';
import Table from 'cli-table3';
import { InvalidArgumentError } from 'commander';
import { readDuration } from '../../config/units.ts';
import type { Secret } from '../../secret.ts';
import { oneLine } from '../../text/safe.ts';
import { noKeyYet, readKeyFile } from '../key-place.ts';
import { runSteps } from '../screen.ts';
import {
  keyPlaceOf,
  localUrl,
  readClientSettings,
  readVersion,
  type SettingsInForce,
} from '../settings.ts';
import { CommandError, EXIT, type ExitCode, paint, say, type Terminal } from '../terminal.ts';
import {
  type CheckedModel,
  createGateway,
  type Gateway,
  type GatewayProblem,
  type Outcome,
  summarise,
} from './probe.ts';

/** undici, which is beneath fetch, gives up after 300 s by itself. */
const LONGEST_MS = 300_000;

/**
 * `30s`, `1500ms`, `2m` in milliseconds: 1 ms to 5 m. Throws commander's `InvalidArgumentError`.
 */
export function parseTimeout(text: string): number {
  const reading = readDuration(text);
  if ('value' in reading && reading.value >= 1 && reading.value <= LONGEST_MS) return reading.value;
  const hint = 'hint' in reading && reading.hint !== '' ? ` (${reading.hint})` : '';
  throw new InvalidArgumentError(`it wants a duration from 1ms to 5m, such as 30s${hint}`);
}

/**
 * A URL of a gateway: http or https, a path where it stands under one. Throws commander's
 * `InvalidArgumentError`, or `CommandError` where the value must not be repeated.
 */
export function parseGatewayUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('it wants http:// or https:// and a host');
  }
  if (url.username !== '' || url.password !== '') {
    // Not commander's error, which would repeat the password.
    throw new CommandError('--url may hold no user and no password', EXIT.usage, [
      'the key goes into a file, and its path to --key-file',
    ]);
  }
  if (url.search !== '' || url.hash !== '') {
    throw new InvalidArgumentError('it may hold no ? and no #');
  }
  return url;
}

/** Puts a style on a text, or leaves it as it is. */
export type Paint = (style: 'green' | 'red' | 'yellow' | 'dim', text: string) => string;

/** Milliseconds for people: `412 ms`, `3.4 s`. */
export const formatMs = (ms: number | undefined): string => {
  if (ms === undefined) return '-';
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
};

/** An outcome in a few words, for a progress line. */
export function inWords(outcome: Outcome): string {
  if (outcome.state === 'ok') return `ok, ${formatMs(outcome.latencyMs)}`;
  return outcome.state === 'unfinished' ? 'not finished' : oneLine(outcome.error, 120);
}

function verdictCell(outcome: Outcome, paint: Paint): string {
  switch (outcome.state) {
    case 'ok':
      return paint('green', 'ok');
    case 'failed':
      return paint('red', oneLine(outcome.error, 240));
    case 'skipped':
      return paint('yellow', `skipped: ${outcome.error}`);
    case 'unfinished':
      return paint('dim', 'not finished');
  }
}

/** What the columns beside the verdict take: names, times, borders. */
const OTHER_COLUMNS = 36;
const NARROWEST_VERDICT = 24;

/** The table of results, at most `width` characters wide where the model names allow it. */
export function renderTable(
  rows: readonly CheckedModel[],
  stream: boolean,
  paint: Paint,
  width: number,
): string {
  const longest = Math.max(...rows.map(({ model }) => model.length), 'model'.length);
  const room = Math.max(NARROWEST_VERDICT, width - longest - OTHER_COLUMNS);
  const plain = rows.map(({ outcome }) => verdictCell(outcome, (_style, text) => text).length);
  const table = new Table({
    head: ['model', 'result', 'latency', stream ? 'first event' : 'first byte'],
    colWidths: [null, Math.min(room, Math.max(...plain, 'result'.length) + 2), null, null],
    colAligns: ['left', 'left', 'right', 'right'],
    style: { head: [], border: [] },
    wordWrap: true,
  });
  for (const { model, outcome } of rows) {
    const latency = 'latencyMs' in outcome ? outcome.latencyMs : undefined;
    const firstByte = 'firstByteMs' in outcome ? outcome.firstByteMs : undefined;
    const verdict = verdictCell(outcome, paint);
    table.push([oneLine(model), verdict, formatMs(latency), formatMs(firstByte)]);
  }
  return table.toString();
}

/** The last line: how many of each. */
export function renderSummary(rows: readonly CheckedModel[]): string {
  const { ok, failed, skipped, unfinished } = summarise(rows);
  const extra = [
    failed > 0 ? `${failed} failed` : '',
    skipped > 0 ? `${skipped} skipped` : '',
    unfinished > 0 ? `${unfinished} not finished` : '',
  ].filter((part) => part !== '');
  return [`${ok} of ${rows.length} ok`, ...extra].join(', ');
}

/** One JSON document for machines, with a line break at its end; times are milliseconds. */
export function renderJson(
  url: URL,
  rows: readonly CheckedModel[],
  problem?: GatewayProblem,
): string {
  const { passed, ...counts } = summarise(rows);
  const models = rows.map(({ model, outcome }) => ({ model, ...outcome }));
  return `${JSON.stringify({ url: url.href, passed, ...counts, models, problem }, null, 2)}\n`;
}

/** Which gateway to check, and as whom. */
export interface CheckTarget {
  readonly url: URL;
  readonly key: Secret;
  /** For people: where the key was found. */
  readonly keySource: string;
}

export interface TargetFlags {
  readonly url?: URL;
  readonly keyFile?: string;
}

type Credential = Omit<CheckTarget, 'url'>;

/**
 * What the flags name; what they leave open comes from the settings, which are not read where
 * nothing is left open. Throws `CommandError`.
 */
export function resolveTarget(terminal: Terminal, { url, keyFile }: TargetFlags): CheckTarget {
  const named = keyFile === undefined ? undefined : fromFile(resolve(terminal.cwd, keyFile));
  if (url !== undefined && named !== undefined) return { url, ...named };
  const settings = readClientSettings(terminal);
  return { url: url ?? ownUrl(settings), ...(named ?? fromSettings(settings)) };
}

function fromFile(file: string): Credential {
  const key = readKeyFile(file);
  if (key !== undefined) return { key, keySource: file };
  // A key that was put where its file's name belongs is not repeated.
  const shown = /sk-/.test(file) ? 'of this name' : file;
  throw new CommandError(`there is no key file ${shown}`, EXIT.failed, [
    '--key-file wants the path of a file that holds the key, not the key',
  ]);
}

function fromSettings(settings: SettingsInForce): Credential {
  const place = keyPlaceOf(settings);
  if (place.kind === 'absent') throw noKeyYet(place.file);
  return { key: place.key, keySource: place.where };
}

function ownUrl({ config }: SettingsInForce): URL {
  if (config.port !== 0) return new URL(localUrl(config.host, config.port));
  throw new CommandError('SIDECAR_PORT is 0: nobody but the sidecar knows its port', EXIT.failed, [
    'its ready line says which one it took: give it with --url',
  ]);
}

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
