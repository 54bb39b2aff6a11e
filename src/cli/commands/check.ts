import { resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { readDuration } from '../../config/units.ts';
import type { Secret } from '../../secret.ts';
import { oneLine } from '../../text/safe.ts';
import type { CommandDefinition } from '../command.ts';
import {
  createGatewayProbe,
  type GatewayProbe,
  type GatewayProblem,
  type ListedModels,
  type ProbeResult,
} from '../gateway-probe.ts';
import { findMasterKey, keyFromFile, noKeyYet } from '../key-place.ts';
import { missingCredential } from '../missing-credential.ts';
import { questionFor } from '../model-question.ts';
import { type JsonFlag, wants } from '../options.ts';
import { runSteps } from '../progress.ts';
import { localUrl, readClientSettings, type SettingsInForce, VERSION } from '../settings.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  paint,
  type Style,
  say,
  type Terminal,
} from '../terminal.ts';

const HELP = `
Sends one tiny request to each model, eight at once: to a model for embeddings, speech, images,
transcription, reranking or moderation one of that kind (an image costs some cents), to all others
a chat. What is for something else, such as video or realtime, is not tried, and said. The key
comes from --key-file, else it is the newest one of master in SIDECAR_STATE, else the declared one
(LITELLM_MASTER_KEY).

Examples:
  $ sidecar check
  $ sidecar check --model nvidia-llama-3-1-405b --stream
  $ sidecar check --url https://llm.example.com --key-file ./ci.key --json

Exit codes: 0 where all answer, 1 where one fails or none is listed, 130 after Ctrl-C
`;

interface CheckFlags extends JsonFlag {
  readonly url?: URL;
  readonly keyFile?: string;
  readonly model?: readonly string[];
  readonly stream?: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

/** `sidecar check` */
export const checkCommand: CommandDefinition = (program, { terminal, interrupts, end }) => {
  program
    .command('check')
    .description('ask every model of the gateway for what it is for, through the sidecar')
    .option('--url <url>', 'the gateway (default: this one, by its settings)', parseGatewayUrl)
    .option('--key-file <file>', 'a file that holds the key to present')
    .option('--model <name>', 'only this model; may be repeated', collect)
    .option(
      '--stream',
      'ask for streams of chats; measure the first event, expect [DONE] at the end',
    )
    .option('--json', 'one json document instead of the table')
    .addOption(
      new Option('--timeout <duration>', 'how long one answer may take, up to 5m')
        .argParser(parseTimeout)
        .default(30_000, '30s'),
    )
    .addHelpText('after', HELP)
    .action(async (flags: CheckFlags) => {
      const { model: models = [], stream = false, json = false, timeout: timeoutMs } = flags;
      const options = { models, stream, json, timeoutMs };
      end(await check(terminal, resolveTarget(terminal, flags), options, interrupts()));
    });
};

/** undici, which is beneath fetch, gives up after 300 s by itself. */
const LONGEST_MS = 300_000;

/** `30s`, `1500ms`, `2m` in milliseconds. */
function parseTimeout(text: string): number {
  const reading = readDuration(text);
  if ('value' in reading && reading.value >= 1 && reading.value <= LONGEST_MS) return reading.value;
  throw wants('a duration from 1ms to 5m, such as 30s', 'hint' in reading ? reading.hint : '');
}

/** The URL of a gateway: http or https, with a path where the gateway stands under one. */
function parseGatewayUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wants('http:// or https:// and a host');
  }
  if (url.username !== '' || url.password !== '') {
    // Not an error of commander's, which would repeat the password.
    throw new CommandError('--url may hold no user and no password', EXIT.usage, [
      'the key goes into a file, and its path to --key-file',
    ]);
  }
  if (url.search !== '' || url.hash !== '') {
    throw new InvalidArgumentError('it may hold no ? and no #');
  }
  return url;
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
];

export interface CheckOptions {
  /** Only these; empty: all that are listed. */
  readonly models: readonly string[];
  readonly stream: boolean;
  readonly json: boolean;
  readonly timeoutMs: number;
}

/**
 * Each model of the gateway gets a tiny request through the sidecar, of what the model is for.
 * `signal` is Ctrl-C: what is known by then is shown.
 */
