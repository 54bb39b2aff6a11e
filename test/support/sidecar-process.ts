import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { recordArtefact, recordSettings, recordState } from './key-ledger.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** The built sidecar as an operator runs it: a process of its own. */
export interface SidecarProcess {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly opsUrl: string;
  /** Everything it wrote. */
  log(): string;
  /** Resolves to the next log line from now on that fits. */
  nextLine(fits: (line: LogLine) => boolean): Promise<LogLine>;
  /** The lines of finished requests so far. */
  accessLines(): readonly LogLine[];
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>;
}

export type LogLine = Readonly<Record<string, unknown>>;

/** Starts one on free ports of the loopback; resolves at its ready line. */
export async function startSidecarProcess(
  cwd: string,
  settings: Readonly<Record<string, string>>,
): Promise<SidecarProcess> {
  recordSettings(settings);
  const child = spawn(process.execPath, [MAIN], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      SIDECAR_HOST: '127.0.0.1',
      SIDECAR_PORT: '0',
      SIDECAR_OPS_PORT: '0',
      SIDECAR_LOG_FORMAT: 'json',
      SIDECAR_DRAIN_DELAY: '0',
      SIDECAR_DRAIN: '1s',
      ...settings,
    },
  });
  const text: string[] = [];
  const lines: LogLine[] = [];
  const hearers = new Set<(line: LogLine) => void>();
  let partial = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text.push(chunk);
    const whole = (partial + chunk).split('\n');
    partial = whole.pop() ?? '';
    for (const each of whole) {
      const line = parse(each);
      lines.push(line);
      for (const hear of hearers) hear(line);
    }
  });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const nextLine = (fits: (line: LogLine) => boolean): Promise<LogLine> =>
    new Promise((resolve) => {
      const hear = (line: LogLine): void => {
        if (!fits(line)) return;
        hearers.delete(hear);
        resolve(line);
      };
      hearers.add(hear);
    });
  const ready = await Promise.race([nextLine(({ msg }) => msg === 'ready'), ended]);
  if (ready === null || typeof ready === 'number') {
    throw new Error(`the sidecar ended before it was ready:\n${text.join('')}`);
  }
  return {
    url: `http://127.0.0.1:${ready['port']}`,
    opsUrl: `http://127.0.0.1:${ready['opsPort']}`,
    log: () => text.join(''),
    nextLine,
    accessLines: () => lines.filter(({ msg }) => msg === 'request'),
    async stop() {
      const metrics = await fetch(`http://127.0.0.1:${ready['opsPort']}/metrics`).catch(() => null);
      recordArtefact('metrics', '/metrics', (await metrics?.text()) ?? '');
      child.kill('SIGTERM');
      const code = await ended;
      recordArtefact('log', 'stderr', text.join(''));
      await recordState(resolve(cwd, settings['SIDECAR_STATE'] ?? 'state'));
      return code;
    },
  };
}

/** What is no JSON was written before the log was there. */
const parse = (line: string): LogLine => {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
};
