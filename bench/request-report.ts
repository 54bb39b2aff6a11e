/** What `npm run bench` measured, against its targets and as Markdown. */
import type { AdmissionFigures } from './admission.ts';
import type { Measured } from './harness/bench.ts';
import type { HeaderSet } from './harness/payloads.ts';
import {
  atLeast,
  atMost,
  figure,
  least,
  median,
  quantile,
  spread,
  table,
} from './harness/report.ts';
import { FLOOR, REFERENCE, SUBJECT } from './peers.ts';
import type { Figures } from './request.ts';

/** The rounds of each peer, by its name. */
export type Samples<Figure> = ReadonlyMap<string, readonly Figure[]>;

/** A field of a peer's rounds; empty where it was not measured. */
const column = <Figure>(samples: Samples<Figure>, name: string, field: keyof Figure) =>
  samples.get(name)?.map((sample) => Number(sample[field])) ?? [];

const cost = ({ json }: Figures, headers: HeaderSet, name: string): number =>
  least(column(json[headers], name, 'us'));

/** The median of the rounds' own ratios to http-proxy, which has its turn next to the sidecar's. */
function ratioOfP50({ one }: Figures, name: string): number {
  const reference = column(one, REFERENCE, 'p50');
  return median(column(one, name, 'p50').map((p50, at) => p50 / (reference[at] ?? Number.NaN)));
}

/** Compared with peers that took part; without them a target is not judged. */
function targetsOf(figures: Figures, admission: AdmissionFigures) {
  const subject = cost(figures, 'litellm', SUBJECT);
  const aboveFloor = subject / cost(figures, 'litellm', FLOOR);
  const belowReference = cost(figures, 'litellm', REFERENCE) / subject;
  const streams = figures.memory.get(SUBJECT);
  const above = admission.many - admission.one;
  return [
    atMost("processor time of a request, against bare undici's", 1.25, '×', aboveFloor),
    atLeast("http-proxy's processor time, against the sidecar's", 1.5, '×', belowReference),
    atMost('p50 at 1 connection, against http-proxy', 1, '×', ratioOfP50(figures, SUBJECT)),
    atMost('resident memory for each open stream', 28, 'KB', streams?.streamKB),
    atMost('p99 of the delay of a chunk among the open streams', 50, 'ms', streams?.p99),
    atMost('admission with 8,000 keys, above that with one', 100, 'ns', above),
  ];
}

function requestTable(figures: Figures): string {
  const of = (name: string, headers: HeaderSet) => [
    ...spread(column(figures.json[headers], name, 'us'), 1),
    figure(cost(figures, headers, name) / cost(figures, headers, FLOOR), 2),
  ];
  const head = ['peer', "LiteLLM's headers, µs", 'quartiles', '× undici'];
  const rows = figures.contestants.map(({ name }) => [
    ...[name, ...of(name, 'litellm'), ...of(name, 'three')],
  ]);
  return table([...head, 'three, µs', 'quartiles', '× undici'], rows);
}

function latencyTable(figures: Figures): string {
  const { contestants, json, one } = figures;
  const head = ['peer', 'p50 ms, 1 conn.', '× http-proxy', 'p99 ms, 32', 'requests/s, 32'];
  const rows = contestants.map(({ name }) => [
    ...[name, figure(least(column(one, name, 'p50')), 3)],
    figure(ratioOfP50(figures, name), 2),
    figure(least(column(json.litellm, name, 'p99')), 2),
    figure(quantile(column(json.litellm, name, 'perSecond'), 1)),
  ]);
  return table(head, rows);
}

function chunksTable({ chunks, contestants }: Figures): string {
  const head = ['peer', 'first chunk p50 ms', 'p99', 'chunk delay p50 ms', 'p99', 'µs a chunk'];
  const fields = ['firstP50', 'firstP99', 'p50', 'p99', 'us'] as const;
  const rows = contestants.map(({ name }) => [
    name,
    ...fields.map((field) => figure(least(column(chunks, name, field)), field === 'us' ? 1 : 2)),
  ]);
  return table(head, rows);
}

function memoryTable({ memory }: Figures): string {
  const head = ['peer', 'open', 'idle MB', 'KB/stream', 'chunk delay p50 ms', 'p99'];
  const rows = [...memory].map(([name, { open, idleMB, streamKB, p50, p99 }]) => [
    ...[name, figure(open), figure(idleMB, 1), figure(streamKB, 1)],
    ...[figure(p50, 2), figure(p99, 2)],
  ]);
  return table(head, rows);
}

/** @param pinned whether the measured process had a core of its own */
export const resultsOf = (
  figures: Figures,
  admission: AdmissionFigures,
  pinned: boolean,
): Measured => ({
  targets: targetsOf(figures, admission),
  text: [
    ...(pinned ? [] : ['Nothing was pinned to a core: there is no `taskset`, or one core alone.']),
    'Processor time of a 1 KB JSON POST at 32 connections:',
    requestTable(figures),
    "Latency, with LiteLLM's headers; the least of the rounds, and the most requests a second:",
    latencyTable(figures),
    '100 SSE streams, opened 4 at a time, with a chunk each 10 ms; the least of the rounds:',
    chunksTable(figures),
    'Open SSE streams, a tenth of which receive a chunk each second:',
    memoryTable(figures),
    `Admission by itself: ${figure(admission.one)} ns with one key, ${figure(admission.many)} ns with 8,000.`,
    table(
      ['peer', 'version', 'as measured'],
      figures.contestants.map(({ name, version = '', about }) => [name, version, about]),
    ),
  ],
});