export async function check(
  terminal: Terminal,
  target: CheckTarget,
  options: CheckOptions,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { timeoutMs, json, stream } = options;
  const { stdout } = terminal;
  const probe = createGatewayProbe({ ...target, timeoutMs, signal, version: VERSION });
  const listed = await probe.models();
  if (signal.aborted) return EXIT.interrupted;
  const models = pick(listed, options.models);
  if ('message' in models) {
    const at = `${target.url.href}, with the key from ${target.keySource}`;
    say(terminal, `${models.message} (${at})`, models.hints);
    if (json) stdout.write(renderJson(target.url, [], models));
    return EXIT.failed;
  }
  const checked = await checkEach(terminal, probe, models, stream);
  if (json) {
    stdout.write(renderJson(target.url, checked));
  } else {
    const table = await renderTable(terminal, checked, stream);
    stdout.write(`${table}\n${renderSummary(checked)}\n`);
  }
  if (signal.aborted) return EXIT.interrupted;
  return summarise(checked).passed ? EXIT.ok : EXIT.failed;
}

/** Which gateway to check, and as whom. */
interface CheckTarget {
  readonly url: URL;
  readonly key: Secret;
  /** For people: where the key was found. */
  readonly keySource: string;
}

type Credential = Omit<CheckTarget, 'url'>;

/**
 * What the flags name; what they leave open comes from the settings, which are not read where
 * nothing is left open. Throws `CommandError`.
 */
function resolveTarget(
  terminal: Terminal,
  { url, keyFile }: { readonly url?: URL; readonly keyFile?: string },
): CheckTarget {
  const named = keyFile === undefined ? undefined : keyInFile(resolve(terminal.cwd, keyFile));
  if (url !== undefined && named !== undefined) return { url, ...named };
  const settings = readClientSettings(terminal);
  return { url: url ?? ownUrl(settings), ...(named ?? ownKey(settings)) };
}

function keyInFile(file: string): Credential {
  const key = keyFromFile(file);
  if (key !== undefined) return { key, keySource: file };
  // A key that was given in place of its file's name is not repeated.
  const shown = /sk-/.test(file) ? 'of this name' : file;
  throw new CommandError(`there is no key file ${shown}`, EXIT.failed, [
    '--key-file wants the path of a file that holds the key, not the key',
  ]);
}

function ownKey(settings: SettingsInForce): Credential {
  const place = findMasterKey(settings);
  if (place.kind === 'absent') throw noKeyYet(place.file);
  return { key: place.key, keySource: place.where };
}

function ownUrl({ config }: SettingsInForce): URL {
  if (config.port !== 0) return new URL(localUrl(config.host, config.port));
  throw new CommandError('SIDECAR_PORT is 0: nobody but the sidecar knows its port', EXIT.failed, [
    'its ready line says which one it took: give it with --url',
  ]);
}

/** The models to ask, with what each is for: those that were named, or all that are listed. */
function pick(
  listed: ListedModels | GatewayProblem,
  named: readonly string[],
): ListedModels | GatewayProblem {
  if ('message' in listed || (named.length === 0 && listed.size > 0)) return listed;
  if (named.length > 0) return new Map(named.map((name) => [name, listed.get(name)]));
  const hints = [
    "name one in the model_list of config.yaml; litellm's own log says what it read",
    'with the key of a client: sidecar clients show says which models it may use',
  ];
  return { message: 'the gateway lists no model', hints, refusal: undefined };
}

interface CheckedModel {
  readonly model: string;
  /** What it is for; undefined: the gateway does not say, so that it was asked to chat. */
  readonly mode?: string | undefined;
  readonly result: CheckResult;
}

/** What became of one model; a pattern is no model, and one without a provider's key no fault. */
export type CheckResult = ProbeResult | { readonly state: 'skipped'; readonly error: string };

/** Enough to be quick, few enough that a provider's rate limit is not what is measured. */
const AT_ONCE = 8;

async function checkEach(
  terminal: Terminal,
  probe: GatewayProbe,
  models: ListedModels,
  stream: boolean,
): Promise<readonly CheckedModel[]> {
  const results = new Map<string, CheckResult>();
  const askOne = async (model: string): Promise<CheckResult> => {
    const skipped = (error: string) => ({ state: 'skipped', error }) as const;
    if (model.includes('*')) return skipped('a pattern; name one of its models with --model');
    const mode = models.get(model);
    const question = questionFor(mode);
    if (question !== undefined) {
      const result = await probe.ask(model, question, stream);
      const missing = result.state === 'failed' ? missingCredential(result.error) : undefined;
      if (missing === undefined) return result;
      return skipped(`${missing} is not set for LiteLLM; it goes into .env or litellm.env`);
    }
    return skipped(`it is for ${oneLine(mode ?? '', 40)}, which is not tried`);
  };
  const checkOne = async (model: string): Promise<string> => {
    const result = await askOne(model);
    results.set(model, result);
    if (result.state === 'failed') throw new Error(inWords(result));
    return inWords(result);
  };
  const steps = [...models.keys()].map((title) => ({ title, run: () => checkOne(title) }));
  await runSteps(terminal, steps, { concurrency: AT_ONCE, keepGoing: true });
  return [...models].map(([model, mode]) => {
    const result = results.get(model) ?? ({ state: 'unfinished' } as const);
    return { model, ...(mode === undefined ? {} : { mode }), result };
  });
}

