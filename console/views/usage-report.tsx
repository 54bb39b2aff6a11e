import type { ComponentChildren } from 'preact';
import type { UsageLine, UsageReport, UsageSums } from '../../src/usage/report.ts';
import { usageCsv } from '../csv.ts';
import { showCost, showCount, showShare, showTokens, showUsd } from '../numbers.ts';
import { Stranger, TableFrame } from '../parts.tsx';
import { Plot, type PlotSeries, saveFile } from '../plot.tsx';
import { monthsOf, type Step, sumsAt, timesOf, without } from '../usage-steps.ts';
import { countWords, inLocalTime, inUtc, labelOf, plainText } from '../words.ts';
import { NothingYet, nameWords } from './shares.tsx';

/** What the sidecar answered to a choice of the view Usage. */
export interface UsageAnswers {
  readonly choice: {
    /** `7d` */
    readonly period: string;
    readonly step: Step;
    readonly by: 'client' | 'model' | 'key';
  };
  readonly groups: UsageReport;
  /** By hour or by day; months are made of days. */
  readonly whole: UsageReport;
  /** The same of each of the names with the most. */
  readonly parts: readonly { readonly name: string; readonly report: UsageReport }[];
}

export function Answered({ answers }: { answers: UsageAnswers }) {
  const { choice, groups, whole } = answers;
  if (groups.rows.length === 0) {
    return (
      <>
        <Notes report={groups} />
        <NothingYet when="was counted" />
      </>
    );
  }
  const inSteps = choice.step === 'month' ? monthsOf(whole.rows) : whole.rows;
  const file = `usage-${choice.period}`;
  return (
    <>
      <Notes report={groups} />
      <Plots answers={answers} />
      <SumsTable
        title={`By ${choice.by}`}
        head={choice.by}
        report={groups}
        nameOf={(row) => <Stranger text={groupWords(row)} />}
        onSave={() => saveFile(`${file}-by-${choice.by}.csv`, usageCsv(groups))}
      />
      <SumsTable
        title={`By ${choice.step}`}
        head={choice.step}
        report={{ ...whole, rows: inSteps.toReversed() }}
        nameOf={(row) => <StepName step={choice.step} row={row} />}
        onSave={() =>
          saveFile(`${file}-by-${choice.step}.csv`, usageCsv({ by: choice.step, rows: inSteps }))
        }
      />
    </>
  );
}

const groupWords = ({ name, active }: UsageLine): string =>
  name !== null && active === false ? `${name} (older)` : nameWords(name ?? '-');

/** Hours where this browser is; days and months are those of UTC, by which they are counted. */
const StepName = ({ step, row: { name } }: { step: Step; row: UsageLine }) =>
  step === 'hour' ? (
    <time dateTime={name ?? ''} title={inUtc(name ?? '')}>
      {inLocalTime(name ?? '').slice(0, 16)}
    </time>
  ) : (
    <time dateTime={name ?? ''} title={`${name}, by UTC`}>
      {name}
    </time>
  );

/** What is missing in the numbers. */
function Notes({ report: { total, store } }: { report: UsageReport }) {
  const { metered, unmetered, unpriced } = total;
  const asked = metered + unmetered;
  return (
    <>
      {store.error !== null && (
        <p class="notice care" role="status">
          Not all of it is here: {plainText(store.error)}
        </p>
      )}
      {unmetered > 0 && (
        <p>
          {showShare(unmetered, asked)} of {countWords(asked, 'answer')} said no usage: streams that
          were left, WebSockets.
        </p>
      )}
      {unpriced > 0 && (
        <p>
          {showShare(unpriced, metered)} of {countWords(metered, 'answer')} with usage had no price.
        </p>
      )}
    </>
  );
}

const tokensOf = ({ tokens }: UsageSums): number => tokens.input + tokens.output;
const costOf = ({ costUsd }: UsageSums): number => costUsd;

function Plots({ answers }: { answers: UsageAnswers }) {
  const { choice, whole } = answers;
  const { step } = choice;
  const times = timesOf(step, seconds(whole.since), seconds(whole.until));
  const rowsOf = ({ rows }: UsageReport) => (step === 'month' ? monthsOf(rows) : rows);
  const sums = sumsAt(times, rowsOf(whole));
  /** A layer for each of the largest names, and one for all that is left. */
  const layers = (pick: (each: UsageSums) => number, one: string): readonly PlotSeries[] => {
    const all = sums.map(pick);
    const parts = answers.parts.map(({ report }) => sumsAt(times, rowsOf(report)).map(pick));
    const others = without(all, parts);
    const named = answers.parts.map(({ name }, at) => ({
      ...{ label: labelOf(name), name, colour: at + 1, values: parts[at] ?? [] },
    }));
    if (parts.length > 0 && others.every((each) => each === 0)) return named;
    return [
      ...named,
      { label: parts.length === 0 ? one : 'all others', colour: 6, values: others },
    ];
  };
  const plot = {
    kind: 'bars',
    ...{ times, isUtc: step !== 'hour', together: 'usage', timeTitle: step },
    showTime: (time: number) => stepWords(step, time),
    showTick: (time: number) => tickWords(step, time),
  } as const;
  return (
    <div class="plots">
      <div class="card">
        <Plot
          {...plot}
          title="Tokens"
          series={layers(tokensOf, 'tokens')}
          show={showTokens}
          file={`tokens-${choice.period}`}
        />
      </div>
      <div class="card">
        <Plot
          {...plot}
          title="Cost in USD"
          series={layers(costOf, 'USD')}
          show={showUsd}
          file={`cost-${choice.period}`}
        />
      </div>
      <div class="card">
        <Plot
          {...plot}
          title="Requests, and what had no usage"
          series={outcomesOf(sums)}
          show={showCount}
          file={`requests-${choice.period}`}
        />
      </div>
    </div>
  );
}

