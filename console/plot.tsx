import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { nameIn, type PlotColumn, plotCsv } from './csv.ts';
import { showOnAxis } from './numbers.ts';
import { TableFrame } from './parts.tsx';
import { stacked } from './usage-steps.ts';
import { inUtc, plainText } from './words.ts';

/** A line, or one of the layers of stacked bars. */
export interface PlotSeries extends PlotColumn {
  /** A colour of style.css, from 1 to 6. */
  readonly colour: number;
}

interface PlotProps {
  readonly title: string;
  /** Seconds since the epoch, ascending. */
  readonly times: readonly number[];
  readonly series: readonly PlotSeries[];
  readonly kind: 'lines' | 'bars';
  readonly show: (value: number) => string;
  /** The same beside the axis, where there is little room. */
  readonly showOnAxis?: (value: number) => string;
  /** A time in the legend and in the table. */
  readonly showTime: (seconds: number) => string;
  /** The same as short as the axis needs it. */
  readonly showTick: (seconds: number) => string;
  /** Where the points are days or months, which are those of UTC. */
  readonly isUtc?: boolean;
  /** Its time under the pointer is that of all plots with the same word. */
  readonly together?: string;
  /** Of the CSV, without its end. */
  readonly file: string;
  /** The heading of the column of times. */
  readonly timeTitle?: string;
}

const HEIGHT = 180;

/** A plot, its legend with the values under the pointer, and the table behind it. */
export function Plot(props: PlotProps) {
  const { title, times, series, show, showTime } = props;
  const [pointed, setPointed] = useState<number | null>(null);
  const place = useRef<HTMLDivElement>(null);
  useDrawing(place, props, setPointed);
  const at = pointed !== null && pointed < times.length ? pointed : times.length - 1;
  const time = times[at];
  return (
    <figure class="plot">
      <figcaption>
        <h2>{title}</h2>
        <span class="plot-time" title={time === undefined ? '' : inUtc(isoOf(time))}>
          {time === undefined ? '' : showTime(time)}
        </span>
      </figcaption>
      <ul class="legend">
        {series.map((each) => (
          <li key={nameIn(each)} title={plainText(nameIn(each))}>
            <span class={`swatch c${each.colour}`} />
            {each.label} <b>{shown(each.values[at], show)}</b>
          </li>
        ))}
      </ul>
      <div ref={place} class="plot-canvas" role="img" aria-label={inWords(props)} />
      <Behind {...props} />
    </figure>
  );
}

const isoOf = (seconds: number): string => new Date(seconds * 1000).toISOString();

const shown = (value: number | null | undefined, show: PlotProps['show']): string =>
  value === null || value === undefined ? '–' : show(value);

