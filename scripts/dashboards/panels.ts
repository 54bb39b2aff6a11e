// Grafana's dashboards as data: what a panel says and asks, and the JSON that Grafana loads of it.

/** A query in PromQL, and what names each of its series: `{{label}}` stands for a label's value. */
type Query = readonly [expr: string, legend?: string];

export interface Panel {
  readonly title: string;
  /** What it shows and when to worry, in a sentence or two. */
  readonly help: string;
  readonly kind: 'lines' | 'stacked' | 'stat' | 'table';
  /** One of Grafana's units, such as `s`, `reqps`, `currencyUSD`; of a table, that of each query. */
  readonly unit: string | readonly string[];
  readonly queries: readonly Query[];
  /** Another range than that of the dashboard: `now/d` is today, `now/M` this month. */
  readonly since?: 'now/d' | 'now/M';
  /** From here on it is red. */
  readonly alarm?: number;
  /** What a stat shows in place of numbers; 1 is good, and 0 is red. */
  readonly words?: Readonly<Record<number, string>>;
  /** A stat shows the names of its series. */
  readonly named?: true;
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly since: string;
  /** Labels that a reader chooses from, each with a family that has it. */
  readonly filters: readonly (readonly [label: string, family: string])[];
  /** Panels side by side, as wide as each other. */
  readonly rows: readonly (readonly Panel[])[];
}

/** What every query of a dashboard is about. */
const JOB = 'job=~"$job"';
const PREFIX = 'litellm_sidecar_';

/** The filter that every dashboard has: which sidecars, by the name of their scrape job. */
export const BY_JOB = ['job', 'build_info'] as const;

/** The series of a family that have these labels. */
export const series = (family: string, labels = ''): string =>
  `${PREFIX}${family}{${[JOB, labels].filter((each) => each !== '').join(',')}}`;
/** How fast a counter grows, each second. */
export const rate = (family: string, labels = ''): string =>
  `rate(${series(family, labels)}[$__rate_interval])`;
/** How much it grew in the panel's range. */
export const grew = (family: string, labels = ''): string =>
  `increase(${series(family, labels)}[$__range])`;
export const sum = (expr: string, by = ''): string =>
  by === '' ? `sum(${expr})` : `sum by (${by}) (${expr})`;
/** What part of another sum one is; no data where that is 0. */
export const share = (part: string, whole: string): string => `${sum(part)} / (${sum(whole)} > 0)`;
/** A quantile of a histogram, by the labels that are named. */
export const quantile = (q: number, family: string, by = ''): string =>
  `histogram_quantile(${q}, ${sum(rate(`${family}_bucket`), by === '' ? 'le' : `le, ${by}`)})`;

const DATASOURCE = { type: 'prometheus', uid: '$datasource' };
const COLUMNS = 24;
const HEIGHTS = { lines: 8, stacked: 8, table: 8, stat: 4 } as const;

/** What Grafana loads, as JSON; ends with a newline. */
export function dashboardJson({ uid, title, since, filters, rows }: Dashboard): string {
  const panels: object[] = [];
  let y = 0;
  for (const row of rows) {
    const w = COLUMNS / row.length;
    const h = Math.max(...row.map(({ kind }) => HEIGHTS[kind]));
    row.forEach((panel, at) => {
      panels.push(panelJson(panel, panels.length + 1, { x: at * w, y, w, h }));
    });
    y += h;
  }
  const dashboard = {
    uid,
    title,
    tags: ['litellm-sidecar'],
    timezone: 'browser',
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: since, to: 'now' },
    links: [LINKS],
    annotations: { list: [] },
    templating: { list: [datasourceVariable, ...filters.map(filterVariable)] },
    panels,
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}

/** The other dashboards, at the top of each. */
const LINKS = {
  type: 'dashboards',
  title: '',
  icon: '',
  tooltip: '',
  tags: ['litellm-sidecar'],
  asDropdown: false,
  keepTime: false,
  includeVars: true,
  targetBlank: false,
};

const datasourceVariable = {
  name: 'datasource',
  label: 'Data source',
  type: 'datasource',
  query: 'prometheus',
  refresh: 1,
};