function outcomesOf(sums: readonly UsageSums[]): readonly PlotSeries[] {
  const outcome = (label: string, colour: number, pick: (each: UsageSums) => number) => ({
    ...{ label, colour, values: sums.map(pick) },
  });
  return [
    outcome('with usage', 1, ({ metered }) => metered),
    outcome('without', 2, ({ unmetered }) => unmetered),
    outcome('all else', 3, ({ requests, metered, unmetered }) =>
      Math.max(0, requests - metered - unmetered),
    ),
  ];
}

const seconds = (iso: string): number => Math.floor(Date.parse(iso) / 1000);

/** A step in words: `2026-11-29 14:00` where this browser is, `2026-11-29`, `2026-11`. */
function stepWords(step: Step, time: number): string {
  const iso = new Date(time * 1000).toISOString();
  if (step === 'hour') return inLocalTime(iso).slice(0, 16);
  return iso.slice(0, step === 'day' ? 10 : 7);
}

/** The same as short as an axis needs it: a day where one begins. */
function tickWords(step: Step, time: number): string {
  const words = stepWords(step, time);
  if (step === 'month') return words;
  if (step === 'day' || words.endsWith('00:00')) return words.slice(5, 10);
  return words.slice(11);
}

interface SumsTableProps {
  readonly title: string;
  readonly head: string;
  readonly report: Pick<UsageReport, 'rows' | 'total'>;
  readonly nameOf: (row: UsageLine) => ComponentChildren;
  readonly onSave: () => void;
}

const COLUMNS: readonly (readonly [string, (sums: UsageSums) => string])[] = [
  ['requests', ({ requests }) => showCount(requests)],
  ['refused', ({ refusals }) => showCount(refusals)],
  ['errors', ({ errors }) => showCount(errors)],
  ['input', ({ tokens }) => showTokens(tokens.input)],
  ['cached', ({ tokens }) => showTokens(tokens.cached)],
  ['output', ({ tokens }) => showTokens(tokens.output)],
  ['USD', showCost],
  ['no usage', ({ unmetered }) => showCount(unmetered)],
  ['no price', ({ unpriced }) => showCount(unpriced)],
];

/** So many rows are shown; a CSV has all. */
const MOST_ROWS = 200;

function SumsTable({ title, head, report: { rows, total }, nameOf, onSave }: SumsTableProps) {
  const most = Math.max(...rows.map(weightOf(total)));
  return (
    <section class="card after">
      <div class="heading">
        <h2>{title}</h2>
        <button type="button" onClick={onSave}>
          Save as CSV<span class="hidden"> {title.toLowerCase()}</span>
        </button>
      </div>
      <TableFrame label={`Usage ${title.toLowerCase()}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">{head}</th>
              {COLUMNS.map(([name]) => (
                <th key={name} scope="col" class="number">
                  {name}
                </th>
              ))}
              <td aria-hidden="true" />
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, MOST_ROWS).map((row) => (
              <tr key={`${row.name} ${row.active}`}>
                <th scope="row">{nameOf(row)}</th>
                <Numbers sums={row} />
                <td class="share" aria-hidden="true">
                  <div style={{ width: `${(100 * weightOf(total)(row)) / most}%` }} />
                </td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">total</th>
              <Numbers sums={total} />
              <td aria-hidden="true" />
            </tr>
          </tfoot>
        </table>
      </TableFrame>
      {rows.length > MOST_ROWS && (
        <p class="dim">
          {showCount(rows.length - MOST_ROWS)} more rows are in the CSV, and in the total.
        </p>
      )}
    </section>
  );
}

const Numbers = ({ sums }: { sums: UsageSums }) => (
  <>
    {COLUMNS.map(([name, show]) => (
      <td key={name} class="number">
        {show(sums)}
      </td>
    ))}
  </>
);

/** What the bars show: what was paid, or the tokens where nothing has a price, or the requests. */
function weightOf(total: UsageSums): (sums: UsageSums) => number {
  if (total.costUsd > 0) return costOf;
  return total.metered > 0 ? tokensOf : ({ requests }) => requests;
}