/** A result in a few words, for a progress line. */
function inWords(result: CheckResult): string {
  if (result.state === 'ok') return `ok, ${formatMs(result.latencyMs)}`;
  return result.state === 'unfinished' ? 'not finished' : oneLine(result.error, 120);
}

/** Milliseconds for people: `412 ms`, `3.4 s`. */
export const formatMs = (ms: number | undefined): string => {
  if (ms === undefined) return '-';
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
};

/** How wide a table is that goes to a file or a pipe. */
const WIDTH_OF_A_FILE = 100;
/** What the columns beside the result take: times and borders. */
const OTHER_COLUMNS = 36;
const NARROWEST_RESULT = 24;

/** The table of results, as wide as the terminal at most where the model names allow it. */
export async function renderTable(
  terminal: Terminal,
  checked: readonly CheckedModel[],
  stream: boolean,
): Promise<string> {
  const { stdout } = terminal;
  const { default: Table } = await import('cli-table3');
  const longest = Math.max(...checked.map(({ model }) => model.length), 'model'.length);
  const width = stdout.columns ?? WIDTH_OF_A_FILE;
  const room = Math.max(NARROWEST_RESULT, width - longest - OTHER_COLUMNS);
  const results = checked.map((each) => resultCell(each).text.length);
  const table = new Table({
    head: ['model', 'result', 'latency', stream ? 'first event' : 'first byte'],
    colWidths: [null, Math.min(room, Math.max(...results, 'result'.length) + 2), null, null],
    colAligns: ['left', 'left', 'right', 'right'],
    style: { head: [], border: [] },
    wordWrap: true,
  });
  for (const each of checked) {
    const { model, result } = each;
    const latency = 'latencyMs' in result ? result.latencyMs : undefined;
    const firstByte = 'firstByteMs' in result ? result.firstByteMs : undefined;
    const { style, text } = resultCell(each);
    const cell = paint(terminal, stdout, style, text);
    table.push([oneLine(model), cell, formatMs(latency), formatMs(firstByte)]);
  }
  return table.toString();
}

function resultCell({ mode = 'chat', result }: CheckedModel): {
  readonly style: Style;
  readonly text: string;
} {
  switch (result.state) {
    case 'ok':
      return { style: 'green', text: mode === 'chat' ? 'ok' : `ok, ${mode.replaceAll('_', ' ')}` };
    case 'failed':
      return { style: 'red', text: oneLine(result.error, 240) };
    case 'skipped':
      return { style: 'yellow', text: `skipped: ${result.error}` };
    case 'unfinished':
      return { style: 'dim', text: 'not finished' };
  }
}

/** The last line: how many of each. */
export function renderSummary(checked: readonly CheckedModel[]): string {
  const { ok, failed, skipped, unfinished } = summarise(checked);
  const extra = [
    failed > 0 ? `${failed} failed` : '',
    skipped > 0 ? `${skipped} skipped` : '',
    unfinished > 0 ? `${unfinished} not finished` : '',
  ].filter((part) => part !== '');
  return [`${ok} of ${checked.length} ok`, ...extra].join(', ');
}

/** One JSON document for machines, with a line break at its end; times are milliseconds. */
export function renderJson(
  url: URL,
  checked: readonly CheckedModel[],
  problem?: GatewayProblem,
): string {
  const { passed, ...counts } = summarise(checked);
  const models = checked.map(({ result, ...model }) => ({ ...model, ...result }));
  return `${JSON.stringify({ url: url.href, passed, ...counts, models, problem }, null, 2)}\n`;
}

/**
 * How many models ended how, and whether the gateway passed: at least one model was asked, and each
 * that was asked answered.
 */
export function summarise(checked: readonly CheckedModel[]) {
  const count = (state: CheckResult['state']): number =>
    checked.filter(({ result }) => result.state === state).length;
  const [ok, failed] = [count('ok'), count('failed')];
  const [skipped, unfinished] = [count('skipped'), count('unfinished')];
  return { ok, failed, skipped, unfinished, passed: ok > 0 && failed + unfinished === 0 };
}
