import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { PROMETHEUS_FOLDER } from '../deploy/files.ts';
import { freePort } from '../support/litellm.ts';

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Of a point in time, and its number as text. */
  readonly values: readonly (readonly [number, string])[];
}

/** A real one, that runs with the configuration that operators get, but looks each second. */
export interface Prometheus {
  readonly url: string;
  /** The series of an expression since it started, without what is not a number. */
  seriesOf(expr: string): Promise<readonly Series[]>;
  /** Resolves once an expression has a series, at any time since it started. */
  sees(expr: string): Promise<void>;
  stop(): Promise<void>;
}

/** How long what is on its way may take to be seen. */
const PATIENCE_MS = 40_000;

/** @param targets `host:port` of each ops port */
export async function startPrometheus(targets: readonly string[]): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'prometheus-'));
  const config = parse(await readFile(`${PROMETHEUS_FOLDER}prometheus.yml`, 'utf8'));
  config.global = { scrape_interval: '1s', evaluation_interval: '1s' };
  config.rule_files = config.rule_files.map((path: string) => PROMETHEUS_FOLDER + path);
  config.scrape_configs[0].static_configs = [{ targets }];
  await writeFile(join(folder, 'prometheus.yml'), stringify(config));

  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn('prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=${address}`,
  ]);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(child, 'close');
  const url = `http://${address}`;
  const start = Date.now() / 1000;

  const seriesOf = async (expr: string): Promise<readonly Series[]> => {
    const range = { start: `${start}`, end: `${Date.now() / 1000}`, step: '1' };
    const body = new URLSearchParams({ query: expr, ...range });
    const answer = await fetch(`${url}/api/v1/query_range`, { method: 'POST', body });
    const { data, error } = (await answer.json()) as {
      data: { result: Series[] };
      error?: string;
    };
    if (error !== undefined) throw new Error(`${expr}: ${error}`);
    return data.result
      .map((each) => ({ ...each, values: each.values.filter(([, text]) => text !== 'NaN') }))
      .filter(({ values }) => values.length > 0);
  };
  const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
    const last = Date.now() + PATIENCE_MS;
    while (!(await isSo())) {
      if (child.exitCode !== null) throw new Error(`Prometheus ended:\n${said}`);
      if (Date.now() > last) throw new Error(`Prometheus never saw ${what}`);
      await new Promise((wake) => setTimeout(wake, 100));
    }
  };
  await until('itself', () =>
    fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  return {
    url,
    seriesOf,
    sees: (expr) => until(expr, async () => (await seriesOf(expr)).length > 0),
    async stop() {
      child.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
