import Table from 'cli-table3';
import { oneLine } from '../text/safe.ts';
import { type CheckedModel, type Outcome, summarise } from './check-outcome.ts';
import type { GatewayProblem } from './check-problem.ts';

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
