/** The figures as Markdown: what the terminal shows and what RESULTS.md keeps. */

import { median } from './load/percentile.js';
import { DIRECT, REFERENCE } from './peers.js';
import { LOOPS, TITLES } from './scenarios.js';
import { judge } from './targets.js';

/** @typedef {import('./targets.js').Figures} Figures */
/** @typedef {readonly {name: string, version: string, about: string}[]} Peers */

const number = (/** @type {number | undefined} */ value, digits = 2) =>
  value === undefined || Number.isNaN(value) ? '–' : value.toFixed(digits);
const whole = (/** @type {number | undefined} */ value) =>
  value === undefined || Number.isNaN(value) ? '–' : Math.round(value).toLocaleString('en-GB');
export const percent = (/** @type {number} */ value) =>
  Number.isNaN(value) ? '–' : `${Math.round(value * 100)} %`;

/** What processes other than the proxy took of its core: median over all loops. */
export const foreignShare = (/** @type {Figures} */ { loops }) =>
  median([...loops.values()].flatMap((all) => [...all.values()].map((one) => one.foreign)));

/**
 * Columns of one width; all but the first to the right.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function table(head, rows) {
  const widths = head.map((text, i) =>
    Math.max(3, text.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (/** @type {readonly string[]} */ cells) =>
    `| ${cells.map((c, i) => (i ? c.padStart(widths[i] ?? 0) : c.padEnd(widths[i] ?? 0))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Columns of the table of ratios: scenario and field. */
const RATIOS = /** @type {const} */ ([
  ['p50, 1 conn.', 'json1', 'p50'],
  ['req/s, 1', 'json1', 'perSecond'],
  ['req/s, 32', 'json32', 'perSecond'],
  ['p99, 32', 'json32', 'p99'],
  ['req/s, 256', 'json256', 'perSecond'],
  ['p99, 256', 'json256', 'p99'],
  ['SSE streams/s', 'sse', 'perSecond'],
]);

/** @param {Figures} figures @param {Peers} peers */
function ratios({ loops, streams }, peers) {
  const columns = RATIOS.filter(([, loop]) => loops.get(loop)?.has(REFERENCE));
  const memory = streams.get(REFERENCE)?.perStreamKB;
  if (columns.length === 0 && memory === undefined) return '';
  const rows = peers.map(({ name }) => [
    name,
    ...columns.map(([, loop, field]) => {
      const all = loops.get(loop);
      return number((all?.get(name)?.[field] ?? Number.NaN) / (all?.get(REFERENCE)?.[field] ?? 0));
    }),
    ...(memory ? [number((streams.get(name)?.perStreamKB ?? Number.NaN) / memory)] : []),
  ]);
  const head = ['peer', ...columns.map(([title]) => title), ...(memory ? ['KB/stream'] : [])];
  return `## Ratios to http-proxy\n\n${table(head, rows)}`;
}

/** @param {Figures} figures @param {Peers} peers */
function absolutes({ loops }, peers) {
  return [...loops].map(([loop, all]) => {
    const sse = LOOPS[/** @type {import('./scenarios.js').Loop} */ (loop)].kind === 'sse';
    const direct = all.get(DIRECT);
    const head = [
      'peer',
      sse ? 'chunks/s' : 'req/s',
      ...(sse ? ['streams/s'] : []),
      sse ? 'chunk p50 ms' : 'p50 ms',
      sse ? 'chunk p99 ms' : 'p99 ms',
      'added p50 ms',
      'proxy CPU',
      'load + upstream CPU',
    ];
    const rows = peers.flatMap(({ name }) => {
      const one = all.get(name);
      if (one === undefined) return [];
      const added = direct && name !== DIRECT ? one.p50 - direct.p50 : undefined;
      return [
        [
          name,
          ...(sse ? [whole(one.chunksPerSecond)] : []),
          whole(one.perSecond),
          number(one.p50, 3),
          number(one.p99, 3),
          number(added, 3),
          name === DIRECT ? '–' : percent(one.proxyBusy),
          percent(one.restBusy),
        ],
      ];
    });
    const title = TITLES[/** @type {import('./scenarios.js').Loop} */ (loop)];
    return `## ${title}\n\n${table(head, rows)}`;
  });
}

/** @param {Figures} figures @param {Peers} peers */
function streamsTable({ streams }, peers) {
  if (streams.size === 0) return '';
  const rows = peers.flatMap(({ name }) => {
    const one = streams.get(name);
    if (one === undefined) return [];
    return [
      [
        name,
        whole(one.open),
        number((one.idleKiB * 1.024) / 1000, 1),
        number(one.perStreamKB, 1),
        whole(one.chunks),
        number(one.p50, 2),
        number(one.p99, 2),
        whole(one.lost),
      ],
    ];
  });
  const head = ['peer', 'open', 'idle MB', 'KB/stream', 'chunks', 'delay p50 ms', 'p99 ms', 'lost'];
  return `## Open SSE streams\n\n${table(head, rows)}`;
}

/** @param {Figures} figures */
function targetsTable(figures) {
  const rows = judge(figures).map(({ target, value, met, missedBy }) => [
    target.what,
    `${target.sense} ${target.limit} ${target.unit}`,
    `${number(value, target.unit === '×' ? 2 : 1)} ${target.unit}`,
    met ? 'met' : `missed by ${percent(missedBy)}`,
  ]);
  if (rows.length === 0) return '';
  return `## Targets of the sidecar\n\n${table(['what', 'target', 'measured', ''], rows)}`;
}

/** @param {Figures} figures @param {Peers} peers */
export const figuresText = (figures, peers) =>
  [
    targetsTable(figures),
    ratios(figures, peers),
    ...absolutes(figures, peers),
    streamsTable(figures, peers),
  ]
    .filter((text) => text !== '')
    .join('\n\n');
