import type { ComponentChildren } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import {
  type Bin,
  type BinValue,
  columnsOf,
  type Figures,
  firstChunkOf,
  HISTORY_MS,
  type History,
  largest,
  perSecond,
  rateNow,
  sumSince,
} from '../history.ts';
import { type Live, useLive } from '../live.ts';
import { showCount, showMs, showRate, showShare, showUsd } from '../numbers.ts';
import { Mark, Refused } from '../parts.tsx';
import { Plot, type PlotSeries } from '../plot.tsx';
import type { ViewProps } from '../session.tsx';
import { countWords, inLocalTime, labelOf } from '../words.ts';
import { nameWords, Refusals, Shares } from './shares.tsx';

/** What is going on: this moment, the last 15 minutes, and who was refused last. */
export function NowView({ status }: ViewProps) {
  const { live, problem } = useLive();
  if (live === undefined) {
    if (problem !== undefined) return <Refused error={problem} />;
    return <p class="dim">Waiting for the first figures …</p>;
  }
  return (
    <>
      <LitellmLine last={live.last} />
      <Tiles live={live} />
      <Plots history={live.history} startedAt={Date.parse(status.startedAt)} />
      <Shares history={live.history} />
      <Refusals />
    </>
  );
}

/** How LiteLLM is, in a line; its own view has the rest. */
function LitellmLine({ last: { readiness, upstream } }: Pick<Live, 'last'>) {
  const { slots, handover } = upstream;
  return (
    <p class="litellm-line">
      <Mark
        word={readiness.ready ? 'ready' : 'not ready'}
        tone={readiness.ready ? 'good' : 'bad'}
      />
      {readiness.waitingFor.length > 0 && <span>{readiness.waitingFor.join(', ')}</span>}
      {slots
        .filter(({ state }) => state !== 'empty')
        .map(({ name, state, up, requests }) => (
          <span key={name}>
            LiteLLM {slots.length > 1 ? `in slot ${name} ` : ''}
            <Mark word={up ? 'answers' : 'is away'} tone={up ? 'good' : 'bad'} />{' '}
            {state === 'active' ? '' : `(${state}) `}
            {countWords(requests, 'request')} under way
          </span>
        ))}
      {handover !== null && (
        <a href="#/litellm">
          {handover.kind} to slot {handover.to}: {handover.state}
        </a>
      )}
    </p>
  );
}

interface TileProps {
  readonly title: string;
  readonly figure: string;
  readonly more: string;
}

function Tile({ title, figure, more }: TileProps) {
  return (
    <div class="tile">
      <dt>{title}</dt>
      <dd class="main-figure">{figure}</dd>
      <dd class="dim">{more}</dd>
    </div>
  );
}

const MINUTE_MS = 60_000;

function Tiles({ live: { history, last } }: { live: Live }) {
  const all = useMemo(() => sumSince(history, history.at - HISTORY_MS), [history]);
  const minute = useMemo(() => sumSince(history, history.at - MINUTE_MS), [history]);
  const { inFlight, streams, websockets, held } = last.now;
  const tokensIn = rateNow(history, (second) => second.tokensIn);
  const tokensOut = rateNow(history, (second) => second.tokensOut);
  const chunk = firstChunkOf(minute);
  const underWay = [
    `${countWords(streams, 'stream')}, ${countWords(websockets, 'WebSocket')}`,
    ...(held > 0 ? [`${showCount(held)} held`] : []),
  ];
  return (
    <dl class="tiles">
      <Tile
        title="Requests a second"
        figure={showRate(rateNow(history, (second) => second.requests))}
        more={`${showCount(all.requests)} in 15 minutes`}
      />
      <Tile title="In flight" figure={showCount(inFlight)} more={underWay.join(', ')} />
      <Tile
        title="Tokens a second"
        figure={showRate(tokensIn + tokensOut)}
        more={`${showRate(tokensIn)} in, ${showRate(tokensOut)} out`}
      />
      <Tile
        title="First chunk, p50"
        figure={chunk === null ? '–' : showMs(chunk.p50)}
        more={chunk === null ? 'no stream for a minute' : `p95 ${showMs(chunk.p95)}, last minute`}
      />
      <Tile
        title="Errors"
        figure={showCount(all.errors)}
        more={`${showShare(all.errors, all.requests)} in 15 minutes`}
      />
      <Tile
        title="Refused"
        figure={showCount(all.refusals)}
        more={`${showShare(all.refusals, all.requests)} in 15 minutes`}
      />
      <Tile title="USD" figure={showUsd(all.costUsd)} more="in 15 minutes" />
    </dl>
  );
}

const SPLITS = { all: 'All', byClient: 'By client', byModel: 'By model' } as const;
type Split = keyof typeof SPLITS;

interface PlotsProps {
  readonly history: History;
  /** Of the sidecar, in milliseconds since the epoch. */
  readonly startedAt: number;
}