const filterVariable = ([name, family]: readonly [string, string]) => ({
  name,
  label: name.charAt(0).toUpperCase() + name.slice(1),
  type: 'query',
  datasource: DATASOURCE,
  query: `label_values(${PREFIX}${family}, ${name})`,
  // With each change of the time range.
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: '.*',
  current: { text: ['All'], value: ['$__all'] },
});

function panelJson(panel: Panel, id: number, gridPos: object): object {
  const { title, help, kind, queries, since } = panel;
  return {
    id,
    type: kind === 'stat' || kind === 'table' ? kind : 'timeseries',
    title,
    description: help,
    datasource: DATASOURCE,
    gridPos,
    ...(since !== undefined && { timeFrom: since }),
    fieldConfig: { defaults: defaultsOf(panel), overrides: overridesOf(panel) },
    options: OPTIONS[panel.named ? 'named' : kind],
    ...(kind === 'table' && { transformations: joined(queries) }),
    targets: queries.map(([expr, legend = ''], at) => ({
      refId: refOf(at),
      datasource: DATASOURCE,
      editorMode: 'code',
      expr,
      ...(kind === 'table' ? { format: 'table' } : { legendFormat: legend }),
      instant: kind === 'table' || kind === 'stat',
      range: kind === 'lines' || kind === 'stacked',
    })),
  };
}

const refOf = (at: number): string => String.fromCharCode('A'.charCodeAt(0) + at);

const defaultsOf = ({ kind, unit, alarm, words }: Panel): object => ({
  ...(typeof unit === 'string' && { unit }),
  ...(kind !== 'table' && { min: 0 }),
  ...(kind === 'lines' && { custom: LINES }),
  ...(kind === 'stacked' && { custom: STACKED }),
  ...(words !== undefined && { mappings: [mappingOf(words)] }),
  color: { mode: kind === 'stat' ? 'thresholds' : 'palette-classic' },
  thresholds: { mode: 'absolute', steps: stepsOf(alarm, words !== undefined) },
});

/** Colours from a value on, the first from below all. Where 1 is good, 0 is not. */
const stepsOf = (alarm: number | undefined, isOneGood: boolean) => {
  const [first, second] = isOneGood ? ['red', 'green'] : ['green', 'red'];
  const from = isOneGood ? 1 : alarm;
  const above = from === undefined ? [] : [{ color: second, value: from }];
  return [{ color: first, value: null }, ...above];
};

const LINES = { lineWidth: 1, fillOpacity: 5, showPoints: 'never' };
const STACKED = { ...LINES, fillOpacity: 40, stacking: { mode: 'normal', group: 'A' } };

const mappingOf = (words: Readonly<Record<number, string>>) => {
  const entries = Object.entries(words).map(([value, text]) => [value, { text }]);
  return { type: 'value', options: Object.fromEntries(entries) };
};

const STAT = {
  reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
  colorMode: 'value',
  graphMode: 'none',
  textMode: 'auto',
  justifyMode: 'auto',
  orientation: 'auto',
  wideLayout: true,
  showPercentChange: false,
  percentChangeColorMode: 'standard',
};
const GRAPH = {
  legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
  tooltip: { mode: 'multi', sort: 'desc' },
};
const OPTIONS = {
  lines: GRAPH,
  stacked: GRAPH,
  stat: STAT,
  named: { ...STAT, textMode: 'name' },
  table: { frameIndex: 0, showHeader: true, cellHeight: 'sm' },
};

/** Of a table: one row to each combination of labels, one column to each query. */
const joined = (queries: readonly Query[]) => [
  { id: 'merge', options: {} },
  {
    id: 'organize',
    options: {
      excludeByName: { Time: true },
      renameByName: Object.fromEntries(
        // As Grafana calls a column: with the query's letter where there are several.
        queries.map(([, legend = ''], at) => [
          queries.length > 1 ? `Value #${refOf(at)}` : 'Value',
          legend,
        ]),
      ),
    },
  },
];

/** Of a table: the unit of each column. */
const overridesOf = ({ kind, unit, queries }: Panel): object[] =>
  kind !== 'table'
    ? []
    : queries.map(([, legend = ''], at) => ({
        matcher: { id: 'byName', options: legend },
        properties: [{ id: 'unit', value: unit[at] }],
      }));
