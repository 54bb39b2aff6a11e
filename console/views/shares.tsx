import { useMemo } from 'preact/hooks';
import { type Figures, firstChunkOf, HISTORY_MS, type History, sumSince } from '../history.ts';
import { showCount, showTokens, showUsd } from '../numbers.ts';
import { CopyLine, Instant, Refused, Stranger, TableFrame } from '../parts.tsx';
import { usePolled } from '../session.tsx';
import { plainText } from '../words.ts';

// The tables of the view Now: who made the last 15 minutes, what went wrong, who was refused last.

/** `-` is nobody whom the sidecar recognised, or a model that LiteLLM did not name. */
export const nameWords = (name: string): string => (name === '-' ? '(none)' : name);

/** What a column shows of a row, to the right. */
type NumberColumn = readonly [title: string, show: (figures: Figures) => string];

const showCountIfAny = (count: number | undefined): string =>
  count === undefined ? '–' : showCount(count);

const NUMBERS: readonly NumberColumn[] = [
  ['requests', ({ requests }) => showCount(requests)],
  ['errors', ({ errors }) => showCount(errors)],
  ['refused', ({ refusals }) => showCount(refusals)],
  ['in', ({ tokensIn }) => showTokens(tokensIn)],
  ['out', ({ tokensOut }) => showTokens(tokensOut)],
  ['USD', ({ costUsd }) => showUsd(costUsd)],
];
const OF_MODELS: readonly NumberColumn[] = [
  ...NUMBERS.filter(([title]) => title !== 'refused'),
  ['p50 ms', (figures) => showCountIfAny(firstChunkOf(figures)?.p50)],
  ['p95 ms', (figures) => showCountIfAny(firstChunkOf(figures)?.p95)],
];

export function Shares({ history }: { history: History }) {
  const sum = useMemo(() => sumSince(history, history.at - HISTORY_MS), [history]);
  if (sum.requests === 0) return <NothingYet />;
  return (
    <>
      <div class="tables">
        <FiguresTable title="Clients, 15 minutes" figures={sum.byClient} columns={NUMBERS} />
        <FiguresTable title="Models, 15 minutes" figures={sum.byModel} columns={OF_MODELS} />
      </div>
      <div class="plots">
        <ReasonsTable title="Errors by reason" counts={sum.errorsByReason} />
        <ReasonsTable title="Refusals by reason" counts={sum.refusalsByReason} />
      </div>
    </>
  );
}

/** What an empty view begins with. */
export function NothingYet({ when = 'in the last 15 minutes' }: { when?: string }) {
  const { answer } = usePolled('GET /api/config', {}, 60_000);
  const settingOf = (name: string): string =>
    answer?.settings.find((each) => each.name === name)?.value ?? '';
  return (
    <section class="card">
      <h2>Nothing {when}</h2>
      <p>
        Ask something through the sidecar, with the key of a client, from{' '}
        <code>sidecar key show</code> or <a href="#/keys">Keys</a>:
      </p>
      <CopyLine text={firstRequest(settingOf)} />
    </section>
  );
}

/** To where clients are told that the sidecar is; else to its port, where this page came from. */
function firstRequest(settingOf: (name: string) => string): string {
  const port = settingOf('SIDECAR_PORT') || '4000';
  const here = `${location.protocol}//${location.hostname}:${port}`;
  const url = settingOf('SIDECAR_PUBLIC_URL').replace(/\/$/, '') || here;
  return `curl ${url}/v1/models -H "Authorization: Bearer $KEY"`;
}

interface FiguresTableProps {
  readonly title: string;
  readonly figures: ReadonlyMap<string, Figures>;
  readonly columns: readonly NumberColumn[];
}

function FiguresTable({ title, figures, columns }: FiguresTableProps) {
  const rows = Array.from(figures).sort(([, one], [, other]) => other.requests - one.requests);
  return (
    <section class="card">
      <h2>{title}</h2>
      <TableFrame label={title}>
        <table>
          <thead>
            <tr>
              <th scope="col">name</th>
              {columns.map(([head]) => (
                <th key={head} scope="col" class="number">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, each]) => (
              <tr key={name}>
                <th scope="row">
                  <Stranger text={nameWords(name)} />
                </th>
                {columns.map(([head, show]) => (
                  <td key={head} class="number">
                    {show(each)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </TableFrame>
    </section>
  );
}

function ReasonsTable({ title, counts }: { title: string; counts: ReadonlyMap<string, number> }) {
  const rows = Array.from(counts).sort(([, one], [, other]) => other - one);
  return (
    <section class="card">
      <h2>{title}</h2>
      {rows.length === 0 ? (
        <p class="dim">None in the last 15 minutes.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">reason</th>
              <th scope="col" class="number">
                count
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([reason, count]) => (
              <tr key={reason}>
                <th scope="row">{plainText(reason)}</th>
                <td class="number">{showCount(count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** So many of the last refusals are shown. */
const MOST_REFUSALS = 20;
const REFUSAL_TITLES = ['when', 'reason', 'client', 'request', 'from', 'agent'];

/** The requests that the sidecar refused last, whoever sent them. */
export function Refusals() {
  const { answer, problem } = usePolled('GET /api/refusals');
  if (answer === undefined) return <Refused error={problem} />;
  if (answer.refusals.length === 0) return null;
  return (
    <section class="card after">
      <h2>Refused last</h2>
      <TableFrame label="Requests that were refused last">
        <table class="wide">
          <thead>
            <tr>
              {REFUSAL_TITLES.map((title) => (
                <th key={title} scope="col">
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {answer.refusals.slice(0, MOST_REFUSALS).map((each) => (
              <tr key={each.at + each.requestId}>
                <td>
                  <Instant at={each.at} />
                </td>
                <td>
                  {each.status} {plainText(each.reason)}
                </td>
                <td>
                  <Stranger text={each.generation ?? each.client ?? ''} />
                </td>
                <td>
                  {plainText(each.method, 20)} <Stranger text={each.route} />
                </td>
                <td>{plainText(each.address, 60)}</td>
                <td>
                  <Stranger text={each.userAgent} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </TableFrame>
    </section>
  );
}