/** What somebody is told who does not see the plot. */
function inWords({ title, series, show }: PlotProps): string {
  const lines = series.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${label}: nothing yet`;
    return `${label}: ${show(known.at(-1) ?? 0)} last, ${show(Math.max(...known))} at most`;
  });
  return `${title}. ${lines.join('; ')}. The table below has all values.`;
}

/** The table behind a plot, the newest first, which is made once somebody opens it. */
function Behind(props: PlotProps) {
  const { title, times, series, show, showTime, file, timeTitle = 'Time' } = props;
  const [open, setOpen] = useState(false);
  const save = (): void => saveFile(`${file}.csv`, plotCsv(timeTitle, times, series));
  return (
    <details class="behind" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        Table<span class="hidden"> of {title}</span>
      </summary>
      {open && (
        <>
          <button type="button" onClick={save}>
            Save as CSV
          </button>
          <TableFrame label={`Table of ${title}`}>
            <table>
              <thead>
                <tr>
                  <th scope="col">{timeTitle}</th>
                  {series.map((each) => (
                    <th key={nameIn(each)} scope="col" class="number">
                      {each.label}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {times.map((_, back) => rowOf(props, times.length - 1 - back, show, showTime))}
              </tbody>
            </table>
          </TableFrame>
        </>
      )}
    </details>
  );
}

/** Lets the browser save a text as a file. */
export function saveFile(name: string, text: string, type = 'text/csv;charset=utf-8'): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

function rowOf(
  { times, series }: PlotProps,
  at: number,
  show: PlotProps['show'],
  showTime: PlotProps['showTime'],
) {
  const time = times[at] ?? 0;
  return (
    <tr key={time}>
      <th scope="row" title={inUtc(isoOf(time))}>
        {showTime(time)}
      </th>
      {series.map((each) => (
        <td key={nameIn(each)} class="number">
          {shown(each.values[at], show)}
        </td>
      ))}
    </tr>
  );
}

/** Keeps a drawing in `place` that is as wide as it, and of the colours that the system wants. */
function useDrawing(
  place: { readonly current: HTMLDivElement | null },
  props: PlotProps,
  onPoint: (index: number | null) => void,
): void {
  const drawn = useRef<uPlot | undefined>(undefined);
  const isDark = useDark();
  const shape = JSON.stringify([
    props.series.map(({ label, colour }) => [label, colour]),
    [props.kind, props.isUtc, isDark],
  ]);
  const data = dataOf(props);
  useEffect(() => {
    const element = place.current;
    if (element === null) return undefined;
    const plot = new uPlot(optionsOf(props, element, onPoint), data, element);
    drawn.current = plot;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) plot.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [shape]);
  useEffect(() => drawn.current?.setData(data), [props.times, props.series]);
}

const DARK = '(prefers-color-scheme: dark)';

function useDark(): boolean {
  const [isDark, setDark] = useState(() => matchMedia(DARK).matches);
  useEffect(() => {
    const query = matchMedia(DARK);
    const hear = (): void => setDark(query.matches);
    query.addEventListener('change', hear);
    return () => query.removeEventListener('change', hear);
  }, []);
  return isDark;
}

/** Bars are drawn from the highest layer down, each as high as all below it together. */
function dataOf({ kind, times, series }: PlotProps): uPlot.AlignedData {
  if (kind === 'lines') return [[...times], ...series.map(({ values }) => [...values])];
  return [[...times], ...stacked(series.map(({ values }) => values)).toReversed()];
}

function optionsOf(
  { kind, series, showTick, isUtc = false, together, showOnAxis: onAxis = showOnAxis }: PlotProps,
  element: HTMLElement,
  onPoint: (index: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const isBars = kind === 'bars';
  const layers = isBars ? series.toReversed() : series;
  const axis = {
    stroke: colour('dim'),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: colour('line'), width: 1 },
    ticks: { stroke: colour('line'), width: 1 },
  };
  return {
    width: Math.max(element.clientWidth, 200),
    height: HEIGHT,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: {
      ...(together !== undefined && { sync: { key: together } }),
      drag: { x: false, y: false },
      points: { show: !isBars },
    },
    hooks: { setCursor: [({ cursor }) => onPoint(cursor.idx ?? null)] },
    ...(isUtc && { tzDate: (at: number) => uPlot.tzDate(new Date(at * 1000), 'Etc/UTC') }),
    scales: {
      x: isBars ? { range: withHalfBars } : {},
      // From 0, or a small change would look like a large one.
      y: { range: (_, _least, most) => [0, most > 0 ? most * 1.1 : 1] },
    },
    axes: [
      { ...axis, space: 70, values: (_, splits) => splits.map(showTick) },
      { ...axis, size: 60, values: (_, splits) => splits.map(onAxis) },
    ],
    series: [
      {},
      ...layers.map(({ label, colour: number }) => ({
        label,
        stroke: colour(`series-${number}`),
        ...(isBars
          ? { width: 0, fill: colour(`series-${number}`), paths: bars, points: { show: false } }
          : { width: 2, points: { show: false } }),
      })),
    ],
  };
}

const bars = uPlot.paths.bars?.({ size: [0.7, 48] }) ?? null;

/** So that the first bar and the last stand there whole. */
function withHalfBars(plot: uPlot, least: number, most: number): [number, number] {
  const times = plot.data[0];
  const gaps = Array.from(times.slice(1), (time, at) => time - (times[at] ?? time));
  const half = gaps.length === 0 ? 1800 : Math.min(...gaps) / 2;
  return [least - half, most + half];
}