function Plots({ history, startedAt }: PlotsProps) {
  const [split, setSplit] = useState<Split>('all');
  const draw = (lines: readonly Line[]) => {
    const picks = lines.map(({ pick }) => pick);
    const { times, values } = columnsOf(history, startedAt, picks);
    const series = lines.map(({ pick: _, ...names }, at) => ({
      ...names,
      colour: at + 1,
      values: values[at] ?? [],
    }));
    return { times, series, kind: 'lines', showTime, showTick, together: 'now' } as const;
  };
  const [requests, tokens] = splitLines(history, split);
  return (
    <>
      <SplitChoice split={split} onChange={setSplit} />
      <div class="plots">
        <Card>
          <Plot {...draw(requests)} title="Requests a second" show={showRate} file="requests" />
        </Card>
        <Card>
          <Plot {...draw(tokens)} title="Tokens a second" show={showRate} file="tokens" />
        </Card>
        <Card>
          <Plot
            {...draw(FIRST_CHUNK)}
            title="First chunk"
            show={showMs}
            showOnAxis={showMs}
            file="first-chunk"
          />
        </Card>
        <Card>
          <Plot
            {...draw(FAILURES)}
            title="Errors and refusals a second"
            show={showRate}
            file="errors"
          />
        </Card>
        <Card>
          <Plot {...draw(UNDER_WAY)} title="In flight" show={showCount} file="in-flight" />
        </Card>
        <Card>
          <Plot {...draw(COST)} title="USD a minute" show={showUsd} file="cost" />
        </Card>
      </div>
    </>
  );
}

interface SplitChoiceProps {
  readonly split: Split;
  readonly onChange: (split: Split) => void;
}

function SplitChoice({ split, onChange }: SplitChoiceProps) {
  return (
    <fieldset class="choice">
      <legend>Requests and tokens</legend>
      {(Object.keys(SPLITS) as Split[]).map((each) => (
        <label key={each}>
          <input
            type="radio"
            name="split"
            checked={split === each}
            onChange={() => onChange(each)}
          />{' '}
          {SPLITS[each]}
        </label>
      ))}
    </fieldset>
  );
}

const Card = ({ children }: { children: ComponentChildren }) => <div class="card">{children}</div>;

/** `14:03:25` where this browser is. */
const showTime = (seconds: number): string =>
  inLocalTime(new Date(seconds * 1000).toISOString()).slice(11);

const showTick = (seconds: number): string => showTime(seconds).slice(0, 5);

interface Line extends Pick<PlotSeries, 'label' | 'name'> {
  readonly pick: BinValue;
}

const FIRST_CHUNK: readonly Line[] = [
  { label: 'p50', pick: (bin) => firstChunkOf(bin)?.p50 ?? null },
  { label: 'p95', pick: (bin) => firstChunkOf(bin)?.p95 ?? null },
];
const FAILURES: readonly Line[] = [
  { label: 'errors', pick: perSecond(({ errors }) => errors) },
  { label: 'refused', pick: perSecond(({ refusals }) => refusals) },
];
const COST: readonly Line[] = [
  { label: 'USD', pick: (bin) => 60 * (perSecond(({ costUsd }) => costUsd)(bin) ?? 0) },
];
const UNDER_WAY: readonly Line[] = [
  { label: 'all', pick: ({ underWay }) => underWay?.inFlight ?? null },
  { label: 'streams', pick: ({ underWay }) => underWay?.streams ?? null },
  { label: 'WebSockets', pick: ({ underWay }) => underWay?.websockets ?? null },
  { label: 'held', pick: ({ underWay }) => underWay?.held ?? null },
];

const requestsOf = ({ requests }: Figures): number => requests;
const tokensOf = ({ tokensIn, tokensOut }: Figures): number => tokensIn + tokensOut;

/** The lines of the two plots that may be split: of requests, of tokens. */
function splitLines(history: History, split: Split): readonly [readonly Line[], readonly Line[]] {
  if (split !== 'all') {
    const all = sumSince(history, history.at - HISTORY_MS)[split];
    return [linesOf(all, split, requestsOf), linesOf(all, split, tokensOf)];
  }
  return [
    [{ label: 'requests', pick: perSecond(({ requests }) => requests) }],
    [
      { label: 'in', pick: perSecond(({ tokensIn }) => tokensIn) },
      { label: 'out', pick: perSecond(({ tokensOut }) => tokensOut) },
    ],
  ];
}

/** So many names have a line of their own. */
const MOST_LINES = 5;

/** A line for each of the largest names, and one for all others together. */
function linesOf(
  all: ReadonlyMap<string, Figures>,
  split: Exclude<Split, 'all'>,
  weigh: (figures: Figures) => number,
): readonly Line[] {
  const names = largest(all, weigh, MOST_LINES);
  const sumOf = (bin: Bin, has: (name: string) => boolean): number =>
    Array.from(bin[split]).reduce((sum, [name, each]) => sum + (has(name) ? weigh(each) : 0), 0);
  const lines = names.map((name) => ({
    label: labelOf(nameWords(name)),
    name: nameWords(name),
    pick: perSecond((bin) => sumOf(bin, (each) => each === name)),
  }));
  if (all.size <= names.length) return lines;
  const others = perSecond((bin) => sumOf(bin, (each) => !names.includes(each)));
  return [...lines, { label: 'all others', pick: others }];
}
